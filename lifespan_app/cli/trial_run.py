"""A trial run: a plan is started and stopped, measured, and searched for leaks."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from lifespan_app.engine.error_text import masked
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

from .leaks import Descriptor, Leak, Watch, descriptors, leak_of

ENDED_BY = "checklifespan --run"
LAST_RESORT = 5.0
"""Seconds for a trial run to stop after its time limit: a quick stop takes at most 3."""


class TrialRun(NamedTuple):
    """The results of all runs."""

    reports: tuple[Report, ...]
    """One report per run."""
    left_behind: tuple[Leak, ...]
    failure: str
    """The message of a failed startup or shutdown, as for a server, or of a failed hook with
    ``wait=False``; "" without a failure."""
    not_waited_for: frozenset[str] = frozenset()
    """The keys of the hooks that the startup does not wait for."""

    @property
    def last(self) -> Report:
        """The report of the last run."""
        return self.reports[-1]

    def startup(self) -> list[float]:
        """Return the seconds of each startup."""
        return [report.startup_duration or 0.0 for report in self.reports]

    def shutdown(self) -> list[float]:
        """Return the seconds of each shutdown."""
        return [report.shutdown_duration or 0.0 for report in self.reports]

    def measured(self) -> list[Measured]:
        """Return the times of each hook, in the order of the plan."""
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

    def failed_steps(self) -> list[Step]:
        """Return the failed and skipped steps, one per hook."""
        wrong: dict[str, Step] = {}
        for report in self.reports:
            for step in report.steps:
                if step.outcome not in (None, Outcome.OK, Outcome.FINISHED, Outcome.CANCELLED):
                    wrong.setdefault(step.key, step)
        return list(wrong.values())


class Measured(NamedTuple):
    """The times of one hook in seconds, one per run."""

    key: str
    starts: list[float]
    stops: list[float]
    on_chain: set[str]
    """The phases whose longest chain contains it."""
    wait: bool = True
    """True if the startup waits for it."""

    @property
    def start(self) -> float | None:
        """The median of its starts; None without starts."""
        return median(self.starts) if self.starts else None

    @property
    def stop(self) -> float | None:
        """The median of its stops; None without stops."""
        return median(self.stops) if self.stops else None


@contextmanager
def bounded(seconds: float | None, give_up: Callable[[str], None]) -> Iterator[None]:
    """End the process if a block exceeds its time limit because the event loop is blocked.

    Args:
        seconds: the time limit of the block; None: no limit.
        give_up: called in a thread with the message; it must end the process.
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
    clean_up: Callable[[], None] = lambda: None,
) -> TrialRun:
    """Start a plan and stop it, several times, each time on a new event loop.

    If descriptors were left open, one more run starts the hooks one after the other, to find the
    hook that opened each of them.

    Args:
        lifespan: the registry of the hooks.
        service_type: the service type of the plan; None: that of the settings.
        repeat: the number of runs.
        timeout: seconds for all runs; then running hooks are stopped. None: no limit.
        begins: called before each run with its number from 1 on, also before the additional run.
        clean_up: called after each run, to close objects of the process that belong to no hook.

    Raises:
        PlanError: the plan can't be built.
    """
    deadline = None if timeout is None else lifespan.adapter.clock() + timeout
    reports: list[Report] = []
    left: list[Leak] = []
    failure = ""
    not_waited_for: frozenset[str] = frozenset()
    before = descriptors()
    opened: set[Descriptor] = set()
    with Watch().watching_threads() as watch:
        for number in range(1, repeat + 1):
            begins(number)
            run = SingleRun(lifespan, service_type, watch, deadline)
            asyncio.run(run.execute())
            clean_up()
            reports.append(run.report)
            failure = run.failure
            not_waited_for = run.not_waited_for
            left += [*run.leaks, *watch.left_threads(run.hanging)]
            if failure:
                break
            if number == 1:
                gc.collect()
                opened = descriptors() - before
        if opened and not failure:
            begins(repeat + 1)
            left += leaked_descriptors(lifespan, service_type, watch, deadline, opened, clean_up)
    shown = dict.fromkeys(leak._replace(what=masked(leak.what)) for leak in left)
    return TrialRun(tuple(reports), tuple(shown), failure, not_waited_for)


@dataclass
class SingleRun:
    """One start and stop of a plan. The stop waits for hooks with ``wait=False``."""

    lifespan: Lifespan
    service_type: str | None
    watch: Watch
    deadline: float | None
    """The time at which running hooks are stopped, by the adapter's clock."""
    one_by_one: bool = False
    """True if the hooks start one after the other."""
    leaks: list[Leak] = field(default_factory=list)
    failure: str = ""
    hanging: dict[int, str] = field(default_factory=dict)
    """The keys of hanging hooks, by the id of their thread."""
    not_waited_for: frozenset[str] = frozenset()
    report: Report = field(init=False)

    async def execute(self) -> None:
        """Start and stop the plan, and collect the leaks of the event loop."""
        self.watch.watch_loop()
        before = asyncio.all_tasks()
        run = self._prepare()
        seconds = None
        if self.deadline is not None:
            seconds = max(0.0, self.deadline - self.lifespan.adapter.clock())
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
        self.hanging = {
            thread: hook_run.node.key
            for hook_run in run.hook_runs
            if hook_run.abandoned and (thread := hook_run.execution.thread)
        }
        self.leaks = await self.watch.left_on_loop(before)

    def _prepare(self) -> Run:
        if not self.one_by_one:
            return self.lifespan.prepare(self.service_type, mode=Mode.CHECK)
        context = self.lifespan.adapter.context(self.service_type)
        plan = one_by_one(self.lifespan.plan(context.service_type, mode=Mode.CHECK))
        run = Run(self.lifespan, plan, context, mode=Mode.CHECK)
        self.lifespan.runs.append(run)
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
                # A crashed job with on_crash="stop" has requested the stop.
                return
            raise
        self.failure = service_message(run)
        await run.stop(ended_by=ENDED_BY)


def one_by_one(plan: Plan) -> Plan:
    """Return a plan whose hooks start one after the other, and whose startup waits for all."""
    chain: list[Node] = []
    for node in plan.nodes:
        options = node.options
        if not options.wait:
            # STARTUP_DEADLINE does not apply to a hook with wait=False.
            options = options._replace(wait=True, timeout=options.timeout or math.inf)
        waits = node.waits
        if chain and all(wait.node != chain[-1].index for wait in waits):
            waits += (Wait(chain[-1].index, Reason.WRITTEN, "one by one", hard=False),)
        chain.append(node._replace(options=options, waits=waits))
    return Plan(plan.service_type, chain, plan.excluded)


class DescriptorObserver(Observer):
    """Record the hook that opens each descriptor, while hooks start one by one."""

    def __init__(self) -> None:
        self.by_hook: dict[Descriptor, str] = {}
        self._before = descriptors()

    def step_changed(self, report: Report, step: Step) -> None:
        """Compare the open descriptors before and after each step."""
        now = descriptors()
        if step.outcome is not None:
            for descriptor in now - self._before:
                self.by_hook.setdefault(descriptor, step.key)
        self._before = now


def leaked_descriptors(
    lifespan: Lifespan,
    service_type: str | None,
    watch: Watch,
    deadline: float | None,
    opened: set[Descriptor],
    clean_up: Callable[[], None],
) -> Sequence[Leak]:
    """Run the plan once more, one hook at a time, and return the open descriptors of each hook.

    Args:
        lifespan, service_type, watch, deadline: as for ``SingleRun``.
        opened: the descriptors that are open since the first run.
        clean_up: as for ``trial_run``.
    """
    before = descriptors()
    opening = DescriptorObserver()
    observers = lifespan.adapter.observers
    observers.append(opening)
    try:
        run = SingleRun(lifespan, service_type, watch, deadline, one_by_one=True)
        asyncio.run(run.execute())
    finally:
        if opening in observers:
            observers.remove(opening)
    clean_up()
    watch.left_threads(run.hanging)
    gc.collect()
    again = descriptors() - before
    by_hook = [leak_of(one, opening.by_hook[one]) for one in again if one in opening.by_hook]
    # The first run has leaked for the same hooks. The hook of any further leak is unknown.
    known = Counter(leak.kind for leak in by_hook)
    unknown = []
    for leak in (leak_of(one, "") for one in opened & descriptors()):
        if known[leak.kind]:
            known[leak.kind] -= 1
        else:
            unknown.append(leak)
    return [*by_hook, *unknown]
