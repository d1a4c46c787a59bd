"""The current process for the front page: the report of its run, in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from lifespan_app import lifespan

KINDS = {"start": "start function", "resource": "resource"}
"""Without shutdown functions, which have nothing to show while the process serves."""

UP = {"start": "done", "resource": "open"}

STATUS_TONES = {"serving": "ok", "degraded": "warn", "starting": "warn"}
OUTCOME_TONES = {"ok": "ok", "skipped": "warn", "cancelled": "warn"}
JOB_TONES = {"running": "ok", "waiting": "ok", "standing_by": "ok", "finished": "ok"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One hook and its state."""

    app: str
    name: str
    kind: str
    outcome: str
    tone: str
    """The name of its colour: ok, warn, bad, or ""."""
    milliseconds: float | None
    """The time of its start; None while it is running."""
    error: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """One background job and its state."""

    app: str
    name: str
    state: str
    tone: str
    leads: bool
    """True if it runs in one process of all, and this is the one."""
    rounds: int
    last_success: datetime | None
    next_round: datetime | None
    error: str
    """The error of its last crash, or ""."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """The process, for the front page."""

    status: str
    tone: str
    rows: list[Row]
    jobs: list[Job]

    @property
    def missing(self) -> list[str]:
        shown: list[Row | Job] = [*self.rows, *self.jobs]
        return [f"{one.app}.{one.name}" for one in shown if one.tone not in ("ok", "")]


def this_process() -> Process:
    """Return the process from the current report; without a lifespan it has no rows."""
    report = lifespan.report()
    if report is None:
        return Process(status="no lifespan", tone="bad", rows=[], jobs=[])
    steps = [step for step in report.steps if step.kind in KINDS and step.phase == "startup"]
    return Process(
        status=report.status,
        tone=STATUS_TONES.get(report.status, "bad"),
        rows=[
            Row(
                app=step.app_label,
                name=step.name,
                kind=KINDS[step.kind],
                outcome=_outcome(step.kind, step.outcome),
                tone=_tone(step.outcome),
                milliseconds=step.duration * 1000 if step.outcome else None,
                error=step.error or step.reason,
            )
            for step in steps
        ],
        jobs=[
            Job(
                app=job.key.rpartition(".")[0],
                name=job.key.rpartition(".")[2],
                state=job.state.replace("_", " "),
                tone=JOB_TONES.get(job.state, "bad"),
                leads=job.leads,
                rounds=job.rounds,
                last_success=_moment(job.last_success_at),
                next_round=_moment(job.next_at),
                error=job.last_crash,
            )
            for job in report.jobs
        ],
    )


def _moment(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)


def _outcome(kind: str, outcome: str | None) -> str:
    if outcome == "ok":
        return UP[kind]
    return (outcome or "starting").replace("_", " ")


def _tone(outcome: str | None) -> str:
    if outcome is None:
        return ""
    return OUTCOME_TONES.get(outcome, "bad")
