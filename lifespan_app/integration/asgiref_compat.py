"""The main loop of a thread in asgiref, a private attribute.

``async_to_sync`` runs async code on the *main loop* of its thread, or without one on a new loop.
``sync_to_async`` sets the main loop of the thread that runs the sync code: its caller's loop. See
``AsyncToSync.__call__`` and ``SyncToAsync.thread_handler`` in
https://github.com/django/asgiref/blob/main/asgiref/sync.py.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, NamedTuple, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync

T = TypeVar("T")


class MainLoop(NamedTuple):
    """The main loop of a thread, and the process that has set it: a fork has none."""

    loop: asyncio.AbstractEventLoop | None
    pid: int | None


def main_loop() -> asyncio.AbstractEventLoop | None:
    """Return the main loop of this thread, or None."""
    loop, pid = _main_loop()
    return loop if pid == os.getpid() else None


def set_main_loop(loop: asyncio.AbstractEventLoop) -> MainLoop:
    """Make ``async_to_sync`` run the async code of this thread on a loop.

    Args:
        loop: runs in another thread.

    Returns:
        The argument for ``restore_main_loop``.
    """
    before = _main_loop()
    restore_main_loop(MainLoop(loop, os.getpid()))
    return before


def restore_main_loop(before: MainLoop) -> None:
    """Undo ``set_main_loop``, and the value that ``sync_to_async`` sets and never resets."""
    SyncToAsync.threadlocal.main_event_loop = before.loop
    SyncToAsync.threadlocal.main_event_loop_pid = before.pid


def serves_async_code() -> bool:
    """Return True if this thread makes the sync calls of async code that it waits for."""
    return getattr(AsyncToSync.executors, "current", None) is not None


def _main_loop() -> MainLoop:
    local = SyncToAsync.threadlocal
    return MainLoop(
        getattr(local, "main_event_loop", None), getattr(local, "main_event_loop_pid", None)
    )


class DeferredLoop(asyncio.AbstractEventLoop):
    """A main loop that is looked up when ``async_to_sync`` uses it, and not before.

    asgiref calls only the methods below. The type has to be a loop, since asgiref 3.8 passes it to
    ``asyncio.set_event_loop()``.

    Args:
        find: returns a loop that runs in another thread; None: ``async_to_sync`` is to use a loop
            of its own.
    """

    def __init__(self, find: Callable[[], asyncio.AbstractEventLoop | None]) -> None:
        self._find = find

    def is_running(self) -> bool:
        """Return True if there is a loop. asgiref 3.8 calls this, later versions don't."""
        return self._loop() is not None

    def call_soon_threadsafe(  # type: ignore[override]  # the callback's types are asgiref's affair
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Call a function on the loop.

        Raises:
            RuntimeError: there is none, as if it were closed.
        """
        loop = self._loop()
        if loop is None:
            raise RuntimeError("no main loop")
        return loop.call_soon_threadsafe(callback, *args, context=context)

    def create_task(  # type: ignore[override]  # as asgiref calls it, on the loop that was found
        self, coroutine: Coroutine[Any, Any, T]
    ) -> asyncio.Task[T]:
        """Begin a task on the running loop."""
        return asyncio.get_running_loop().create_task(coroutine)

    def _loop(self) -> asyncio.AbstractEventLoop | None:
        main = main_loop()
        if main is self:
            return self._find()
        # Before https://github.com/django/asgiref/pull/562, asgiref captured the loop in
        # AsyncToSync.__init__, and the thread may have another loop by now, or none.
        return main if main is not None and main.is_running() else None
