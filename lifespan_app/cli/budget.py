"""Time budgets for a startup and its hooks, which a trial run must keep to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from lifespan_app.engine.hooks.values import is_seconds
from lifespan_app.engine.wording import did_you_mean
from lifespan_app.history.reading.statistics import slow_from

if TYPE_CHECKING:
    from .trial_run import TrialRun

TOTAL = "total"
UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|)")


class Excess(NamedTuple):
    """A time that is longer than allowed."""

    what: str
    """``total`` or a hook's key."""
    took: float
    """Seconds: the median of the runs."""
    allowed: float
    """Seconds."""
    why: str
    """``budget`` or ``slower``."""


def seconds(text: str) -> float:
    """Return the seconds of a duration such as ``300ms``, ``2s``, ``2`` or ``1.5m``.

    Raises:
        ValueError: the text is no duration, or is 0.
    """
    found = DURATION.fullmatch(text.strip())
    value = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not is_seconds(value):
        raise ValueError(f"'{text}' is not a duration: write 300ms, 2s or 1.5m.")
    return value


def budget(text: str) -> dict[str, float]:
    """Return seconds by ``total`` and by hook, for ``2s`` or ``total=2s,library.http_client=300ms``.

    Raises:
        ValueError: the text is no budget.
    """
    parts: dict[str, float] = {}
    for part in text.split(","):
        name, _, duration = part.rpartition("=")
        name = name.strip() or TOTAL
        if name in parts:
            raise ValueError(f"'{name}' is there twice.")
        parts[name] = seconds(duration)
    return parts


def unknown(names: Iterable[str], known: Iterable[str]) -> str:
    """Return the error text for the first name without a hook, or ""."""
    keys = list(known)
    for name in names:
        if name != TOTAL and name not in keys:
            return f"The plan holds no hook '{name}'.{did_you_mean(name, keys)}"
    return ""


def over_budget(trial: TrialRun, allowed: Mapping[str, float]) -> Iterator[Excess]:
    """Yield the times of the startup and of hooks that exceed the budget."""
    took = {hook.key: hook.start for hook in trial.measured()}
    took[TOTAL] = median(trial.startup())
    for name, limit in allowed.items():
        taken = took.get(name)
        if taken is not None and taken > limit:
            yield Excess(name, taken, limit, "budget")


def slower(trial: TrialRun, recorded: Mapping[str, float], factor: float) -> Iterator[Excess]:
    """Yield the hooks whose start took more than ``factor`` times their recorded median."""
    for hook in trial.measured():
        before = recorded.get(hook.key)
        if hook.start is None or before is None:
            continue
        if hook.start > slow_from(before, factor):
            yield Excess(hook.key, hook.start, before * factor, "slower")
