"""What Django loads of an engine."""

from __future__ import annotations

from django.db.backends.postgresql.base import DatabaseWrapper

__all__ = ["DatabaseWrapper"]
