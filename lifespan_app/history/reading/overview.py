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

from lifespan_app.models import FAILED, LifespanRun, LifespanStep, Status

from . import advice, describe, time_text
from .jobs import MOST_LISTED, JobGroup, job_groups
from .queries import BY_START
from .states import (
    MOST_LIVE,
    RECENT,
    SUMMARY,
    ServiceState,
    has_failed,
    has_recovered,
    is_broken,
    is_crash,
    kind_of,
    read_live,
    states_of,
)
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

MOST_FAILED = 200
"""The most failed runs of each status that are grouped."""
MOST_GROUPS = 12
DAY = timedelta(hours=24)
LOOP, LOOP_SPAN = 4, timedelta(minutes=10)
"""The number of failed starts of a service type within this time that is a restart loop."""
ONE_START = timedelta(seconds=5)
"""Workers of one launch that fail within this time have failed together."""
MOST_DOWN = 3
"""The most service types that the headline names."""


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
    def server_starts(self) -> int:
        """The number of server starts that the runs are of."""
        return len({run.launch or run.pk for run in self.runs})

    @property
    def service_types(self) -> list[str]:
        """The service types that have this failure."""
        return sorted({run.service_type for run in self.runs})

    @property
    def hosts(self) -> list[str]:
        """The hosts that have this failure."""
        return sorted({run.host for run in self.runs if run.host})

    @property
    def releases(self) -> list[str]:
        """The releases that have this failure, newest first."""
        return list(dict.fromkeys(run.release for run in self.runs if run.release))

    @property
    def headline(self) -> str:
        """A summary of the newest run."""
        if self.step is not None and len(describe.broken(self.steps)) == 1:
            return describe.failure_text(self.step)
        return describe.headline(self.latest, self.steps, self.now)

    @property
    def advice(self) -> list[str]:
        """The advice for the newest run."""
        return advice.for_run(self.latest, self.steps, self.now)

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
    unread: str = ""
    """The part of the strip that is older than the sample, as a percentage; empty if there is none."""
    since: datetime | None = None
    """The start of the sample, if it is younger than the strip."""

    @property
    def failed(self) -> int:
        """The number of failed or lost runs."""
        return sum(has_failed(start, self.now) for start in self.starts)

    @property
    def is_looping(self) -> bool:
        """True if the service type is in a restart loop."""
        lately = []
        for start in self.starts:
            if time_text.elapsed(start.started_at, self.now) > LOOP_SPAN:
                break
            if has_recovered(start, self.now):
                break  # the older ones are resolved
            if start.status == Status.STARTUP_FAILED or is_crash(start):
                lately.append(start)
        return attempts(lately) >= LOOP

    def ticks(self) -> list[tuple[str, str]]:
        """Return the position of each start on a strip, as a percentage, and its result."""
        return [
            (position(start.started_at, self.now), kind_of(start, self.now))
            for start in self.starts
        ]


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
        """The releases of the successful starts, newest first."""
        good = (start for start in self.starts if start.startup is not None)
        return list(dict.fromkeys(start.release for start in good if start.release))


@dataclass
class Overview:
    """The content of the overview page."""

    now: datetime
    states: list[ServiceState]
    """The service types of the last days, the worst first."""
    failures: list[FailureGroup]
    days: list[Day]
    times: list[Times]
    is_empty: bool
    is_cut: bool
    last_heartbeat: datetime | None
    """The newest of the sample."""
    jobs: list[JobGroup]
    """The background jobs of running processes, failed and stalled ones first."""

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
        return sum(one.running for one in self.states)

    @property
    def headline(self) -> str:
        """The service types that are down, then the number of serving processes."""
        if not self.running:
            return self.not_running
        down = [one for one in self.states if one.is_down]
        sentences = [
            gettext("%(type)s: %(state)s.") % {"type": one.service_type, "state": one.sentence}
            for one in down[:MOST_DOWN]
        ]
        if (more := len(down) - MOST_DOWN) > 0:
            sentences.append(
                ngettext("%d more service type is down.", "%d more service types are down.", more)
                % more
            )
        if len(down) < len(self.states):
            sentences.append(self.serving)
        return " ".join(sentences)

    @property
    def not_running(self) -> str:
        """The last sign of life, in a sentence."""
        if any(one.is_down for one in self.states) or not self.states:
            time = time_text.clock(self.last_heartbeat or self.now)
            return gettext("No process has been heard of since %(time)s.") % {"time": time}
        return gettext("No process is running; the last ones were stopped.")

    @property
    def serving(self) -> str:
        """The number of serving processes, in a sentence."""
        up = sum(one.up for one in self.states)
        degraded = sum(one.degraded for one in self.states)
        words = {"up": up, "all": self.running}
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
        if not_ready := sum(one.not_ready for one in self.states):
            sentence = gettext("%(sentence)s, %(not_ready)d not ready") % {
                "sentence": sentence,
                "not_ready": not_ready,
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
        states=states_of(live, sample, now),
        failures=failures,
        days=days_of(sample, now),
        times=times,
        is_empty=not sample.newest and not live,
        is_cut=len(live) == MOST_LIVE,
        last_heartbeat=max(heartbeats, default=None),
        jobs=job_groups(run for run in live if not run.is_lost(now)),
    )


def failed(live: Sequence[LifespanRun], sample: Sample, now: datetime) -> list[FailureGroup]:
    """Return the recent failures in groups: unresolved first, then the newest."""
    ended, cut = ended_badly(now)
    broken = (run for run in live if is_broken(run, now) or run.status == Status.DEGRADED)
    groups: dict[Any, list[LifespanRun]] = defaultdict(list)
    for run in (*broken, *ended, *ended_by_crash(sample)):
        groups[signature(run, now)].append(run)
    well, lasting = last_successful_starts(sample, live, now)
    failures = [
        FailureGroup(
            sorted(runs, key=lambda run: (run.started_at, run.pk), reverse=True),
            is_resolved=all(
                is_resolved(run, lasting if is_crash(run) else well, now) for run in runs
            ),
            is_cut=str(runs[0].status) in cut,
            now=now,
        )
        for runs in groups.values()
    ]
    failures.sort(key=lambda one: (one.is_resolved, -one.last_at.timestamp()))
    shown = failures[:MOST_GROUPS]
    add_steps(shown)
    return shown


def ended_badly(now: datetime) -> tuple[list[LifespanRun], set[str]]:
    """Read the recent runs that failed or got lost.

    Returns:
        The runs, and the statuses that have older ones, too.
    """
    found: list[LifespanRun] = []
    cut = set()
    for status in (*FAILED, Status.LOST):
        runs = LifespanRun.objects.filter(status=status).only(*SUMMARY)
        newest = list(runs.order_by(*BY_START)[:MOST_FAILED])
        if len(newest) == MOST_FAILED:
            cut.add(str(status))
        found += [
            run
            for run in newest
            if run.mode not in UNCOUNTED and time_text.elapsed(failed_at(run), now) <= RECENT
        ]
    return found, cut


def ended_by_crash(sample: Sample) -> Iterable[LifespanRun]:
    """Read the runs that the crash of a hook has ended."""
    crashes = [start.pk for start in sample.newest if is_crash(start)][:MOST_FAILED]
    found: Iterable[LifespanRun] = LifespanRun.objects.filter(pk__in=crashes).only(*SUMMARY)
    return found


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
) -> tuple[dict[str, datetime], dict[str, datetime]]:
    """Return the time of the last start of each service type that succeeded, and that lasted."""
    well: dict[str, datetime] = {}
    lasting: dict[str, datetime] = {}
    candidates: list[Any] = [*sample.newest, *live]
    for start in sorted(candidates, key=lambda start: start.started_at):
        if start.ready_at is None or has_failed(start, now):
            continue
        well[start.service_type] = start.started_at
        if has_recovered(start, now):
            lasting[start.service_type] = start.started_at
    return well, lasting


def is_resolved(run: LifespanRun, well: dict[str, datetime], now: datetime) -> bool:
    """Return True if a failure is resolved: its service type has started successfully since."""
    if run.status in (Status.DEGRADED, Status.NOT_READY) and not run.is_lost(now):
        return False
    if run.status == Status.SHUTDOWN_FAILED:
        return True
    last = well.get(run.service_type)
    return last is not None and last > failed_at(run)


def attempts(starts: Iterable[Start]) -> int:
    """Return the number of failed starts; workers of one launch that fail together are one."""
    last: dict[str, datetime] = {}
    count = 0
    for start in sorted(starts, key=lambda start: start.started_at):
        launch = start.launch or str(start.pk)
        if launch not in last or start.started_at - last[launch] > ONE_START:
            last[launch] = start.started_at
            count += 1
    return count


def position(moment: datetime, now: datetime) -> str:
    """Return the place of a moment on the strip of 24 hours, as a percentage."""
    return f"{100 - 100 * time_text.elapsed(moment, now) / DAY:.2f}%"


def failed_at(run: LifespanRun) -> datetime:
    """Return the time of a run's failure, or the closest known one."""
    if run.status in (Status.LOST, Status.SERVING, Status.STOPPING):
        return run.last_seen_at
    if run.status == Status.NOT_READY:
        return run.readiness_since or run.last_seen_at
    if run.status in (Status.SHUTDOWN_FAILED, Status.STOPPED):
        return run.stopped_at or run.last_seen_at
    return run.started_at


def add_steps(failures: Iterable[FailureGroup]) -> None:
    """Read the failed steps of the newest run of each group, in one query."""
    by_run: dict[int, list[LifespanStep]] = defaultdict(list)
    steps = LifespanStep.objects.filter(run__in=[one.latest.pk for one in failures])
    wrong = steps.exclude(outcome="ok").defer("traceback", "log")
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
        if timedelta() <= time_text.elapsed(start.started_at, now) <= DAY
    ]
    for start in lately:
        by_type[start.service_type].append(start)
    if len(lately) < NEWEST:
        return [Day(name, starts, now) for name, starts in sorted(by_type.items())]
    since = lately[-1].started_at
    unread = position(since, now)
    return [Day(name, starts, now, unread, since) for name, starts in sorted(by_type.items())]
