"""Durations of the newest runs and hooks.

Each number is taken from a sample of limited size, which is read with one query. A page that shows a
number also shows the size of its sample.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Any, NamedTuple

from lifespan_app.models import LifespanRun, LifespanStep, Mode, Outcome, Phase

from .queries import BY_START, before, in_window

NEWEST = 1_000
"""The number of runs in a sample."""
PER_SERVICE_TYPE = 200
"""The most runs of one service type in a sample."""
MOST_STEPS = 4_000
"""The most steps that are read to find the slowest hooks, in whole runs."""
USUAL_RUNS, USUAL_STEPS = 20, 4_000
"""The most earlier runs, and steps of them, in the sample of usual durations."""
LEAST = 3
"""The least number of values with a usual one: of fewer, a single outlier moves the median."""
COMPARED = 50
"""The number of runs that ``checklifespan --compare`` reads."""
ENOUGH = 20
"""The least number of values whose 95th percentile is not the largest value."""
SLOW = 1.5
"""A duration is slow from this multiple of the median on."""
NOISE = 0.01
"""The seconds by which a slow duration is longer, at least."""
POINTS = 40
"""The most values in a sparkline."""
UNCOUNTED = (Mode.RELOAD, Mode.CHECK)
"""Modes of local development, which are not part of the statistics."""


@dataclass(frozen=True)
class Spread:
    """The distribution of durations, in seconds."""

    count: int
    median: float
    p95: float
    worst: float
    newest: Sequence[float] = field(repr=False, default=())
    """The last values, oldest first."""

    @property
    def tail(self) -> float | None:
        """The 95th percentile; None of fewer than 20 values, of which it would be the largest."""
        return self.p95 if self.count >= ENOUGH else None

    @property
    def end(self) -> float:
        """The end of the usual range: the 95th percentile, of fewer than 20 values the largest."""
        return self.worst if self.tail is None else self.tail


def spread(values: Sequence[float]) -> Spread | None:
    """Return the distribution of durations, given newest first; None without any."""
    if not values:
        return None
    ordered = sorted(values)
    return Spread(
        count=len(ordered),
        # With an even count, the mean of the two middle values.
        median=median(ordered),
        p95=quantile(ordered, 0.95),
        worst=ordered[-1],
        newest=tuple(reversed(values[:POINTS])),
    )


def usual_of(values: Iterable[float | None]) -> Spread | None:
    """Return the distribution of the known durations, given newest first; None if they are too few."""
    return if_enough(spread([value for value in values if value is not None]))


def if_enough(found: Spread | None) -> Spread | None:
    """Return a distribution of at least three values; None for fewer."""
    return found if found is not None and found.count >= LEAST else None


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the sorted values does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Group(NamedTuple):
    """The properties that runs share if their durations are compared."""

    service_type: str
    environment: str
    mode: str
    server: str
    """The name of the server without its version; empty if there is none."""


def group_of(run: LifespanRun | Start) -> Group:
    """Return the group of a run."""
    server, _, _ = run.server.partition(" ")
    return Group(run.service_type, run.environment, run.mode, server)


class Start(NamedTuple):
    """One start in a sample."""

    pk: int
    service_type: str
    environment: str
    mode: str
    server: str
    release: str
    host: str
    status: str
    started_at: datetime
    last_seen_at: datetime
    lost_after: datetime | None
    ready_at: datetime | None
    stopped_at: datetime | None
    startup_duration: timedelta | None
    shutdown_duration: timedelta | None
    hooks_total: int
    launch: str
    ended_by: str
    readiness: str

    @property
    def startup(self) -> float | None:
        """The startup time in seconds; None if the startup failed, or has not ended."""
        return None if self.ready_at is None else seconds(self.startup_duration)

    @property
    def shutdown(self) -> float | None:
        """The shutdown time in seconds; None without a complete shutdown, or after a failed start."""
        return None if self.ready_at is None else seconds(self.shutdown_duration)


class Sample:
    """The newest runs, by service type: at most ``PER_SERVICE_TYPE`` of each."""

    def __init__(self, starts: Iterable[Start]) -> None:
        self.newest = list(starts)
        """All of them, newest first."""
        self._by_type: dict[str, list[Start]] = defaultdict(list)
        self._usual: dict[Group, tuple[Spread | None, Spread | None]] = {}
        for start in self.newest:
            if len(self._by_type[start.service_type]) < PER_SERVICE_TYPE:
                self._by_type[start.service_type].append(start)

    @property
    def service_types(self) -> list[str]:
        """The service types in the sample, sorted."""
        return sorted(self._by_type)

    def starts(self, service_type: str) -> list[Start]:
        """Return the runs of a service type, newest first."""
        return self._by_type.get(service_type, [])

    def startup(self, service_type: str) -> Spread | None:
        """Return the startup times of a service type."""
        return spread([run.startup for run in self.starts(service_type) if run.startup is not None])

    def shutdown(self, service_type: str) -> Spread | None:
        """Return the shutdown times of a service type."""
        taken = [run.shutdown for run in self.starts(service_type) if run.shutdown is not None]
        return spread(taken)

    def usual(self, run: LifespanRun) -> tuple[Spread | None, Spread | None]:
        """Return the usual startup and shutdown times of runs like this one; None if they are too few."""
        group = group_of(run)
        if group not in self._usual:
            alike = [one for one in self.starts(run.service_type) if group_of(one) == group]
            self._usual[group] = (
                usual_of(one.startup for one in alike),
                usual_of(one.shutdown for one in alike),
            )
        return self._usual[group]

    def with_steps(self) -> list[Start]:
        """Return the runs to read steps of: the newest of each service type in turn."""
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
    runs = LifespanRun.objects.filter(in_window()).exclude(mode__in=UNCOUNTED)
    rows = runs.order_by(*BY_START).values_list(*Start._fields)[:NEWEST]
    return Sample(Start(*row) for row in rows)


def seconds(taken: timedelta | None) -> float | None:
    """Return a span in seconds; None stays None."""
    return None if taken is None else taken.total_seconds()


@dataclass(frozen=True)
class HookTimes:
    """The startup times of one hook in the newest runs of a service type."""

    app_label: str
    name: str
    spread: Spread

    @property
    def key(self) -> str:
        """The hook's key."""
        return f"{self.app_label}.{self.name}"


def slowest_hooks(starts: Sequence[Start], most: int = 5) -> dict[str, list[HookTimes]]:
    """Return the slowest hooks of these runs by service type."""
    of_run = {start.pk: start.service_type for start in starts}
    taken: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for run, app_label, name, _, value in successes(list(of_run), Phase.STARTUP):
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


def usual_in(runs: Sequence[int], *phases: Phase) -> dict[tuple[str, str], Spread]:
    """Return the times of each hook in these runs, by key and phase.

    Args:
        runs: the primary keys of the runs, newest first.
        phases: the phases; jobs, which serve, have no usual time.
    """
    taken: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _, app_label, name, phase, value in successes(runs, *phases):
        taken[f"{app_label}.{name}", phase].append(value)
    return {place: found for place, values in taken.items() if (found := spread(values))}


@dataclass(frozen=True)
class Usual:
    """The usual durations in some runs. A duration that fewer than three runs have is left out."""

    runs: Sequence[int]
    """The primary keys of the runs, newest first."""
    startup: Spread | None
    shutdown: Spread | None
    hooks: dict[tuple[str, str], Spread]
    """By key and phase."""


def usual_before(run: LifespanRun, *, until: LifespanRun | None = None) -> Usual:
    """Return the usual durations in the runs like this one before it, in two queries.

    They are searched among the 200 runs of its service type before it, by an index. MariaDB allows no
    limit in a subquery, so the runs that are not alike are left out here. A query with all conditions would
    read all runs of the service type if few are alike.

    Args:
        run: the run.
        until: an earlier run, from which on the search goes back; it may be in the sample.
    """
    earlier = before(run) if until is None else before(until, with_it=True)
    columns = ["environment", "mode", "server", "hooks_total", "ready_at"]
    newest = earlier.filter(service_type=run.service_type).only(
        "service_type", "startup_duration", "shutdown_duration", *columns
    )
    alike: list[LifespanRun] = []
    group, steps = group_of(run), 0
    for one in newest[:PER_SERVICE_TYPE]:
        if group_of(one) != group:
            continue
        steps += 2 * one.hooks_total
        if len(alike) == USUAL_RUNS or (len(alike) >= LEAST and steps > USUAL_STEPS):
            break
        alike.append(one)
    # The startup and the rollback of a failed start are no usual ones.
    good = [one for one in alike if one.ready_at is not None]
    runs = [one.pk for one in alike]
    hooks = usual_in(runs, Phase.STARTUP, Phase.SHUTDOWN)
    return Usual(
        runs,
        usual_of(seconds(one.startup_duration) for one in good),
        usual_of(seconds(one.shutdown_duration) for one in good),
        {place: found for place, found in hooks.items() if if_enough(found)},
    )


def is_slow(taken: timedelta | None, usually: Spread | None) -> bool:
    """Return True if a duration is at least 1.5 times the median, and 10 ms longer."""
    if taken is None or usually is None:
        return False
    return taken.total_seconds() >= slow_from(usually.median)


def slow_from(median: float, factor: float = SLOW) -> float:
    """Return the seconds from which a duration is slow, by the median and a factor."""
    return max(factor * median, median + NOISE)


def recorded_starts(service_type: str) -> dict[str, float]:
    """Return the median of each hook's starts, in seconds by its key, in two queries.

    Args:
        service_type: the service type; runs of tests and of ``checklifespan`` itself are counted
            only if there are no others.

    Raises:
        DatabaseError: the history can't be read.
    """
    of_type = LifespanRun.objects.filter(service_type=service_type).exclude(mode=Mode.TEST)
    newest = of_type.order_by(*BY_START).values_list("id", flat=True)
    runs = list(newest.exclude(mode=Mode.CHECK)[:COMPARED]) or list(newest[:COMPARED])
    return {key: found.median for (key, _), found in usual_in(runs, Phase.STARTUP).items()}


def successes(runs: Sequence[int], *phases: Phase) -> list[tuple[int, str, str, str, float]]:
    """Return the steps of runs that went well: run, app, name, phase and seconds, newest run first."""
    place = {run: number for number, run in enumerate(runs)}
    steps: Any = LifespanStep.objects.filter(run__in=runs, phase__in=phases, outcome=Outcome.OK)
    columns = "run", "app_label", "name", "phase", "duration"
    rows = sorted(steps.order_by("pk").values_list(*columns), key=lambda row: place[row[0]])
    return [(*row, taken.total_seconds()) for *row, taken in rows]
