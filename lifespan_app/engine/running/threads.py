"""Daemon threads for sync hooks, so that the loop is never blocked and the process can end."""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from lifespan_app.engine.advice import GENERIC, Advice
from lifespan_app.engine.errors import LifespanError
from lifespan_app.engine.logger import logger

from .patched_threads import patched_threads

if TYPE_CHECKING:
    from typing import Protocol

    from lifespan_app.engine.settings import Settings

    from .hook_run import HookRun

    # Protocols are expensive to create, and only type checkers read them.
    class SerialThread(Protocol):
        """One thread for all sync hooks of a run, which take turns in it."""

        def submit(self, hook_run: HookRun, turn: Callable[[], None]) -> None:
            """Queue ``turn`` for the thread. Called on the loop."""

    class Stopping(Protocol):
        """A run that can be stopped: ``Run``."""

        settings: Settings
        loop_thread: int

        async def stop(self, *, quick: bool, ended_by: str) -> None:
            """Stop it."""

        def log_fields(self) -> dict[str, str]:
            """Return the ``extra`` of a log record about it."""


T = TypeVar("T")

FIRST_THREADS = 2
AFTER_DEADLINE = 4.0
"""Seconds after a shutdown's deadline in which a run has ended, unless its loop is blocked."""
LAST_WAIT = 3.5
"""Seconds that a loop which is closed has for its tasks: a little more than a quick stop takes."""


class Mailbox:
    """Calls from threads, made on the loop: many calls cost one wake-up of the loop."""

    __slots__ = ("_calls", "_loop", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._woken = False

    def post(self, call: Callable[..., None], *args: Any) -> bool:
        """Call ``call(*args)`` on the loop. Returns False if the loop is closed."""
        self._calls.append((call, args))
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                self._woken = False
        return not self._loop.is_closed()

    def _deliver(self) -> None:
        # Cleared first: later calls are either found below or wake the loop again.
        self._woken = False
        calls = self._calls
        while calls:
            call, args = calls.popleft()
            call(*args)


class Work:
    """A call for the pool; ``abandoned`` makes its thread end afterwards."""

    __slots__ = ("abandoned", "call")

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.abandoned = False


class Pool:
    """Threads that sync start and shutdown functions borrow.

    The pool begins with two and grows when calls wait while none finishes: a thousand short functions
    share two threads, and twenty blocking ones run side by side.

    Args:
        loop: the loop that submits calls.
        patience: seconds that a call waits before the pool grows; 0: it grows at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, patience: float = 0.001) -> None:
        self._loop = loop
        self._patience = patience
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._threads = 0
        self._unfinished = 0
        self._finished = 0
        self._finished_before = 0
        self._growing: asyncio.TimerHandle | None = None

    def submit(self, call: Callable[[], None]) -> Work:
        """Run ``call`` in a thread; it posts its own result and calls ``finished``."""
        if self._unfinished >= self._threads:
            if self._threads < FIRST_THREADS or not self._patience:
                # Before anything is queued: if this fails, no later thread makes the call.
                self._start_thread()
            elif self._growing is None:
                self._finished_before = self._finished
                self._growing = self._loop.call_later(self._patience, self._grow)
        work = Work(call)
        self._unfinished += 1
        self._queue.put(work)
        return work

    def finished(self) -> None:
        """Note, on the loop, that one call has finished."""
        self._unfinished -= 1
        self._finished += 1

    def lose(self, work: Work) -> None:
        """Stop counting the thread that runs ``work``: it ends with the work."""
        work.abandoned = True
        self._unfinished -= 1
        self._threads -= 1

    def close(self) -> None:
        """Let every thread end once it is idle."""
        if self._growing is not None:
            self._growing.cancel()
        for _ in range(self._threads):
            self._queue.put(None)

    def _grow(self) -> None:
        self._growing = None
        waiting = self._queue.qsize()
        if not waiting:
            return
        if self._finished == self._finished_before:
            for _ in range(min(waiting, self._threads or 1)):
                self._start_thread()
        self._finished_before = self._finished
        if self._unfinished > self._threads:
            self._growing = self._loop.call_later(self._patience, self._grow)

    def _start_thread(self) -> None:
        try:
            start_thread(self._serve, "lifespan pool")
        except RuntimeError:
            # Since Python 3.12 a process that ends can't start a thread; the others do all work:
            # https://github.com/python/cpython/issues/113964
            if not self._threads:
                raise
        else:
            self._threads += 1

    def _serve(self) -> None:
        while (work := self._queue.get()) is not None:
            work.call()
            if work.abandoned:
                return


def start_thread(target: Callable[[], None], name: str) -> None:
    """Start a daemon thread; one that hangs can't keep the process alive."""
    threading.Thread(target=target, name=name, daemon=True).start()


class LoopThread:
    """An event loop in a daemon thread, for a run that sync code has opened.

    Args:
        name: the thread's name.
        advice: the remedy if there can be none.

    Raises:
        LifespanError: threads are greenlets here (see ``patched_threads``).
    """

    def __init__(self, name: str, advice: Advice = GENERIC) -> None:
        if library := patched_threads():
            raise LifespanError(f"No lifespan can be opened: {advice.no_loop_beside(library)}")
        self.loop = asyncio.new_event_loop()
        self._pid = os.getpid()
        self._gives_up_at = math.inf
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop, with the caller's context variables; return its future."""
        from .portal import carried, send

        return send(coroutine, self.loop, carried())

    def stop(self, run: Stopping, *, quick: bool = False, ended_by: str) -> bool:
        """Stop a run of this loop, and wait for that, as long as it may take. It can be called again.

        Args:
            run: the run.
            quick: as for ``Run.stop``.
            ended_by: as for ``Run.stop``.

        Returns:
            False if the loop is still blocked then: nothing could be closed, and this thread, which can't be
            closed either, ends with the process.
        """
        from .deadlines import QUICK_DEADLINE
        from .portal import result_of

        stop = run.stop(quick=quick, ended_by=ended_by)
        stopped = contextvars.Context().run(self.submit, stop)
        now, allowed = time.monotonic(), run.settings.shutdown_deadline
        deadline = now + (min(allowed, QUICK_DEADLINE) if quick else allowed)
        self._gives_up_at = min(self._gives_up_at, deadline + AFTER_DEADLINE)
        try:
            result_of(stopped, max(0.0, self._gives_up_at - now))
        except TimeoutError:
            if stopped.done():
                raise
            # Needed for a blocked loop only.
            from lifespan_app.engine.stacks.stacks import where_loop

            logger.error(
                "The event loop of %s is blocked, so nothing can be closed. It is left behind, and ends with "
                "the process: %s.",
                run,
                where_loop(run.loop_thread) or "a place that can't be seen",
                about=run.log_fields(),
            )
            return False
        return True

    def close(self) -> None:
        """Cancel the remaining tasks, close the loop and end the thread. In a fork: do nothing."""
        if os.getpid() != self._pid:
            # A fork has neither the thread nor a loop of its own, as it shares the parent's selector:
            # https://github.com/python/asyncio/issues/347
            return
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            if left:
                # A task that ignores its cancellation must not block the caller for ever.
                self.loop.run_until_complete(asyncio.wait(left, timeout=LAST_WAIT))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()
