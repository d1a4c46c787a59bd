"""The runner: takes a plan through startup, service and shutdown, on one event loop.

It is driven by events: a hook's own task or thread says that the hook came up or ended, one timer
says that a limit has passed, and countdowns along the graph say whose turn is next. Nothing polls.
"""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import reading
from .context import LifespanContext
from .current import here, remember
from .errors import HookError
from .graph import Graph
from .hooks import RESOURCE, Hook
from .jobs import Jobs
from .limits import Limits
from .logger import logger
from .notice import Notice, Signalled
from .plan import Gives, Plan
from .report import (
    IN_SERVICE,
    IN_SHUTDOWN,
    IN_STARTUP,
    Mode,
    Outcome,
    Readiness,
    Report,
    Status,
)
from .shutdown import Shutdown
from .startup import Startup
from .state import RunState
from .steps import report_of
from .telling import Telling
from .unit import DOWN, PENDING, STARTING, STOPPING, UP, Unit, named
from .workers import Workers

if TYPE_CHECKING:
    from .api import Lifespan
    from .checking import Checking
    from .progress import Progress
    from .stages import Stage

LAST_WRITE = 1.5
LAST_WRITE_AT_LEAST = 0.5
"""Seconds after the shutdown's deadline, and at least, that observers have for their last write."""

MOST_FAULTS = 3
"""How many faults of the engine's own a run may have before it ends without any order."""


class Run:
    """One start, service and stop of one process, on the loop that it is made on.

    Args:
        lifespan: where the hooks were declared.
        plan: what is to run.
        context: what the hooks are told about the process.
        server: name and version of the ASGI server; "" for one not known, None for no server.
        mode: how it came about; None: by whether there is a server.
        stages: edges of the run behind the hooks, in their order, such as receivers or an inner
            application's lifespan: entered when all hooks are up, before background jobs begin; left
            before those are stopped.
    """

    def __init__(
        self,
        lifespan: Lifespan,
        plan: Plan,
        context: LifespanContext,
        *,
        server: str | None = None,
        mode: str | None = None,
        stages: Iterable[Stage] = (),
    ) -> None:
        self.lifespan = lifespan
        self.context = context
        self.server = server
        self.mode = mode or (Mode.COMMAND if server is None else Mode.SERVER)
        self.run = self
        self.plan, self.host = lifespan.changed(plan)
        self.settings = self.host.settings()
        self.clock: Callable[[], float] = self.host.clock
        self.around_task = self.host.around_task
        self.uuid = str(uuid.uuid4())
        self.pid = os.getpid()
        self.inherited = False
        self.loop = asyncio.get_running_loop()
        self.loop_thread = threading.get_ident()
        self.loop_runs: Callable[[], bool] = self.loop.is_running
        self.state = RunState(self)

        self.phase = IN_STARTUP
        self.status = Status.STARTING
        self.over = False
        self.ended_by = ""
        self.first_error: BaseException | None = None
        self.stop_errors: list[BaseException] = []
        self.started_at = self.host.time()
        self.ready_at: float | None = None
        self.stopping_at: float | None = None
        self.stopped_at: float | None = None
        self.began = self.clock()
        self.up_at: float | None = None
        self.stop_began: float | None = None
        self.over_at: float | None = None

        self.stopping = Notice()
        """Set as soon as it is known that the run will stop."""
        self._signalled: Signalled | None = None

        self.graph = Graph(self, stages)
        self.units = self.graph.units
        self.jobs = Jobs(self, self.graph.jobs, self.graph.jobs_place)
        self.units_by_hook = {unit.hook: unit for unit in self.units if unit.hook}
        self.units_by_name = {
            unit.node.state_name: unit
            for unit in self.units
            if unit.hook and unit.hook.kind is RESOURCE
        }
        self.serving: dict[Hook | str, Any] = {}
        """What can be read without asking how things stand, by hook and by state name: filled
        only while the run serves."""
        self.limits = Limits(self)
        self.telling = Telling(self, self.host.observers)
        self.checking: Checking | None = None
        """Made when somebody first asks for the health of what is open."""
        self.progress: dict[Unit, Progress] = {}
        """How far hooks have said to be."""
        self.some_crashed = False
        self._judged: Readiness | None = None
        self.queue: deque[tuple[Callable[[Unit], None], Unit]] = deque()
        """What has become possible: what is to be done, and with which hook."""
        self._proceeding = False
        self._faults = 0
        self.startup = Startup(self)
        self.shutdown = Shutdown(self)
        self.workers = Workers(self)
        self._begun = False
        self._owner: asyncio.Task[Any] | None = None
        self._sentinel: asyncio.Task[None] | None = None
        self._decided: asyncio.Future[None] = self.loop.create_future()
        self._ended: asyncio.Future[None] = self.loop.create_future()
        remember(self)

    # What hooks and requests read.

    def read(self, hook: Hook) -> Any:
        """Return the value of a resource. Raises a ``ReadError`` that says why there is none."""
        unit = self.units_by_hook.get(hook)
        if unit is None:
            raise reading.not_in_plan(self, hook)
        return self._read(unit)

    def read_name(self, name: str) -> Any:
        """Return the value of the resource with a state name. Raises a ``ReadError``."""
        unit = self.units_by_name.get(name)
        if unit is None:
            raise reading.no_such_name(self, name)
        return self._read(unit)

    def _read(self, unit: Unit) -> Any:
        inside = here.get()
        if (
            inside is not None
            and inside.run is self
            and isinstance(inside, Unit)
            and inside.running_now
            and not reading.has_asked(inside, unit)
        ):
            raise reading.undeclared(inside, unit)
        if unit.state is not UP or self.inherited:
            # A hook that stops may still use what it asked for, and that is up until then.
            raise reading.not_open(unit)
        if unit.on_loop:
            loop = asyncio._get_running_loop()
            if loop is not None and loop is not self.loop:
                raise reading.wrong_loop(unit, loop)
        return unit.value

    def open_names(self) -> dict[str, Unit]:
        """Return the state names of the resources that are up."""
        if self.inherited:
            return {}
        return {name: unit for name, unit in self.units_by_name.items() if unit.state is UP}

    @property
    def readiness(self) -> Readiness:
        """Whether requests may come; if not, why. Nothing else judges that."""
        if self.over:
            return Readiness.STOPPED
        if self.phase is not IN_SERVICE:
            return Readiness.STARTING if self.phase is IN_STARTUP else Readiness.STOPPING
        if self.stopping.is_set():
            return Readiness.STOPPING
        if self.some_crashed and any(
            unit.serving_outcome is Outcome.CRASHED and unit.node.required for unit in self.units
        ):
            return Readiness.CRASHED
        if self.startup.aside:
            required = [unit for unit in self.startup.aside if unit.node.required]
            if any(unit.error is not None for unit in required):
                return Readiness.WARM_UP_FAILED
            if not all(unit.settled for unit in required):
                return Readiness.WARMING_UP
        failing = self.checking.failing() if self.checking is not None else ()
        if any(said.unit.node.required for said in failing):
            return Readiness.CHECK_FAILED
        whole = self.status is not Status.DEGRADED and not failing
        return Readiness.OK if whole else Readiness.DEGRADED

    async def check(self) -> None:
        """Have the checks of the open resources say how these are. On the run's own loop."""
        if self.checking is None:
            from .checking import Checking

            self.checking = Checking(self)
        if self.phase is IN_SERVICE:
            await self.checking.ask()

    def report(self) -> Report:
        """Return what the run has done so far."""
        return report_of(self).complete()

    # Startup.

    async def start(self) -> None:
        """Start every hook, begin background jobs, and serve.

        Raises:
            BaseException: the first error, as the hook raised it; what was up has been stopped.
            HookError: a limit has passed; what was up has been stopped.
            asyncio.CancelledError: the caller was cancelled; what was up has been stopped.
        """
        self._begun = True
        self._owner = asyncio.current_task()
        self._sentinel = self.loop.create_task(self._watch_loop(), name="lifespan sentinel")
        self.guarded(self._begin)
        cancelled = await self._until(self._decided)
        if cancelled is not None:
            await self._stop_however(quick=True, ended_by="cancelled")
            raise cancelled
        if self.phase is IN_SERVICE:
            return
        cancelled = await self._until_over()
        if cancelled is not None:
            raise cancelled
        if self.first_error is not None:
            raise self.first_error
        raise HookError(f"The startup was given up: {self.ended_by}.")

    def _begin(self) -> None:
        self.telling.capture(True)
        self.telling.warn_of_server_hooks()
        self.limits.begin_startup()
        self.telling.status_changed()
        self.startup.begin()
        self.proceed()

    def serve(self) -> None:
        """Take note that every hook is settled that the startup waits for: the process serves."""
        self.up_at = self.clock()
        self.ready_at = self.host.time()
        self.limits.end_startup()
        self.telling.capture(bool(self.jobs.units) or self.startup.warming_up)
        self.phase = IN_SERVICE
        self.telling.phase_begins()
        for name, unit in self.open_names().items():
            self.serving[unit.hook] = self.serving[name] = unit.value
        self.jobs.begin()
        self.judge_service()
        if self.server is not None and self.settings.shutdown_notice:
            self._signalled = Signalled(self, self.settings.drain_seconds)
            self._signalled.begin()
        self._decide()

    def judge_service(self) -> None:
        """Say whether the process serves whole or degraded, where that has changed."""
        if self.phase is IN_SERVICE:
            status = Status.DEGRADED if any(unit.failed for unit in self.units) else Status.SERVING
            if status is not self.status:
                self.status = status
            elif self.readiness is self._judged:
                return
            self._judged = self.readiness
            self.telling.status_changed()

    def fail(self, error: BaseException) -> None:
        """Give the startup up for an error: stop what is up, in reverse."""
        if self.phase is IN_STARTUP:
            self.first_error = error
            self.status = Status.STARTUP_FAILED
            self._roll_back("startup failed")

    def _roll_back(self, ended_by: str, *, quick: bool = False) -> None:
        self.phase = IN_SHUTDOWN
        self.up_at = self.clock()
        self.ended_by = ended_by
        if self.first_error is None:
            self.status = Status.STOPPING
        self.limits.begin_rollback(quick=quick)
        self.startup.give_up("the startup was given up before its turn")
        self.shutdown.begin()
        self._decide()

    def _decide(self) -> None:
        if not self._decided.done():
            self._decided.set_result(None)

    # While serving.

    def settled_late(self, unit: Unit) -> None:
        """Take note that a hook has settled which the startup has not waited for."""
        if self.phase is IN_SERVICE:
            if unit.state is UP:
                self.opened_late(unit)
            if not self.startup.warming_up:
                self.limits.end_startup()
                self.telling.capture(bool(self.jobs.units))
            self.judge_service()

    def opened_late(self, unit: Unit) -> None:
        """Let what has come up while the process serves be read; begin a job whose turn it was."""
        if unit.is_job:
            self.jobs.begin_one(unit)
        elif unit.hook.kind is RESOURCE:
            self.serving[unit.hook] = self.serving[unit.node.state_name] = unit.value

    def crashed(self, unit: Unit, error: BaseException | None) -> None:
        """Take note that a job, or a resource's own tasks, have ended while serving."""
        if error is None:
            error = HookError(f"{unit} ended by itself while the process was serving.")
        unit.state = DOWN
        self.serving.pop(unit.hook, None)
        self.serving.pop(unit.node.state_name, None)
        unit.served_from = unit.served_from or unit.ended
        unit.served_to = self.clock()
        unit.crashed_at = self.host.time()
        unit.serving_outcome = Outcome.CRASHED
        unit.serving_error = named(unit, error, "while serving")
        if self.telling.of_steps:
            self.telling.step(unit, IN_SERVICE)
        self.telling.hook_failed(unit, IN_SERVICE, unit.serving_error)
        self.some_crashed = True
        if unit.node.required and not unit.aside:
            self.fail(unit.serving_error)
        self.judge_service()

    def ask_to_stop(self) -> None:
        """Ask whoever runs this process to stop it: the server, or the body of ``run()``."""
        if self.server is None and self._owner is not None and not self._owner.done():
            self._owner.cancel()
        else:
            self.host.stop_server(self.server)

    # Shutdown.

    def notice(self, by: str) -> None:
        """Take note, while the process serves, that it will be stopped; it serves on meanwhile.

        Args:
            by: what tells so, for the log.
        """
        if self.phase is not IN_SERVICE or self.stopping.is_set():
            return
        self.stopping.set()
        self.telling.stop_is_known(by)
        self.telling.capture(True)
        self.judge_service()
        for unit in self.graph.drains:
            if unit.state is UP:
                self.shutdown.stop(unit)
        self.proceed()

    async def stop(self, *, quick: bool = False, ended_by: str = "shutdown") -> None:
        """Stop every hook in reverse, and wait until all is over. A second call joins the first.

        Args:
            quick: stop within 3 seconds in all, 1 second a hook.
            ended_by: what ended the run, for the report.

        Raises:
            asyncio.CancelledError: the caller was cancelled; the stop has been finished first.
        """
        cancelled = await self._stop_however(quick=quick, ended_by=ended_by)
        if cancelled is not None:
            raise cancelled

    async def _stop_however(self, *, quick: bool, ended_by: str) -> asyncio.CancelledError | None:
        self.guarded(self._begin_stop, quick, ended_by)
        return await self._until_over()

    def _begin_stop(self, quick: bool, ended_by: str) -> None:
        if not self._begun:
            self._begun = True
            self.phase = IN_SHUTDOWN
            self.ended_by = ended_by
            self.finish()
        elif self.phase is IN_SERVICE:
            self.phase = IN_SHUTDOWN
            self.status = Status.STOPPING
            self.ended_by = ended_by
            self.limits.begin_shutdown(quick=quick)
            if self.startup.warming_up:
                self.startup.give_up("the process was stopped before its turn")
            self.shutdown.begin()
        elif self.phase is IN_STARTUP:
            self._roll_back(ended_by, quick=quick)
        elif quick:
            self.limits.hurry()
        self.proceed()

    def finish(self) -> None:
        """End the run, whatever has not ended."""
        if self.over:
            return
        self.over = True
        self.over_at = self.clock()
        self.stopped_at = self.host.time()
        self.stopping.set()
        if self._signalled is not None:
            self._signalled.end()
        self.limits.close()
        self.telling.end()
        self.workers.close()
        if self.first_error is None:
            self.status = Status.SHUTDOWN_FAILED if self.stop_errors else Status.STOPPED
        for unit in self.units:
            unit.value = None
        self.lifespan.forget(self)
        writes = self.telling.run_ended(self._time_to_write())
        if writes is None:
            self._leave()
        else:
            self._writing = self.loop.create_task(writes, name="lifespan last write")
            self._writing.add_done_callback(lambda _: self._leave())

    def _time_to_write(self) -> float:
        begun = self.stop_began if self.stop_began is not None else self.clock()
        left = begun + self.settings.shutdown_deadline + LAST_WRITE - self.clock()
        return max(LAST_WRITE_AT_LEAST, left)

    def _leave(self) -> None:
        self._decide()
        if not self._ended.done():
            self._ended.set_result(None)
        if self._sentinel is not None:
            self._sentinel.cancel()

    # What the hooks ask, and report.

    def arguments_of(self, unit: Unit) -> dict[str, Any]:
        """Return what the parameters of a hook are given."""
        given: dict[str, Any] = {}
        for argument in unit.node.arguments:
            if argument.gives is Gives.RESOURCE:
                target = self.units[argument.node]
                if target.state is UP:
                    given[argument.name] = target.value
            elif argument.gives is Gives.CONTEXT:
                given[argument.name] = self.context
            else:
                given[argument.name] = self.state
        return given

    def lost(self, unit: Unit) -> Unit | None:
        """Return what a hook needs and that is no longer up, if anything."""
        for wait in unit.node.waits:
            if wait.hard and self.units[wait.node].state is not UP:
                return self.units[wait.node]
        return None

    def ended(self, unit: Unit, error: BaseException | None, at: float | None = None) -> None:
        """Take note that the task or thread of a hook has ended, at a time or now."""
        if not unit.abandoned:
            self.guarded(self._settle_ended, unit, error, at, unit=unit)

    def _settle_ended(self, unit: Unit, error: BaseException | None, at: float | None) -> None:
        if at is None:
            at = self.clock()
        unit.task = None
        unit.holds = False
        if unit.is_job:
            self.jobs.ended(unit, error)
        elif unit.state is STARTING:
            self.startup.ended(unit, error, at)
        elif unit.state is STOPPING:
            self.shutdown.ended(unit, error, at)
        elif unit.state is UP:
            self.crashed(unit, error)
        self.proceed()

    # The loop.

    def proceed(self) -> None:
        """Do what has become possible. Calls from within are left to the outermost one."""
        if self._proceeding or not self.queue:
            return
        self._proceeding = True
        try:
            while self.queue:
                action, unit = self.queue.popleft()
                self.guarded(action, unit, unit=unit)
        finally:
            self._proceeding = False

    # Faults of the engine's own.

    def guarded(self, call: Callable[..., None], *args: Any, unit: Unit | None = None) -> None:
        """Take a step of the run. An error in the step itself fails the run instead of hanging it.

        Args:
            call: the step.
            args: what it is called with.
            unit: the hook that the step is about.
        """
        try:
            call(*args)
        except BaseException as error:
            self._fault(error, unit)

    def _fault(self, error: BaseException, unit: Unit | None) -> None:
        logger.error(
            "A fault in lifespan_app itself, at %s. Please report it.", unit or self, error=error
        )
        self._faults += 1
        if self._faults > MOST_FAULTS:
            self._end_at_once()
            return
        try:
            self._fail_for_fault(error, unit)
            self.proceed()
        except BaseException:
            self._end_at_once()

    def _fail_for_fault(self, error: BaseException, unit: Unit | None) -> None:
        if unit is not None and unit.task is None and unit.state is not PENDING:
            unit.state = DOWN
        if self.phase is IN_STARTUP:
            if unit is not None and unit.outcome is None:
                unit.outcome, unit.error = Outcome.FAILED, error
            self.fail(error)
        elif self.phase is IN_SHUTDOWN:
            self.stop_errors.append(error)
            if self.over:
                self._let_go()
        elif not self._decided.done():
            # It was about to serve: nobody has been told so yet.
            self.first_error = error
            self.status = Status.STARTUP_FAILED
            self._roll_back("startup failed")
        elif unit is not None:
            unit.serving_outcome, unit.serving_error = Outcome.CRASHED, error
            self.some_crashed = True
            self.judge_service()

    def _end_at_once(self) -> None:
        """End the run without order: the engine can't be relied on any more."""
        for unit in self.units:
            unit.abandoned = True
            if unit.task is not None:
                unit.task.cancel()
        self.over = True
        self._let_go()

    def _let_go(self) -> None:
        """Give back what the run holds of the process, whatever of it was given back before."""
        for step in (self.limits.close, self.telling.end, self.workers.close):
            with suppress(BaseException):
                step()
        self.lifespan.forget(self)
        self._leave()

    def loop_is_ending(self) -> bool:
        """Tell whether every task of the loop is being cancelled, as ``asyncio.run`` does."""
        sentinel = self._sentinel
        return sentinel is not None and not self.over and sentinel.cancelling() > 0

    async def _watch_loop(self) -> None:
        try:
            await self.loop.create_future()
        except asyncio.CancelledError:
            if not self._ended.done():
                await self._stop_however(quick=True, ended_by="the event loop ended")
            raise

    async def _until(self, future: asyncio.Future[None]) -> asyncio.CancelledError | None:
        """Wait for a future; return the caller's cancellation if that comes first."""
        try:
            if not future.done():
                await asyncio.wait({future})
        except asyncio.CancelledError as cancelled:
            return cancelled
        return None

    async def _until_over(self) -> asyncio.CancelledError | None:
        """Wait until all is over, whatever happens; return the first cancellation, if any."""
        first: asyncio.CancelledError | None = None
        while not self._ended.done():
            cancelled = await self._until(self._ended)
            if cancelled is not None:
                first = first or cancelled
                self.limits.hurry()
        return first

    def __str__(self) -> str:
        return f"run {self.uuid[:8]} ({self.context.service_type}, {self.status})"

    def __repr__(self) -> str:
        return f"<{self}>"
