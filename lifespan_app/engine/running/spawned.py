"""Work that code leaves behind: functions that run on after their caller has returned."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.error_text import is_a, one_line
from lifespan_app.engine.errors import HookError, NotRunning, QueueFull
from lifespan_app.engine.hooks.hook import (
    ASYNC_GENERATOR,
    COROUTINE,
    ON_LOOP,
    STAGE,
    SYNC_GENERATOR,
    Hook,
    is_awaitable,
)
from lifespan_app.engine.hooks.values import seconds
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.failure import short
from lifespan_app.engine.reporting.report import IN_SHUTDOWN
from lifespan_app.engine.wording import count, time_limit

from .execution import advised
from .executor import leave_task_behind
from .hook_run import is_cancellation
from .portal import carried, leave_request, name_of, nothing_is_up, running_run
from .stages import title_of
from .threads import start_thread

if TYPE_CHECKING:
    from .current import OpensRuns

SHOWN = 10
"""The greatest number of functions in one line of the log, or in one error."""

Place = tuple[str, int]
"""A file and a line."""


class Call:
    """One spawned function.

    Args:
        hook: the function as the adapter sees it, with its name, file and line.
        args: its positional arguments.
        kwargs: its named arguments.
        timeout: seconds that it may take, from its begin; None: no limit.
        place: the line that has spawned it.
    """

    cancel_attempts = 0
    """Its turn in the one thread of a test is never given up."""

    def __init__(
        self,
        hook: Hook,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        timeout: float | None,
        place: Place,
    ) -> None:
        self.hook = hook
        self.timeout = timeout
        self.key = hook.name
        self._args = args
        self._kwargs = kwargs
        self._place = place
        self._context = contextvars.copy_context()
        self.task: asyncio.Task[None] | None = None
        self.thread: int | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.failure: BaseException | None = None
        self.is_late = False
        """True if it has passed its timeout."""
        self.told = False
        """True if the log has its error already."""

    def make(self) -> Any:
        """Call the function."""
        return self.hook.function(*self._args, **self._kwargs)

    def context(self, run: Any, thread: int) -> contextvars.Context:
        """Return the caller's context variables for a thread, without its request and its hook."""
        context = self._context.run(carried, thread)
        context.run(current_hook.set, run)
        context.run(leave_request)
        return context

    def where(self) -> object:
        """Return the location where it waits, or None."""
        from lifespan_app.engine.stacks.stacks import (  # not paid for where nothing is slow
            where_task,
            where_thread,
        )

        if self.task is not None:
            return where_task(self.task, home=self.hook.file)
        return None if self.thread is None else where_thread(self.thread, home=self.hook.file)

    @property
    def spawned_at(self) -> str:
        """The line that has spawned it."""
        file, line = self._place
        return f"spawned at {short(file)}:{line}"

    def __str__(self) -> str:
        return f"'{self.key}' ({short(self.hook.file)}:{self.hook.line}), {self.spawned_at},"


class Spawned:
    """The spawned functions of one run: those that run, and those that wait for a place.

    Any thread may add one. All else happens on the run's loop.

    Args:
        run: the run.
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        # A signal handler or a finalizer may spawn in the midst of another call, in the same thread.
        self._lock = threading.RLock()
        self._running: dict[Call, None] = {}
        self._waiting: deque[Call] = deque()
        self._closed = run.phase is IN_SHUTDOWN
        self._idle: asyncio.Future[None] = run.loop.create_future()
        self._limit = run.settings.spawn["running"]
        self._most_waiting = run.settings.spawn["waiting"]

    # The caller's side, in any thread.

    def add(self, call: Call) -> None:
        """Begin a function, or have it wait for a place.

        Raises:
            NotRunning: the run stops, or has ended.
            QueueFull: too many wait.
        """
        hook = call.hook
        call.key = hook.key_by(self._run.adapter.app_label)
        with self._lock:
            if self._closed:
                raise NotRunning(f"{call} can't begin: {self._run} is stopping.")
            if len(self._running) < self._limit:
                self._running[call] = None
            elif len(self._waiting) < self._most_waiting:
                self._waiting.append(call)
                return
            else:
                raise QueueFull(
                    f"{call} can't begin: {count(self._limit, 'spawned function')} run, and "
                    f"{self._most_waiting:,} wait. Raise "
                    f"{self._run.adapter.advice.setting('spawn', 'waiting')}, or give the work to a "
                    "task queue."
                )
        if asyncio._get_running_loop() is self._run.loop:
            self._begin(call)
            return
        try:
            self._run.loop.call_soon_threadsafe(self._begin, call)
        except RuntimeError as error:
            self._running.pop(call, None)
            raise NotRunning(f"{call} can't begin: its event loop is closed.") from error

    # The life of one function.

    def _begin(self, call: Call) -> None:
        if call.told:
            # It was cut off before its turn.
            self._ended(call)
        elif call.hook.form in (COROUTINE, ON_LOOP):
            self._begin_task(call, call.make)
        else:
            try:
                self._begin_thread(call)
            except Exception as error:  # such as "can't start new thread"
                self._thread_ended(call, error)

    def _begin_task(self, call: Call, make: Callable[[], Any]) -> None:
        context = call.context(self._run, threading.get_ident())
        # asyncio's own Task, as for hooks: a task factory may start it before spawn() returns.
        call.task = asyncio.Task(
            self._in_task(call, make), loop=self._run.loop, name=call.key, context=context
        )
        call.task.add_done_callback(lambda task: self._task_ended(call, task), context=context)

    async def _in_task(self, call: Call, make: Callable[[], Any]) -> None:
        limit = asyncio.timeout(call.timeout)
        try:
            async with self._run.adapter.around_task(call.hook) or nullcontext(), limit:
                made = make()
                if is_awaitable(made):
                    await made
        # A Task raises SystemExit and KeyboardInterrupt out of the loop.
        except BaseException as error:
            if is_a(error, GeneratorExit) and asyncio._get_running_loop() is not self._run.loop:
                raise
            self._run.adapter.advice.note(error)
            call.failure = error
            call.is_late = limit.expired()

    def _task_ended(self, call: Call, task: asyncio.Task[None]) -> None:
        # One that is cancelled before it begins never gets as far as its first line.
        self._tell(call, asyncio.CancelledError() if task.cancelled() else call.failure)
        self._ended(call)

    def _begin_thread(self, call: Call) -> None:
        adapter = self._run.adapter
        adapter.work_handed_over()
        if call.timeout is not None:
            call.timer = self._run.loop.call_later(call.timeout, self._passes_timeout, call)
        if adapter.turns is None:
            start_thread(lambda: self._in_thread(call), f"lifespan spawned {call.key}")
        else:
            adapter.turns.submit(call, lambda: self._in_thread(call))

    def _in_thread(self, call: Call) -> None:
        call.thread = threading.get_ident()
        call.context(self._run, call.thread).run(self._call_in_thread, call)

    def _call_in_thread(self, call: Call) -> None:
        made, failure = None, None
        try:
            with self._run.adapter.around_thread(call.hook) or nullcontext():
                made = call.make()
        except BaseException as error:
            failure = advised(error)
        try:
            self._run.loop.call_soon_threadsafe(self._thread_ended, call, failure, made)
        except RuntimeError:  # the loop is closed, and the log has said that it was cut off
            if inspect.iscoroutine(made):
                made.close()

    def _thread_ended(
        self, call: Call, failure: BaseException | None, made: Awaitable[Any] | None = None
    ) -> None:
        self._run.adapter.work_returned()
        call.thread = None
        if call.timer is not None:
            call.timer.cancel()
        if is_awaitable(made) and not call.told:
            self._begin_task(call, lambda: made)
            return
        if inspect.iscoroutine(made):
            made.close()
        self._tell(call, failure)
        self._ended(call)

    def _ended(self, call: Call) -> None:
        following = None
        with self._lock:
            self._running.pop(call, None)
            if self._waiting and len(self._running) < self._limit:
                following = self._waiting.popleft()
                self._running[following] = None
            is_idle = not self._running
        if following is not None:
            self._run.loop.call_soon(self._begin, following)
        elif is_idle and self._closed and not self._idle.done():
            self._idle.set_result(None)

    def _passes_timeout(self, call: Call) -> None:
        """Log that a function in a thread has passed its timeout."""
        call.is_late = True
        self._tell(call, TimeoutError())

    def _tell(self, call: Call, failure: BaseException | None) -> None:
        """Log the error of a function, once."""
        if failure is None or call.told:
            return
        call.told = True
        if is_cancellation(failure) and self._run.loop_is_ending():
            log_cut_off(call, "the event loop has ended")
        elif call.is_late:
            log_too_late(call, failure)
        else:
            logger.error("%s failed: %s", call, one_line(failure), error=failure)

    # The end of the run.

    def close(self) -> Hook | None:
        """Take no more functions. Returns a hook that waits for the ones there are, or None."""
        with self._lock:
            self._closed = True
            if not self._running:
                return None
        code = self._finish.__func__.__code__  # type: ignore[attr-defined]
        written_at = (__name__.partition(".")[0], code.co_filename, code.co_firstlineno)
        return Hook(
            self._finish,
            STAGE,
            name="spawned",
            form=COROUTINE,
            written_at=written_at,
            where=self.where,
        )

    async def _finish(self) -> None:
        """Wait for the functions; when this is cancelled, cancel them."""
        try:
            await asyncio.wait({self._idle})
            return
        except asyncio.CancelledError:
            cut = self.cut_off("the shutdown's time was used up")
        try:
            if tasks := {call.task for call in cut if call.task is not None}:
                await asyncio.wait(tasks)
        except asyncio.CancelledError:
            # A task that ignores its cancellation is left behind with the run.
            pass
        names = listed([str(call).rstrip(",") for call in cut])
        raise HookError(f"Spawned functions were cut off by the shutdown: {names}.")

    def cut_off(self, why: str) -> list[Call]:
        """Cancel the functions that are left, log each of them, and return them."""
        with self._lock:
            self._closed = True
            left = [*self._running, *self._waiting]
            self._waiting.clear()
        for call in left:
            if call.task is not None:
                call.task.cancel()
            if not call.told:
                call.told = True
                log_cut_off(call, why)
        return left

    def leave_behind(self) -> None:
        """Wait for no function any more: the run has ended."""
        for call in self.cut_off("the run has ended"):
            if call.task is not None:
                leave_task_behind(call.task)

    def where(self) -> str:
        """Return the lines at which the functions wait that run now."""
        return listed(
            [f"{call.where() or call.key} ({call.spawned_at})" for call in list(self._running)]
        )


def listed(texts: list[str]) -> str:
    """Return texts in one line, which stays readable however many there are."""
    more = [f"{len(texts) - SHOWN:,} more"] if len(texts) > SHOWN else []
    return "; ".join([*texts[:SHOWN], *more])


def log_cut_off(call: Call, why: str) -> None:
    """Log that a function has not come to its end."""
    goes_on = call.thread is not None and call.task is None
    rest = " It goes on in its thread, which can't be cancelled." if goes_on else ""
    logger.error("%s was cut off: %s.%s", call, why, rest)


def log_too_late(call: Call, error: BaseException) -> None:
    """Log that a function has passed its timeout."""
    limit = time_limit(call.timeout or 0.0)
    if call.thread is None:
        logger.error(
            "%s took more than its limit of %s, and was cancelled.", call, limit, error=error
        )
    else:
        logger.error(
            "%s takes more than its limit of %s, at %s. A thread can't be cancelled: it goes on.",
            call,
            limit,
            call.where() or "a place that can't be seen",
        )


def spawn(
    lifespan: OpensRuns,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    timeout: float | None,
    place: Place,
) -> None:
    """Run a function in the background of the current run, for ``Lifespan.spawn``."""
    name = name_of(function, "lifespan.spawn()", "a function")
    hook = Hook(function, STAGE, name=title_of(function))
    if hook.form in (ASYNC_GENERATOR, SYNC_GENERATOR):
        raise TypeError(
            f"lifespan.spawn() takes a function that runs to its end, and {name} yields: nothing would "
            "go through what it yields."
        )
    run = run_to_spawn(lifespan, name)
    run.spawned().add(Call(hook, args, kwargs, seconds(timeout, "timeout"), place))


def run_to_spawn(lifespan: OpensRuns, name: str) -> Any:
    """Return the run in which a function is to run. Raises ``NotRunning``."""
    if nothing_is_up(lifespan):
        stand_in = lifespan.adapter.fallback_run(lifespan, f"{name} can't be spawned")
        if stand_in is not None:
            return stand_in
    return running_run(lifespan, f"{name} can't be spawned")
