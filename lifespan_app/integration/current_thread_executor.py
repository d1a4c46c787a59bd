"""A sync thread that waits for async code, and makes the ORM calls of that code meanwhile.

Django ties a connection, and its transaction, to a thread, and asgiref runs thread-sensitive calls in
the waiting thread (https://docs.djangoproject.com/en/stable/topics/async/#asgiref-sync-sync-to-async).
A thread that only waited would block such a call for ever.
"""

from __future__ import annotations

import functools
import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync

from lifespan_app.engine.running.portal import LOOK_FOR_SIGNALS, Waiter

T = TypeVar("T")


class CurrentThreadExecutor(Waiter, Executor):
    """An executor of the waiting thread, for the thread-sensitive calls of its async code.

    Calls that come after the wait run in asgiref's one thread for the whole process.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.thread = threading.get_ident()
        self.busy = False
        """True while a call runs."""
        self._over = False

    def begin(self) -> None:
        """Make asgiref submit the calls of this task and its children to the thread."""
        AsyncToSync.executors.current = self

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call to the thread.

        Raises:
            RuntimeError: it is made in that thread itself, which would wait for itself for ever.
        """
        if threading.get_ident() == self.thread:
            raise RuntimeError(
                "An event loop of its own runs in a thread that waits for another one, and asks "
                "for the same thread. Use asgiref's async_to_sync() instead of asyncio.run()."
            )
        future: Future[Any] = Future()
        call = functools.partial(function, *args, **kwargs)
        with self._lock:
            if not self._over:
                self._calls.put(functools.partial(answer, future, call))
                return future
        return SyncToAsync.single_thread_executor.submit(call)

    def until(self, future: Future[T], timeout: float | None = None) -> T:
        """Wait for a result, and make the calls that arrive until then.

        Args:
            future: gives the result.
            timeout: seconds to wait at most; None: for ever. A call that is being made is not
                interrupted.

        Raises:
            TimeoutError: there is no result yet.
        """
        try:
            return self.serve_until(future, timeout)
        finally:
            self.close()

    def serve_until(self, future: Future[T], timeout: float | None = None) -> T:
        """Do as ``until`` does, and be ready for more afterwards."""
        future.add_done_callback(lambda _: self._calls.put(None))
        give_up = math.inf if timeout is None else time.monotonic() + timeout
        while not future.done():
            left = max(0.0, give_up - time.monotonic())
            try:
                # A longer wait could miss Ctrl+C: see ``result_of``.
                call = self._calls.get(timeout=min(left, LOOK_FOR_SIGNALS))
            except queue.Empty:
                if left <= LOOK_FOR_SIGNALS:
                    break
                continue
            if call is not None:
                self._make(call)
        return future.result(0)

    def close(self) -> None:
        """Make the calls that have arrived, and take no more."""
        with self._lock:
            self._over = True
        while not self._calls.empty():
            call = self._calls.get()
            if call is not None:
                self._make(call)

    def _make(self, call: Callable[[], None]) -> None:
        before, self.busy = self.busy, True
        try:
            call()
        finally:
            self.busy = before


def answer(future: Future[Any], call: Callable[[], Any]) -> None:
    """Run a call, and set its result or its error on a future."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
