"""Database connections of hooks: each hook has connections of its own, borrowed for a use.

Django ties a connection to a thread. A sync hook uses those of its own thread. asgiref runs the ORM
calls of async code in one thread for the whole process (``SyncToAsync.single_thread_executor``), where
connections would stay open and never be renewed. So an async hook gets a thread for its ORM calls, at
the first of them.

A connection that a hook kept for its life would be missing in a pool, and broken by its next use. So
it is returned as soon as the hook does not use it.
"""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.apps import apps
from django.db import Error, connections
from django.db.backends.signals import connection_created

from lifespan_app.engine.hooks.hook import Hook, innermost, place_of
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.failure import short
from lifespan_app.engine.running.threads import start_thread

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

RESTED = 1.0
"""Seconds without a use after which a hook's connections are given back."""


class ThisThread(threading.local):
    """The database connections of the running thread."""

    opened = False
    """True if one was opened since they were last closed."""
    cursors: weakref.WeakSet[Any] | None = None
    """The live cursors of borrowed connections."""
    rested = False
    """True if a connection was idle for a while, and could not be returned."""

    def borrows(self) -> None:
        """Keep track of cursors, as a connection with an open one must not be returned."""
        if self.cursors is None:
            self.cursors = weakref.WeakSet()

    def reads_rows(self) -> bool:
        """Return True if rows may still be read from a cursor."""
        return any(map(is_open, self.cursors or ()))


this_thread = ThisThread()


def opened(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Take note that this thread has opened a connection."""
    this_thread.opened = True
    if this_thread.cursors is not None:
        for name in ("make_cursor", "make_debug_cursor"):
            # Django calls one of them for each cursor, also for the one that opens the connection.
            if name not in vars(connection):
                make = functools.partial(remembered, getattr(connection, name))
                setattr(connection, name, make)


connection_created.connect(opened, dispatch_uid="lifespan_app")


def remembered(make: Callable[[Any], Any], cursor: Any) -> Any:
    """Make a cursor of Django's around one of the driver's, and remember it while it lives."""
    made = make(cursor)
    if this_thread.cursors is not None:
        this_thread.cursors.add(made)
    return made


def is_open(cursor: Any) -> bool:
    """Return False for a cursor that was closed, but lives on, as in the traceback of an error."""
    # MySQL's drivers set ``connection`` to None instead. With neither attribute it counts as open.
    return not getattr(cursor, "closed", False) and getattr(cursor, "connection", True) is not None


def close_connections() -> None:
    """Close this thread's connections."""
    this_thread.opened = False
    for connection in connections.all(initialized_only=True):
        close(connection)


def close(connection: BaseDatabaseWrapper) -> None:
    """Close a connection, or give it back to its pool. One that can't be closed is broken already."""
    with suppress(Error):
        connection.close()


def give_back_connections() -> None:
    """Close this thread's connections, except those with a transaction or an open cursor.

    The next query opens a new one.
    """
    if not this_thread.opened:
        return
    this_thread.opened = False
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        if connection.in_atomic_block or not connection.autocommit or this_thread.reads_rows():
            this_thread.opened = this_thread.rested = True
        else:
            close(connection)


def renew_connections() -> None:
    """Close the connections of this thread that are broken or too old.

    The next query opens a new one.
    """
    if not this_thread.opened:
        return
    rested, this_thread.rested = this_thread.rested, False
    for connection in connections.all(initialized_only=True):
        if is_broken(connection, rested=rested) or is_expired(connection):
            close(connection)


def is_broken(connection: BaseDatabaseWrapper, *, rested: bool) -> bool:
    """Return True if a connection is broken. It is pinged only with a reason.

    Args:
        connection: a connection of this thread.
        rested: whether it was not used for a while.
    """
    if connection.connection is None or connection.in_atomic_block:
        return False
    # Without autocommit, a ping would begin a transaction.
    if connection.errors_occurred or (rested and connection.autocommit):
        if not connection.is_usable():
            return True
        connection.errors_occurred = False
    return False


def is_expired(connection: BaseDatabaseWrapper) -> bool:
    """Return True if an idle connection is past its ``CONN_MAX_AGE``.

    With a ``CONN_MAX_AGE`` of 0 a connection lives as long as a request, or here as a use.
    """
    return (
        connection.connection is not None
        and connection.close_at is not None
        and connection.settings_dict["CONN_MAX_AGE"] > 0
        and time.monotonic() >= connection.close_at
        and connection.autocommit
        and not this_thread.reads_rows()
    )


class ClosedAfter:
    """Close the connections that a sync hook has opened in this thread."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Borrow from here on. A connection is opened by its first query."""
        this_thread.borrows()

    def __exit__(self, *error: object) -> None:
        """Close them."""
        if this_thread.opened:
            close_connections()


class ConnectionThread:
    """A thread for the ORM calls of one hook: one after the other, on the same connections.

    It is a daemon thread, unlike those of a ``ThreadPoolExecutor``: a query that hangs can't keep
    the process alive.

    Args:
        name: the thread's name.
        patience: seconds without a call after which it ends by itself; None: never.
    """

    def __init__(self, name: str, patience: float | None = None) -> None:
        self.ident: int | None = None
        self._patience = patience
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any] | None]]
        self._calls = queue.SimpleQueue()
        self._over = False
        self._ending = threading.Lock()
        start_thread(self._serve, name)

    def submit(self, call: Callable[[], Any]) -> Future[Any] | None:
        """Submit a call to the thread. Returns None if the thread has ended."""
        future: Future[Any] = Future()
        with self._ending:
            if self._over:
                return None
            self._calls.put((future, call))
        return future

    def close(self) -> Future[None]:
        """Make the thread close its connections and end after all of its calls."""
        closed: Future[None] = Future()
        with self._ending:
            self._over = True
            self._calls.put((closed, None))
        return closed

    def _serve(self) -> None:
        self.ident = threading.get_ident()
        this_thread.borrows()
        while (given := self._next()) is not None:
            future, call = given
            wanted = future.set_running_or_notify_cancel()
            if call is None:
                break
            if wanted:
                try:
                    renew_connections()
                    result = call()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            # The waiting thread must not keep them alive.
            del given, future, call
        close_connections()
        if given is not None and wanted:
            future.set_result(None)

    def _next(self) -> tuple[Future[Any], Callable[[], Any] | None] | None:
        """Wait for the next call, or return None after a while without one."""
        while True:
            try:
                return self._calls.get(timeout=RESTED if this_thread.opened else self._patience)
            except queue.Empty:
                give_back_connections()
                # An open cursor will be read further.
                if self._patience is None or this_thread.opened:
                    continue
                with self._ending:
                    if self._calls.empty():
                        self._over = True
                        return None


class Called(NamedTuple):
    """An async function that is called on the loop of a run, from another one."""

    module: str
    name: str
    file: str
    line: int


def around_call(function: Callable[..., Any]) -> OwnConnections | None:
    """Return connections for an async function that is called from another loop; None: it has some.

    asgiref would run its ORM calls in its one thread for the whole process, where connections would stay
    open. A request or a hook has a thread already, but that may be the thread of this very loop, which
    would wait for itself for ever.
    """
    from lifespan_app.engine.running.portal import loop_above  # it has made the call

    has_thread = (
        THREAD_SENSITIVE_CONTEXT is not None and THREAD_SENSITIVE_CONTEXT.get(None) is not None
    )
    if has_thread and loop_above() is None:
        return None
    function = innermost(function)
    name = getattr(function, "__name__", type(function).__name__)
    module = getattr(function, "__module__", None) or ""
    return OwnConnections(Called(module, name, *place_of(function, None)))


class OwnConnections:
    """Give an async hook connections of its own, closed after it.

    It costs next to nothing unless the hook uses the ORM. Under ``async_to_sync`` the waiting thread
    makes the ORM calls, as everywhere in Django, and its connections stay open.

    Args:
        hook: the owner of the connections: a hook, or another async function.
    """

    __slots__ = ("_fallback", "_hook", "_over", "_thread")

    def __init__(self, hook: Hook | Called) -> None:
        self._hook = hook
        self._over = False
        self._thread: ConnectionThread | None = None
        self._fallback: ThreadSensitiveContext | None = None

    async def __aenter__(self) -> None:
        """Make asgiref submit the ORM calls of this task and its children here."""
        # Never reset, as the context ends with the hook's task.
        own.set(self)
        if THREAD_SENSITIVE_CONTEXT is not None:
            THREAD_SENSITIVE_CONTEXT.set(CONTEXT_OF_HOOKS)
        else:
            self._fallback = ThreadSensitiveContext(executor=HOOK_EXECUTOR)
            await self._fallback.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        """Close the connections; a call that hangs is left behind when the hook is cancelled."""
        self._over = True
        if self._fallback is not None:
            await self._fallback.__aexit__(None, None, None)
        thread = self._thread
        if thread is None:
            return
        try:
            await asyncio.wrap_future(thread.close())
        except asyncio.CancelledError:
            self._leave_behind(thread)
            raise

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Submit a call to the hook's thread.

        Raises:
            RuntimeError: it is made in that thread itself, which would wait for itself for ever.
        """
        if self._thread is not None and self._thread.ident == threading.get_ident():
            raise RuntimeError(
                f"{self} runs an event loop of its own in the thread of its database connections, "
                "and that loop asks for the same thread. Run it with asgiref's async_to_sync() "
                "instead of asyncio.run()."
            )
        with starting:
            future = None if self._thread is None else self._thread.submit(call)
            if future is None:
                hook = self._hook
                # For a task that outlives its hook, nothing else would end the thread.
                patience = RESTED if self._over else None
                name = f"lifespan database {hook.module}.{hook.name}"
                self._thread = ConnectionThread(name, patience)
                future = self._thread.submit(call)
        assert future is not None
        return future

    def give_back(self) -> None:
        """Return the open connections, after all submitted calls."""
        if self._thread is not None:
            self._thread.submit(give_back_connections)

    def _leave_behind(self, thread: ConnectionThread) -> None:
        # Not paid for where nothing hangs.
        from lifespan_app.engine.stacks.stacks import where_thread

        place = thread.ident and where_thread(thread.ident, home=self._hook.file)
        logger.warning(
            "%s: a database call hangs in its thread, which can't be cancelled%s. It is left "
            "behind; its connection is closed when it returns, or with the process.",
            self,
            f": {place}" if place else "",
        )

    def __str__(self) -> str:
        hook = self._hook
        app = apps.get_containing_app_config(hook.module)
        key = f"{app.label if app else hook.module}.{hook.name}"
        return f"'{key}' ({short(hook.file)}:{hook.line})"


class HookExecutor(Executor):
    """The executor for asgiref's ORM calls: they go to the connections of the calling hook."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call to the thread of the running hook."""
        return own.get().submit(functools.partial(function, *args, **kwargs))


own: ContextVar[OwnConnections] = ContextVar("lifespan_app_own_connections")
"""The connections of the hook that this code is part of."""

starting = threading.Lock()
"""Held while the thread of a hook starts: a hook may have tasks on several loops."""

HOOK_EXECUTOR = HookExecutor()

# One context for all hooks, registered with asgiref once: an own one for each hook would cost more
# than the hook's whole start. The public ThreadSensitiveContext(executor=) is slower still, and the
# fallback for an asgiref without these private names.
THREAD_SENSITIVE_CONTEXT: ContextVar[ThreadSensitiveContext] | None
CONTEXT_OF_HOOKS = ThreadSensitiveContext()
try:
    THREAD_SENSITIVE_CONTEXT = SyncToAsync.thread_sensitive_context
    SyncToAsync.context_to_thread_executor[CONTEXT_OF_HOOKS] = HOOK_EXECUTOR
except AttributeError:
    THREAD_SENSITIVE_CONTEXT = None
