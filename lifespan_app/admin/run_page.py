"""The content of the page of one run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext

from lifespan_app.history.reading import advice, describe
from lifespan_app.history.reading.against_last_good import against_last_good
from lifespan_app.history.reading.boot import boot_of
from lifespan_app.history.reading.jobs import jobs_of
from lifespan_app.history.reading.migrations import unapplied
from lifespan_app.history.reading.queries import BY_START, before
from lifespan_app.history.reading.statistics import Spread, usual_before
from lifespan_app.history.reading.tracebacks import TracebackPart, innermost, parts_of
from lifespan_app.models import LifespanRun, LifespanStep, Outcome, Phase, Status

from .waterfall import Waterfall, waterfall

MOST_WORKERS = 64
"""The most other runs of a launch that are listed."""
MOST_BEFORE = 5
"""The most earlier runs with the same failure that are listed."""
MOST_TROUBLES = 20
"""The most failed steps with a section of their own; of the others, the table has the log lines."""
MOST_SKIPPED = 50
MOST_OPEN_ROWS = 40
"""The most rows of an unfolded table."""


@dataclass
class FailedStep:
    """A failed step with its details."""

    step: LifespanStep
    usually: Spread | None

    @property
    def what(self) -> str:
        """The failure, in a sentence."""
        return describe.failure_text(self.step)

    @property
    def at(self) -> str:
        """The innermost line of the project's own code."""
        return innermost(self.step.traceback)

    @property
    def has_frames(self) -> bool:
        """True if the traceback has a frame; without one it only repeats the error."""
        return any(part.frames for part in self.parts)

    @property
    def parts(self) -> list[TracebackPart]:
        """The parts of the traceback."""
        return parts_of(self.step.traceback)


@dataclass
class PhasePart:
    """One phase of the run."""

    phase: Phase
    steps: list[Any]
    taken: timedelta | None
    waterfall: Waterfall | None
    title: str

    @property
    def is_long(self) -> bool:
        """True if the table is folded."""
        return len(self.steps) > MOST_OPEN_ROWS

    @property
    def chain(self) -> list[LifespanStep]:
        """The longest chain of the phase."""
        return sorted(
            (step for step in self.steps if step.on_critical_chain), key=lambda step: step.offset
        )


def context_of(run: LifespanRun, now: datetime) -> dict[str, Any]:
    """Read the content of the page, with a constant number of queries."""
    steps: list[Any] = list(run.steps.order_by("pk"))
    usual = usual_before(run)
    for step in steps:
        step.run = run
        step.usually = usual.hooks.get((step.key, step.phase))
        step.has_section = False
    skipped = describe.skipped(steps)
    failed: list[Any] = describe.broken(steps)
    for step in failed[:MOST_TROUBLES]:
        step.has_section = True
    waits = [
        step
        for phase in (Phase.STARTUP, Phase.SHUTDOWN)
        for step in describe.unfinished(steps, phase)
        if not run.is_over or run.status == Status.LOST
    ]
    jobs = jobs_of(run)
    known = {job.key for job in jobs}
    return {
        "run": run,
        "status": run.status_at(now),
        "headline": describe.headline(run, steps, now),
        "advice": [*advice.for_run(run, steps, now), *unapplied(steps)],
        "against": against_last_good(run, steps, now, usual),
        "troubles": [FailedStep(step, step.usually) for step in failed[:MOST_TROUBLES]],
        "has_more_troubles": len(failed) > MOST_TROUBLES,
        "waits": waits,
        "skipped": skipped[:MOST_SKIPPED],
        "outcomes": describe.outcomes(steps),
        "skipped_more": max(len(skipped) - MOST_SKIPPED, 0),
        "boot": boot_of(run),
        "phases": phases_of(run, steps),
        "jobs": jobs,
        "served": [one for one in describe.in_phase(steps, Phase.SERVING) if one.key not in known],
        "served_for": describe.served_for(run, now),
        "workers": workers_of(run),
        "before": before_on_host(run),
        "same": same_failure(run),
        "now": now,
    }


def phases_of(run: LifespanRun, steps: list[Any]) -> list[PhasePart]:
    """Return startup and shutdown, if they have steps."""
    parts = []
    for phase, taken in (
        (Phase.STARTUP, run.startup_duration),
        (Phase.SHUTDOWN, run.shutdown_duration),
    ):
        if found := describe.in_phase(steps, phase):
            began = [step for step in found if step.outcome != Outcome.SKIPPED]
            drawn = waterfall(began, taken) if began else None
            parts.append(PhasePart(phase, found, taken, drawn, title_of(phase, run)))
    return parts


def title_of(phase: Phase, run: LifespanRun) -> str:
    """Return the title of a phase; the shutdown after a failed startup is a rollback."""
    if phase == Phase.STARTUP:
        return gettext("Startup")
    return gettext("Rollback") if run.status == Status.STARTUP_FAILED else gettext("Shutdown")


def workers_of(run: LifespanRun) -> list[LifespanRun]:
    """Return the other runs of the same launch, newest first."""
    if not run.launch:
        return []
    runs = LifespanRun.objects.of_launch(run.launch).exclude(pk=run.pk)
    return list(runs.order_by(*BY_START)[:MOST_WORKERS])


def before_on_host(run: LifespanRun) -> LifespanRun | None:
    """Return the previous run on this host, of the same service type and another launch."""
    if not run.host:
        return None
    for earlier in before(run).filter(host=run.host)[:MOST_WORKERS]:
        if earlier.service_type == run.service_type and earlier.launch != run.launch:
            return earlier
    return None


def same_failure(run: LifespanRun) -> list[LifespanRun]:
    """Return the earlier runs with the same failure."""
    if not run.fingerprint:
        return []
    return list(before(run).filter(fingerprint=run.fingerprint)[:MOST_BEFORE])
