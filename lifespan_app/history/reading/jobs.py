"""The background jobs of runs, as the history has them, for the admin's pages and the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy, ngettext

from lifespan_app.models import LifespanRun

STATES = {
    "given_up": gettext_lazy("given up"),
    "crashed": gettext_lazy("crashed"),
    "stalled": gettext_lazy("stalled"),
    "skipped": gettext_lazy("skipped"),
    "running": gettext_lazy("running"),
    "waiting": gettext_lazy("waiting"),
    "standing_by": gettext_lazy("standing by"),
    "finished": gettext_lazy("finished"),
    "stopped": gettext_lazy("stopped"),
}
"""The states of a job, the worst first."""
UNWELL = frozenset({"given_up", "crashed", "stalled", "skipped"})
WELL = frozenset({"running", "waiting", "standing_by", "finished"})
MOST_LISTED = 50
"""The most jobs in a table of all processes."""


@dataclass(frozen=True)
class Job:
    """One background job of a run, at the last time that it was recorded."""

    key: str
    state: str
    reason: str
    every: float | None
    rounds: int
    crashes: int
    last_crash: str
    last_crash_at: datetime | None
    last_success_at: datetime | None
    next_at: datetime | None
    leads: bool

    @property
    def label(self) -> str:
        """The state, in a word."""
        return str(STATES.get(self.state, self.state))

    @property
    def is_unwell(self) -> bool:
        """True if it is not as it should be."""
        return self.state in UNWELL

    @property
    def is_well(self) -> bool:
        """True if it does its work, or will, though it may have crashed before."""
        return self.state in WELL

    @property
    def counts(self) -> str:
        """The numbers of its rounds, or attempts, and of its crashes."""
        if self.every is None:
            parts = [ngettext("%d attempt", "%d attempts", self.rounds) % self.rounds]
        else:
            parts = [ngettext("%d round", "%d rounds", self.rounds) % self.rounds]
        if self.crashes:
            parts.append(ngettext("%d crash", "%d crashes", self.crashes) % self.crashes)
        return gettext(", ").join(parts)


def jobs_of(run: LifespanRun) -> list[Job]:
    """Return the background jobs of a run, in the order of its plan; sends no query."""
    if "jobs" in run.get_deferred_fields():
        return []
    return [job for row in run.jobs if (job := job_from(row)) is not None]


def job_of(run: LifespanRun, key: str) -> Job | None:
    """Return one background job of a run; None if it is no job, or not known."""
    return next((job for job in jobs_of(run) if job.key == key), None)


def job_from(row: Any) -> Job | None:
    """Return a job from its row; None if another version has written it in another way."""
    with suppress(AttributeError, KeyError, TypeError, ValueError):
        return Job(
            key=str(row["key"]),
            state=str(row["state"]),
            reason=str(row.get("reason", "")),
            every=row.get("every"),
            rounds=int(row.get("rounds", 0)),
            crashes=int(row.get("crashes", 0)),
            last_crash=str(row.get("last_crash", "")),
            last_crash_at=moment(row.get("last_crash_at")),
            last_success_at=moment(row.get("last_success_at")),
            next_at=moment(row.get("next_at")),
            leads=bool(row.get("leads", False)),
        )
    return None


def moment(text: str | None) -> datetime | None:
    """Return a time as the columns of the history have it: with a zone if ``USE_TZ`` is on."""
    if text is None:
        return None
    at = datetime.fromisoformat(text)
    return at if settings.USE_TZ else timezone.make_naive(at, timezone.get_default_timezone())


@dataclass
class JobGroup:
    """One background job in all processes of a service type that run."""

    service_type: str
    key: str
    jobs: list[Job] = field(default_factory=list)
    runs: list[LifespanRun] = field(default_factory=list)
    """The processes, in the order of the jobs."""

    @property
    def unwell(self) -> frozenset[str]:
        """The states in which a job is not as it should be."""
        return UNWELL

    @property
    def states(self) -> list[tuple[str, str, int]]:
        """The states: the state, its word and the number of processes, the worst first."""
        counted = Counter(job.state for job in self.jobs)
        order = sorted(counted, key=rank)
        return [(state, str(STATES.get(state, state)), counted[state]) for state in order]

    @property
    def worst(self) -> Job:
        """The job in the worst state."""
        return min(self.jobs, key=lambda job: rank(job.state))

    @property
    def every(self) -> float | None:
        """Seconds from round to round; None if its function is no round."""
        return self.worst.every

    @property
    def worst_run(self) -> LifespanRun:
        """The process with the job in the worst state."""
        return self.runs[self.jobs.index(self.worst)]

    @property
    def last_success_at(self) -> datetime | None:
        """The last success in any process."""
        return max((job.last_success_at for job in self.jobs if job.last_success_at), default=None)

    @property
    def last_crash(self) -> Job | None:
        """The job that has crashed last."""
        crashed = [job for job in self.jobs if job.last_crash_at]
        return max(crashed, key=lambda job: job.last_crash_at or 0, default=None)

    @property
    def next_at(self) -> datetime | None:
        """The time of its next begin in any process."""
        return min((job.next_at for job in self.jobs if job.next_at), default=None)

    @property
    def leader(self) -> LifespanRun | None:
        """The process that leads, if the job runs once for several processes."""
        pairs = zip(self.jobs, self.runs, strict=True)
        return next((run for job, run in pairs if job.leads), None)


def rank(state: str) -> int:
    """Return the place of a state: the worst is 0."""
    states = list(STATES)
    return states.index(state) if state in states else len(states)


def job_groups(runs: Iterable[LifespanRun]) -> list[JobGroup]:
    """Return the background jobs of running processes, failed and stalled ones first."""
    groups: dict[tuple[str, str], JobGroup] = {}
    for run in runs:
        for job in jobs_of(run):
            key = run.service_type, job.key
            group = groups.setdefault(key, JobGroup(*key))
            group.jobs.append(job)
            group.runs.append(run)
    return sorted(
        groups.values(),
        key=lambda one: (not one.worst.is_unwell, one.service_type, one.key),
    )
