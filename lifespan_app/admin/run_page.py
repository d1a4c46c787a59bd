"""What the page of one run shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext

from lifespan_app.history.reading import describe
from lifespan_app.history.reading.queries import newest_pks
from lifespan_app.history.reading.statistics import Spread, Start, usual
from lifespan_app.history.reading.tracebacks import TracebackPart, innermost, parts_of
from lifespan_app.models import LifespanRun, LifespanStep, Outcome, Phase, Status

from .waterfall import Waterfall, waterfall

MOST_WORKERS = 64
"""How many other runs of a launch are named."""
MOST_BEFORE = 5
"""How many earlier runs with the same failure are named."""
USUAL_RUNS, USUAL_STEPS = 20, 4_000
"""How many earlier runs, and steps of them, say how long a hook usually takes."""
MOST_SKIPPED = 50
MOST_OPEN_ROWS = 40
"""A longer table is folded."""


@dataclass
class FailedStep:
    """A step that went wrong, with all that is known about it."""

    step: LifespanStep
    usually: Spread | None

    @property
    def what(self) -> str:
        """What went wrong, as part of a sentence."""
        return describe.what_befell(self.step)

    @property
    def at(self) -> str:
        """The innermost line of the project's own code."""
        return innermost(self.step.traceback)

    @property
    def parts(self) -> list[TracebackPart]:
        """The traceback, sorted."""
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
        """Whether the table is folded."""
        return len(self.steps) > MOST_OPEN_ROWS

    @property
    def chain(self) -> list[LifespanStep]:
        """The hooks that the phase has waited for."""
        return sorted(
            (step for step in self.steps if step.on_critical_chain), key=lambda step: step.offset
        )


def context_of(run: LifespanRun, now: datetime) -> dict[str, Any]:
    """Read all that the page needs: the same few queries for any number of hooks."""
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
        if not run.is_over
    ]
    return {
        "run": run,
        "status": run.status_at(now),
        "headline": describe.headline(run, steps, now),
        "advice": describe.advice(run, steps, now),
        "troubles": [FailedStep(step, usually.get(step.key)) for step in wrong],
        "waits": waits,
        "skipped": skipped[:MOST_SKIPPED],
        "outcomes": describe.outcomes(steps),
        "skipped_more": max(len(skipped) - MOST_SKIPPED, 0),
        "phases": phases_of(run, steps, usually),
        "jobs": describe.in_phase(steps, Phase.SERVING),
        "served_for": describe.served_for(run, now),
        "workers": workers_of(run),
        "before": before_on_host(run),
        "same": same_failure(run),
        "now": now,
    }


def phases_of(
    run: LifespanRun, steps: list[LifespanStep], usually: dict[str, Spread]
) -> list[PhasePart]:
    """Return startup and shutdown, as far as there is something of them."""
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
    """Return what a phase is called; the shutdown after a failed startup is a rollback."""
    if phase == Phase.STARTUP:
        return gettext("Startup")
    return gettext("Rollback") if run.status == Status.STARTUP_FAILED else gettext("Shutdown")


def usual_before(run: LifespanRun) -> dict[str, Spread]:
    """Return how long hooks took in the runs of the same service type before this one."""
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
    """Return the run before on this host, of the same service type and another launch."""
    if not run.host:
        return None
    runs = LifespanRun.objects.filter(host=run.host, pk__lt=run.pk)
    for earlier in runs.order_by("-pk")[:MOST_WORKERS]:
        if earlier.service_type == run.service_type and earlier.launch != run.launch:
            return earlier
    return None


def same_failure(run: LifespanRun) -> list[LifespanRun]:
    """Return the runs before that failed in the same way."""
    if not run.fingerprint:
        return []
    runs = LifespanRun.objects.filter(fingerprint=run.fingerprint, pk__lt=run.pk)
    found = LifespanRun.objects.in_bulk(newest_pks(runs, MOST_BEFORE))
    return sorted(found.values(), key=lambda earlier: earlier.pk, reverse=True)
