"""Charts of durations, as positions in an SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lifespan_app.history.reading.statistics import Start
from lifespan_app.models import LifespanStep

MOST_COLUMNS = 100
"""The most columns of a chart."""
LEAST_COLUMNS = 20
"""The number of columns that fill the width. A chart with fewer has columns of that width, too."""
LOWEST = 3
"""The minimum height of a column, in per cent, so that 0 ms are visible."""


@dataclass(frozen=True)
class Column:
    """One duration. Places are percentages, as SVG takes them."""

    of: Any
    """The start, or the step."""
    x: str
    width: str
    y: str
    height: str


@dataclass(frozen=True)
class Chart:
    """Durations side by side, oldest first."""

    columns: Sequence[Column]
    highest: float
    """The longest duration in seconds, which is as high as the chart."""


def chart_of_starts(starts: Iterable[Start]) -> Chart:
    """Return the startup times of the successful starts among these, given newest first."""
    return chart([(start, start.startup) for start in starts if start.startup is not None])


def chart_of_steps(steps: Iterable[LifespanStep]) -> Chart:
    """Return the durations of steps, given newest first."""
    return chart([(step, step.duration.total_seconds()) for step in steps])


def chart(durations: Sequence[tuple[Any, float]]) -> Chart:
    """Return the chart of the newest durations.

    Args:
        durations: seconds, each with the start or step that took them, newest first.
    """
    shown = durations[:MOST_COLUMNS][::-1]
    highest = max(seconds for _, seconds in shown)
    size = 100 / max(len(shown), LEAST_COLUMNS)
    columns = []
    for number, (of, seconds) in enumerate(shown):
        height = max(100 * seconds / (highest or 1), LOWEST)
        columns.append(
            Column(
                of=of,
                x=f"{number * size:.2f}%",
                width=f"{size * 0.8:.2f}%",
                y=f"{100 - height:.1f}%",
                height=f"{height:.1f}%",
            )
        )
    return Chart(columns, highest)


def path_of(values: Sequence[float], width: int, height: int) -> str:
    """Return values, oldest first, as an SVG path from zero to the largest."""
    highest = max(values) or 1
    step = width / max(len(values) - 1, 1)
    points = [
        f"{number * step:.1f} {height - 1 - (height - 2) * value / highest:.1f}"
        for number, value in enumerate(values)
    ]
    if len(points) == 1:
        points.append(f"{width} {points[0].split()[1]}")
    return "M" + "L".join(points)
