"""The current process for the front page: the report of its run, in sentences."""

from __future__ import annotations

from dataclasses import dataclass

from lifespan_app import lifespan

KINDS = {"start": "start function", "resource": "resource", "background": "background job"}
"""Without shutdown functions, which have nothing to show while the process serves."""

UP = {"start": "done", "resource": "open", "background": "running"}

STATUS_TONES = {"serving": "ok", "degraded": "warn", "starting": "warn"}
OUTCOME_TONES = {"ok": "ok", "finished": "ok", "skipped": "warn", "cancelled": "warn"}


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
class Process:
    """The process, for the front page."""

    status: str
    tone: str
    rows: list[Row]

    @property
    def missing(self) -> list[str]:
        return [f"{row.app}.{row.name}" for row in self.rows if row.tone not in ("ok", "")]


def this_process() -> Process:
    """Return the process from the current report; without a lifespan it has no rows."""
    report = lifespan.report()
    if report is None:
        return Process(status="no lifespan", tone="bad", rows=[])
    # A background job has a step at startup and one while serving: use the last one.
    steps = {
        step.key: step
        for step in report.steps
        if step.kind in KINDS and step.phase in ("startup", "serving")
    }
    return Process(
        status=report.status,
        tone=STATUS_TONES.get(report.status, "bad"),
        rows=[
            Row(
                app=step.app_label,
                name=step.name,
                kind=KINDS[step.kind],
                outcome=_outcome(step.kind, step.outcome),
                tone=_tone(step.kind, step.outcome),
                milliseconds=None if step.kind == "background" else step.duration * 1000,
                error=step.error or step.reason,
            )
            for step in steps.values()
        ],
    )


def _outcome(kind: str, outcome: str | None) -> str:
    if outcome == "ok" or (outcome is None and kind == "background"):
        return UP[kind]
    return (outcome or "starting").replace("_", " ")


def _tone(kind: str, outcome: str | None) -> str:
    if outcome is None:
        return "ok" if kind == "background" else ""
    return OUTCOME_TONES.get(outcome, "bad")
