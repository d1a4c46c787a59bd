"""The history of one hook in its newest runs: durations, outcomes, errors and dependents."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lifespan_app.models import LifespanRun, LifespanStep, Outcome, Phase

from . import describe
from .queries import steps_of_hook
from .statistics import Spread, spread

MOST_STEPS = 600
"""The most steps of the hook that are read, of all phases."""
SHOWN = 25
"""The most runs that are listed."""
WELL = frozenset({Outcome.OK, Outcome.FINISHED})
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
    def runs(self) -> list[RunOfHook]:
        """The runs that these steps are of, newest first."""
        parts: dict[int, list[LifespanStep]] = defaultdict(list)
        for step in self.steps:
            parts[step.run_id].append(step)
        return [RunOfHook(steps[0].run, steps) for steps in parts.values()]

    @property
    def broken(self) -> int:
        """The number of runs in which it failed, in any phase."""
        return sum(run.is_broken for run in self.runs)

    @property
    def outcomes(self) -> list[tuple[str, int]]:
        """The outcomes other than success, each with the number of steps."""
        bad = [step.outcome for step in self.steps if step.outcome and step.outcome not in WELL]
        return [(str(Outcome(word).label), count) for word, count in Counter(bad).most_common()]

    @property
    def spread(self) -> Spread | None:
        """The durations of the successful steps."""
        return spread(durations(self.steps))

    @property
    def startup(self) -> Spread | None:
        """The durations of the successful startups."""
        return spread(durations(describe.in_phase(self.steps, Phase.STARTUP)))

    @property
    def latest(self) -> LifespanStep:
        """The newest."""
        return self.steps[0]

    @property
    def first(self) -> LifespanStep:
        """The oldest of the sample."""
        return self.steps[-1]


@dataclass
class RunOfHook:
    """The steps of the hook in one run, in the order of the phases."""

    run: LifespanRun
    steps: list[LifespanStep]

    def __post_init__(self) -> None:
        order = list(Phase)
        self.steps.sort(key=lambda step: order.index(Phase(step.phase)))

    @property
    def is_broken(self) -> bool:
        """True if it failed in any phase."""
        return any(step.outcome in describe.BROKEN for step in self.steps)

    @property
    def worst(self) -> LifespanStep:
        """The step that failed, else the first one."""
        return next((step for step in self.steps if step.outcome in describe.BROKEN), self.steps[0])


@dataclass
class HookHistory:
    """The history of one hook in its newest runs."""

    key: str
    steps: Sequence[LifespanStep]
    """Of all phases, newest first."""
    dependents: Sequence[LifespanStep]

    @property
    def whole(self) -> StepGroup:
        """All its steps."""
        return StepGroup(self.key, list(self.steps))

    @property
    def phases(self) -> list[StepGroup]:
        """Its steps by phase."""
        return [
            StepGroup(str(phase.label), found)
            for phase in Phase
            if (found := describe.in_phase(self.steps, phase))
        ]

    @property
    def latest(self) -> RunOfHook:
        """Its newest run."""
        return self.whole.runs[0]

    @property
    def shown(self) -> list[RunOfHook]:
        """Its newest runs, to be listed."""
        return self.whole.runs[:SHOWN]

    @property
    def releases(self) -> list[StepGroup]:
        """Its steps by release, the newest first."""
        return self.by(lambda run: run.release)

    @property
    def places(self) -> list[StepGroup]:
        """Its steps by service type and host."""
        return self.by(lambda run: f"{run.service_type} · {run.host}")[:SHOWN]

    def by(self, name_of: Callable[[LifespanRun], str]) -> list[StepGroup]:
        """Return its steps in groups by a property of their runs, the newest group first."""
        parts: dict[str, list[LifespanStep]] = defaultdict(list)
        for step in self.steps:
            parts[name_of(step.run)].append(step)
        return [StepGroup(name, steps) for name, steps in parts.items()]

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
        return self.steps[-1].run.started_at


def durations(steps: Iterable[LifespanStep]) -> list[float]:
    """Return the durations of successful steps, in seconds."""
    return [step.duration.total_seconds() for step in steps if step.outcome == Outcome.OK]


def hook_history(key: str) -> HookHistory | None:
    """Read the history of a hook, newest run first; None if no run has it.

    The sample is the steps that were recorded last; one that was imported late stands where its run does.
    """
    steps: Any = steps_of_hook(key)
    found = list(steps.select_related("run").only(*COLUMNS).order_by("-pk")[:MOST_STEPS])
    if not found:
        return None
    found.sort(key=lambda step: (step.run.started_at, step.run_id, step.pk), reverse=True)
    return HookHistory(key, found, dependents_of(key, found[0].run))


def dependents_of(key: str, run: LifespanRun) -> list[LifespanStep]:
    """Return the steps of the hooks that depend on a hook in a run."""
    steps = LifespanStep.objects.filter(run=run).exclude(phase=Phase.SHUTDOWN)
    columns = "pk", "run", "app_label", "name", "phase", "outcome", "needs"
    return [step for step in steps.only(*columns) if any(need[0] == key for need in step.needs)]


def title_of(step: LifespanStep) -> str:
    """Return the title of a group of failed steps: the error, or the reason of a step without one."""
    return describe.error_line(step) or step.reason or describe.outcome(step)
