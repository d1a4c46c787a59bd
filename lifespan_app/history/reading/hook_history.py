"""What one hook did in its newest runs: durations, outcomes, errors, and who needs it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lifespan_app.models import LifespanRun, LifespanStep, Outcome, Phase

from . import describe
from .statistics import Spread, spread

MOST_STEPS = 600
"""How many of the newest steps of the hook are read, whatever their phase."""
SHOWN = 25
"""How many runs are listed one by one."""
COLUMNS = [
    "pk",
    "app_label",
    "name",
    "kind",
    "phase",
    "outcome",
    "offset",
    "duration",
    "file",
    "line",
    "exception",
    "error",
    "fingerprint",
    "waiting_at",
    "reason",
    "needs",
    "run__uuid",
    "run__release",
    "run__host",
    "run__service_type",
    "run__started_at",
    "run__status",
    "run__mode",
    "run__lost_after",
]


@dataclass
class StepGroup:
    """The steps of a hook that have something in common."""

    name: str
    steps: list[LifespanStep]
    """Newest first."""

    @property
    def broken(self) -> int:
        """How many of them failed."""
        return sum(step.outcome in describe.BROKEN for step in self.steps)

    @property
    def spread(self) -> Spread | None:
        """How long those took that went well."""
        return spread(went_well(self.steps))

    @property
    def latest(self) -> LifespanStep:
        """The newest."""
        return self.steps[0]

    @property
    def first(self) -> LifespanStep:
        """The oldest of the sample."""
        return self.steps[-1]


@dataclass
class HookHistory:
    """What one hook did in its newest runs."""

    app_label: str
    name: str
    steps: Sequence[LifespanStep]
    """Of all phases, newest first."""
    needed_by: Sequence[LifespanStep]

    @property
    def key(self) -> str:
        """The hook's key."""
        return f"{self.app_label}.{self.name}"

    @property
    def startups(self) -> list[LifespanStep]:
        """Its steps in startups, or those in the phase that it has."""
        for phase in Phase:
            if found := describe.in_phase(self.steps, phase):
                return found
        return []

    @property
    def whole(self) -> StepGroup:
        """All its startups."""
        return StepGroup(self.key, self.startups)

    @property
    def latest(self) -> LifespanStep:
        """Its newest startup."""
        return self.startups[0]

    @property
    def shutdown(self) -> Spread | None:
        """How long it took to stop."""
        if self.latest.phase == Phase.SHUTDOWN:
            return None
        return spread(went_well(describe.in_phase(self.steps, Phase.SHUTDOWN)))

    @property
    def shown(self) -> list[LifespanStep]:
        """Its newest startups, to be listed."""
        return self.startups[:SHOWN]

    def by(self, column: str) -> list[StepGroup]:
        """Return its startups in parts, by a column of their runs; those with the newest first."""
        parts: dict[str, list[LifespanStep]] = defaultdict(list)
        for step in self.startups:
            parts[getattr(step.run, column)].append(step)
        return [StepGroup(name, steps) for name, steps in parts.items()]

    @property
    def releases(self) -> list[StepGroup]:
        """Its startups by release."""
        return self.by("release")

    @property
    def places(self) -> list[StepGroup]:
        """Its startups by service type and host: is it the same everywhere."""
        parts: dict[str, list[LifespanStep]] = defaultdict(list)
        for step in self.startups:
            parts[f"{step.run.service_type} · {step.run.host}"].append(step)
        return [StepGroup(name, steps) for name, steps in parts.items()][:SHOWN]

    @property
    def errors(self) -> list[StepGroup]:
        """What it failed by, in all phases."""
        parts: dict[str, list[LifespanStep]] = defaultdict(list)
        for step in self.steps:
            if step.outcome in describe.BROKEN:
                parts[step.fingerprint or step.exception].append(step)
        return [StepGroup(describe.error_line(steps[0]), steps) for steps in parts.values()]

    @property
    def since(self) -> datetime:
        """When the oldest run of the sample began."""
        return self.startups[-1].run.started_at


def went_well(steps: Iterable[LifespanStep]) -> list[float]:
    """Return the durations, in seconds, of steps that went well."""
    return [step.duration.total_seconds() for step in steps if step.outcome == Outcome.OK]


def hook_history(app_label: str, name: str) -> HookHistory | None:
    """Read what a hook did; None where no run has it."""
    steps: Any = LifespanStep.objects.filter(app_label=app_label, name=name)
    found = list(steps.select_related("run").only(*COLUMNS).order_by("-pk")[:MOST_STEPS])
    if not found:
        return None
    return HookHistory(app_label, name, found, who_needs(f"{app_label}.{name}", found[0].run))


def who_needs(key: str, run: LifespanRun) -> list[LifespanStep]:
    """Return the steps of a run's startup and service whose hooks wait for one."""
    steps = LifespanStep.objects.filter(run=run).exclude(phase=Phase.SHUTDOWN)
    columns = "pk", "run", "app_label", "name", "phase", "outcome", "needs"
    return [step for step in steps.only(*columns) if any(need[0] == key for need in step.needs)]
