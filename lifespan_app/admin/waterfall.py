"""A phase of a run as bars on a common axis of time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from lifespan_app.history.reading import describe, time_text
from lifespan_app.history.reading.statistics import Spread
from lifespan_app.models import LifespanStep

from .cells import css_of

MOST_BARS = 60
"""The most hooks with a bar; the others are in the table only."""
TICKS = 4
NARROWEST = 0.35
"""The minimum width of a bar, in per cent, so that a hook of 0 ms is visible."""


@dataclass(frozen=True)
class Bar:
    """One hook on the axis. Places are percentages, as SVG takes them."""

    step: LifespanStep
    x: str
    width: str
    outcome: str
    usually: Spread | None

    @property
    def needs(self) -> list[str]:
        """The keys of the hooks that it waited for."""
        return [need[0] for need in self.step.needs]


@dataclass(frozen=True)
class Tick:
    """A moment on the axis."""

    x: str
    text: str
    is_last: bool


@dataclass(frozen=True)
class Waterfall:
    """The bars of one phase."""

    bars: list[Bar]
    ticks: list[Tick]
    folded: list[LifespanStep]
    """Steps without a bar."""

    @property
    def longest_folded(self) -> timedelta:
        """The longest duration of the steps without a bar."""
        return max(step.duration for step in self.folded)


def waterfall(steps: Iterable[Any], taken: timedelta | None) -> Waterfall:
    """Return the layout of a phase's steps.

    Args:
        steps: the steps of the phase, in the order of the plan, each with its usual duration.
        taken: the duration of the phase, if known.
    """
    steps = list(steps)
    ends = [describe.ended(step).total_seconds() for step in steps]
    whole = max([*ends, taken.total_seconds() if taken else 0.0]) or 0.001
    chosen = {step.pk for step in sorted(steps, key=describe.weight)[:MOST_BARS]}
    bars = [bar_of(step, whole, step.usually) for step in steps if step.pk in chosen]
    folded = [step for step in steps if step.pk not in chosen]
    return Waterfall(bars, ticks_of(whole), folded)


def bar_of(step: LifespanStep, whole: float, usually: Spread | None) -> Bar:
    """Return the bar of a step."""
    width = max(100 * step.duration.total_seconds() / whole, NARROWEST)
    x = min(100 * step.offset.total_seconds() / whole, 100 - width)
    return Bar(step, f"{max(x, 0):.2f}%", f"{min(width, 100):.2f}%", css_of(step), usually)


def ticks_of(whole: float) -> list[Tick]:
    """Return moments at round numbers of seconds."""
    size = 10 ** math.floor(math.log10(whole / TICKS))
    every = next(n * size for n in (1, 2, 5, 10) if n * size * (TICKS + 1) >= whole)
    moments = [number * every for number in range(int(whole / every) + 1)]
    return [
        Tick(f"{100 * at / whole:.2f}%", time_text.duration(at), is_last=at > 0.85 * whole)
        for at in moments
        if at <= whole * 0.97
    ]
