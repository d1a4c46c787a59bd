"""Problems for output: messages of Django's checks, collected over several plans."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from django.core.checks import CheckMessage
from django.core.management.color import Style

from lifespan_app.engine.wording import count

from .terminal import columns_of, folded, printable

NAMES = {
    "CRITICAL": "critical error",
    "ERROR": "error",
    "WARNING": "warning",
    "INFO": "note",
    "DEBUG": "remark",
}
LEVELS = tuple(NAMES)
FAIL_LEVEL = "ERROR"
"""The level from which on a problem makes the exit code 1, by default."""


class Found(NamedTuple):
    """A message of a check, with the service types of its plans; none: all of them."""

    message: CheckMessage
    service_types: tuple[str, ...] = ()

    @property
    def level(self) -> str:
        """The name of its level."""
        return logging.getLevelName(self.message.level)

    @property
    def id(self) -> str:
        """The id of the check; "" for a problem found by a trial run."""
        return str(self.message.id or "")

    @property
    def text(self) -> str:
        """The message, with short paths."""
        return short_paths(str(self.message.msg))

    @property
    def where(self) -> str:
        """File and line, or another object of the message; "" without one."""
        return short_paths(str(self.message.obj or ""))


def gathered(problems: Iterable[Found]) -> list[Found]:
    """Return problems by level. One that several plans have is listed once."""
    found: dict[tuple[object, ...], Found] = {}
    for problem in problems:
        message, types = problem
        place = str(message.obj or "")
        key = (message.level, message.id, str(message.msg), str(message.hint or ""), place)
        known = found.setdefault(key, problem)
        types = tuple(dict.fromkeys((*known.service_types, *types)))
        found[key] = Found(known.message, types)
    return sorted(found.values(), key=lambda problem: -problem.message.level)


def problem_lines(problems: Sequence[Found], style: Style, width: int) -> Iterator[str]:
    """Yield every problem, and their number."""
    if not problems:
        yield style.SUCCESS("No problems.")
        return
    yield style.MIGRATE_HEADING("Problems")
    for problem in problems:
        yield ""
        yield from lines_of(problem, style, width)
    yield ""
    counts = Counter(problem.level for problem in problems)
    listed = (count(counts[level], NAMES[level]) for level in LEVELS if counts[level])
    yield f"{', '.join(listed)}."


def lines_of(problem: Found, style: Style, width: int) -> Iterator[str]:
    """Yield one problem: level and id, place, message and hint."""
    level = problem.level
    colour = style.NOTICE if level == "INFO" else getattr(style, level, style.NOTICE)
    head, where = f"{level}  {problem.id}".rstrip(), printable(problem.where)
    if where and columns_of(head) + 2 + columns_of(where) <= width:
        yield f"{colour(head)}  {where}"
    else:
        yield colour(head)
        if where:
            yield f"  {where}"
    text = "\n".join(printable(line) for line in problem.text.split("\n"))
    yield from folded(text, width, "  ")
    if problem.message.hint:
        yield from folded(printable(str(problem.message.hint)), width, "  -> ", "     ")


def short_paths(text: str) -> str:
    """Return a text with paths relative to the working directory, if they are inside it."""
    here = os.fspath(Path.cwd()).rstrip(os.sep) + os.sep
    return re.sub(rf"(?<![^\s('\"]){re.escape(here)}", "", text)
