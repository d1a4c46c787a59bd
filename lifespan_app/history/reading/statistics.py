"""Numbers about the newest runs: how long things usually take, and how that has changed.

Each is over a sample of a bounded size, which is read with one query: as quick with a million runs
as with ten thousand. Whoever shows a number names its sample.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Any, NamedTuple

from lifespan_app.models import LifespanRun, LifespanStep, Mode, Outcome, Phase

from .queries import in_window, newest_pk

NEWEST = 1_000
"""How many runs are looked at."""
PER_SERVICE_TYPE = 200
"""How many of them count for one service type."""
MOST_STEPS = 4_000
"""How many steps are read to find the slowest hooks; a run's are read together or not at all."""
COMPARED = 50
"""How many runs ``checklifespan --compare`` looks at."""
POINTS = 40
"""How many values a small chart shows."""
UNCOUNTED = (Mode.RELOAD, Mode.CHECK)
"""Runs of a developer at work say nothing about a deployment."""


@dataclass(frozen=True)
class Spread:
    """How some durations lie, in seconds."""

    count: int
    median: float
    p95: float
    worst: float
    newest: Sequence[float] = field(repr=False, default=())
    """The last values, oldest first."""


def spread(values: Sequence[float]) -> Spread | None:
    """Return how durations lie, given newest first; None where there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return Spread(
        count=len(ordered),
        # The mean of the two middle ones where the count is even: of two runs neither is the usual one.
        median=median(ordered),
        p95=quantile(ordered, 0.95),
        worst=ordered[-1],
        newest=tuple(reversed(values[:POINTS])),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that so large a share of the sorted values does not pass."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Start(NamedTuple):
    """One start in a sample."""

    pk: int
    service_type: str
    release: str
    host: str
    status: str
    started_at: datetime
    last_seen_at: datetime
    lost_after: datetime | None
    startup_duration: timedelta | None
    shutdown_duration: timedelta | None
    hooks_total: int

    @property
    def startup(self) -> float | None:
        """How many seconds it took to start, None where it never was up."""
        return seconds(self.startup_duration)

    @property
    def shutdown(self) -> float | None:
        """How many seconds it took to stop, None where it never did."""
        return seconds(self.shutdown_duration)


class Sample:
    """The newest runs, by service type: at most ``PER_SERVICE_TYPE`` of each."""

    def __init__(self, starts: Iterable[Start]) -> None:
        self.newest = list(starts)
        """All of them, newest first."""
        self._by_type: dict[str, list[Start]] = defaultdict(list)
        for start in self.newest:
            if len(self._by_type[start.service_type]) < PER_SERVICE_TYPE:
                self._by_type[start.service_type].append(start)

    @property
    def service_types(self) -> list[str]:
        """The service types that there are, sorted."""
        return sorted(self._by_type)

    def starts(self, service_type: str) -> list[Start]:
        """Return the runs of a service type, newest first."""
        return self._by_type.get(service_type, [])

    def startup(self, service_type: str) -> Spread | None:
        """Return how long the runs of a service type took to start."""
        return spread([run.startup for run in self.starts(service_type) if run.startup is not None])

    def shutdown(self, service_type: str) -> Spread | None:
        """Return how long the runs of a service type took to stop."""
        taken = [run.shutdown for run in self.starts(service_type) if run.shutdown is not None]
        return spread(taken)

    def with_steps(self) -> list[Start]:
        """Return the runs whose steps are looked at: the newest of each type, in turn."""
        chosen: list[Start] = []
        steps = 0
        for turn in range(PER_SERVICE_TYPE):
            for starts in self._by_type.values():
                if turn < len(starts):
                    steps += max(starts[turn].hooks_total, 1)
                    if chosen and steps > MOST_STEPS:
                        return chosen
                    chosen.append(starts[turn])
        return chosen


def newest_runs() -> Sample:
    """Read the newest runs."""
    runs = LifespanRun.objects.filter(in_window(newest_pk())).exclude(mode__in=UNCOUNTED)
    rows = runs.order_by("-pk").values_list(*Start._fields)[:NEWEST]
    return Sample(Start(*row) for row in rows)


def seconds(taken: timedelta | None) -> float | None:
    """Return a span in seconds; None stays None."""
    return None if taken is None else taken.total_seconds()


@dataclass(frozen=True)
class HookTimes:
    """How long one hook took to start, in the newest runs of a service type."""

    app_label: str
    name: str
    spread: Spread

    @property
    def key(self) -> str:
        """The hook's key."""
        return f"{self.app_label}.{self.name}"


def slowest_hooks(starts: Sequence[Start], most: int = 5) -> dict[str, list[HookTimes]]:
    """Read how long hooks took to start in these runs, and return the slowest by service type."""
    of_run = {start.pk: start.service_type for start in starts}
    taken: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for run, app_label, name, value in startups(of_run):
        taken[of_run[run]][app_label, name].append(value)
    slowest = {}
    for service_type, hooks in taken.items():
        times = [
            HookTimes(app_label, name, found)
            for (app_label, name), values in hooks.items()
            if (found := spread(values)) is not None
        ]
        times.sort(key=lambda hook: hook.spread.median, reverse=True)
        slowest[service_type] = times[:most]
    return slowest


def usual(starts: Sequence[Start]) -> Mapping[str, Spread]:
    """Read how long each hook took to start in these runs, by key."""
    return usual_in([start.pk for start in starts])


def usual_in(runs: Iterable[int]) -> dict[str, Spread]:
    """Read how long each hook took to start in the runs with these primary keys, by key."""
    taken: dict[str, list[float]] = defaultdict(list)
    for _, app_label, name, value in startups(runs):
        taken[f"{app_label}.{name}"].append(value)
    return {key: found for key, values in taken.items() if (found := spread(values)) is not None}


def recorded_starts(service_type: str) -> dict[str, float]:
    """Return the median of each hook's starts, in seconds by its key, in two queries.

    Args:
        service_type: of whose runs; those of tests and of ``checklifespan`` itself don't count,
            unless there are no others.

    Raises:
        DatabaseError: the history can't be read.
    """
    of_type = LifespanRun.objects.filter(service_type=service_type).exclude(mode=Mode.TEST)
    newest = of_type.order_by("-id").values_list("id", flat=True)
    runs = list(newest.exclude(mode=Mode.CHECK)[:COMPARED]) or list(newest[:COMPARED])
    return {key: found.median for key, found in usual_in(runs).items()}


def startups(runs: Iterable[int]) -> Iterable[tuple[int, str, str, float]]:
    """Read the hooks that came up in some runs: run, app, name and seconds, newest run first."""
    steps: Any = LifespanStep.objects.filter(
        run__in=list(runs), phase=Phase.STARTUP, outcome=Outcome.OK
    )
    rows = steps.order_by("-run", "pk").values_list("run", "app_label", "name", "duration")
    for run, app_label, name, taken in rows:
        yield run, app_label, name, taken.total_seconds()
