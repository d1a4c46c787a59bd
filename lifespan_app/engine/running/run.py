"""A run: one start, service and stop of one process, as the rest of the package sees it."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVarTuple

from lifespan_app.engine.context import LifespanContext
from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.error_text import one_line
from lifespan_app.engine.errors import HookError, LifespanError
from lifespan_app.engine.planning.plan import Gives, Plan
from lifespan_app.engine.reporting.journal import Entry, Journal, Snapshot
from lifespan_app.engine.reporting.log_capture import LogSink
from lifespan_app.engine.reporting.observers import Observers, wait_for_writes
from lifespan_app.engine.reporting.report import (
    IN_SERVICE,
    IN_SHUTDOWN,
    IN_STARTUP,
    Facts,
    JobReport,
    Mode,
    Observer,
    Phase,
    Readiness,
    Report,
    Status,
    Unwell,
)
from lifespan_app.engine.settings import Settings

from .beats import Beats
from .current import remember
from .deadlines import Limits
from .driver import Driver
from .executor import Executor
from .graph import Graph
from .hook_run import UP, HookRun
from .log_sink import log_capture
from .resources import Resources
from .run_log import (
    log_abandoned,
    log_given_up,
    log_hangs,
    log_leads,
    log_lost,
    log_stalled,
    log_stands_by,
    log_stop_is_known,
    log_stops_server,
    log_tried_again,
    warn_of_server_hooks,
)
from .scheduler import Do, Scheduler
from .shutdown_event import SIGNALS, ShutdownEvent
from .slow_hooks import SlowHooks
from .stages import Stage
from .state import RunState

if TYPE_CHECKING:
    from .current import OpensRuns
    from .health_check import CheckResult
    from .spawned import Spawned
    from .turns import Turns

Ts = TypeVarTuple("Ts")

LAST_WRITE = 1.5
LAST_WRITE_AT_LEAST = 0.5
"""Seconds that observers have for their last write: after the shutdown's deadline, and at least."""


spawning = threading.RLock()
"""Held while the place for the spawned functions of a run is made: any thread may spawn the first.

A signal handler or a finalizer may do so in the midst of it, in the same thread."""


class Waited:
    """Futures for waiting tasks: the run serves or has failed, it has ended, it is warm.

    Args:
        loop: the run's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.decided: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()
        self.warm: asyncio.Future[None] = loop.create_future()
        self.owner: asyncio.Task[Any] | None = None
        """The task that has started the run."""
        self.sentinel: asyncio.Task[None] | None = None
        """Is cancelled when the loop ends."""
        self.writing: asyncio.Task[None] | None = None
        """The observers' last writes."""
        self.rounds: dict[HookRun, asyncio.Future[None]] = {}
        """The awaited rounds of jobs."""

    def is_ending(self) -> bool:
        """Return True if every task of the loop is being cancelled."""
        return self.sentinel is not None and self.sentinel.cancelling() > 0


class Run:
    """One start, service and stop of one process, on the loop that it is made on.

    Args:
        lifespan: the ``Lifespan`` that has declared the hooks.
        plan: the hooks to run.
        context: the hooks' context.
        server: name and version of the ASGI server; "" if it is unknown, None without one.
        mode: the way it was opened; None: by a server if there is one.
        stages: edges of the run behind the hooks, in their order, such as receivers or an inner
            application's lifespan: entered when all hooks are up, before background jobs begin; left
            before those are stopped.
        settings: the settings; None: they are read now.
        is_inner: whether it is used only inside the block that has opened it.
    """

    def __init__(
        self,
        lifespan: OpensRuns,
        plan: Plan,
        context: LifespanContext,
        *,
        server: str | None = None,
        mode: str | None = None,
        stages: Iterable[Stage] = (),
        settings: Settings | None = None,
        is_inner: bool = False,
    ) -> None:
        self.lifespan = lifespan
        self.context = context
        self.plan, self.adapter = lifespan.changed(plan)
        self.is_inner = is_inner
        self.settings = settings or self.adapter.settings()
        mode = mode or (Mode.COMMAND if server is None else Mode.SERVER)
        if not self.adapter.takes_leases(mode):
            self.plan = self.plan.without_leases()
        if mode is Mode.TEST:
            # A test may read any resource at once.
            self.plan = self.plan.waiting_for_all()
        self.inherited = False
        """True if this process was forked from the run's process."""
        self.loop = asyncio.get_running_loop()
        self.loop_thread = threading.get_ident()
        self.loop_runs: Callable[[], bool] = self.loop.is_running
        self.stopping = ShutdownEvent()
        """Set as soon as it is known that the run will stop."""
        self.facts = Facts(
            str(uuid.uuid4()),
            context.service_type,
            context.environment,
            self.settings.release,
            mode,
            os.getpid(),
            server or "",
            self.adapter.time(),
            self.plan.excluded,
        )
        self.server = server
        graph = Graph(self, self.plan, stages, self.adapter.app_label)
        journal = Journal(self.plan.nodes, self.adapter.clock, self._job_reports(graph))
        self.resources = Resources(self, graph.hook_runs)
        self.serving = self.resources.serving
        self.state = RunState(self.resources, self)
        limits = Limits(
            self.adapter.startup_deadline(self.settings, server),
            self.settings.shutdown_timeout,
            self.settings.shutdown_deadline,
        )
        self._slow_hooks = SlowHooks(self)
        locate, advice = self._slow_hooks.locate, self.adapter.advice
        self.scheduler = Scheduler(graph, journal, limits, locate, self.adapter.random, advice)
        own_context = contextvars.copy_context()
        own_context.run(current_hook.set, self)
        self.driver = Driver(self.scheduler, self.adapter.clock, own_context)
        self._beats = Beats(self, own_context)
        self.executor = Executor(
            self.scheduler,
            self.driver.handle,
            self.adapter,
            self.loop_is_ending,
            {Gives.CONTEXT: context, Gives.STATE: self.state},
        )
        self._turns: Turns | None = None
        """The claims to leases; None until a hook has to claim one."""
        self.observers = Observers(self.adapter.observers)
        self.driver.carries_out(self._commands())
        self._waited = Waited(self.loop)
        self._spawned: Spawned | None = None
        remember(self)

    def _commands(self) -> dict[Do, Callable[..., None]]:
        """Return the function for each command of the scheduler."""
        return {
            Do.START: self.executor.start,
            Do.RELEASE: self.executor.release,
            Do.CANCEL: self.executor.cancel,
            Do.ABANDON: self._abandon,
            Do.STEP: self._tell_step,
            Do.FAILED: self._tell_failure,
            Do.STATUS: self._tell_status,
            Do.SERVE: self._serve,
            Do.STOP: self._begin_stop,
            Do.OPENED: self.opened_late,
            Do.CLOSED: self.resources.closed,
            Do.WARM: self._is_warm,
            Do.TRY_AGAIN: self._tell_attempt,
            Do.GIVEN_UP: log_given_up,
            Do.STALLED: log_stalled,
            Do.ROUND: self._round_has_ended,
            Do.HANGS: log_hangs,
            Do.CLAIM: self._claim,
            Do.GIVE_BACK: self._give_back,
            Do.LEADS: log_leads,
            Do.STANDS_BY: log_stands_by,
            Do.LOST: log_lost,
            Do.LOOK: self._look,
            Do.ASK_TO_STOP: self._ask_to_stop,
            Do.FINISH: self._finish,
        }

    def _job_reports(self, graph: Graph) -> Callable[[], tuple[JobReport, ...]]:
        """Return a function that reports the background jobs."""
        if not graph.jobs:
            return lambda: ()
        from .job_reports import JobReports  # not paid for without jobs

        return JobReports(graph.jobs, self.adapter)

    # Leases.

    def _claim(self, hook_run: HookRun) -> None:
        if self._turns is None:
            from .turns import Turns  # not paid for without a hook that runs once

            self._turns = Turns(
                self.adapter.leases,
                self.scheduler,
                self.driver.handle,
                self.context.environment,
                self.settings.release,
            )
        self._turns.claim(hook_run)

    def _give_back(self, hook_run: HookRun, still_runs: bool) -> None:
        if self._turns is not None:
            self._turns.give_back(hook_run, still_runs)

    # State.

    @property
    def run(self) -> Run:
        """Itself, as the owner of running code: a hook, or the body of ``lifespan.run()``."""
        return self

    @property
    def journal(self) -> Journal:
        """The events of the run."""
        return self.scheduler.journal

    @property
    def hook_runs(self) -> list[HookRun]:
        """Its hooks, jobs, stages and places, in the order of the plan."""
        return self.scheduler.graph.hook_runs

    @property
    def phase(self) -> Phase:
        """The phase that it is in."""
        return self.scheduler.phase

    @property
    def status(self) -> Status:
        """The status of the run."""
        return self.scheduler.status

    @property
    def over(self) -> bool:
        """True once it has ended."""
        return self.scheduler.over

    @property
    def is_up(self) -> bool:
        """True once its startup has ended."""
        return self.journal.up_at is not None

    @property
    def first_error(self) -> BaseException | None:
        """The cause of the failed startup."""
        return self.scheduler.first_error

    @property
    def stop_errors(self) -> list[BaseException]:
        """The causes of the failed shutdown."""
        return self.scheduler.stop_errors

    @property
    def readiness(self) -> Readiness:
        """Readiness for requests, or the reason against it."""
        return self.scheduler.readiness(
            stop_is_known=self.stopping.is_set(),
            failing=[result.hook_run for result in self._failing],
        )

    @property
    def _failing(self) -> list[CheckResult]:
        return self._beats.failing()

    @property
    def has_checks(self) -> bool:
        """True if a resource of its plan has a health check."""
        return any(one.hook is not None and one.hook.checks for one in self.hook_runs)

    async def check(self) -> None:
        """Run the health checks of the open resources. On the run's own loop."""
        await self._beats.check()

    def report(self) -> Report:
        """Return the report of the run so far. Any thread may call this."""
        return Report(self._facts_now(), self._snapshot())

    def _snapshot(self, now: float | None = None) -> Snapshot:
        startable, keep = self.scheduler.graph.startable, now is not None
        if now is None:
            now = self.adapter.clock()
        return self.journal.snapshot(startable, self._steps_that_go_on, now, keep=keep)

    def _steps_that_go_on(self) -> list[Entry]:
        if self.over:
            return []
        return [step for one in self.scheduler.deadlines.watched() if (step := one.step)]

    def _facts_now(self) -> Facts:
        journal, scheduler = self.journal, self.scheduler
        error = scheduler.first_error or next(iter(scheduler.stop_errors), None)
        return self.facts._replace(
            hooks_total=scheduler.graph.hooks_total,
            status=scheduler.status,
            readiness=self.readiness,
            failing=tuple(
                Unwell(node.key, Readiness.CHECK_FAILED, one_line(error), node.options.required)
                for node, error in ((one.hook_run.node, one.error) for one in self._failing)
            ),
            ended_by=scheduler.ended_by,
            error=one_line(error),
            startup_duration=since(journal.began, journal.up_at),
            shutdown_duration=since(journal.stop_began, journal.over_at),
            loop_blocks=self._slow_hooks.loop.count,
            longest_block=self._slow_hooks.loop.longest,
        )

    # Startup.

    async def start(self) -> None:
        """Start every hook, begin background jobs, and serve.

        Raises:
            BaseException: the first error, as the hook raised it; open hooks have been stopped.
            HookError: a limit has passed; open hooks have been stopped.
            asyncio.CancelledError: the caller was cancelled; open hooks have been stopped.
        """
        waited = self._waited
        waited.owner = asyncio.current_task()
        waited.sentinel = self.loop.create_task(self._watch_loop(), name="lifespan sentinel")
        self._capture(True)
        if self.server is not None:
            warn_of_server_hooks(self.lifespan.hooks, self.context, self.adapter)
        self.driver.handle(self._begin)
        cancelled = await until(waited.decided)
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
        raise HookError(f"The startup was given up: {self.scheduler.ended_by}.")

    def _begin(self, now: float) -> None:
        self._slow_hooks.begin(IN_STARTUP)
        self._tell_status(True)
        for observer in self.observers:
            self._beats.begin(observer)
        self.scheduler.begin(now, tells_steps=self.observers.phase_begins(IN_STARTUP))

    def _serve(self) -> None:
        """Allow reads of all open resources without further checks: the process serves."""
        self.facts = self.facts._replace(ready_at=self.adapter.time())
        warming_up = self.scheduler.warming_up
        if not warming_up:
            self._slow_hooks.end()
        self._capture(bool(self.scheduler.graph.jobs) or warming_up)
        watched = self.observers.phase_begins(IN_SERVICE)
        self.resources.serve()
        self.scheduler.service_begins(self.adapter.clock(), tells_steps=watched)
        if self.facts.mode != Mode.TEST:
            self._slow_hooks.loop.begin(self.loop)
        if self.server is not None and self.settings.shutdown_notice:
            SIGNALS.add(self, self.settings.drain_seconds)
        settle(self._waited.decided)

    # While serving.

    def opened_late(self, hook_run: HookRun) -> None:
        """Let a resource be read that has come up while the process serves."""
        self.resources.opened(hook_run)

    def _is_warm(self) -> None:
        if self.phase is IN_SERVICE:
            self._slow_hooks.end()
            self._capture(bool(self.scheduler.graph.jobs))
        settle(self._waited.warm)

    def leave_jobs_out(self) -> None:
        """Have background jobs begin only where ``round`` asks for it. Before the start."""
        for job in self.scheduler.graph.jobs:
            job.job.wait_for_requests()

    async def warmed_up(self) -> None:
        """Wait, while the process serves, until nothing starts any more, or the run stops."""
        if self.phase is IN_SERVICE and self.scheduler.warming_up:
            await asyncio.wait({self._waited.warm})

    def _ask_to_stop(self, job: HookRun) -> None:
        """Ask the server, or the body of ``run()``, to stop this process."""
        log_stops_server(job)
        owner = self._waited.owner
        if self.server is None and owner is not None and not owner.done():
            owner.cancel()
        else:
            self.adapter.stop_server(self.server)

    async def round(self, job: HookRun) -> None:
        """Run one round of a job, behind the one that runs now, and wait for its end. On the run's loop.

        Raises:
            BaseException: the error of the round.
            LifespanError: the run stops, or what the job needs has crashed.
        """
        if job.lives:
            await asyncio.wait({self._round_of(job)})
        before = job.job.rounds
        ended = self._round_of(job)
        self.driver.handle(self.scheduler.begin_round, job)
        await asyncio.wait({ended})
        if job.serving_error is not None and job.job.rounds > before:
            raise job.serving_error
        if job.job.rounds == before or job.state is not UP:
            raise LifespanError(f"No round of {job} could be run to its end: {self}.")

    def _round_of(self, job: HookRun) -> asyncio.Future[None]:
        return self._waited.rounds.setdefault(job, self.loop.create_future())

    def _round_has_ended(self, job: HookRun) -> None:
        ended = self._waited.rounds.pop(job, None)
        if ended is not None:
            settle(ended)

    def spawned(self) -> Spawned:
        """Return the functions that were spawned in it. Any thread may call this."""
        with spawning:
            if self._spawned is None:
                from .spawned import Spawned  # not paid for where nothing is spawned

                made = Spawned(self)
                self._spawned = self._spawned or made
            return self._spawned

    # Shutdown.

    def notice(self, by: str) -> None:
        """Announce the shutdown; the process serves on meanwhile.

        Args:
            by: the source, for the log.
        """
        if self.phase is IN_SERVICE and not self.stopping.is_set():
            self.stopping.set()
            log_stop_is_known(by)
            self._capture(True)
            self.driver.handle(self.scheduler.notice)

    async def stop(self, *, quick: bool = False, ended_by: str = "shutdown") -> None:
        """Stop every hook in reverse, and wait for the end. A second call joins the first.

        Args:
            quick: stop within 3 seconds in all, 1 second a hook.
            ended_by: the cause of the end, for the report.

        Raises:
            asyncio.CancelledError: the caller was cancelled; the stop has been finished first.
        """
        cancelled = await self._stop_however(quick=quick, ended_by=ended_by)
        if cancelled is not None:
            raise cancelled

    async def _stop_however(self, *, quick: bool, ended_by: str) -> asyncio.CancelledError | None:
        self.driver.handle(self.scheduler.stop, quick, ended_by)
        return await self._until_over()

    def _begin_stop(self) -> None:
        """Require checks for all reads again: the shutdown begins, or a rollback."""
        with spawning:
            spawned = self._spawned
        self.scheduler.graph.arm(None if spawned is None else spawned.close())
        self.serving.clear()
        self.stopping.set()
        self._beats.end_checks()
        self._slow_hooks.loop.end()
        self.facts = self.facts._replace(stopping_at=self.adapter.time())
        self._slow_hooks.begin(IN_SHUTDOWN)
        self._capture(True)
        watched = self.observers.phase_begins(IN_SHUTDOWN)
        self._tell_status(True)
        self.scheduler.shutdown_begins(self.adapter.clock(), tells_steps=watched)
        settle(self._waited.decided)

    def _abandon(self, hook_run: HookRun, how: str) -> None:
        self.executor.abandon(hook_run)
        log_abandoned(hook_run, how)

    def _finish(self) -> None:
        """End the run, even if a hook has not ended."""
        try:
            self._end()
        except BaseException:
            self.lifespan.forget(self)
            self._leave()
            raise

    def _end(self) -> None:
        self.stopping.set()
        self.facts = self.facts._replace(stopped_at=self.adapter.time())
        SIGNALS.remove(self)
        self.driver.close()
        self._slow_hooks.end()
        self._slow_hooks.loop.end()
        self._beats.end()
        self._capture(False)
        self.executor.close()
        if self._spawned is not None:
            self._spawned.leave_behind()
        self.lifespan.forget(self)
        report = self.report()
        self.observers.run_changed(report)
        seconds = self._time_to_write()
        writes = self.observers.run_ended(report, seconds)
        if self._turns is not None and self._turns.is_used:
            writes.append(self._turns.close())
        if not writes:
            self._leave()
            return
        self._waited.writing = self.loop.create_task(
            wait_for_writes(writes, seconds), name="lifespan last write"
        )
        self._waited.writing.add_done_callback(lambda _: self._leave())

    def _time_to_write(self) -> float:
        now = self.adapter.clock()
        begun = now if self.journal.stop_began is None else self.journal.stop_began
        left: float = begun + self.settings.shutdown_deadline + LAST_WRITE - now
        return max(LAST_WRITE_AT_LEAST, left)

    def _leave(self) -> None:
        settle(self._waited.decided)
        settle(self._waited.over)
        for job in list(self._waited.rounds):
            self._round_has_ended(job)
        if self._waited.sentinel is not None:
            self._waited.sentinel.cancel()

    # Observers.

    def observe(self, observer: Observer) -> None:
        """Add an observer to this run. On the run's own loop."""
        self.driver.handle(self._observe, observer)

    def _observe(self, now: float, observer: Observer) -> None:
        if self.over:
            # Another thread has added it, and the run has ended before this call.
            return
        self.observers.add(observer, self.phase)
        self._beats.begin(observer)
        self.scheduler.steps_are_watched(watched=self.observers.watch_steps)

    def unobserve(self, observer: Observer) -> None:
        """Remove an observer from this run. On the run's own loop."""
        self.observers.remove(observer)
        self._beats.leave_out(observer)
        self.scheduler.steps_are_watched(watched=self.observers.watch_steps)

    def on_its_loop(self, call: Callable[[*Ts], None], *arguments: *Ts) -> None:
        """Call a function on the run's loop, from any thread; not if the loop is closed."""
        if asyncio._get_running_loop() is self.loop:
            call(*arguments)
        elif not self.inherited:
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(call, *arguments)

    def disown(self) -> None:
        """Mark the run as inherited: this process was forked from its process."""
        self.inherited = True
        self.serving.clear()

    def sink(self) -> LogSink | None:
        """Return None: the run's own log lines belong to no step."""
        return None

    def log_fields(self) -> dict[str, str]:
        """Return the ``extra`` of a log record about it."""
        return self.facts.log_fields()

    def status_changed(self) -> None:
        """Notify the observers of the run's status. On the run's own loop."""
        self.driver.handle(lambda now: self._tell_status(True))

    def recovers(self, job: HookRun) -> None:
        """Mark a stalled job as well again, after a sign of life. On the run's own loop."""
        self.driver.handle(self.scheduler.recovers, job)

    def progressed(self) -> None:
        """Notify the observers of a hook's progress. On the run's own loop."""
        self.driver.handle(self._tell_progress)

    def _tell_progress(self, now: float) -> None:
        if not self.over:
            self.observers.progressed(self.report())

    def _tell_attempt(self, hook_run: HookRun) -> None:
        log_tried_again(hook_run, self.scheduler.now)
        self._tell_progress(self.scheduler.now)

    def tell_beat(self, observer: Observer) -> None:
        """Notify one observer of the state of the run. On the run's own loop."""
        self.driver.handle(lambda now: self.observers.beat(observer, self.report()))

    def _look(self, slow: list[HookRun]) -> None:
        self._slow_hooks.look(slow)
        self.tell_slow()

    def tell_slow(self) -> None:
        """Notify the observers of the steps so far. Any thread may call this."""
        self.observers.is_slow(self.report())

    def _tell_status(self, always: bool) -> None:
        serves = self.phase is IN_SERVICE
        is_news = serves and self.observers.is_news(self.readiness)
        if always or is_news:
            self.observers.run_changed(self.report())

    def _tell_step(self, entry: Entry) -> None:
        snapshot = self._snapshot(self.scheduler.now)
        report = Report(self._facts_now(), snapshot)
        self.observers.step_changed(report, snapshot.step(entry))

    def _tell_failure(self, entry: Entry) -> None:
        assert entry.error is not None
        snapshot = self._snapshot()
        report = Report(self._facts_now(), snapshot)
        self.observers.hook_failed(report, snapshot.step(entry), entry.error)

    def _capture(self, wanted: bool) -> None:
        """Begin, or stop, to keep the log lines of hooks with their steps."""
        if wanted:
            log_capture.capture(self)
        else:
            log_capture.release(self)

    def sink_of(self, hook_run: HookRun) -> LogSink | None:
        """Return the sink for log lines of a hook's running step, or None."""
        step = hook_run.step
        if step is None:
            return None
        begun = step.begun if hook_run.job is None else hook_run.job.begun
        return self.journal.sink(step.node.index, step.phase, begun)

    # The loop.

    def loop_is_ending(self) -> bool:
        """Return True if every task of the loop is being cancelled, as ``asyncio.run`` does."""
        return self._waited.is_ending() and not self.over

    async def _watch_loop(self) -> None:
        try:
            await self.loop.create_future()
        except asyncio.CancelledError:
            if not self._waited.over.done():
                self.driver.handle(self.scheduler.loop_ends)
                await self._stop_however(quick=True, ended_by="the event loop ended")
            raise

    async def _until_over(self) -> asyncio.CancelledError | None:
        """Wait for the end, whatever happens; return the first cancellation, if any."""
        first: asyncio.CancelledError | None = None
        while not self._waited.over.done():
            cancelled = await until(self._waited.over)
            if cancelled is not None:
                first = first or cancelled
                self.driver.handle(self.scheduler.hurry)
        return first

    def __str__(self) -> str:
        return f"run {self.facts.uuid[:8]} ({self.context.service_type}, {self.status})"

    def __repr__(self) -> str:
        return f"<{self}>"


async def until(future: asyncio.Future[None]) -> asyncio.CancelledError | None:
    """Wait for a future; return the caller's cancellation if that comes first."""
    try:
        if not future.done():
            await asyncio.wait({future})
    except asyncio.CancelledError as cancelled:
        return cancelled
    return None


def settle(future: asyncio.Future[None]) -> None:
    """Wake the tasks that wait for a future."""
    if not future.done():
        future.set_result(None)


def since(begun: float | None, ended: float | None) -> float | None:
    """Return the seconds between two moments, or None if one is unknown."""
    return None if begun is None or ended is None else ended - begun
