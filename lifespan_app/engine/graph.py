"""The graph of a run: its hooks, jobs and stages as units, each tied to what it waits for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .hooks import DRAIN, Hook
from .plan import Node
from .stages import Stage, leaving
from .unit import UP, Unit

if TYPE_CHECKING:
    from .runner import Run


class Graph:
    """Who waits for whom in one run; the shutdown goes the same way in reverse.

    In the order of the startup there are the hooks of the plan, the place where background jobs are
    stopped while every hook is up, and the stages. Drain functions stand behind all of them.

    Args:
        run: whose graph it is.
        stages: the edges of the run, in the order of the startup.
    """

    def __init__(self, run: Run, stages: Iterable[Stage]) -> None:
        self._run = run
        self.units = [Unit(run, node) for node in run.plan.nodes]
        self.drains: list[Unit] = []
        self._tie_plan()
        self.jobs = [unit for unit in self.units if unit.is_job]
        self.jobs_place = self._add([None], "background jobs") if self.jobs else None
        self._stages: list[tuple[Stage, Unit]] = []
        for stage in stages:
            self._stages.append((stage, self._add([None], stage.name)))
            for row in stage.enters():
                self._add(row, stage.name)
        self._tie_drains()

    def _tie_plan(self) -> None:
        units = self.units
        for unit in units:
            if unit.hook is not None and unit.hook.kind is DRAIN:
                self.drains.append(unit)
                continue
            for wait in unit.node.waits:
                leader = units[wait.node]
                unit.leaders.append(leader)
                leader.followers.append(unit)

    def _tie_drains(self) -> None:
        """Have what runs when the shutdown is known come up last, and so end first."""
        ends = self._ends() if self.drains else []
        for unit in self.drains:
            asked = [self.units[wait.node] for wait in unit.node.waits]
            unit.leaders = list(dict.fromkeys([*asked, *ends]))
            for leader in unit.leaders:
                leader.followers.append(unit)

    def _ends(self) -> list[Unit]:
        """Return what nothing stands on, for what comes behind all; drain functions stand aside."""
        return [unit for unit in self.units if not (unit.followers or unit in self.drains)]

    def _add(self, row: Sequence[Hook | None], stage: str) -> Unit:
        """Add units that wait for all there are, side by side; return the last of them."""
        ends = self._ends()
        for hook in row:
            unit = self._unit(hook, stage)
            unit.leaders = list(ends)
            for end in ends:
                end.followers.append(unit)
        return self.units[-1]

    def _unit(self, hook: Hook | None, stage: str) -> Unit:
        index = len(self.units)
        if hook is None:
            node = Node(index, stage, "", 0, None)
        else:
            label = self._run.host.app_label(hook.module) or hook.module
            node = Node(index, f"{label}.{hook.name}", label, 0, hook)
            node.timeout, node.shutdown_timeout = hook.timeout, hook.shutdown_timeout
        unit = Unit(self._run, node)
        self.units.append(unit)
        return unit

    def arm(self) -> list[Unit]:
        """Put in, when the shutdown begins, what the stages call at the end, and return it.

        It is not known before: who listens then, what was appended.
        """
        count = len(self.units)
        for stage, place in self._stages:
            if place.state is UP or stage.always:
                self._arm(stage, place)
        return self.units[count:]

    def _arm(self, stage: Stage, place: Unit) -> None:
        """Put what a stage calls at the end between its place and all that stands on that."""
        before = list(place.followers)
        for row in leaving(stage):
            armed = []
            for hook in row:
                unit = self._unit(hook, stage.name)
                unit.at_end = unit.settled = True
                unit.state = UP
                unit.followers = list(before)
                for follower in before:
                    follower.leaders.append(unit)
                armed.append(unit)
            before = armed or before
        for unit in before:
            if unit not in place.followers:
                place.followers.append(unit)
                unit.leaders.append(place)
