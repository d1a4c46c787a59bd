"""The content of the page of one run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext

from lifespan_app.history.reading import describe
from lifespan_app.history.reading.jobs import jobs_of
from lifespan_app.history.reading.migrations import unapplied
from lifespan_app.history.reading.queries import newest_pks
from lifespan_app.history.reading.statistics import Spread, Start, usual
from lifespan_app.history.reading.tracebacks import TracebackPart, innermost, parts_of
from lifespan_app.models import LifespanRun, LifespanStep, Outcome, Phase, Status

from .waterfall import Waterfall, waterfall

MOST_WORKERS = 64
"""The most other runs of a launch that are listed."""
MOST_BEFORE = 5
"""The most earlier runs with the same failure that are listed."""
USUAL_RUNS, USUAL_STEPS = 20, 4_000
"""The most earlier runs, and steps of them, in the sample of usual durations."""
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
    def parts(self) -> list[TracebackPart]:
        """The parts of the traceback."""
        return parts_of(self.step.traceback)


@dataclass
class PhasePart:
    """One phase of the run."""

    phase: Phase
    steps: list[LifespanStep]
    taken: timedelta | None
    waterfall: Waterfall | None
    title: str

    @property
    def is_long(self) -> bool:
        """True if the table is folded."""
        return len(self.steps) > MOST_OPEN_ROWS

    @property
    def chain(self) -> list[LifespanStep]:
        """The critical chain of the phase."""
        return sorted(
            (step for step in self.steps if step.on_critical_chain), key=lambda step: step.offset
        )


def context_of(run: LifespanRun, now: datetime) -> dict[str, Any]:
    """Read the content of the page, with a constant number of queries."""
    steps: list[Any] = list(run.steps.order_by("pk"))
    for step in steps:
        step.run = run
    usually = usual_before(run)
    for step in steps:
        step.usually = usually.get(step.key) if step.phase == Phase.STARTUP else None
    skipped = describe.skipped(steps)
    wrong = describe.broken(steps)
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
        "advice": [*describe.advice(run, steps, now), *unapplied(steps)],
        "troubles": [FailedStep(step, usually.get(step.key)) for step in wrong],
        "waits": waits,
        "skipped": skipped[:MOST_SKIPPED],
        "outcomes": describe.outcomes(steps),
        "skipped_more": max(len(skipped) - MOST_SKIPPED, 0),
        "phases": phases_of(run, steps, usually),
        "jobs": jobs,
        "served": [one for one in describe.in_phase(steps, Phase.SERVING) if one.key not in known],
        "served_for": describe.served_for(run, now),
        "workers": workers_of(run),
        "before": before_on_host(run),
        "same": same_failure(run),
        "now": now,
    }


def phases_of(
    run: LifespanRun, steps: list[LifespanStep], usually: dict[str, Spread]
) -> list[PhasePart]:
    """Return startup and shutdown, if they have steps."""
    parts = []
    for phase, taken in (
        (Phase.STARTUP, run.startup_duration),
        (Phase.SHUTDOWN, run.shutdown_duration),
    ):
        if found := describe.in_phase(steps, phase):
            began = [step for step in found if step.outcome != Outcome.SKIPPED]
            known = usually if phase == Phase.STARTUP else {}
            drawn = waterfall(began, taken, known) if began else None
            parts.append(PhasePart(phase, found, taken, drawn, title_of(phase, run)))
    return parts


def title_of(phase: Phase, run: LifespanRun) -> str:
    """Return the title of a phase; the shutdown after a failed startup is a rollback."""
    if phase == Phase.STARTUP:
        return gettext("Startup")
    return gettext("Rollback") if run.status == Status.STARTUP_FAILED else gettext("Shutdown")


def usual_before(run: LifespanRun) -> dict[str, Spread]:
    """Return the durations of hooks in earlier runs of the same service type."""
    earlier = LifespanRun.objects.filter(service_type=run.service_type, pk__lt=run.pk)
    columns = earlier.order_by("-pk").values_list(*Start._fields)
    looked_at: list[Start] = []
    steps = 0
    for row in columns[:USUAL_RUNS]:
        start = Start(*row)
        steps += start.hooks_total
        if looked_at and steps > USUAL_STEPS:
            break
        looked_at.append(start)
    return dict(usual(looked_at))


def workers_of(run: LifespanRun) -> list[LifespanRun]:
    """Return the other runs of the same launch, newest first."""
    if not run.launch:
        return []
    runs = LifespanRun.objects.of_launch(run.launch).exclude(pk=run.pk)
    return list(runs.order_by("-pk")[:MOST_WORKERS])


def before_on_host(run: LifespanRun) -> LifespanRun | None:
    """Return the previous run on this host, of the same service type and another launch."""
    if not run.host:
        return None
    runs = LifespanRun.objects.filter(host=run.host, pk__lt=run.pk)
    for earlier in runs.order_by("-pk")[:MOST_WORKERS]:
        if earlier.service_type == run.service_type and earlier.launch != run.launch:
            return earlier
    return None


def same_failure(run: LifespanRun) -> list[LifespanRun]:
    """Return the earlier runs with the same failure."""
    if not run.fingerprint:
        return []
    runs = LifespanRun.objects.filter(fingerprint=run.fingerprint, pk__lt=run.pk)
    found = LifespanRun.objects.in_bulk(newest_pks(runs, MOST_BEFORE))
    return sorted(found.values(), key=lambda earlier: earlier.pk, reverse=True)
