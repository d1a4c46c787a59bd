"""What keeps the history from being written, and what to do about it."""

from __future__ import annotations

from typing import NamedTuple

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
)
from django.utils.connection import ConnectionDoesNotExist

from lifespan_app.engine.wording import time_limit

from .redaction import masked
from .sanitize import sanitize

PASSING = (DatabaseError, InterfaceError, ConnectionDoesNotExist, ImproperlyConfigured, OSError)
"""Errors of the database, or of the way to it."""

REFUSED = (DataError, IntegrityError)
"""Those among them that are about what was to be written."""

MOSTLY_REFUSED = (NotSupportedError, ProgrammingError)
"""Those that are, too, unless they say what is wrong with the database: a table is missing."""


WRONG_VALUES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValidationError,
    ValueError,
)
"""What Python and Django raise for values, or a lack of them, before any database is asked."""


class StoreError(NamedTuple):
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
        "denied",
        ("permission denied", "command denied", "access denied"),
        "Let the database's user read and write the tables of lifespan_app.",
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
        "exhausted",
        (
            "couldn't get a connection",
            "requests waiting",
            "too many clients",
            "too many connections",
            "remaining connection slots",
            "dpy-4005",  # of oracledb
        ),
        "All connections are in use. Raise max_size of the pool, or the limit of the database; a hook "
        "keeps one in a transaction, while it reads rows, and in threads of asyncio.to_thread().",
    ),
    (
        "full",
        ("disk is full", "disk full", "no space left", "table is full"),
        "Make room, or set HISTORY_DAYS lower and run 'manage.py prunelifespan'.",
    ),
)
"""What databases say, in parts of their messages, and what to do; the first that fits."""

NOT_THERE = "not there"
"""The kind of what no rule above knows: mostly the database can't be reached."""

START_IT = "Start it, or set HISTORY to False."


def may_pass(error: Exception) -> bool:
    """Return True if another attempt may go better; False if the rows are what is wrong."""
    if isinstance(error, MOSTLY_REFUSED):
        return is_of_database(error)
    return isinstance(error, PASSING) and not isinstance(error, REFUSED)


def is_refusal(error: Exception) -> bool:
    """Return True if the rows are what is wrong, and no attempt will go better."""
    return isinstance(error, (DatabaseError, *WRONG_VALUES)) and not may_pass(error)


def is_of_database(error: Exception) -> bool:
    """Return True if an error says what is wrong with the database, whatever is written to it."""
    return failure_of(error).kind != NOT_THERE


def failure_of(error: Exception) -> StoreError:
    """Return what an error of a write means."""
    lines = str(error).strip().splitlines() or [""]
    what = sanitize(masked(f"{type(error).__name__}: {lines[0].removesuffix('.')}"), 300)
    if isinstance(error, ConnectionDoesNotExist):
        return StoreError("alias", what, "Set HISTORY_DATABASE to an alias in DATABASES.")
    text = str(error).lower()
    for kind, parts, advice in KINDS:
        if any(part in text for part in parts):
            return StoreError(kind, what, advice)
    return StoreError(NOT_THERE, what, START_IT)


def is_in_the_way(error: Exception) -> bool:
    """Tell whether somebody else's lock has kept a write from being done."""
    return any(part in str(error).lower() for part in LOCKED)


def unanswered(seconds: float) -> StoreError:
    """Return what it means that a write takes longer than so many seconds."""
    return StoreError(
        "slow", f"a write has taken more than {time_limit(seconds)}", "See what holds it up."
    )
