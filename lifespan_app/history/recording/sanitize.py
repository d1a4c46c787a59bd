"""Texts that every database accepts: without refused characters, and cut to a length."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["LONGEST", "ascii_only", "sanitize", "sanitize_json"]

LONGEST = 20_000
"""The most characters of a text in a column without a limit."""

_HEAD_AND_TAIL = 1_000
"""The length from which the end of a text is kept, too: the last line of a traceback is the error."""


def sanitize(text: str, length: int | None = None) -> str:
    r"""Return a text that every database accepts.

    NUL and lone surrogates are escaped, as in ``\x00``. A text that is too long is cut, with the number
    of missing characters; a long text keeps its beginning and its end.

    Args:
        text: any text.
        length: the most characters; None for 20,000.
    """
    # PostgreSQL refuses NUL: https://www.postgresql.org/docs/current/datatype-character.html
    text = text.replace("\0", r"\x00")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode(errors="backslashreplace").decode()
    room = LONGEST if length is None else length
    return text if len(text) <= room else _cut(text, room)


def sanitize_json(value: Any) -> Any:
    """Return plain data with sanitized texts, and without values that JSON lacks."""
    if isinstance(value, str):
        return sanitize(value)
    if isinstance(value, Mapping):
        return {sanitize(str(key)): sanitize_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [sanitize_json(item) for item in value]
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return sanitize(str(value))


def ascii_only(value: Any) -> Any:
    """Return a text, or plain data, with non-ASCII characters escaped.

    For a database whose columns have an old encoding: MariaDB's ``latin1`` refuses an emoji.
    """
    if isinstance(value, str):
        return value.encode("ascii", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {key: ascii_only(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [ascii_only(item) for item in value]
    return value


def _cut(text: str, room: int) -> str:
    """Return a text without its middle or end, and with the number of missing characters."""
    # The final number has no more digits than this one.
    kept = room - len(_missing(len(text), room))
    if kept <= 0:
        return text[:room]
    said = _missing(len(text) - kept, room)
    if room < _HEAD_AND_TAIL:
        return text[:kept] + said
    tail = kept // 2
    return text[: kept - tail] + said + text[len(text) - tail :]


def _missing(count: int, room: int) -> str:
    """Return the note about missing characters."""
    if room < _HEAD_AND_TAIL:
        return f"... ({count:,} more)"
    return f"\n... {count:,} characters are left out here ...\n"
