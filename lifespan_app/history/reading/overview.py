"""The overview of all processes: running ones, failures, starts and durations.

Every number is taken from a sample of limited size, with a constant number of queries.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext, ngettext

from lifespan_app.models import LIVE, LifespanRun, LifespanStep, Readiness, Status

from . import describe
from .jobs import MOST_LISTED, JobGroup, job_groups
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
"""The most running processes that are listed."""
MOST_FAILED = 200
"""The most failed runs of each status that are grouped."""
MOST_GROUPS = 12
MOST_COLUMNS = 100
"""The most starts in a chart."""
RECENT = timedelta(days=7)
"""The age up to which failures are shown."""
DAY = timedelta(hours=24)
LOOP, LOOP_SPAN = 4, timedelta(minutes=10)
"""The number of failed starts of a service type within this time that is a restart loop."""

UP = frozenset({Status.SERVING, Status.DEGRADED})
HAVE_SERVED = frozenset(
    {
        Status.SERVING,
        Status.DEGRADED,
        Status.NOT_READY,
        Status.STOPPING,
        Status.STOPPED,
        Status.SHUTDOWN_FAILED,
    }
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
    "readiness",
    "readiness_since",
    "readiness_reason",
    "jobs",
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
    def unready(self) -> list[tuple[str, int]]:
        """Why processes are not ready, in a word, each with the number of processes."""
        unready = (run for run in self.runs if run.status == Status.NOT_READY)
        return Counter(map(describe.readiness, unready)).most_common()

    @property
    def last_heartbeat(self) -> datetime:
        """The oldest of the last heartbeats of its processes."""
        return min(run.last_seen_at for run in self.runs)

    @property
    def up(self) -> int:
        """The number of serving processes, including degraded ones."""
        return sum(self.statuses[status] for status in UP)

    @property
    def places(self) -> list[tuple[str, int]]:
        """The hosts, each with its number of processes."""
        return self.hosts.most_common()

    @property
    def rest(self) -> list[tuple[str, int]]:
        """The other statuses than serving, each with its number of processes."""
        return [
            (status, self.statuses[status])
            for status in Status
            if status != Status.SERVING and self.statuses[status]
        ]


@dataclass
class FailureGroup:
    """Runs with the same failure."""

    runs: list[LifespanRun]
    """Newest first."""
    is_resolved: bool = False
    """True if the service type has started successfully since."""
    steps: list[LifespanStep] = field(default_factory=list)
    """The failed steps of the newest run."""
    is_cut: bool = False
    """True if older runs may be missing."""
    now: datetime | None = None

    @property
    def latest(self) -> LifespanRun:
        """The newest of the runs."""
        return self.runs[0]

    @property
    def status(self) -> Status:
        """The status of the newest run."""
        return Status(self.latest.status_at(self.now))

    @property
    def first_at(self) -> datetime:
        """The time of the first failure."""
        return min(failed_at(run) for run in self.runs)

    @property
    def last_at(self) -> datetime:
        """The time of the last failure."""
        return max(failed_at(run) for run in self.runs)

    @property
    def service_types(self) -> list[str]:
        """The service types that have this failure."""
        return sorted({run.service_type for run in self.runs})

    @property
    def hosts(self) -> list[str]:
        """The hosts that have this failure."""
        return sorted({run.host for run in self.runs if run.host})

    @property
    def headline(self) -> str:
        """A summary of the newest run."""
        if self.step is not None and len(describe.broken(self.steps)) == 1:
            return describe.failure_text(self.step)
        return describe.headline(self.latest, self.steps, self.now)

    @property
    def advice(self) -> list[str]:
        """The advice for the newest run."""
        return describe.advice(self.latest, self.steps, self.now)

    @property
    def step(self) -> LifespanStep | None:
        """The step that made the newest run fail."""
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
        """The number of failed or lost runs."""
        return sum(is_broken(start, self.now) for start in self.starts)

    @property
    def is_looping(self) -> bool:
        """True if the service type is in a restart loop."""
        lately = [
            start
            for start in self.starts
            if start.status == Status.STARTUP_FAILED
            and describe.elapsed(start.started_at, self.now) <= LOOP_SPAN
        ]
        return len(lately) >= LOOP

    def ticks(self) -> list[tuple[str, str]]:
        """Return the position of each start on a strip, as a percentage, and its result."""
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
    """True if it is the first run of a release."""
    title: str


@dataclass
class Times:
    """The startup times of a service type."""

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
    """The content of the overview page."""

    now: datetime
    deployments: list[Deployment]
    failures: list[FailureGroup]
    days: list[Day]
    times: list[Times]
    is_empty: bool
    is_cut: bool
    last_heartbeat: datetime | None
    """The newest of the sample."""
    jobs: list[JobGroup]
    """The background jobs of running processes, those that are unwell first."""

    @property
    def listed_jobs(self) -> list[JobGroup]:
        """The first of the jobs, to be listed."""
        return self.jobs[:MOST_LISTED]

    @property
    def more_jobs(self) -> int:
        """The number of jobs that are not listed."""
        return max(len(self.jobs) - MOST_LISTED, 0)

    @property
    def current(self) -> list[FailureGroup]:
        """The failures that are not resolved."""
        return [failure for failure in self.failures if not failure.is_resolved]

    @property
    def past(self) -> list[FailureGroup]:
        """The resolved failures."""
        return [failure for failure in self.failures if failure.is_resolved]

    @property
    def running(self) -> int:
        """The number of running processes."""
        return sum(count for one in self.deployments for count in one.statuses.values())

    @property
    def headline(self) -> str:
        """The number of serving processes, in a sentence."""
        up = sum(one.up for one in self.deployments)
        degraded = sum(one.statuses[Status.DEGRADED] for one in self.deployments)
        words = {"up": up, "all": self.running}
        if not self.running:
            time = describe.clock(self.last_heartbeat or self.now)
            return gettext("No process has been heard of since %(time)s.") % {"time": time}
        if up == self.running == 1:
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
        """The service types in a restart loop."""
        return [day.service_type for day in self.days if day.is_looping]


def overview(now: datetime) -> Overview:
    """Read the content of the overview page, with a constant number of queries."""
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
        jobs=job_groups(run for run in live if not run.is_lost(now)),
    )


def read_live() -> list[LifespanRun]:
    """Read the runs without a recorded end; some may be lost by the clock."""
    runs = LifespanRun.objects.filter(status__in=LIVE).exclude(mode__in=UNCOUNTED)
    return list(runs.only(*SUMMARY).order_by("-pk")[:MOST_LIVE])


def deployed(live: Iterable[LifespanRun], now: datetime) -> list[Deployment]:
    """Return the running processes by service type and release."""
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
    """Return the recent failures in groups: unresolved first, then the newest."""
    wrong = [run for run in live if run.is_lost(now) or is_unwell(run)]
    cut: set[str] = set()
    for status in (Status.STARTUP_FAILED, Status.SHUTDOWN_FAILED, Status.LOST):
        runs = LifespanRun.objects.filter(status=status).only(*SUMMARY)
        newest = list(runs.order_by("-pk")[:MOST_FAILED])
        if len(newest) == MOST_FAILED:
            cut.add(status)
        wrong += [
            run
            for run in newest
            if run.mode not in UNCOUNTED and describe.elapsed(failed_at(run), now) <= RECENT
        ]
    groups: dict[Any, list[LifespanRun]] = defaultdict(list)
    for run in wrong:
        groups[signature(run, now)].append(run)
    well = last_successful_starts(sample, live, now)
    failures = [
        FailureGroup(
            sorted(runs, key=lambda run: run.pk, reverse=True),
            is_resolved=all(is_resolved(run, well, now) for run in runs),
            is_cut=str(runs[0].status) in cut,
            now=now,
        )
        for runs in groups.values()
    ]
    failures.sort(key=lambda one: (one.is_resolved, -one.last_at.timestamp()))
    shown = failures[:MOST_GROUPS]
    add_steps(shown)
    return shown


def is_unwell(run: LifespanRun) -> bool:
    """Return True if a process serves, and something in it has failed."""
    if run.status == Status.NOT_READY:
        return bool(run.readiness != Readiness.WARMING_UP)
    return bool(run.status == Status.DEGRADED)


def signature(run: LifespanRun, now: datetime) -> tuple[str, ...]:
    """Return the key by which the runs of one failure are grouped."""
    if run.is_lost(now):
        return (Status.LOST, run.service_type)
    if run.status == Status.NOT_READY:
        return (run.status, run.readiness, run.readiness_reason.partition(":")[0])
    what = run.fingerprint or run.error or run.ended_by
    return (run.status, what) if what else (run.status, run.service_type)


def last_successful_starts(
    sample: Sample, live: Iterable[LifespanRun], now: datetime
) -> dict[str, datetime]:
    """Return the time of the last successful start of each service type."""
    found: dict[str, datetime] = {}
    candidates: list[Any] = [*sample.newest, *live]
    for start in candidates:
        is_silent = start.status in LIVE and start.lost_after and start.lost_after < now
        if start.status in HAVE_SERVED and not is_silent:
            known = found.get(start.service_type)
            if known is None or start.started_at > known:
                found[start.service_type] = start.started_at
    return found


def is_resolved(run: LifespanRun, well: dict[str, datetime], now: datetime) -> bool:
    """Return True if a failure is resolved: its service type has started successfully since."""
    if run.status in (Status.DEGRADED, Status.NOT_READY) and not run.is_lost(now):
        return False
    if run.status == Status.SHUTDOWN_FAILED:
        return True
    last = well.get(run.service_type)
    return last is not None and last > failed_at(run)


def failed_at(run: LifespanRun) -> datetime:
    """Return the time of a run's failure, or the closest known one."""
    if run.status in (Status.LOST, Status.SERVING, Status.STOPPING):
        return run.last_seen_at
    if run.status == Status.NOT_READY:
        return run.readiness_since or run.last_seen_at
    if run.status == Status.SHUTDOWN_FAILED:
        return run.stopped_at or run.last_seen_at
    return run.started_at


def add_steps(failures: Iterable[FailureGroup]) -> None:
    """Read the failed steps of the newest run of each group, in one query."""
    by_run: dict[int, list[LifespanStep]] = defaultdict(list)
    steps = LifespanStep.objects.filter(run__in=[one.latest.pk for one in failures])
    wrong = steps.exclude(outcome="ok").defer("traceback", "log", "needs")
    for step in wrong.order_by("pk")[: MOST_GROUPS * 200]:
        by_run[step.run_id].append(step)
    for failure in failures:
        failure.steps = by_run[failure.latest.pk]
        for step in failure.steps:
            step.run = failure.latest


def days_of(sample: Sample, now: datetime) -> list[Day]:
    """Return the starts of the last 24 hours in the sample, by service type."""
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
    """Return True if a start has failed, or its process is lost."""
    return kind_of(start, now) == "bad"


def kind_of(start: Start, now: datetime) -> str:
    """Return the result of a start: ``good``, ``poor`` or ``bad``."""
    is_silent = start.status in LIVE and start.lost_after and start.lost_after < now
    if is_silent or start.status in (Status.LOST, Status.STARTUP_FAILED, Status.NOT_READY):
        return "bad"
    return "poor" if start.status in (Status.DEGRADED, Status.SHUTDOWN_FAILED) else "good"
