"""Texts as every database takes them: without what one of them refuses, and no longer than there is room."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["LONGEST", "ascii_only", "sanitize", "sanitize_json"]

LONGEST = 20_000
"""Characters that a text has at most where its column sets no limit."""

_HEAD_AND_TAIL = 1_000
"""Room from which on the end of a text is kept too: the last line of a traceback says most."""


def sanitize(text: str, length: int | None = None) -> str:
    r"""Return a text as every database takes it.

    NUL and lone surrogates become visible, as in ``\x00``. What is too long is cut, and says how
    much is missing; a long text keeps its beginning and its end.

    Args:
        text: any text.
        length: how many characters there is room for; None for 20,000.
    """
    # PostgreSQL has no room for NUL; halves of characters can't be encoded.
    text = text.replace("\0", r"\x00")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode(errors="backslashreplace").decode()
    room = LONGEST if length is None else length
    return text if len(text) <= room else _cut(text, room)


def sanitize_json(value: Any) -> Any:
    """Return plain data in which each text is storable, and nothing is that JSON has no word for."""
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
    """Return a text, or plain data, with a backslash form for each character beyond ASCII.

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
    """Return a text that is too long without its middle, or its end, and words that say so."""
    # The number that is said in the end has no more digits than this one.
    kept = room - len(_missing(len(text), room))
    if kept <= 0:
        return text[:room]
    said = _missing(len(text) - kept, room)
    if room < _HEAD_AND_TAIL:
        return text[:kept] + said
    tail = kept // 2
    return text[: kept - tail] + said + text[len(text) - tail :]


def _missing(count: int, room: int) -> str:
    """Return the words that say how many characters of a text are missing."""
    if room < _HEAD_AND_TAIL:
        return f"... ({count:,} more)"
    return f"\n... {count:,} characters are left out here ...\n"
