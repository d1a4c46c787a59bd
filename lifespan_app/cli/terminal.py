"""Text for a terminal, a pipe or a file: width, colours, wrapped lines, printable characters."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Iterator, Mapping
from typing import IO, Any, Protocol

from django.utils.termcolors import colorize

from lifespan_app import probe

printable = probe.printable

NARROWEST = 20
"""The least columns of a line that is updated in place."""
NARROWEST_PAGE = 40
"""The least columns of other text: the terminal wraps what is longer."""
USUAL = (80, 24)
"""Columns and lines of a terminal of unknown size."""

COLOURS: Mapping[str, Mapping[str, Any]] = {
    "good": {"fg": "green"},
    "bad": {"fg": "red", "opts": ("bold",)},
    "careful": {"fg": "yellow"},
    "busy": {"fg": "cyan"},
    "heading": {"opts": ("bold",)},
}
"""Colours by meaning. The text beside a colour always has the same meaning."""


class Stream(Protocol):
    """A file, or the output of a management command."""

    def isatty(self) -> bool:
        """Return True for a terminal."""
        ...


def is_terminal(stream: Stream) -> bool:
    """Return True if a stream is a terminal that can move its cursor."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        # A closed stream, or one with only write().
        return False


def has_colour(stream: Stream, *, no_color: bool = False, force_color: bool = False) -> bool:
    """Return True if colours are to be written to a stream: by default only to a terminal.

    Args:
        stream: the stream.
        no_color: the option of management commands. The environment variable ``NO_COLOR`` has the
            same effect (https://no-color.org).
        force_color: the option of management commands: colours also in a pipe or a file, and in spite
            of ``NO_COLOR``.
    """
    if no_color or force_color:
        return force_color and not no_color
    return not os.environ.get("NO_COLOR") and is_terminal(stream)


def size(stream: IO[str]) -> os.terminal_size | None:
    """Return the columns and lines of a terminal, or None for a pipe or a file.

    The environment variables ``COLUMNS`` and ``LINES`` win, as in ``shutil.get_terminal_size()``.
    """
    if not is_terminal(stream):
        return None
    try:
        told = os.get_terminal_size(stream.fileno())
    except (AttributeError, OSError, ValueError):
        told = os.terminal_size((0, 0))
    columns = number("COLUMNS") or told.columns or USUAL[0]
    return os.terminal_size((max(columns, NARROWEST), number("LINES") or told.lines or USUAL[1]))


def width_of_page() -> int:
    """Return the columns for text: COLUMNS, else those of the terminal, else 80."""
    return max(shutil.get_terminal_size(USUAL).columns, NARROWEST_PAGE)


def number(variable: str) -> int:
    """Return the integer in an environment variable, or 0."""
    value = os.environ.get(variable, "")
    return int(value) if value.isdecimal() else 0


def painted(text: str, meaning: str, *, colour: bool) -> str:
    """Return a text in the colour of a meaning, or unchanged without colours."""
    return colorize(text, **COLOURS[meaning]) if colour else text


def first_line(text: str) -> str:
    """Return the first line of a text that is not blank, printable."""
    return next((printable(line) for line in text.splitlines() if line.strip()), "")


def columns_of(text: str) -> int:
    """Return the width of a printable text in columns: two for wide characters, none for accents."""
    return len(text) if text.isascii() else sum(map(columns_of_character, text))


def columns_of_character(character: str) -> int:
    """Return the width of a character in columns."""
    # https://www.unicode.org/reports/tr11/
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, columns: int | None) -> str:
    """Return a text cut to a number of columns; None: no limit."""
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


def padded(text: str, width: int) -> str:
    """Return a text filled up with spaces."""
    return text + " " * (width - columns_of(text))


def folded(text: str, width: int, first: str = "", rest: str | None = None) -> Iterator[str]:
    """Yield the lines of a wrapped text. Words are never broken, so paths remain clickable.

    Args:
        text: the text; its own line breaks are kept.
        width: columns.
        first: the beginning of the first line.
        rest: the beginning of each other line; None: the same.
    """
    rest = first if rest is None else rest
    begins = first
    for paragraph in text.split("\n"):
        own = paragraph[: len(paragraph) - len(paragraph.lstrip(" "))]
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else own + word
            if line and columns_of(begins) + columns_of(longer) > width:
                yield begins + line
                begins, longer = rest, own + ("  " if own else "") + word
            line = longer
        yield (begins + line).rstrip()
        begins = rest


class Output:
    """A stream that accepts every character, and is flushed after each write.

    Args:
        stream: the stream. Characters that its encoding lacks are replaced by question marks.
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
