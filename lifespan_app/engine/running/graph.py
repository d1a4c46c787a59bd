"""The graph of a run: its hooks, jobs and stages, each with its dependencies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from lifespan_app.engine.hooks.hook import DRAIN, Hook
from lifespan_app.engine.planning.plan import Node, Plan, barrier_of, node_of
from lifespan_app.engine.reporting.journal import HAS_STARTUP

from .hook_run import UP, HookRun
from .stages import Stage, leaving

if TYPE_CHECKING:
    from .hook_run import Reached


class Graph:
    """The dependencies of one run; the shutdown follows them in reverse.

    In the order of the startup there are the hooks of the plan, the place where background jobs are
    stopped while every hook is up, and the stages. Drain functions stand behind all of them.

    Args:
        run: the run.
        plan: the hooks.
        stages: the edges of the run, in the order of the startup.
        label_of: returns the app label of a module, or None outside an installed app.
    """

    def __init__(
        self,
        run: Reached,
        plan: Plan,
        stages: Iterable[Stage] = (),
        label_of: Callable[[str], str | None] = lambda module: None,
    ) -> None:
        self._run = run
        self._label_of = label_of
        self.hook_runs = [HookRun(run, node) for node in plan.nodes]
        self.hooks_total = len(plan)
        """The number of hooks."""
        self.drains: list[HookRun] = []
        self._tie_plan()
        self.jobs = [hook_run for hook_run in self.hook_runs if hook_run.is_job]
        self.jobs_place = self._add([None], "background jobs") if self.jobs else None
        self._stages: list[tuple[Stage, HookRun]] = []
        for stage in stages:
            self._stages.append((stage, self._add([None], stage.name)))
            for row in stage.enters():
                self._add(row, stage.name)
        self._tie_drains()
        self.startable = [
            one.node
            for one in self.hook_runs
            if one.hook is not None and one.hook.kind in HAS_STARTUP
        ]
        """The nodes that have work at startup."""

    def _tie_plan(self) -> None:
        hook_runs = self.hook_runs
        for hook_run in hook_runs:
            if hook_run.hook is not None and hook_run.hook.kind is DRAIN:
                self.drains.append(hook_run)
            elif hook_run.node.waits:
                hook_run.depends_on([hook_runs[wait.node] for wait in hook_run.node.waits])

    def _tie_drains(self) -> None:
        """Make drain functions come up last, and so end first."""
        ends = self._ends() if self.drains else []
        for drain in self.drains:
            asked = [self.hook_runs[wait.node] for wait in drain.node.waits]
            drain.depends_on(list(dict.fromkeys([*asked, *ends])))

    def _ends(self) -> list[HookRun]:
        """Return the hooks without dependents, as if there were no drain functions."""
        drains = self.drains
        return [
            one
            for one in self.hook_runs
            if one not in drains and all(dependent in drains for dependent in one.dependents)
        ]

    def _add(self, row: Sequence[Hook | None], stage: str) -> HookRun:
        """Add hooks that wait for all present ones, side by side; return the last of them."""
        ends = self._ends()
        for hook in row:
            self._made(hook, stage).depends_on(ends)
        return self.hook_runs[-1]

    def _made(self, hook: Hook | None, stage: str) -> HookRun:
        index = len(self.hook_runs)
        node: Node
        if hook is None:
            node = barrier_of(index, stage)
        else:
            node = node_of(index, hook, self._label_of)
            self.hooks_total += 1
        hook_run = HookRun(self._run, node)
        self.hook_runs.append(hook_run)
        return hook_run

    def arm(self, first: Hook | None = None) -> list[HookRun]:
        """Add, when the shutdown begins, the stages' functions for the end, and return them.

        They are read only now, since receivers and functions may be added until then.

        Args:
            first: a function that ends before all else, except for drain functions.
        """
        count = len(self.hook_runs)
        for stage, place in self._stages:
            if place.state is UP or stage.always:
                self._arm(stage, place)
        if first is not None:
            ends = self._ends()
            hook_run = self._made(first, first.name)
            hook_run.armed(at_end=True)
            hook_run.depends_on(ends)
            for drain in self.drains:
                drain.depends_on([hook_run])
        return self.hook_runs[count:]

    def _arm(self, stage: Stage, place: HookRun) -> None:
        """Add a stage's functions for the end between its node and the node's dependents."""
        before = list(place.dependents)
        for row in leaving(stage):
            armed = []
            for hook in row:
                hook_run = self._made(hook, stage.name)
                hook_run.armed(at_end=True)
                for dependent in before:
                    dependent.depends_on([hook_run])
                armed.append(hook_run)
            before = armed or before
        for hook_run in before:
            if hook_run not in place.dependents:
                hook_run.depends_on([place])
