"""Text in paragraphs and columns, as a command shows it; paths as short as they can be."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from .terminal import columns_of

NARROWEST = 40
"""Columns below which lines are left to the terminal."""


def width_of_page() -> int:
    """Return how many columns there are: COLUMNS, else the terminal's, else 80."""
    return max(shutil.get_terminal_size((80, 24)).columns, NARROWEST)


def padded(text: str, width: int) -> str:
    """Return a text filled up with spaces."""
    return text + " " * (width - columns_of(text))


def folded(text: str, width: int, first: str = "", rest: str | None = None) -> Iterator[str]:
    """Yield a text in lines of a width, broken between words only: a path stays one to click on.

    Args:
        text: what is wrapped; its own line breaks stay.
        width: columns.
        first: what the first line begins with.
        rest: what each other line begins with; None: the same.
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


def short_paths(text: str) -> str:
    """Return a text in which the paths begin at the working directory, where they are inside it."""
    here = os.fspath(Path.cwd()).rstrip(os.sep) + os.sep
    return re.sub(rf"(?<![^\s('\"]){re.escape(here)}", "", text)
