"""The state of each service type: its running processes, or how the last ones ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils.translation import gettext, ngettext

from lifespan_app.models import LIVE, LifespanRun, Readiness, Status, is_overdue, overdue

from . import describe, time_text
from .queries import BY_START
from .statistics import UNCOUNTED, Sample, Start, newest_runs

MOST_LIVE = 2_000
"""The most running processes that are listed."""
RECENT = timedelta(days=7)
"""The age up to which service types and failures are shown."""
LASTING = timedelta(minutes=1)
"""A service type whose processes crashed has recovered when one has served for this time."""

UP = frozenset({Status.SERVING, Status.DEGRADED})
GOOD = (Status.SERVING, Status.STOPPING, Status.STOPPED)
POOR = (Status.NOT_READY, Status.DEGRADED, Status.SHUTDOWN_FAILED)
BY_CRASH = "the crash of "
"""The beginning of ``ended_by`` of a process that a crashed hook has stopped."""
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
    "left_out",
    "readiness",
    "readiness_since",
    "readiness_reason",
    "jobs",
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
    def unready(self) -> list[tuple[str, int]]:
        """The reasons, each a word, for which processes are not ready, with the number of processes."""
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
    def rest(self) -> list[tuple[str, int]]:
        """The other statuses than serving, each with its number of processes."""
        return [
            (status, self.statuses[status])
            for status in Status
            if status != Status.SERVING and self.statuses[status]
        ]


@dataclass
class ServiceState:
    """The state of a service type: its running processes, or how the last ones ended."""

    service_type: str
    deployments: list[Deployment]
    starts: list[Start]
    """The starts in the sample, newest first."""
    now: datetime

    @property
    def running(self) -> int:
        """The number of running processes."""
        return sum(len(one.runs) for one in self.deployments)

    @property
    def up(self) -> int:
        """The number of serving processes, including degraded ones."""
        return sum(one.up for one in self.deployments)

    @property
    def hosts(self) -> list[tuple[str, int]]:
        """The hosts with running processes, each with their number."""
        return sum((one.hosts for one in self.deployments), Counter[str]()).most_common()

    @property
    def last_heartbeat(self) -> datetime | None:
        """The oldest of the last heartbeats of the running processes, else the last one."""
        running = [one.last_heartbeat for one in self.deployments]
        return min(running) if running else self.last and self.last.last_seen_at

    @property
    def degraded(self) -> int:
        """The number of degraded processes."""
        return sum(one.statuses[Status.DEGRADED] for one in self.deployments)

    @property
    def not_ready(self) -> int:
        """The number of processes that have started, and are not ready."""
        return sum(one.statuses[Status.NOT_READY] for one in self.deployments)

    @property
    def last(self) -> Start | None:
        """The last start: the newest, or the one with the last heartbeat.

        If these differ, it is the one that has failed.
        """
        heard = sorted(self.starts, key=lambda start: start.last_seen_at)[-1:]
        ends = [*self.starts[:1], *heard]
        return next((one for one in ends if is_broken(one, self.now)), ends[0] if ends else None)

    @property
    def status(self) -> Status | None:
        """The status of the last start."""
        return None if self.last is None else status_of(self.last, self.now)

    @property
    def is_down(self) -> bool:
        """True if no process serves, and the last one did not just stop."""
        return not self.up and self.last is not None and is_broken(self.last, self.now)

    @property
    def last_served(self) -> datetime | None:
        """The time until which a process has served, if the sample has it."""
        ends = [start.stopped_at or start.last_seen_at for start in self.starts if start.ready_at]
        return max(ends, default=None)

    @property
    def rank(self) -> int:
        """The place among the others, the worst first."""
        if self.is_down or self.not_ready:
            return 0
        if self.running:
            return 1 if self.degraded or self.up < self.running else 2
        return 3

    @property
    def level(self) -> str:
        """The CSS class: ``bad``, ``poor``, ``good`` or ``over``."""
        return ("bad", "poor", "good", "over")[self.rank]

    @property
    def sentence(self) -> str:
        """The state, in a sentence."""
        if not self.running:
            return self.not_running
        words = {
            "up": self.up,
            "all": self.running,
            "degraded": self.degraded,
            "not_ready": self.not_ready,
        }
        if self.not_ready == self.running:
            return (
                ngettext("%(all)d running, not ready", "%(all)d running, none ready", self.running)
                % words
            )
        if self.up:
            sentence = gettext("%(up)d of %(all)d serving") % words
        else:
            sentence = ngettext(
                "%(all)d running, not serving", "%(all)d running, none serving", self.running
            )
            sentence %= words
        if self.degraded:
            sentence += gettext(", %(degraded)d degraded") % words
        if self.not_ready:
            sentence += gettext(", %(not_ready)d not ready") % words
        return sentence

    @property
    def not_running(self) -> str:
        """The last sign of life of a service type without a process, in a sentence."""
        if self.last is not None and self.status == Status.LOST:
            time = time_text.clock(self.last.last_seen_at)
            return gettext("no heartbeat since %(time)s") % {"time": time}
        if self.last_served is not None:
            return gettext("0 running, last served %(time)s") % {
                "time": time_text.clock(self.last_served)
            }
        count = len(self.starts)
        return (
            ngettext(
                "0 running, did not serve in the last start",
                "0 running, did not serve in the last %(count)d starts",
                count,
            )
            % {"count": count}
            if count > 1
            else gettext("0 running, has not served")
        )


def current_states(now: datetime) -> list[ServiceState]:
    """Read the state of each service type of the last days, the worst first, in three queries."""
    return states_of(read_live(), newest_runs(), now)


def states_of(live: Iterable[LifespanRun], sample: Sample, now: datetime) -> list[ServiceState]:
    """Return the state of each service type of the last days, the worst first."""
    found: dict[str, ServiceState] = {}
    for name in sample.service_types:
        starts = sample.starts(name)
        if time_text.elapsed(max(start.last_seen_at for start in starts), now) <= RECENT:
            found[name] = ServiceState(name, [], starts, now)
    for one in deployed(live, now):
        state = found.setdefault(one.service_type, ServiceState(one.service_type, [], [], now))
        state.deployments.append(one)
    return sorted(found.values(), key=lambda one: (one.rank, one.service_type))


def read_live() -> list[LifespanRun]:
    """Read the runs without a recorded end; some may be lost by the clock."""
    runs = LifespanRun.objects.filter(status__in=LIVE).exclude(mode__in=UNCOUNTED)
    return list(runs.only(*SUMMARY).order_by(*BY_START)[:MOST_LIVE])


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
    return sorted(
        found.values(), key=lambda one: (one.service_type, -one.runs[0].started_at.timestamp())
    )


def is_crash(run: Start | LifespanRun) -> bool:
    """Return True if the crash of a hook has ended a run, which has stopped in order then."""
    return run.status == Status.STOPPED and run.ended_by.startswith(BY_CRASH)


def has_recovered(start: Start | LifespanRun, now: datetime) -> bool:
    """Return True if a process has served for some time, and was not ended by a crash."""
    if start.ready_at is None or is_broken(start, now):
        return False
    until = start.stopped_at or (now if start.status in LIVE else start.last_seen_at)
    return time_text.elapsed(start.ready_at, until) >= LASTING


def has_failed(start: Start | LifespanRun, now: datetime) -> bool:
    """Return True if a start has failed, its process is lost, or a crash has ended it."""
    return status_of(start, now) in (Status.LOST, Status.STARTUP_FAILED) or is_crash(start)


def is_broken(start: Start | LifespanRun, now: datetime) -> bool:
    """Return True if a start has failed in the end, or its process serves and is not ready."""
    is_not_ready = start.status == Status.NOT_READY and not is_warming_up(start)
    return has_failed(start, now) or is_not_ready


def is_warming_up(start: Start | LifespanRun) -> bool:
    """Return True if a process serves and warms up, which is as expected."""
    return start.status == Status.NOT_READY and start.readiness == Readiness.WARMING_UP


def kind_of(start: Start | LifespanRun, now: datetime) -> str:
    """Return the result of a start: ``good``, ``poor`` or ``bad``."""
    if is_broken(start, now):
        return "bad"
    return "poor" if start.status in POOR else "good"


def started_well(now: datetime) -> Q:
    """Return the condition that a run has come up, and ``kind_of`` it is ``good``."""
    is_ended_by_crash = Q(status=Status.STOPPED, ended_by__startswith=BY_CRASH)
    up = Q(status__in=GOOD, ready_at__isnull=False)
    return up & ~overdue(now) & ~is_ended_by_crash


def status_of(start: Start | LifespanRun, now: datetime) -> Status:
    """Return the status of a start: the recorded one, or lost if its heartbeat is overdue."""
    is_lost = is_overdue(start.status, start.lost_after, now)
    return Status.LOST if is_lost else Status(start.status)
