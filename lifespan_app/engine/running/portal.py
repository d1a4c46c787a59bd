"""Calling an async function from sync code, on the loop that a run lives on."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import inspect
import math
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.errors import LifespanError, NotRunning
from lifespan_app.engine.wording import time_limit

from .current import named_run, outermost, runs_meant

if TYPE_CHECKING:
    from .current import OpensRuns

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

ASGIREF = "asgiref.sync"
"""Looked up among the imported modules: the engine does not import it."""
ASGIREF_LOCAL = "asgiref.local"
"""The name of every context variable behind an ``asgiref.local.Local``."""
LOOK_FOR_SIGNALS = 0.5
"""Seconds after which a thread that waits for a result looks for signals."""


class Waiter:
    """The wait of a sync thread for async code that it has sent to a loop."""

    def begin(self) -> None:
        """Prepare, in the async code's own task, for calls to the waiting thread."""

    def until(self, future: Future[T], timeout: float | None = None) -> T:
        """Wait, in the sync thread, for a result.

        Args:
            future: the future to wait for.
            timeout: seconds to wait at most; None: for ever.

        Raises:
            TimeoutError: there is no result yet.
        """
        return result_of(future, timeout)


def call(
    lifespan: OpensRuns,
    function: Callable[[*Ts], Awaitable[T]],
    args: tuple[*Ts],
    timeout: float | None,
) -> T:
    """Run an async function on the loop of the current run, for ``Lifespan.call``."""
    name = name_of(function, "lifespan.call()")
    run = run_to_call(lifespan, name)
    waiting = run.adapter.waiter()

    async def called() -> T:
        waiting.begin()
        return await called_in(run, function, args, name, "Sync code can call it by itself.")

    future = sent(called(), run, name)
    try:
        result: T = waiting.until(future, timeout)
        return result
    except TimeoutError as error:
        if future.done():
            raise
        raise took_too_long(run, name, timeout, "lifespan.call()") from error
    except CancelledError as error:
        raise cancelled(run, name) from error
    finally:
        future.cancel()


async def acall(
    lifespan: OpensRuns,
    function: Callable[[*Ts], Awaitable[T]],
    args: tuple[*Ts],
    timeout: float | None,
) -> T:
    """Run an async function on the loop of the current run, for ``Lifespan.acall``."""
    name = name_of(function, "lifespan.acall()")
    run = await run_to_acall(lifespan, name)
    otherwise = "Call it without acall()."
    if run.loop is asyncio.get_running_loop():
        try:
            async with asyncio.timeout(timeout) as limit:
                return await called_in(run, function, args, name, otherwise)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise took_too_long(run, name, timeout, "lifespan.acall()") from error
    around = run.adapter.around_call(function) or nullcontext()

    async def called() -> T:
        async with around:
            return await called_in(run, function, args, name, otherwise)

    future = asyncio.wrap_future(sent(called(), run, name))
    try:
        # Not awaited itself: its cancellation on the other loop would look like one of this task.
        await asyncio.wait({future}, timeout=timeout)
        if future.cancelled():
            raise cancelled(run, name)
        if not future.done():
            raise took_too_long(run, name, timeout, "lifespan.acall()")
        return future.result()
    finally:
        future.cancel()


def name_of(function: object, caller: str, what: str = "an async function") -> str:
    """Return the name of a function in errors.

    Raises:
        TypeError: it is no function, but perhaps a function's result.
    """
    if inspect.iscoroutine(function):
        function.close()
    if not callable(function):
        raise TypeError(
            f"{caller} takes {what} and, apart from it, its arguments: "
            f"{caller[:-1]}fetch, url), not {caller[:-1]}fetch(url)). It was given {function!r}."
        )
    return f"{getattr(function, '__name__', None) or type(function).__name__}()"


async def called_in(
    run: Any,
    function: Callable[[*Ts], Awaitable[T]],
    args: tuple[*Ts],
    name: str,
    otherwise: str,
) -> T:
    """Call an async function as a part of a run.

    Raises:
        TypeError: it is no async function; ``otherwise`` is the remedy in its text.
    """
    if current_hook.get() is None:
        current_hook.set(run)
    made = function(*args)
    if not inspect.isawaitable(made):
        raise TypeError(
            f"lifespan.call() and acall() take an async function, and {name} has returned a "
            f"{type(made).__name__}. {otherwise}"
        )
    return await made


def sent(coroutine: Coroutine[Any, Any, T], run: Any, name: str) -> Future[T]:
    """Run a coroutine on a run's loop, in another thread; return the future of its result.

    Raises:
        NotRunning: that loop is closed.
    """
    try:
        return send(coroutine, run.loop, carried(run.loop_thread))
    except RuntimeError as error:
        raise NotRunning(f"{name} can't be called: the event loop of {run} is closed.") from error


def took_too_long(run: Any, name: str, timeout: float | None, caller: str) -> TimeoutError:
    """Return the error of a call that has passed its timeout."""
    return TimeoutError(
        f"{name}, called on the event loop of {run}, took more than {time_limit(timeout or 0.0)} and was "
        f"cancelled. Raise timeout= of {caller}."
    )


def cancelled(run: Any, name: str) -> LifespanError:
    """Return the error of a call that was cancelled on the run's loop."""
    return LifespanError(f"{name} was cancelled on the event loop of {run}.")


def run_to_call(lifespan: OpensRuns, name: str) -> Any:
    """Return the run whose loop sync code should use.

    Raises:
        NotRunning: there is none, there are several, or it belongs to another process.
        LifespanError: its loop runs in this very thread.
    """
    if nothing_is_up(lifespan):
        stand_in = lifespan.adapter.fallback_run(lifespan, f"{name} can't be called")
        if stand_in is not None:
            return stand_in
    run = running_run(lifespan, f"{name} can't be called")
    if run.loop is asyncio._get_running_loop():
        raise LifespanError(
            f"lifespan.call() was called on the event loop of {run}, and would wait there for "
            f"itself for ever. It is for sync code; write 'await {name[:-1]}...)' here."
        )
    if run.loop_thread == threading.get_ident():
        raise LifespanError(
            f"lifespan.call() was called in the thread of the event loop of {run}, and would wait "
            "there for itself for ever."
        )
    return run


async def run_to_acall(lifespan: OpensRuns, name: str) -> Any:
    """Return the run whose loop async code should use; it may be the running one.

    Raises:
        NotRunning: there is none, there are several, or it belongs to another process.
    """
    loop = asyncio.get_running_loop()
    if nothing_is_up(lifespan) and all(run.loop is not loop for run in lifespan.runs):
        # Opening the plan takes time, and must not block this loop.
        refusal = f"{name} can't be called"
        stand_in = await asyncio.to_thread(lifespan.adapter.fallback_run, lifespan, refusal)
        if stand_in is not None:
            return stand_in
    return running_run(lifespan, f"{name} can't be called")


def nothing_is_up(lifespan: OpensRuns) -> bool:
    """Return True if this process has no run to use, so that one may be opened in its place."""
    named = named_run(lifespan)
    if named is not None and not (named.over or named.inherited):
        return False
    return not any(run.is_up for run in lifespan.runs if not run.inherited)


def running_run(lifespan: OpensRuns, refusal: str) -> Any:
    """Return the run for this code, whose loop runs.

    Args:
        lifespan: the ``Lifespan`` of the run.
        refusal: the beginning of an error's sentence, such as "fetch() can't be called".

    Raises:
        NotRunning: there is none, there are several, or it belongs to another process.
    """
    from .read_errors import forked  # the errors, which a process that goes well never needs

    runs = [run for run in lifespan.runs if not run.over]
    if runs and all(run.inherited for run in runs):
        raise forked(runs[0], refusal)
    # A call may come from any loop, and goes to the run's.
    found = runs_meant(lifespan, loop=loop_above()) or outermost(
        [run for run in runs if not run.inherited]
    )
    if len(found) > 1:
        known = "; ".join(str(run) for run in found)
        raise NotRunning(
            f"{refusal}: it can't be told which of {len(found)} runs is meant: {known}."
        )
    run = found[0] if found else None
    if run is None or run.over:
        raise NotRunning(f"{refusal}: {lifespan.adapter.advice.no_run()}")
    if not run.loop.is_running():
        raise NotRunning(
            f"{refusal}: the event loop of {run} does not run now. "
            f"{run.adapter.advice.loop_stands_still(run)}"
        )
    return run


def send(
    coroutine: Coroutine[Any, Any, T],
    loop: asyncio.AbstractEventLoop,
    context: contextvars.Context,
) -> Future[T]:
    """Create a task for a coroutine on a loop in another thread.

    Unlike with ``asyncio.run_coroutine_threadsafe``, a SystemExit is set on the future and does not
    leave the loop (https://github.com/python/cpython/issues/108549).

    Args:
        coroutine: the coroutine.
        loop: the loop.
        context: its context variables.

    Returns:
        A future of its result; cancelling it cancels the task.

    Raises:
        RuntimeError: the loop is closed.
    """
    future: Future[T] = Future()

    async def run() -> None:
        try:
            result = await coroutine
        except asyncio.CancelledError:
            future.cancel()
            raise
        except BaseException as error:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        else:
            if future.set_running_or_notify_cancel():
                future.set_result(result)

    def begin() -> None:
        if future.cancelled():
            # The caller has cancelled it before the loop began it, and may have called again.
            coroutine.close()
            return
        task = loop.create_task(run())

        def cancel(future: Future[T]) -> None:
            if future.cancelled():
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(task.cancel)

        future.add_done_callback(cancel)

    try:
        context.run(loop.call_soon_threadsafe, begin)
    except RuntimeError:
        coroutine.close()
        raise
    return future


def result_of(future: Future[T], timeout: float | None = None) -> T:
    """Wait for the result of a future, and return it. Ctrl+C ends the wait.

    A wait in one piece misses a signal that another thread receives, or that comes as the wait begins: only
    the main thread runs Python's signal handlers, and nothing wakes it for them
    (https://docs.python.org/3/library/signal.html#signals-and-threads).

    Args:
        future: the future.
        timeout: seconds to wait at most; None: for ever.

    Raises:
        TimeoutError: there is no result yet.
        BaseException: the error of the future, or what a signal handler raises.
    """
    left = math.inf if timeout is None else timeout
    while left > LOOK_FOR_SIGNALS and not future.done():
        with suppress(TimeoutError):
            return future.result(LOOK_FOR_SIGNALS)
        left -= LOOK_FOR_SIGNALS
    return future.result(left)


def loop_above() -> asyncio.AbstractEventLoop | None:
    """Return the loop whose ``sync_to_async`` has called this thread's code, or None.

    asgiref stores it in a private attribute: ``SyncToAsync.thread_handler`` in
    https://github.com/django/asgiref/blob/main/asgiref/sync.py.
    """
    module = sys.modules.get(ASGIREF)
    above = getattr(module.SyncToAsync, "threadlocal", None) if module is not None else None
    loop: asyncio.AbstractEventLoop | None = getattr(above, "main_event_loop", None)
    return loop


def is_temporary(loop: asyncio.AbstractEventLoop) -> bool:
    """Return True if ``async_to_sync`` has made a loop for one call only."""
    module = sys.modules.get(ASGIREF)
    made = getattr(module.AsyncToSync, "loop_thread_executors", {}) if module is not None else {}
    # A test's lifespan stores its own executors there, for loops that stay.
    return type(made.get(loop)).__module__.startswith("asgiref.")


def leave_request() -> None:
    """Forget, in this context, the threads of a request: they end with it, and this code does not."""
    module = sys.modules.get(ASGIREF)
    if module is None:
        return
    executors = module.AsyncToSync.executors
    if hasattr(executors, "current"):
        delattr(executors, "current")
    module.SyncToAsync.thread_sensitive_context.set(None)
    module.SyncToAsync.deadlock_context.set(False)


def carried(thread: int | None = None) -> contextvars.Context:
    """Return a copy of the context variables, for a task on the loop of another thread.

    asgiref stores a ``Local`` in one of them, such as Django's language. Newer versions tie it to a
    thread (asgiref 3.13, local.py, ``_Storage``); in older ones all copies share one dictionary
    (https://github.com/django/asgiref/issues/473).

    Args:
        thread: the identifier of that thread; None: asgiref's variables are not copied.
    """
    context = contextvars.Context()
    for variable, value in contextvars.copy_context().items():
        if variable.name == ASGIREF_LOCAL:
            if thread is None:
                continue
            context.run(variable.set, moved(value, thread))
        else:
            context.run(variable.set, value)
    return context


def moved(storage: Any, thread: int) -> Any:
    """Return a copy of asgiref's value in a context variable, for another thread."""
    storage = copy.copy(storage)
    if hasattr(storage, "thread_id"):
        storage.thread_id = thread
    return storage
