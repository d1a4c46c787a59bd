"""Imported by the processes that Celery's pool spawns, as on macOS: what a fork would have inherited."""

from __future__ import annotations

from .celery import connect

connect()
