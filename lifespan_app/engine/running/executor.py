"""The executor: starts the task or thread of each hook, and receives its reports."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any

from lifespan_app.engine.advice import Advice
from lifespan_app.engine.current_hook import current_lease
from lifespan_app.engine.hooks.hook import START, Hook
from lifespan_app.engine.planning.plan import Gives

from .execution import Execution, NextTurn
from .hook_run import STARTING, HookRun
from .scheduler import Scheduler
from .threads import Mailbox, Pool, start_thread

if TYPE_CHECKING:
    from typing import Protocol

    from .threads import SerialThread

    # A protocol is expensive to create, and only type checkers read it.
    class Surroundings(Protocol):
        """The part of the adapter that the executor uses."""

        turns: SerialThread | None
        thread_patience: float
        advice: Advice

        def clock(self) -> float:
            """Return the time, in seconds, by the clock of the run."""

        def around_task(self, hook: Hook) -> AbstractAsyncContextManager[object] | None:
            """Return a context manager around an async hook in its task, or None."""

        def around_thread(self, hook: Hook) -> AbstractContextManager[object] | None:
            """Return a context manager around a sync hook in its thread, or None."""

        def at_yield_in_task(self) -> None:
            """Note, in the task of an async resource, that it is open."""

        def at_yield_in_thread(self) -> None:
            """Note, in the thread of a sync resource, that it is open."""

        def work_handed_over(self) -> None:
            """Note that a thread was given work."""

        def work_returned(self) -> None:
            """Note that a thread has finished its work."""


class Executor:
    """The tasks and threads of one run.

    Args:
        scheduler: receives the hooks' events.
        handle: passes an event to the scheduler.
        adapter: the interface to the host program.
        loop_is_ending: returns True if every task of the loop is being cancelled.
        given: the arguments that are no resources.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        handle: Callable[..., None],
        adapter: Surroundings,
        loop_is_ending: Callable[[], bool],
        given: Mapping[Gives, Any],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop_is_ending = loop_is_ending
        self.around_task = adapter.around_task
        self.around_thread = adapter.around_thread
        self.at_yield_in_task = adapter.at_yield_in_task
        self.at_yield_in_thread = adapter.at_yield_in_thread
        self.advice = adapter.advice
        self._scheduler = scheduler
        self._handle = handle
        self._host = adapter
        self._given = given
        # The context of the run's begin: what one hook sets is not seen by the next.
        self._context = contextvars.copy_context()
        # A run may be opened by a hook that has a lease, which is none of its own hooks'.
        self._context.run(current_lease.set, None)
        self._mailbox = Mailbox(self.loop)
        self._pool: Pool | None = None
        self._abandoned: list[asyncio.Task[None]] = []

    # The scheduler's commands.

    def start(self, hook_run: HookRun, arguments: dict[str, Any]) -> None:
        """Start the task or the thread of a hook, by its form."""
        for argument in hook_run.node.arguments:
            if argument.gives is not Gives.RESOURCE:
                arguments[argument.name] = self._given[argument.gives]
        execution = Execution(hook_run, self, arguments)
        hook_run.lives_in(execution)
        if hook_run.on_loop:
            execution.begin_task(self._context.copy())
            return
        try:
            self._start_in_thread(hook_run, execution)
        # Such as "can't start new thread".
        except Exception as error:
            self._handle(self._scheduler.ended, hook_run, error)

    def _start_in_thread(self, hook_run: HookRun, execution: Execution) -> None:
        self._host.work_handed_over()
        context = self._context.copy()
        # A sync resource keeps a thread of its own, from enter to exit.
        owns_thread = not (hook_run.hook.kind is START or hook_run.at_end or hook_run.is_job)
        if self._host.turns is not None:
            self._start_in_turn(execution, context, self._host.turns, owns_thread=owns_thread)
        elif owns_thread:
            gate = threading.Lock()
            gate.acquire()
            execution.hold(gate)
            target = functools.partial(context.run, execution.live_in_thread)
            start_thread(target, f"lifespan {hook_run.node.key}")
        else:
            if self._pool is None:
                self._pool = Pool(self.loop, self._host.thread_patience)
            work = self._pool.submit(functools.partial(context.run, execution.call_in_thread))
            execution.begin_work(work)

    def _start_in_turn(
        self,
        execution: Execution,
        context: contextvars.Context,
        turns: SerialThread,
        *,
        owns_thread: bool,
    ) -> None:
        if owns_thread:
            turn = functools.partial(context.run, execution.take_turn, execution.life())
            submit = functools.partial(turns.submit, execution.hook_run, turn)
            execution.hold(NextTurn(submit))
        else:
            turn = functools.partial(context.run, execution.call_in_thread)
        turns.submit(execution.hook_run, turn)

    def release(self, hook_run: HookRun) -> None:
        """Make a hook exit its context."""
        execution: Execution = hook_run.execution
        if execution.gate is not None and not hook_run.on_loop:
            self._host.work_handed_over()
            execution.gate.release()
        else:
            execution.let_go()

    def cancel(self, hook_run: HookRun, again: bool) -> None:
        """Cancel the task of a hook. One that has not begun never reports, so that is done here.

        Args:
            hook_run: the owner of the task.
            again: whether to cancel it once more if it is being cancelled.
        """
        if hook_run.waits_for_turn:
            self._handle(self._scheduler.ended, hook_run, asyncio.CancelledError())
            return
        execution: Execution = hook_run.execution
        task = execution.task
        assert task is not None
        begun = inspect.getcoroutinestate(task.get_coro()) not in (  # type: ignore[arg-type]
            inspect.CORO_CREATED,
            inspect.CORO_CLOSED,
        )
        if again or not task.cancelling():
            task.cancel()
        if not begun:
            self.ended(execution, asyncio.CancelledError())

    def abandon(self, hook_run: HookRun) -> None:
        """Wait for a hook no longer: make it exit and end."""
        execution: Execution = hook_run.execution
        if hook_run.on_loop:
            assert execution.task is not None
            execution.task.cancel()
            self._abandoned.append(execution.task)
        elif execution.work is not None and self._pool is not None:
            self._pool.lose(execution.work)
        elif execution.gate is not None and execution.gate.locked():
            execution.gate.release()

    def close(self) -> None:
        """Let the borrowed threads end, and wait for no abandoned task."""
        if self._pool is not None:
            self._pool.close()
        for task in self._abandoned:
            leave_task_behind(task)

    # Reports from the loop.

    def came_up(self, execution: Execution, value: Any) -> None:
        """Receive a resource that is up, and held by its task."""
        task = execution.task
        if task is not None and not execution.hook_run.abandoned:
            # With cancelling() above 0, a later TaskGroup in this task raises CancelledError instead
            # of its children's errors: https://github.com/python/cpython/pull/95602
            while task.cancelling():
                task.uncancel()
        self._handle(self._scheduler.came_up, execution.hook_run, value)

    def ended(self, execution: Execution, error: BaseException | None) -> None:
        """Receive the end of a hook's task."""
        if error is not None and self.loop_is_ending():
            self._handle(self._scheduler.loop_ends)
        self._handle(self._scheduler.ended, execution.hook_run, error, execution.made)

    # Reports from threads; the mailbox takes all of them to the loop.

    def post_came_up(self, execution: Execution, value: Any) -> bool:
        """Receive, from a thread, a resource that is up. Returns False if the loop is closed."""
        return self._post(self._thread_came_up, execution, value)

    def post_ended(self, execution: Execution, error: BaseException | None) -> None:
        """Receive, from a thread, the end of its hook."""
        self._post(self._thread_ended, execution, error)

    def _post(self, event: Callable[..., None], execution: Execution, what: object) -> bool:
        return self._mailbox.post(self._handle, event, execution, what, self._host.clock())

    def _thread_came_up(self, now: float, execution: Execution, value: Any, at: float) -> None:
        hook_run = execution.hook_run
        if hook_run.abandoned:
            # Its gate is open: the thread is still about to exit its context.
            return
        fault = self._work_returned()
        if fault is None:
            self._scheduler.came_up(now, hook_run, value, at)
        else:
            self._scheduler.ended(now, hook_run, fault, None, at)

    def _thread_ended(
        self, now: float, execution: Execution, error: BaseException | None, at: float
    ) -> None:
        fault = self._work_returned()
        hook_run, work = execution.hook_run, execution.work
        if work is not None and self._pool is not None and not work.abandoned:
            self._pool.finished()
        execution.begin_work(None)
        starts = hook_run.state is STARTING or hook_run.at_end
        waits = starts and not (hook_run.abandoned or hook_run.on_loop)
        error = fault if error is None else error
        if error is None and waits and execution.goes_on_on_loop:
            self._scheduler.moved_to_loop(now, hook_run)
            execution.begin_task(self._context.copy())
            return
        if error is not None and self.loop_is_ending():
            self._scheduler.loop_ends(now)
        self._scheduler.ended(now, hook_run, error, execution.made, at)

    def _work_returned(self) -> BaseException | None:
        """Notify the adapter that a thread has finished. Returns the adapter's error, or None."""
        try:
            self._host.work_returned()
        except BaseException as fault:
            return fault
        return None


def leave_task_behind(task: Any) -> None:
    """Exclude a task from the tasks that are awaited at the end.

    ``asyncio.run`` and servers wait, at the end, for all tasks of their loop: for one that ignores its
    cancellation that would be for ever (https://docs.python.org/3/library/asyncio-extending.html).
    """
    if not task.done():
        asyncio.tasks._unregister_task(task)
        task._log_destroy_pending = False
