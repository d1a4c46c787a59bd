"""The history that every cell is recorded in."""

from __future__ import annotations

from tests.history.conftest import prepared, sqlite_history

__all__ = ["prepared", "sqlite_history"]
