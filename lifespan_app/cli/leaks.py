"""Leaks of hooks: tasks, threads, async generators, sockets and files that were left open.

During a trial run, each new thread and async generator is recorded with its hook. After the run, those
that still exist are leaks.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple, Self

from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.reporting.failure import short
from lifespan_app.engine.running.hook_run import HookRun
from lifespan_app.engine.stacks.stacks import context_of, where_task, where_thread

GRACE = 0.5
"""Seconds after the run for tasks and threads that are still ending."""

DESCRIPTORS = ("/proc/self/fd", "/dev/fd")
"""Folders that list the open descriptors of a process: ``proc(5)``, and macOS ``fd(4)``."""

POOL = "lifespan pool"
OWN_THREADS = ("lifespan loop", "lifespan live", "lifespan last resort")


class Leak(NamedTuple):
    """An object that is still open after the end of the plan."""

    kind: str
    """``task``, ``thread``, ``async generator``, ``socket``, ``file``, ``pipe``, ``descriptor``."""
    what: str
    """Its name or address."""
    hook: str
    """The key of its hook; "" if that is unknown."""
    where: str = ""
    """Its current file and line."""


class Watch:
    """Records of the threads and async generators that hooks start."""

    def __init__(self) -> None:
        self._threads: weakref.WeakKeyDictionary[threading.Thread, str] = (
            weakref.WeakKeyDictionary()
        )
        self._generators: list[tuple[weakref.ref[AsyncGenerator[Any, Any]], str]] = []
        self._before = set(threading.enumerate())

    @contextmanager
    def watching_threads(self) -> Iterator[Self]:
        """Record the threads that are started in a ``with`` block."""
        start = threading.Thread.start

        def start_and_note(thread: threading.Thread) -> None:
            # A thread started by a thread belongs to the same hook.
            parent = threading.current_thread()
            self._threads[thread] = hook_key() or self._threads.get(parent, "")
            start(thread)

        # A new thread has an empty context by default, so it does not know its hook:
        # https://docs.python.org/3/library/threading.html#threading.Thread
        threading.Thread.start = start_and_note  # type: ignore[method-assign, assignment]
        try:
            yield self
        finally:
            threading.Thread.start = start  # type: ignore[method-assign]

    def watch_loop(self) -> None:
        """Record the async generators that begin on the running loop from now on."""
        first, _ = sys.get_asyncgen_hooks()

        def note(generator: AsyncGenerator[Any, Any]) -> None:
            self._generators.append((weakref.ref(generator), hook_key()))
            if first is not None:
                first(generator)

        sys.set_asyncgen_hooks(firstiter=note)

    async def left_on_loop(self, before: set[asyncio.Task[Any]]) -> list[Leak]:
        """Return the leaked tasks and async generators after a run.

        Args:
            before: the tasks before the run.
        """
        tasks = asyncio.all_tasks() - before - {asyncio.current_task()}
        if tasks:
            # A cancelled task may still be ending.
            _, tasks = await asyncio.wait(tasks, timeout=GRACE)
        found = [
            Leak("task", name_of(task), owner(task), str(where_task(task) or "")) for task in tasks
        ]
        gc.collect()
        for reference, hook in self._generators:
            generator = reference()
            frame = getattr(generator, "ag_frame", None)
            if generator is not None and frame is not None:
                code: CodeType = frame.f_code
                where = f"{short(code.co_filename)}:{frame.f_lineno}"
                found.append(Leak("async generator", code.co_qualname, hook, where))
        self._generators.clear()
        return found

    def left_threads(self, hooks: Mapping[int, str]) -> list[Leak]:
        """Return the leaked threads after the end of the loop.

        Args:
            hooks: the keys of hanging hooks, by the id of their thread.
        """
        give_up_at = time.monotonic() + GRACE
        left = []
        for thread in set(threading.enumerate()) - self._before:
            if thread.name.startswith(OWN_THREADS):
                continue
            thread.join(max(0.0, give_up_at - time.monotonic()))
            if thread.is_alive():
                left.append(thread)
        # A leak is reported only once.
        self._before.update(left)
        return [
            Leak(
                "thread",
                thread.name,
                self._hook_of(thread, hooks),
                str(where_thread(thread.ident or 0) or ""),
            )
            for thread in sorted(left, key=lambda thread: thread.name)
        ]

    def _hook_of(self, thread: threading.Thread, hooks: Mapping[int, str]) -> str:
        if thread.name == POOL:
            return hooks.get(thread.ident or 0, "")
        # The engine starts the thread of a sync resource, and names it after the hook.
        own = thread.name.removeprefix("lifespan ")
        return own if own != thread.name and "." in own else self._threads.get(thread, "")


def hook_key() -> str:
    """Return the key of the hook in the current context, or ""."""
    inside = current_hook.get()
    return inside.node.key if isinstance(inside, HookRun) else ""


def owner(task: asyncio.Task[Any]) -> str:
    """Return the key of the hook that created a task, or ""."""
    context = context_of(task)
    return "" if context is None else context.copy().run(hook_key)


def name_of(task: asyncio.Task[Any]) -> str:
    """Return the name of a task's coroutine, or of the task."""
    coroutine = task.get_coro()
    name = getattr(coroutine, "__qualname__", None)
    return str(name) if name else task.get_name()


# Open descriptors.


class Descriptor(NamedTuple):
    """An open file descriptor of this process."""

    number: int
    target: str
    """A path, or a kind with a unique number, such as ``socket:[123]``: ``proc(5)``."""


def descriptors() -> set[Descriptor]:
    """Return the open descriptors; an empty set on a system without a list of them."""
    folder = next((name for name in DESCRIPTORS if Path(name).is_dir()), None)
    if folder is None:
        return set()
    found = set()
    for name in os.listdir(folder):  # noqa: PTH208  # its names are numbers, not paths
        # The descriptor of the folder itself is closed by now.
        with suppress(OSError):
            found.add(Descriptor(int(name), os.readlink(f"{folder}/{name}")))  # noqa: PTH115
    return found


def leak_of(descriptor: Descriptor, hook: str) -> Leak:
    """Return the leak of an open descriptor."""
    kind, _, _ = descriptor.target.partition(":")
    if kind == "socket":
        return Leak("socket", ends_of(descriptor), hook)
    if kind == "pipe":
        return Leak("pipe", f"descriptor {descriptor.number}", hook)
    if descriptor.target.startswith("/"):
        return Leak("file", short(descriptor.target), hook)
    return Leak("descriptor", f"{descriptor.number}, {descriptor.target}", hook)


def ends_of(descriptor: Descriptor) -> str:
    """Return the addresses of both ends of a socket, or the one at which it listens."""
    with suppress(OSError):
        end = socket.socket(fileno=os.dup(descriptor.number))
        with end:
            own: Any = end.getsockname()
            with suppress(OSError):
                return f"{address(own)} to {address(end.getpeername())}"
            return address(own)
    return f"descriptor {descriptor.number}"


def address(of_socket: Any) -> str:
    """Return the address of a socket as text."""
    if isinstance(of_socket, tuple):
        return f"{of_socket[0]}:{of_socket[1]}"
    text = of_socket.decode(errors="replace") if isinstance(of_socket, bytes) else str(of_socket)
    return text or "without a name"
