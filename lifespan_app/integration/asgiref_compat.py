"""The private parts of asgiref that are used here, in one place.

``async_to_sync`` runs async code on the *main loop* of its thread, if that has one, else on a loop of
its own. ``sync_to_async`` gives one to the thread that it hands sync code to: the loop that the code
comes from.
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
    """Have ``async_to_sync`` run the async code of this thread on a loop.

    Args:
        loop: runs in another thread.

    Returns:
        What ``restore_main_loop`` takes to undo it.
    """
    before = _main_loop()
    restore_main_loop(MainLoop(loop, os.getpid()))
    return before


def restore_main_loop(before: MainLoop) -> None:
    """Undo ``set_main_loop``, and what ``sync_to_async`` has set since, which it never undoes."""
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

    asgiref calls the methods below and no others. It is a loop by its type because asgiref 3.8 hands
    it to ``asyncio.set_event_loop()``.

    Args:
        find: returns a loop that runs in another thread; None: ``async_to_sync`` is to use a loop
            of its own.
    """

    def __init__(self, find: Callable[[], asyncio.AbstractEventLoop | None]) -> None:
        self._find = find

    def is_running(self) -> bool:
        """Return True if there is a loop. asgiref 3.8 asks this; later versions call, and see."""
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
        # asgiref 3.8 keeps the first loop that an object of async_to_sync has met, for good. Here
        # the thread has another one by now, or none any more.
        return main if main is not None and main.is_running() else None
