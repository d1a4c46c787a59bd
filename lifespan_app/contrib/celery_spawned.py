"""Imported by the processes that Celery's pool spawns, as on macOS, to replace a fork's state."""

from __future__ import annotations

from .celery import connect

connect()
