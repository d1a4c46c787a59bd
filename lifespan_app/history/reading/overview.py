"""What is there now, what is broken, and since when: the questions asked at three in the morning.

Every answer is over a sample of a bounded size; the number of queries is always the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext, ngettext

from lifespan_app.models import LIVE, LifespanRun, LifespanStep, Status

from . import describe
from .statistics import (
    NEWEST,
    UNCOUNTED,
    HookTimes,
    Sample,
    Spread,
    Start,
    newest_runs,
    slowest_hooks,
)

MOST_LIVE = 2_000
"""How many processes are listed as being there."""
MOST_FAILED = 200
"""How many of the newest failed runs of each kind are grouped."""
MOST_GROUPS = 12
MOST_COLUMNS = 100
"""How many starts a chart shows."""
RECENT = timedelta(days=7)
"""How old a failure may be to be on the first page."""
DAY = timedelta(hours=24)
LOOP, LOOP_SPAN = 4, timedelta(minutes=10)
"""So many failed starts of a service type within this time are a loop."""

UP = frozenset({Status.SERVING, Status.DEGRADED})
HAVE_BEEN_UP = frozenset(
    {Status.SERVING, Status.DEGRADED, Status.STOPPING, Status.STOPPED, Status.SHUTDOWN_FAILED}
)
SUMMARY = [
    "pk",
    "uuid",
    "launch",
    "mode",
    "service_type",
    "release",
    "status",
    "host",
    "pid",
    "server",
    "started_at",
    "ready_at",
    "stopping_at",
    "stopped_at",
    "last_seen_at",
    "lost_after",
    "hooks_total",
    "hooks_failed",
    "error",
    "fingerprint",
    "ended_by",
    "startup_duration",
    "shutdown_duration",
    "recorded_late",
]


@dataclass
class Deployment:
    """The processes of one service type and release."""

    service_type: str
    release: str
    runs: list[LifespanRun] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)

    @property
    def last_heartbeat(self) -> datetime:
        """The oldest of the last heartbeats of its processes."""
        return min(run.last_seen_at for run in self.runs)

    @property
    def up(self) -> int:
        """How many serve, whole or degraded."""
        return sum(self.statuses[status] for status in UP)

    @property
    def places(self) -> list[tuple[str, int]]:
        """The hosts, with how many processes are on each."""
        return self.hosts.most_common()

    @property
    def rest(self) -> list[tuple[str, int]]:
        """The statuses of those that don't just serve, with how many there are."""
        return [
            (status, self.statuses[status])
            for status in Status
            if status != Status.SERVING and self.statuses[status]
        ]


@dataclass
class FailureGroup:
    """Runs that went wrong in the same way."""

    runs: list[LifespanRun]
    """Newest first."""
    is_over: bool = False
    """Whether the service type has started well since."""
    steps: list[LifespanStep] = field(default_factory=list)
    """What failed in the newest of them."""
    is_cut: bool = False
    """Whether older ones may have been left out."""
    now: datetime | None = None

    @property
    def latest(self) -> LifespanRun:
        """The newest of the runs."""
        return self.runs[0]

    @property
    def status(self) -> Status:
        """What became of them."""
        return Status(self.latest.status_at(self.now))

    @property
    def first_at(self) -> datetime:
        """When it was first seen."""
        return min(happened_at(run) for run in self.runs)

    @property
    def last_at(self) -> datetime:
        """When it was last seen."""
        return max(happened_at(run) for run in self.runs)

    @property
    def service_types(self) -> list[str]:
        """The service types that it befell."""
        return sorted({run.service_type for run in self.runs})

    @property
    def hosts(self) -> list[str]:
        """The hosts that it befell."""
        return sorted({run.host for run in self.runs if run.host})

    @property
    def headline(self) -> str:
        """What happened in the newest of the runs."""
        if self.step is not None and len(describe.broken(self.steps)) == 1:
            return describe.what_befell(self.step)
        return describe.headline(self.latest, self.steps, self.now)

    @property
    def advice(self) -> list[str]:
        """What can be done."""
        return describe.advice(self.latest, self.steps, self.now)

    @property
    def step(self) -> LifespanStep | None:
        """What failed first in the newest of the runs."""
        return describe.first_broken(self.latest, self.steps)


@dataclass
class Day:
    """The starts of one service type in the last 24 hours."""

    service_type: str
    starts: list[Start]
    now: datetime
    is_cut: bool = False

    @property
    def failed(self) -> int:
        """How many of them failed, or were lost."""
        return sum(is_broken(start, self.now) for start in self.starts)

    @property
    def is_looping(self) -> bool:
        """Whether it fails again and again."""
        lately = [
            start
            for start in self.starts
            if start.status == Status.STARTUP_FAILED
            and describe.elapsed(start.started_at, self.now) <= LOOP_SPAN
        ]
        return len(lately) >= LOOP

    def ticks(self) -> list[tuple[str, str]]:
        """Return where each start stands on a strip, as a percentage, and how it went."""
        return [
            (
                f"{100 - 100 * describe.elapsed(start.started_at, self.now) / DAY:.2f}%",
                kind_of(start, self.now),
            )
            for start in self.starts
        ]


@dataclass(frozen=True)
class Column:
    """The startup time of one run in a chart. Places are percentages, as SVG takes them."""

    x: str
    width: str
    y: str
    height: str
    begins: bool
    """Whether a release begins with it."""
    title: str


@dataclass
class Times:
    """How long the starts of a service type took."""

    service_type: str
    startup: Spread
    starts: Sequence[Start]
    hooks: list[HookTimes]
    runs_with_steps: int

    @property
    def releases(self) -> list[str]:
        """The releases in the sample, newest first."""
        return list(dict.fromkeys(start.release for start in self.starts if start.release))

    def chart(self) -> list[Column]:
        """Return the startup times as columns, oldest first."""
        shown = [start for start in reversed(self.starts) if start.startup is not None][
            -MOST_COLUMNS:
        ]
        highest = max(start.startup or 0 for start in shown) or 1
        size = 100 / max(len(shown), 20)
        columns = []
        for number, start in enumerate(shown):
            height = max(100 * (start.startup or 0) / highest, 2)
            columns.append(
                Column(
                    x=f"{number * size:.2f}%",
                    width=f"{size * 0.8:.2f}%",
                    y=f"{100 - height:.1f}%",
                    height=f"{height:.1f}%",
                    begins=number > 0 and start.release != shown[number - 1].release,
                    title=f"{start.release} {describe.duration(start.startup)}".strip(),
                )
            )
        return columns


@dataclass
class Overview:
    """What the first page says."""

    now: datetime
    deployments: list[Deployment]
    failures: list[FailureGroup]
    days: list[Day]
    times: list[Times]
    is_empty: bool
    is_cut: bool
    last_heartbeat: datetime | None
    """The newest of the sample."""

    @property
    def current(self) -> list[FailureGroup]:
        """What is broken now."""
        return [failure for failure in self.failures if not failure.is_over]

    @property
    def past(self) -> list[FailureGroup]:
        """What has gone by."""
        return [failure for failure in self.failures if failure.is_over]

    @property
    def there(self) -> int:
        """How many processes are there."""
        return sum(count for one in self.deployments for count in one.statuses.values())

    @property
    def headline(self) -> str:
        """Return how things stand, in a sentence."""
        up = sum(one.up for one in self.deployments)
        degraded = sum(one.statuses[Status.DEGRADED] for one in self.deployments)
        words = {"up": up, "all": self.there}
        if not self.there:
            time = describe.clock(self.last_heartbeat or self.now)
            return gettext("No process has been heard of since %(time)s.") % {"time": time}
        if up == self.there == 1:
            sentence = gettext("1 process is serving")
        else:
            sentence = (
                ngettext(
                    "%(up)d of %(all)d processes is serving",
                    "%(up)d of %(all)d processes are serving",
                    up,
                )
                % words
            )
        if degraded == up > 0:
            sentence = gettext("%(sentence)s, degraded") % {"sentence": sentence}
        elif degraded:
            sentence = gettext("%(sentence)s, %(degraded)d of them degraded") % {
                "sentence": sentence,
                "degraded": degraded,
            }
        return gettext("%(sentence)s.") % {"sentence": sentence}

    @property
    def loops(self) -> list[str]:
        """The service types whose start fails again and again."""
        return [day.service_type for day in self.days if day.is_looping]


def overview(now: datetime) -> Overview:
    """Read what the first page says, with the same few queries however many runs there are."""
    sample = newest_runs()
    live = read_live()
    deployments = deployed(live, now)
    failures = failed(live, sample, now)
    heartbeats = [start.last_seen_at for start in sample.newest]
    heartbeats += [run.last_seen_at for run in live]
    looked_at = sample.with_steps()
    slowest = slowest_hooks(looked_at)
    counted = Counter(start.service_type for start in looked_at)
    times = [
        Times(name, startup, sample.starts(name), slowest.get(name, []), counted[name])
        for name in sample.service_types
        if (startup := sample.startup(name)) is not None
    ]
    return Overview(
        now=now,
        deployments=deployments,
        failures=failures,
        days=days_of(sample, now),
        times=times,
        is_empty=not sample.newest and not live,
        is_cut=len(live) == MOST_LIVE,
        last_heartbeat=max(heartbeats, default=None),
    )


def read_live() -> list[LifespanRun]:
    """Read the runs that are not over, as far as was recorded; some may be lost by the clock."""
    runs = LifespanRun.objects.filter(status__in=LIVE).exclude(mode__in=UNCOUNTED)
    return list(runs.only(*SUMMARY).order_by("-pk")[:MOST_LIVE])


def deployed(live: Iterable[LifespanRun], now: datetime) -> list[Deployment]:
    """Return what is there by service type and release."""
    found: dict[tuple[str, str], Deployment] = {}
    for run in live:
        if run.is_lost(now):
            continue
        key = run.service_type, run.release
        one = found.setdefault(key, Deployment(*key))
        one.runs.append(run)
        one.statuses[run.status] += 1
        one.hosts[run.host] += 1
    return sorted(found.values(), key=lambda one: (one.service_type, -one.runs[0].pk))


def failed(live: Sequence[LifespanRun], sample: Sample, now: datetime) -> list[FailureGroup]:
    """Return what went wrong lately, grouped by how, what lasts first and the newest first."""
    wrong = [run for run in live if run.is_lost(now) or run.status == Status.DEGRADED]
    cut: set[str] = set()
    for status in (Status.STARTUP_FAILED, Status.SHUTDOWN_FAILED, Status.LOST):
        runs = LifespanRun.objects.filter(status=status).only(*SUMMARY)
        newest = list(runs.order_by("-pk")[:MOST_FAILED])
        if len(newest) == MOST_FAILED:
            cut.add(status)
        wrong += [
            run
            for run in newest
            if run.mode not in UNCOUNTED and describe.elapsed(happened_at(run), now) <= RECENT
        ]
    groups: dict[Any, list[LifespanRun]] = defaultdict(list)
    for run in wrong:
        groups[signature(run, now)].append(run)
    well = started_well(sample, live, now)
    failures = [
        FailureGroup(
            sorted(runs, key=lambda run: run.pk, reverse=True),
            is_over=all(is_over(run, well, now) for run in runs),
            is_cut=str(runs[0].status) in cut,
            now=now,
        )
        for runs in groups.values()
    ]
    failures.sort(key=lambda one: (one.is_over, -one.last_at.timestamp()))
    shown = failures[:MOST_GROUPS]
    add_steps(shown)
    return shown


def signature(run: LifespanRun, now: datetime) -> tuple[str, ...]:
    """Return what the runs of one failure have in common."""
    if run.is_lost(now):
        return (Status.LOST, run.service_type)
    what = run.fingerprint or run.error or run.ended_by
    return (run.status, what) if what else (run.status, run.service_type)


def started_well(sample: Sample, live: Iterable[LifespanRun], now: datetime) -> dict[str, datetime]:
    """Return when each service type has last started so that it could serve."""
    found: dict[str, datetime] = {}
    candidates: list[Any] = [*sample.newest, *live]
    for start in candidates:
        is_silent = start.status in LIVE and start.lost_after and start.lost_after < now
        if start.status in HAVE_BEEN_UP and not is_silent:
            known = found.get(start.service_type)
            if known is None or start.started_at > known:
                found[start.service_type] = start.started_at
    return found


def is_over(run: LifespanRun, well: dict[str, datetime], now: datetime) -> bool:
    """Tell whether a failure lies behind: the service type has started well since."""
    if run.status == Status.DEGRADED and not run.is_lost(now):
        return False
    if run.status == Status.SHUTDOWN_FAILED:
        return True
    last = well.get(run.service_type)
    return last is not None and last > happened_at(run)


def happened_at(run: LifespanRun) -> datetime:
    """Return when a run went wrong, as near as is known."""
    if run.status in (Status.LOST, Status.SERVING, Status.STOPPING):
        return run.last_seen_at
    if run.status == Status.SHUTDOWN_FAILED:
        return run.stopped_at or run.last_seen_at
    return run.started_at


def add_steps(failures: Iterable[FailureGroup]) -> None:
    """Read what failed in the newest run of each group: one query for all."""
    by_run: dict[int, list[LifespanStep]] = defaultdict(list)
    steps = LifespanStep.objects.filter(run__in=[one.latest.pk for one in failures])
    wrong = steps.exclude(outcome="ok").defer("traceback", "log", "needs")
    for step in wrong.order_by("pk")[: MOST_GROUPS * 200]:
        by_run[step.run_id].append(step)
    for failure in failures:
        failure.steps = by_run[failure.latest.pk]


def days_of(sample: Sample, now: datetime) -> list[Day]:
    """Return the starts of the last 24 hours by service type, as far as the sample goes."""
    by_type: dict[str, list[Start]] = defaultdict(list)
    lately = [
        start
        for start in sample.newest
        if timedelta() <= describe.elapsed(start.started_at, now) <= DAY
    ]
    for start in lately:
        by_type[start.service_type].append(start)
    is_cut = len(lately) == NEWEST
    return [Day(name, starts, now, is_cut) for name, starts in sorted(by_type.items())]


def is_broken(start: Start, now: datetime) -> bool:
    """Tell whether a start has failed, or its process is lost."""
    return kind_of(start, now) == "bad"


def kind_of(start: Start, now: datetime) -> str:
    """Return how a start went: ``good``, ``poor`` or ``bad``."""
    is_silent = start.status in LIVE and start.lost_after and start.lost_after < now
    if is_silent or start.status in (Status.LOST, Status.STARTUP_FAILED):
        return "bad"
    return "poor" if start.status in (Status.DEGRADED, Status.SHUTDOWN_FAILED) else "good"
