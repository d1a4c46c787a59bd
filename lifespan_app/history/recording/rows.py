"""Rows of plain values from reports, for the database and for spool files.

Times are seconds since the epoch, durations are seconds. All texts of hooks and their log lines are
masked here, before they are stored.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import django

from lifespan_app import conf
from lifespan_app.engine.error_text import one_line
from lifespan_app.engine.reporting.report import (
    JobState,
    Outcome,
    Phase,
    Readiness,
    Report,
    Status,
    Step,
)
from lifespan_app.integration.redaction import masked
from lifespan_app.models import SHORT_ID

from . import identity
from .boot import boot_record
from .fingerprint import fingerprint_of
from .sanitize import sanitize

Row = dict[str, Any]
Entry = Mapping[str, Any]
"""``{"run": row}``, or ``{"steps": rows, "phases": [...]}``: all steps of these phases. Without
phases, each step replaces its earlier row."""

MOST = 2**31 - 1
"""The highest priority that fits the column; hooks may have a higher one."""

NOT_READY = "not_ready"
"""The status of a process that serves and is not ready; the engine has no word for both."""

CALM = frozenset({JobState.RUNNING, JobState.WAITING, JobState.STANDING_BY, JobState.FINISHED})
"""The states of jobs that are as they should be."""
MOST_JOBS, MOST_TEXT = 100, 500
"""The most jobs of a run that are stored, and the most characters of a text about one."""
MOST_REASONS = 20
"""The most hooks that the reason of the readiness names."""

NOT_LOST_FOR = 3
"""The number of missed heartbeats after which a run is lost."""


@cache
def facts(pid: int) -> Row:
    """Return the columns that are equal for all runs of a process."""
    return {
        "launch": identity.launch(),
        "process": identity.identity(),
        "host": socket.gethostname(),
        "python_version": sys.version.split()[0],
        "django_version": django.get_version(),
    }


def kept(text: str) -> str:
    """Return a masked text, cut to the length of the column, since spool files are limited, too."""
    return sanitize(masked(text))


def shortened(text: str) -> str:
    """Return a masked text of one line, cut for a list."""
    return sanitize(masked(text), MOST_TEXT)


def status_of(report: Report) -> str:
    """Return the status of a run: that of a process which serves follows from its readiness."""
    if report.status not in (Status.SERVING, Status.DEGRADED):
        return report.status.value
    words = {
        Readiness.OK: Status.SERVING,
        Readiness.DEGRADED: Status.DEGRADED,
        Readiness.STOPPING: Status.STOPPING,
    }
    return words.get(report.readiness, NOT_READY)


def reason_of(report: Report) -> str:
    """Return the hooks that make a serving process not ready or degraded, a line each."""
    if report.status not in (Status.SERVING, Status.DEGRADED) or report.readiness is Readiness.OK:
        return ""
    unwell = sorted(report.unwell, key=lambda one: not one.required)
    lines = [f"{one.hook}: {one.what.replace('_', ' ')}: {one.error}" for one in unwell]
    if report.readiness is Readiness.WARMING_UP:
        lines = [": ".join(filter(None, (one.key, one.doing))) for one in report.pending]
    return "\n".join(shortened(line) for line in lines[:MOST_REASONS])


class Rows:
    """The rows of one run.

    Args:
        heartbeat: seconds between two heartbeats; 0 for none.
    """

    def __init__(self, heartbeat: float) -> None:
        self._heartbeat = heartbeat
        self._fingerprints: dict[tuple[str, str], str] = {}
        self._first_failure: tuple[str, str, str] | None = None
        self._stalled: set[str] = set()
        self._readiness = ""
        self._readiness_since = 0.0
        self._boot: dict[str, float] | None = None

    def failed(self, step: Step, error: BaseException) -> None:
        """Store the fingerprint of a failure, which needs its traceback."""
        fingerprint = fingerprint_of(step, error)
        self._fingerprints[step.key, step.phase] = fingerprint
        if self._first_failure is None:
            error_class = step.exception.rpartition(".")[2]
            self._first_failure = fingerprint, one_line(error), error_class

    def changes(self, report: Report) -> Callable[[], Entry]:
        """Note the time of a change, and return a function that makes the row of the run."""
        if report.readiness != self._readiness:
            self._readiness, self._readiness_since = report.readiness, time.time()
        return partial(self.run, report, self._readiness_since)

    def run(self, report: Report, readiness_since: float | None = None) -> Entry:
        """Return the row of the run."""
        fingerprint, error, error_class = self._first_failure or ("", "", "")
        begun = report.startup_duration is not None
        if self._boot is None:
            self._boot = boot_record(report.uuid, report.started_at)
        row = {
            "uuid": report.uuid,
            "short_id": report.uuid[:SHORT_ID],
            "mode": report.mode,
            "service_type": report.service_type,
            "environment": report.environment,
            "release": report.release,
            "status": status_of(report),
            "readiness": report.readiness.value,
            "readiness_since": readiness_since,
            "readiness_reason": reason_of(report),
            "jobs": self.jobs(report),
            "ended_by": kept(report.ended_by),
            "pid": report.pid,
            "server": report.server,
            "boot": self._boot,
            "started_at": report.started_at,
            "ready_at": report.ready_at,
            "stopping_at": report.stopping_at,
            "stopped_at": report.stopped_at,
            "startup_duration": report.startup_duration,
            "shutdown_duration": report.shutdown_duration,
            "loop_blocks": report.loop_blocks,
            "longest_block": report.longest_block or None,
            "hooks_total": report.hooks_total,
            "hooks_failed": report.hooks_failed if begun else 0,
            "slowest_hook": report.slowest_hook if begun else "",
            "error": kept(report.error or error),
            "error_class": error_class,
            "fingerprint": fingerprint,
            "left_out": [
                [excluded.key, excluded.reason]
                for excluded in report.excluded
                if conf.SKIP in excluded.reason
            ],
        }
        return {"run": row | facts(report.pid) | self.heartbeat()}

    def heartbeat(self) -> Row:
        """Return the columns of a heartbeat now: last seen, and the time after which the run is lost."""
        now = time.time()
        lost_after = now + NOT_LOST_FOR * self._heartbeat if self._heartbeat else None
        return {"last_seen_at": now, "lost_after": lost_after}

    def jobs(self, report: Report) -> list[Row]:
        """Return the column with the background jobs; of many, failed and stalled ones come first."""
        jobs = report.jobs
        if len(jobs) > MOST_JOBS:
            jobs = tuple(sorted(jobs, key=lambda job: job.state in CALM)[:MOST_JOBS])
        return [
            {
                **job.as_json(),
                "reason": shortened(job.reason),
                "last_crash": shortened(job.last_crash),
            }
            for job in jobs
        ]

    def steps(self, report: Report, phases: Sequence[Phase]) -> Entry:
        """Return the rows of all steps of some phases."""
        steps = [self._step(step) for step in report.steps if step.phase in phases]
        return {"steps": steps, "phases": [phase.value for phase in phases]}

    def step(self, step: Step) -> Entry:
        """Return the row of one step."""
        return {"steps": [self._step(step)], "phases": []}

    def has_changed(self, step: Step) -> bool:
        """Return True if the row of a step is out of date: it has ended, or its job is stalled no more."""
        was_stalled = step.key in self._stalled
        if step.outcome is Outcome.STALLED:
            self._stalled.add(step.key)
        else:
            self._stalled.discard(step.key)
        return step.outcome is not None or was_stalled

    def _fingerprint(self, step: Step) -> str:
        # A stalled job may have crashed before, with a fingerprint of its own.
        if step.outcome is Outcome.STALLED:
            return ""
        return self._fingerprints.get((step.key, step.phase), "")

    def _step(self, step: Step) -> Row:
        return {
            "app_label": step.app_label,
            "name": step.name,
            "kind": step.kind,
            "phase": step.phase.value,
            "priority": min(max(step.priority, -MOST), MOST),
            "required": step.required,
            "timeout": step.timeout,
            "attempt": step.attempt,
            "offset": step.offset,
            "duration": step.duration,
            "outcome": "" if step.outcome is None else step.outcome.value,
            "reason": kept(step.reason),
            "needs": [list(need) for need in step.needs],
            "on_critical_chain": step.on_critical_chain,
            "file": step.file,
            "line": step.line,
            "exception": step.exception,
            "error": kept(step.error),
            "cause": kept(step.cause),
            "action": kept(step.action),
            "traceback": kept(step.traceback),
            "fingerprint": self._fingerprint(step),
            "waiting_at": kept(step.waiting_at),
            "errors": [kept(error) for error in step.errors],
            "log": [
                [line.offset_ms, line.level, line.logger, kept(line.text)] for line in step.log
            ],
        }
