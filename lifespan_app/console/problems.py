"""What the checks say, as it is shown."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.core.checks import CheckMessage

from lifespan_app.checks.places import Place
from lifespan_app.engine.wording import count

from .page import Shortener

NAMES = {
    "CRITICAL": "critical error",
    "ERROR": "error",
    "WARNING": "warning",
    "INFO": "note",
    "DEBUG": "remark",
}
LEVELS = tuple(NAMES)


class Problem(NamedTuple):
    """One thing that is wrong, or worth knowing."""

    level: str
    id: str
    message: str
    hint: str
    where: str
    """File and line, or what else it is about; "" where nothing else is to be said."""
    file: str
    line: int
    """0 where it has no line."""
    service_types: tuple[str, ...] = ()
    """Whose plans it is about; none: all of them."""

    @property
    def severity(self) -> int:
        """The level as a number, as in ``logging``."""
        return severity_of(self.level)


def severity_of(level: str) -> int:
    """Return a level as a number."""
    return int(getattr(logging, level))


def problem_of(message: CheckMessage, service_type: str, short: Shortener) -> Problem:
    """Return what a check says, as it is shown.

    Args:
        message: what it says.
        service_type: whose plan it is about; "": that of none.
        short: gives the paths.
    """
    place = message.obj
    is_line = isinstance(place, Place)
    file, line = (short.path(place.file), place.line) if is_line else ("", 0)
    return Problem(
        level=logging.getLevelName(message.level),
        id=str(message.id or ""),
        message=short.text(str(message.msg)),
        hint=str(message.hint or ""),
        where=f"{file}:{line}" if is_line else str(place or ""),
        file=file,
        line=line,
        service_types=(service_type,) if service_type else (),
    )


def gathered(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems by their gravity; what is wrong with several plans stands there once."""
    found: dict[Problem, list[str]] = {}
    for problem in problems:
        types = found.setdefault(problem._replace(service_types=()), [])
        types += problem.service_types
    once = [
        problem._replace(service_types=tuple(dict.fromkeys(types)))
        for problem, types in found.items()
    ]
    return sorted(once, key=lambda problem: -problem.severity)


def summary(problems: Sequence[Problem]) -> str:
    """Return how many problems there are, in words."""
    counts = Counter(problem.level for problem in problems)
    listed = ", ".join(count(counts[level], NAMES[level]) for level in LEVELS if counts[level])
    return listed or "no problems"
