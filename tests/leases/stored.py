"""Leases as they come about, in the database of the test."""

from __future__ import annotations

from lifespan_app.leases import rows
from lifespan_app.leases.rows import Holder, Key

HERE = Holder("a" * 32, "web-1", 5)
POLL = Key("books.poll", "cluster", "", "production")
MIGRATE = Key("books.migrate", "release", "1.4", "production")


def held(key: Key = POLL, holder: Holder = HERE, seconds: float = 60) -> int:
    """Have a process hold a lease; return its number."""
    rows.make(key)
    number = rows.take(key, holder, seconds)
    assert number is not None
    return number


def succeeded(key: Key = MIGRATE) -> None:
    """Have a start function succeed."""
    held(key)
    assert rows.end(key, HERE, success=True, error="", still_runs=False)


def failed(key: Key = MIGRATE, error: str = "OSError: no space") -> None:
    """Have a start function fail."""
    held(key)
    assert rows.end(key, HERE, success=False, error=error, still_runs=False)
