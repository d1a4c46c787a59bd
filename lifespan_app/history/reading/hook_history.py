"""The history of one hook in its newest runs: durations, outcomes, errors and dependents."""

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
"""The most steps of the hook that are read, of all phases."""
SHOWN = 25
"""The most runs that are listed."""
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
        """The number of failed steps."""
        return sum(step.outcome in describe.BROKEN for step in self.steps)

    @property
    def spread(self) -> Spread | None:
        """The durations of the successful steps."""
        return spread(durations(self.steps))

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
    """The history of one hook in its newest runs."""

    app_label: str
    name: str
    steps: Sequence[LifespanStep]
    """Of all phases, newest first."""
    dependents: Sequence[LifespanStep]

    @property
    def key(self) -> str:
        """The hook's key."""
        return f"{self.app_label}.{self.name}"

    @property
    def startups(self) -> list[LifespanStep]:
        """Its steps of the startup, or of the first phase in which it has some."""
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
        """The durations of its shutdowns."""
        if self.latest.phase == Phase.SHUTDOWN:
            return None
        return spread(durations(describe.in_phase(self.steps, Phase.SHUTDOWN)))

    @property
    def shown(self) -> list[LifespanStep]:
        """Its newest startups, to be listed."""
        return self.startups[:SHOWN]

    def by(self, column: str) -> list[StepGroup]:
        """Return its startups grouped by a column of their runs, the newest group first."""
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
        """Its startups by service type and host."""
        parts: dict[str, list[LifespanStep]] = defaultdict(list)
        for step in self.startups:
            parts[f"{step.run.service_type} · {step.run.host}"].append(step)
        return [StepGroup(name, steps) for name, steps in parts.items()][:SHOWN]

    @property
    def errors(self) -> list[StepGroup]:
        """Its failed steps of all phases, grouped by error."""
        parts: dict[str, list[LifespanStep]] = defaultdict(list)
        for step in self.steps:
            if step.outcome in describe.BROKEN:
                parts[step.fingerprint or step.exception or step.outcome].append(step)
        return [StepGroup(title_of(steps[0]), steps) for steps in parts.values()]

    @property
    def since(self) -> datetime:
        """The start of the oldest run in the sample."""
        return self.startups[-1].run.started_at


def durations(steps: Iterable[LifespanStep]) -> list[float]:
    """Return the durations of successful steps, in seconds."""
    return [step.duration.total_seconds() for step in steps if step.outcome == Outcome.OK]


def hook_history(app_label: str, name: str) -> HookHistory | None:
    """Read the history of a hook; None if no run has it."""
    steps: Any = LifespanStep.objects.filter(app_label=app_label, name=name)
    found = list(steps.select_related("run").only(*COLUMNS).order_by("-pk")[:MOST_STEPS])
    if not found:
        return None
    return HookHistory(app_label, name, found, dependents_of(f"{app_label}.{name}", found[0].run))


def dependents_of(key: str, run: LifespanRun) -> list[LifespanStep]:
    """Return the steps of the hooks that depend on a hook in a run."""
    steps = LifespanStep.objects.filter(run=run).exclude(phase=Phase.SHUTDOWN)
    columns = "pk", "run", "app_label", "name", "phase", "outcome", "needs"
    return [step for step in steps.only(*columns) if any(need[0] == key for need in step.needs)]


def title_of(step: LifespanStep) -> str:
    """Return the title of a group of failed steps: the error, or the reason of a step without one."""
    return describe.error_line(step) or step.reason or describe.outcome(step)
