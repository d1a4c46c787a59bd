"""How long a startup may take, and its hooks: what a rehearsal is held against."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from lifespan_app.engine.hooks.values import is_seconds
from lifespan_app.engine.wording import did_you_mean

if TYPE_CHECKING:
    from .trial_run import TrialRun

TOTAL = "total"
UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|)")
NOISE = 0.01
"""Seconds that a hook may be slower than before without being called so: a machine is busy at times."""


class Over(NamedTuple):
    """Something that took longer than it may."""

    what: str
    """``total``, or the key of a hook."""
    took: float
    """Seconds: the median of the runs."""
    allowed: float
    """Seconds."""
    why: str
    """``budget`` or ``slower``."""


def seconds(text: str) -> float:
    """Return the seconds that a text such as ``300ms``, ``2s``, ``2`` or ``1.5m`` says.

    Raises:
        ValueError: it says no such thing, or 0.
    """
    found = DURATION.fullmatch(text.strip())
    value = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not is_seconds(value):
        raise ValueError(f"'{text}' is no duration: write 300ms, 2s or 1.5m.")
    return value


def budget(text: str) -> dict[str, float]:
    """Return seconds by ``total`` and by hook, for ``2s`` or ``total=2s,library.http_client=300ms``.

    Raises:
        ValueError: it can't be read; the text says why.
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
    """Return what is said of the first name that is no hook's, or an empty string."""
    keys = list(known)
    for name in names:
        if name != TOTAL and name not in keys:
            return f"The plan holds no hook '{name}'.{did_you_mean(name, keys)}"
    return ""


def over_budget(rehearsal: TrialRun, allowed: Mapping[str, float]) -> Iterator[Over]:
    """Yield what took longer than the budget says: the startup, and the start of hooks."""
    took = {hook.key: hook.start for hook in rehearsal.measured()}
    took[TOTAL] = median(rehearsal.startup())
    for name, limit in allowed.items():
        taken = took.get(name)
        if taken is not None and taken > limit:
            yield Over(name, taken, limit, "budget")


def slower(rehearsal: TrialRun, recorded: Mapping[str, float], factor: float) -> Iterator[Over]:
    """Yield the hooks that took so many times longer to start than their recorded median."""
    for hook in rehearsal.measured():
        before = recorded.get(hook.key)
        if hook.start is None or before is None:
            continue
        if hook.start > before * factor and hook.start - before > NOISE:
            yield Over(hook.key, hook.start, before * factor, "slower")
