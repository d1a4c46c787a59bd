"""Text for a terminal, a pipe or a file: its width, its colours, and what may not be written raw."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from typing import IO, Any, Protocol

from django.utils.termcolors import colorize

from lifespan_app import probe

printable = probe.printable

NARROWEST = 20
"""Columns that lines are made for, however narrow a terminal says that it is."""
USUAL = (80, 24)
"""Columns and lines of a terminal that does not say."""

COLOURS: Mapping[str, Mapping[str, Any]] = {
    "good": {"fg": "green"},
    "bad": {"fg": "red", "opts": ("bold",)},
    "careful": {"fg": "yellow"},
    "busy": {"fg": "cyan"},
    "heading": {"opts": ("bold",)},
}
"""What a colour means; the word beside it says the same."""


class Stream(Protocol):
    """What may be a terminal: a file, or what a management command writes to."""

    def isatty(self) -> bool:
        """Tell whether it is one."""
        ...


def is_terminal(stream: Stream) -> bool:
    """Tell whether somebody may be looking at a stream, on a terminal that can move its cursor."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        # A stream that is closed, or one that only has write().
        return False


def has_colour(stream: Stream, *, no_color: bool = False, force_color: bool = False) -> bool:
    """Tell whether to write colours: on a terminal only, and not where somebody has said no.

    Args:
        stream: where to.
        no_color: the option of that name, as management commands have it. The environment
            variable ``NO_COLOR`` says the same (https://no-color.org).
        force_color: the option of that name: colours also in a pipe or a file, and whatever the
            environment says.
    """
    if no_color or force_color:
        return force_color and not no_color
    return not os.environ.get("NO_COLOR") and is_terminal(stream)


def size(stream: IO[str]) -> os.terminal_size | None:
    """Return the columns and lines of a terminal, or None for a pipe or a file.

    The environment variables ``COLUMNS`` and ``LINES`` win, as everywhere.
    """
    if not is_terminal(stream):
        return None
    try:
        told = os.get_terminal_size(stream.fileno())
    except (AttributeError, OSError, ValueError):
        told = os.terminal_size((0, 0))
    columns = number("COLUMNS") or told.columns or USUAL[0]
    return os.terminal_size((max(columns, NARROWEST), number("LINES") or told.lines or USUAL[1]))


def number(variable: str) -> int:
    """Return the whole number that an environment variable holds, or 0."""
    value = os.environ.get(variable, "")
    return int(value) if value.isdecimal() else 0


def painted(text: str, meaning: str, *, colour: bool) -> str:
    """Return a text in the colour that has a meaning, or as it is where there is no colour."""
    return colorize(text, **COLOURS[meaning]) if colour else text


def first_line(text: str) -> str:
    """Return the first line of a text that says anything, printable."""
    return next((printable(line) for line in text.splitlines() if line.strip()), "")


def columns_of(text: str) -> int:
    """Return how many columns a printable text takes: wide characters take two, accents none."""
    return len(text) if text.isascii() else sum(map(columns_of_character, text))


def columns_of_character(character: str) -> int:
    """Return how many columns one character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, columns: int | None) -> str:
    """Return a text that takes so many columns at most; None: as many as it wants."""
    if columns is None or columns_of(text) <= columns:
        return text
    kept, taken = [], 0
    for character in text:
        taken += columns_of_character(character)
        if taken > columns - len(ELLIPSIS):
            break
        kept.append(character)
    return "".join(kept) + ELLIPSIS


ELLIPSIS = "..."


class Output:
    """A stream that takes every text, and has it at once.

    Args:
        stream: the stream. What its encoding does not have becomes a question mark.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = getattr(self._stream, "encoding", None) or "ascii"
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
