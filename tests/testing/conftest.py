"""Hooks and views for one test."""

from __future__ import annotations

from tests.django.conftest import lifespan, mount

__all__ = ["lifespan", "mount"]
