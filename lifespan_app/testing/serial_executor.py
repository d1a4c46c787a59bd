"""The executor of sync hooks in a test: one thread, one hook at a time, on the test's connections.

Django's tests hold their transaction in one connection, and a connection belongs to a thread. The
thread of a sync test is free while a lifespan starts or stops, so its sync hooks run in it; so they
do in Django's own async tests, which run on a loop of ``async_to_sync``. A test whose loop runs in
the thread that holds the connections, as under pytest-asyncio, would stand still with them: there
they get another thread, with the same connections.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync
from django.conf import ENVIRONMENT_VARIABLE, settings

from lifespan_app.engine.adapter import Adapter
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.report import Outcome
from lifespan_app.engine.running.hook_run import STARTING, HookRun
from lifespan_app.integration.asgiref_compat import restore_main_loop, set_main_loop
from lifespan_app.integration.current_thread_executor import CurrentThreadExecutor, answer

from .plan_patch import Change

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from lifespan_app.engine.reporting.journal import Entry
    from lifespan_app.engine.reporting.report import Observer

T = TypeVar("T")

LAST_CALL = 1.0
"""Seconds for the current call of a thread when its test has ended."""


class InTest(Change):
    """Run sync hooks in a thread of the test's, and leave its connections alone.

    Args:
        executor: makes calls in that thread.
        history: keeps the record of the run, if the test wants one.
    """

    def __init__(self, executor: Executor, history: Observer | None = None) -> None:
        self._executor = executor
        self._history = history

    def to_adapter(self, adapter: Adapter) -> Adapter:
        """Return an adapter that closes no connections, and does not stop the process."""
        executor, history = self._executor, self._history
        waiter: Any = CurrentThreadExecutor
        if isinstance(executor, TestThreadExecutor):
            waiter = executor.waiter
        return adapter.changed(
            observers=adapter.observers if history is None else [*adapter.observers, history],
            turns=SerialExecutor(executor),
            around_thread=nothing_around,
            around_task=nothing_around,
            around_call=nothing_around,
            stop_server=log_server_stop,
            waiter=waiter,
        )


def nothing_around(*args: object, **kwargs: object) -> None:
    """Leave the connections alone: they are the test's."""


def log_server_stop(server: str | None) -> None:
    """Log that a server would be asked to stop: here it would be the test's own process."""
    logger.warning("A server would be asked to stop here; a test is left alone.")


class SerialExecutor:
    """An executor that runs sync hooks one at a time in one thread.

    Args:
        executor: makes calls in that thread, in their order.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, hook_run: HookRun, turn: Callable[[], None]) -> None:
        """Queue ``turn`` for the thread."""
        self._executor.submit(begin, hook_run, turn)


def begin(hook_run: HookRun, turn: Callable[[], None]) -> None:
    """Begin a turn, unless the hook was given up while it waited for it."""
    if hook_run.cancel_attempts and (hook_run.state is STARTING or is_abandoned(hook_run.startup)):
        hook_run.run.executor.post_ended(hook_run.execution, asyncio.CancelledError())
    else:
        turn()


def is_abandoned(start: Entry | None) -> bool:
    """Return True for a start that nobody waits for any more."""
    return start is not None and start.outcome is Outcome.ABANDONED


# The thread that runs a sync test.


class TestThreadExecutor(CurrentThreadExecutor):
    """The thread that runs a sync test: it makes calls whenever it waits for its lifespan."""

    def waiter(self) -> CurrentThreadExecutor:
        """Return a waiter for a thread in ``lifespan.call``."""
        # While a hook runs, no other one has its turn.
        free = threading.get_ident() == self.thread and not self.busy
        return self if free else CurrentThreadExecutor()

    def until(self, future: Future[T], timeout: float | None = None) -> T:
        """Wait for a result, make the calls that come meanwhile, and be ready for more."""
        return self.serve_until(future, timeout)


@contextmanager
def async_code_goes_to(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Make ``async_to_sync``, in this thread, run async code on a loop: async views, for example.

    Args:
        loop: runs in another thread.
    """
    before = set_main_loop(loop)
    try:
        yield
    finally:
        restore_main_loop(before)


@contextmanager
def sync_code_goes_to(executor: Executor, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Make the thread-sensitive calls of ``sync_to_async`` on a loop run in one thread.

    Args:
        executor: makes calls in that thread.
        loop: the loop.
    """
    executors: dict[asyncio.AbstractEventLoop, Any] = AsyncToSync.loop_thread_executors
    executors[loop] = executor
    try:
        yield
    finally:
        del executors[loop]


# A thread with the connections of the thread that runs an async test.


class ThreadWithConnections(Executor):
    """A thread that has the database connections of another one, with their transactions.

    Args:
        connections: by alias; nothing else may use them meanwhile.
    """

    def __init__(self, connections: Mapping[str, BaseDatabaseWrapper]) -> None:
        self._connections = connections
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._over = False
        for connection in connections.values():
            connection.inc_thread_sharing()
        self._thread = threading.Thread(target=self._serve, name="lifespan test", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call to the thread."""
        future: Future[Any] = Future()
        with self._lock:
            if not self._over:
                self._calls.put(lambda: answer(future, lambda: function(*args, **kwargs)))
                return future
        return SyncToAsync.single_thread_executor.submit(function, *args, **kwargs)

    def close(self) -> None:
        """End the thread, and give the connections back. One that hangs is left behind."""
        with self._lock:
            self._over = True
        self._calls.put(None)
        self._thread.join(LAST_CALL)
        for connection in self._connections.values():
            connection.dec_thread_sharing()

    def _serve(self) -> None:
        if self._connections:
            from django.db import connections

            for alias, connection in self._connections.items():
                connections[alias] = connection
        while (call := self._calls.get()) is not None:
            call()


def connections_of_this_thread() -> dict[str, BaseDatabaseWrapper]:
    """Return the connections that sync code has in this thread, by alias."""
    if not (settings.configured or os.environ.get(ENVIRONMENT_VARIABLE)):
        return {}
    from django.db import connections

    # Django's connections are an asgiref Local: a running loop has its own.
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return {alias: connections[alias] for alias in connections}
    finally:
        asyncio._set_running_loop(loop)
