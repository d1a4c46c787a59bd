"""Errors that prevent writing the history, with advice."""

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
from lifespan_app.integration.database_codes import code_of
from lifespan_app.integration.redaction import masked

from .sanitize import sanitize

TEMPORARY = (DatabaseError, InterfaceError, ConnectionDoesNotExist, ImproperlyConfigured, OSError)
"""Errors of the database or of the connection."""

REFUSED = (DataError, IntegrityError)
"""The errors about the written values."""

MOSTLY_REFUSED = (NotSupportedError, ProgrammingError)
"""Further errors about values, unless they are about the database, such as a missing table."""


WRONG_VALUES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValidationError,
    ValueError,
)
"""Errors that Python and Django raise for values before a query."""


class StoreError(NamedTuple):
    """The reason why the history can't be written."""

    kind: str
    """The kind of failure; each is logged once."""
    what: str
    """The error text of the database."""
    advice: str


MIGRATE = "Run 'manage.py migrate lifespan_app' on that database."

LOCKED = "locked"
"""The kind of failures about locks of other processes, which are mostly short."""

CODES: dict[object, str] = {
    # PostgreSQL
    "42P01": "tables",
    "42703": "tables",
    "42501": "denied",
    "25006": "read-only",
    "40001": LOCKED,
    "40P01": LOCKED,
    "55P03": LOCKED,
    "53300": "exhausted",
    "53100": "full",
    # MariaDB
    1054: "tables",
    1146: "tables",
    1142: "denied",
    1143: "denied",
    1290: "read-only",
    1792: "read-only",
    1205: LOCKED,
    1213: LOCKED,
    1040: "exhausted",
    1203: "exhausted",
    1021: "full",
    1114: "full",
}
"""Kinds of failure by the code of a server, whose messages may be in any language."""

CHARACTER_CODES = frozenset({"22021", "22P05", 1267, 1366})
"""The codes of errors about a character that a column can't hold, of PostgreSQL and MariaDB."""

UNKNOWN_CHARACTER = (
    "incorrect string value",
    "illegal mix of collations",  # MariaDB, of a text in a WHERE
    "character with byte sequence",
    "invalid byte sequence",
    "nul (0x00)",  # PostgreSQL's drivers
)
"""Parts of error messages about a character that a column can't hold: each driver has its own class."""

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
        LOCKED,
        ("is locked", "lock wait timeout", "deadlock", "lock timeout"),
        "Another process holds its lock. SQLite is not suited to many writing processes.",
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
"""Kinds of failure with parts of English messages and advice. Without a known code, the first match counts."""

NOT_THERE = "not there"
"""The kind of all other failures: mostly, the database can't be reached."""

ADVICE = {
    **{kind: advice for kind, _, advice in KINDS},
    "alias": "Set HISTORY_DATABASE to an alias in DATABASES.",
    NOT_THERE: "Start it, or set HISTORY to False.",
}
"""What to do about each kind."""


def is_temporary(error: Exception) -> bool:
    """Return True if another attempt may succeed; False if the rows are wrong."""
    if isinstance(error, MOSTLY_REFUSED):
        return is_of_database(error)
    return isinstance(error, TEMPORARY) and not isinstance(error, REFUSED)


def is_refusal(error: Exception) -> bool:
    """Return True if the rows are wrong, so that no attempt can succeed."""
    return isinstance(error, (DatabaseError, *WRONG_VALUES)) and not is_temporary(error)


def is_of_database(error: Exception) -> bool:
    """Return True if an error is about the database, independent of the rows."""
    return kind_of(error) != NOT_THERE


def kind_of(error: Exception) -> str:
    """Return the kind of a failure."""
    if isinstance(error, ConnectionDoesNotExist):
        return "alias"
    if (known := CODES.get(code_of(error))) is not None:
        return known
    text = str(error).lower()
    kinds = (kind for kind, parts, _ in KINDS if any(part in text for part in parts))
    return next(kinds, NOT_THERE)


def failure_of(error: Exception) -> StoreError:
    """Return the failure of a write, by its error."""
    lines = str(error).strip().splitlines() or [""]
    what = sanitize(masked(f"{type(error).__name__}: {lines[0].removesuffix('.')}"), 300)
    kind = kind_of(error)
    return StoreError(kind, what, ADVICE[kind])


def is_lock_error(error: Exception) -> bool:
    """Return True if an error is about a lock of another process."""
    return kind_of(error) == LOCKED


def is_about_a_character(error: Exception) -> bool:
    """Return True if an error is about a character that a column can't hold, or be compared with."""
    if code_of(error) in CHARACTER_CODES:
        return True
    return any(part in str(error).lower() for part in UNKNOWN_CHARACTER)


def unanswered(seconds: float) -> StoreError:
    """Return the failure of a write that takes longer than so many seconds."""
    return StoreError(
        "slow", f"a write has taken more than {time_limit(seconds)}", "Check why it is slow."
    )
