"""What keeps the history from being written, and what to do about it."""

from __future__ import annotations

from typing import NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError
from django.utils.connection import ConnectionDoesNotExist

from .masking import masked
from .storable import storable

PASSING = (DatabaseError, InterfaceError, ConnectionDoesNotExist, ImproperlyConfigured, OSError)
"""Errors of the database, or of the way to it."""

REFUSED = (DataError, IntegrityError)
"""Those among them that are about what was to be written."""


class Failure(NamedTuple):
    """Why the database does not take the history."""

    kind: str
    """One warning is given for each."""
    what: str
    """What is wrong, as the database says it."""
    advice: str


MIGRATE = "Run 'manage.py migrate lifespan_app' on that database."

LOCKED = ("is locked", "lock wait timeout", "deadlock", "lock timeout")
"""What databases say when somebody else is in the way, which mostly passes at once."""

KINDS = (
    (
        "tables",
        (
            "no such table",
            "no such column",
            "has no column",
            "does not exist",
            "doesn't exist",
            "unknown column",
        ),
        MIGRATE,
    ),
    (
        "read-only",
        ("readonly", "read-only", "read only"),
        "Set HISTORY_DATABASE to a database that can be written to, or HISTORY to False.",
    ),
    (
        "locked",
        LOCKED,
        "Another process holds its lock; for many processes that write, SQLite is not made.",
    ),
    (
        "full",
        ("disk is full", "disk full", "no space left", "table is full"),
        "Make room, or set HISTORY_DAYS lower and run 'manage.py prunelifespan'.",
    ),
)
"""What databases say, in parts of their messages, and what to do; the first that fits."""

NOT_THERE = "Start it, or set HISTORY to False."


def may_pass(error: Exception) -> bool:
    """Tell whether another attempt may go better."""
    return isinstance(error, PASSING) and not isinstance(error, REFUSED)


def failure_of(error: Exception) -> Failure:
    """Return what an error of a write means."""
    lines = str(error).strip().splitlines() or [""]
    what = storable(masked(f"{type(error).__name__}: {lines[0].removesuffix('.')}"), 300)
    if isinstance(error, ConnectionDoesNotExist):
        return Failure("alias", what, "Set HISTORY_DATABASE to an alias in DATABASES.")
    text = str(error).lower()
    for kind, parts, advice in KINDS:
        if any(part in text for part in parts):
            return Failure(kind, what, advice)
    return Failure("not there", what, NOT_THERE)


def is_in_the_way(error: Exception) -> bool:
    """Tell whether somebody else's lock has kept a write from being done."""
    return any(part in str(error).lower() for part in LOCKED)


def unanswered(seconds: float) -> Failure:
    """Return what it means that a write takes longer than so many seconds."""
    return Failure("slow", f"a write has taken more than {seconds:g} s", "See what holds it up.")
