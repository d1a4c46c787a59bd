"""A rehearsal: a plan is started for real and stopped, measured, and what it leaves is looked for."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

from lifespan_app.engine.lifespan import Lifespan
from lifespan_app.engine.planning.plan import Node, Plan, Reason, Wait
from lifespan_app.engine.reporting.report import (
    IN_SHUTDOWN,
    IN_STARTUP,
    Mode,
    Observer,
    Outcome,
    Report,
    Step,
)
from lifespan_app.engine.running.messages import service_message, shutdown_message, startup_message
from lifespan_app.engine.running.run import Run
from lifespan_app.engine.stacks.stacks import where_loop

from .leaks import Descriptor, Leak, Watch, descriptors, leftover_of

ENDED_BY = "checklifespan --run"
LAST_RESORT = 5.0
"""Seconds that a rehearsal has to stop when its time is over: a quick stop takes 3 at most."""


class TrialRun(NamedTuple):
    """What became of the runs."""

    reports: tuple[Report, ...]
    """Of each run, in their order."""
    left_behind: tuple[Leak, ...]
    failure: str
    """Why a startup or a shutdown failed, as a server would be told, or a hook that the startup has
    not waited for; "" where none has."""
    not_waited_for: frozenset[str] = frozenset()
    """The keys of the hooks that the startup does not wait for: the process serves before them."""

    @property
    def last(self) -> Report:
        """The report of the last run."""
        return self.reports[-1]

    def startup(self) -> list[float]:
        """Return the seconds that each startup took."""
        return [report.startup_duration or 0.0 for report in self.reports]

    def shutdown(self) -> list[float]:
        """Return the seconds that each shutdown took."""
        return [report.shutdown_duration or 0.0 for report in self.reports]

    def measured(self) -> list[Measured]:
        """Return what each hook took, in the order of the plan."""
        taken: dict[str, Measured] = {}
        for report in self.reports:
            for step in report.steps:
                if step.phase not in (IN_STARTUP, IN_SHUTDOWN):
                    continue
                wait = step.key not in self.not_waited_for
                hook = taken.setdefault(step.key, Measured(step.key, [], [], set(), wait))
                (hook.starts if step.phase is IN_STARTUP else hook.stops).append(step.duration)
                if step.on_critical_chain:
                    hook.on_chain.add(step.phase)
        return list(taken.values())

    def not_well(self) -> list[Step]:
        """Return the steps of the last runs that ended other than they should, once a hook."""
        wrong: dict[str, Step] = {}
        for report in self.reports:
            for step in report.steps:
                if step.outcome not in (None, Outcome.OK, Outcome.FINISHED, Outcome.CANCELLED):
                    wrong.setdefault(step.key, step)
        return list(wrong.values())


class Measured(NamedTuple):
    """What one hook took, in seconds, run by run."""

    key: str
    starts: list[float]
    stops: list[float]
    on_chain: set[str]
    """The phases that have waited for it."""
    wait: bool = True
    """Whether the startup waits for it."""

    @property
    def start(self) -> float | None:
        """The median of its starts; None where it has none."""
        return median(self.starts) if self.starts else None

    @property
    def stop(self) -> float | None:
        """The median of its stops; None where it has none."""
        return median(self.stops) if self.stops else None


@contextmanager
def bounded(seconds: float | None, give_up: Callable[[str], None]) -> Iterator[None]:
    """End the process when a block goes on for long after its time: the event loop is blocked.

    Args:
        seconds: the time that the block has; None: as much as it wants.
        give_up: called, in a thread, with what is to be said; the process ends when it returns.
    """
    if seconds is None:
        yield
        return
    main = threading.get_ident()

    def last_resort() -> None:
        if not over.wait(seconds + LAST_RESORT):
            found = where_loop(main)
            at = "" if found is None else f" at {found}"
            give_up(
                "It took longer than --timeout allows, and can't be stopped: the event loop is "
                f"blocked{at}."
            )

    over = threading.Event()
    threading.Thread(target=last_resort, name="lifespan last resort", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def trial_run(
    lifespan: Lifespan,
    service_type: str | None,
    *,
    repeat: int = 1,
    timeout: float | None = None,
    begins: Callable[[int], None] = lambda number: None,
    tidy: Callable[[], None] = lambda: None,
) -> TrialRun:
    """Start a plan and stop it, as often as is asked for, each time on a loop of its own.

    What the system holds open afterwards is asked for once more, with the hooks started one after
    the other.

    Args:
        lifespan: where the hooks were declared.
        service_type: whose plan it is; None: as the settings say.
        repeat: how many times.
        timeout: seconds for all of it; what is running then is stopped. None: no limit.
        begins: called before each run with its number from 1 on, that one more run included.
        tidy: called after each run, to close what is the process's own and no hook's.

    Raises:
        PlanError: the plan can't be made.
    """
    give_up_at = None if timeout is None else lifespan.adapter.clock() + timeout
    reports: list[Report] = []
    left: list[Leak] = []
    failure = ""
    not_waited_for: frozenset[str] = frozenset()
    before = descriptors()
    opened: set[Descriptor] = set()
    with Watch() as watch:
        for number in range(1, repeat + 1):
            begins(number)
            run = Once(lifespan, service_type, watch, give_up_at)
            asyncio.run(run.through())
            tidy()
            reports.append(run.report)
            failure = run.failure
            not_waited_for = run.not_waited_for
            left += [*run.left, *watch.left_threads(run.hung)]
            if failure:
                break
            if number == 1:
                gc.collect()
                opened = descriptors() - before
        if opened and not failure:
            begins(repeat + 1)
            left += told(lifespan, service_type, watch, give_up_at, opened, tidy)
    return TrialRun(tuple(reports), tuple(dict.fromkeys(left)), failure, not_waited_for)


class Once:
    """One start and stop of a plan; in between, what the startup does not wait for comes up.

    Args:
        lifespan: where the hooks were declared.
        service_type: whose plan it is.
        watch: notes what begins in it.
        give_up_at: when to stop what is running, by the host's clock.
        one_by_one: whether the hooks start one after the other.
    """

    def __init__(
        self,
        lifespan: Lifespan,
        service_type: str | None,
        watch: Watch,
        give_up_at: float | None,
        *,
        one_by_one: bool = False,
    ) -> None:
        self._lifespan = lifespan
        self._service_type = service_type
        self._watch = watch
        self._give_up_at = give_up_at
        self._one_by_one = one_by_one
        self.left: list[Leak] = []
        self.failure = ""
        self.hung: dict[int, str] = {}
        self.not_waited_for: frozenset[str] = frozenset()
        self.report: Report

    async def through(self) -> None:
        """Start and stop, and look for what is left on the loop."""
        self._watch.watch_loop()
        before = asyncio.all_tasks()
        run = self._prepare()
        seconds = None
        if self._give_up_at is not None:
            seconds = max(0.0, self._give_up_at - self._lifespan.adapter.clock())
        try:
            async with asyncio.timeout(seconds):
                await self._start_and_stop(run)
        except TimeoutError:
            self.failure = self.failure or "It took longer than --timeout allows, and was stopped."
        if run.stop_errors and not self.failure:
            self.failure = shutdown_message(run)
        self.report = run.report()
        self.not_waited_for = frozenset(
            hook_run.node.key for hook_run in run.hook_runs if hook_run.non_blocking
        )
        self.hung = {
            thread: hook_run.node.key
            for hook_run in run.hook_runs
            if hook_run.abandoned and (thread := hook_run.execution.thread)
        }
        self.left = await self._watch.left_on_loop(before)

    def _prepare(self) -> Run:
        if not self._one_by_one:
            return self._lifespan.prepare(self._service_type, mode=Mode.CHECK)
        context = self._lifespan.adapter.context(self._service_type)
        plan = one_by_one(self._lifespan.plan(context.service_type))
        run = Run(self._lifespan, plan, context, mode=Mode.CHECK)
        self._lifespan.runs.append(run)
        return run

    async def _start_and_stop(self, run: Run) -> None:
        try:
            await run.start()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.failure = startup_message(run, error)
            return
        try:
            await run.warmed_up()
        except asyncio.CancelledError:
            await run.stop(quick=True, ended_by="cancelled")
            self.failure = service_message(run)
            if self.failure:
                # A job that has crashed asks for the stop: on_crash="stop".
                return
            raise
        self.failure = service_message(run)
        await run.stop(ended_by=ENDED_BY)


def one_by_one(plan: Plan) -> Plan:
    """Return a plan in which each hook waits for the one before it, and the startup for all."""
    chain: list[Node] = []
    for node in plan.nodes:
        options = node.options
        if not options.wait:
            # No limit but its own was meant for it, and none shall be.
            options = options._replace(wait=True, timeout=options.timeout or math.inf)
        waits = node.waits
        if chain and all(wait.node != chain[-1].index for wait in waits):
            waits += (Wait(chain[-1].index, Reason.WRITTEN, "one by one", hard=False),)
        chain.append(node._replace(options=options, waits=waits))
    return Plan(plan.service_type, chain, plan.excluded)


class Opening(Observer):
    """Notes which hook has opened what, while hooks start one by one."""

    def __init__(self) -> None:
        self.by_hook: dict[Descriptor, str] = {}
        self._before = descriptors()

    def step_changed(self, report: Report, step: Step) -> None:
        """Take note of what is open when a hook begins, and when it has started or stopped."""
        now = descriptors()
        if step.outcome is not None:
            for descriptor in now - self._before:
                self.by_hook.setdefault(descriptor, step.key)
        self._before = now


def told(
    lifespan: Lifespan,
    service_type: str | None,
    watch: Watch,
    give_up_at: float | None,
    opened: set[Descriptor],
    tidy: Callable[[], None],
) -> Sequence[Leak]:
    """Run the plan once more, one hook at a time, and tell what each leaves open.

    Args:
        lifespan, service_type, watch, give_up_at: as for ``Once``.
        opened: what is open since the first run.
        tidy: as for ``trial_run``.
    """
    before = descriptors()
    opening = Opening()
    observers = lifespan.adapter.observers
    observers.append(opening)
    try:
        run = Once(lifespan, service_type, watch, give_up_at, one_by_one=True)
        asyncio.run(run.through())
    finally:
        if opening in observers:
            observers.remove(opening)
    tidy()
    watch.left_threads(run.hung)
    gc.collect()
    again = descriptors() - before
    by_hook = [leftover_of(one, opening.by_hook[one]) for one in again if one in opening.by_hook]
    # What the first run has left is of the same hooks; what there is more of can't be told.
    known = Counter(leftover.kind for leftover in by_hook)
    untold = []
    for leftover in (leftover_of(one, "") for one in opened & descriptors()):
        if known[leftover.kind]:
            known[leftover.kind] -= 1
        else:
            untold.append(leftover)
    return [*by_hook, *untold]
