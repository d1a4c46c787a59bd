"""What tests of a project use: a lifespan for a test, with what it opens replaced or broken.

::

    async with lifespan_running() as running:
        response = await running.async_client.get("/book/1/")

    with override(http_client, fake), lifespan_running() as running:
        response = running.client.get("/book/1/")
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from asgiref.sync import AsyncToSync
from django.test import AsyncClient, Client
from django.test.client import AsyncClientHandler, ClientHandler

from .default import lifespan as default
from .engine.api import Lifespan, current, note_stop_errors, raise_stop_errors
from .engine.context import LifespanContext
from .engine.current import SCOPE_KEY
from .engine.doubles import Change, Failure, Only, Trouble, Wanted, replaced, value_in_open_run
from .engine.errors import LifespanError
from .engine.hooks import Hook
from .engine.report import Mode, Report
from .engine.resource import Resource
from .engine.runner import Run
from .engine.state import RunState
from .engine.threads import LoopThread
from .protocol import ServedRun, prepare
from .state import RequestState
from .turns import (
    InTest,
    ThreadOfTest,
    ThreadWithConnections,
    async_code_goes_to,
    connections_of_this_thread,
    sync_code_goes_to,
)

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

__all__ = [
    "InjectedFailure",
    "LifespanAwareAsyncClient",
    "Running",
    "inject",
    "lifespan_running",
    "override",
]

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
T = TypeVar("T")

SERVER = "lifespan_running"
"""What stands in the report in place of a server."""


# A lifespan for a test.


def lifespan_running(
    service_type: str | None = None,
    *,
    only: Iterable[Wanted] | None = None,
    lifespan: Lifespan | None = None,
    history: bool = False,
) -> LifespanRunning:
    """Return what opens a plan for a test, in an ``async with`` or a ``with``.

    The environment is ``test``. In ``async with`` the lifespan runs on the test's own loop, in
    ``with`` on a loop in a thread of its own, where ``async_to_sync`` and async views run too. Sync
    hooks run one after the other on the test's own database connections, which are left alone; so
    do the ORM calls of async hooks: a hook sees the rows that the test has made.

    Args:
        service_type: whose plan; None: that of the settings.
        only: hooks, by handle, function or key, that are opened with what they need; None: all,
            and what django-asgi-lifespan's signals and managers have connected.
        lifespan: whose plan; None: the default ``Lifespan``.
        history: whether the run is recorded, in the test's own transaction.
    """
    return LifespanRunning(service_type, only=only, lifespan=lifespan, history=history)


class Running:
    """A lifespan that is open in a test.

    Args:
        run: the run.
        handed_out: gives what a server would put into the state of each request.
    """

    def __init__(self, run: Run, handed_out: Callable[[], Mapping[str, Any]]) -> None:
        self._run = run
        self._handed_out = handed_out

    @property
    def state(self) -> RunState:
        """What is open: ``state["name"]``, ``state.name``."""
        return self._run.state

    @property
    def context(self) -> LifespanContext:
        """What the hooks were told."""
        return self._run.context

    @property
    def report(self) -> Report:
        """What the run has done so far; behind the ``with`` block, all of it."""
        return self._run.report()

    @cached_property
    def client(self) -> Client:
        """Django's test client, whose requests have ``request.state``."""
        return ClientInRun(self)

    @cached_property
    def async_client(self) -> AsyncClient:
        """Django's async test client, whose requests have ``request.state``."""
        return AsyncClientInRun(self)

    def scope(self) -> dict[str, Any]:
        """Return what an ASGI scope says of the run that a request is served by."""
        return {SCOPE_KEY: self._run, "state": dict(self._handed_out())}

    def __repr__(self) -> str:
        return f"<running: {self._run}>"


class LifespanRunning:
    """What ``lifespan_running`` returns: it opens a run, once, and closes it.

    Args:
        service_type: whose plan; None: that of the settings.
        only: hooks that are opened with what they need; None: all.
        lifespan: whose plan; None: the default ``Lifespan``.
        history: whether the run is recorded.
    """

    def __init__(
        self,
        service_type: str | None,
        *,
        only: Iterable[Wanted] | None,
        lifespan: Lifespan | None,
        history: bool,
    ) -> None:
        self._service_type = service_type
        self._history = history
        self._only = None if only is None else Only(only)
        self._lifespan = lifespan or default
        self._around = ExitStack()
        self._run: Run | None = None

    # Sync.

    def __enter__(self) -> Running:
        """Open the plan on a loop in a thread of its own.

        Raises:
            LifespanError: a loop runs here.
            PlanError: the plan can't be made.
            LookupError: the plan does not hold what is asked for.
            BaseException: the first error of a hook that failed to start.
        """
        if asyncio._get_running_loop() is not None:
            raise LifespanError(
                "'with lifespan_running()' was entered where an event loop runs, and would block "
                "it. Write 'async with lifespan_running()' in an async test."
            )
        with self._around_what_fails():
            self._here = ThreadOfTest()
            self._thread = LoopThread("lifespan test loop")
            self._around.callback(self._thread.close)
            self._around.enter_context(sync_code_goes_to(self._here, self._thread.loop))
            self._around.enter_context(async_code_goes_to(self._thread.loop))
            return self._here.until(self._thread.submit(self._open(self._here)))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close what was opened.

        Raises:
            ExceptionGroup: the errors of hooks that failed to stop; an error of the body comes
                through as itself, with notes on theirs.
        """
        with self._around:
            self._here.until(self._thread.submit(self._close(error)))

    # Async.

    async def __aenter__(self) -> Running:
        """Open the plan on the running loop. Raises as ``with`` does."""
        loop = asyncio.get_running_loop()
        executor: Executor | None = AsyncToSync.loop_thread_executors.get(loop)
        with self._around_what_fails():
            if executor is None:
                own = ThreadWithConnections(connections_of_this_thread())
                self._around.callback(own.close)
                self._around.enter_context(sync_code_goes_to(own, loop))
                executor = own
            return await self._open(executor)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close what was opened. Raises as ``with`` does."""
        with self._around:
            await self._close(error)

    # Both.

    @contextmanager
    def _around_what_fails(self) -> Iterator[None]:
        if self._run is not None:
            raise LifespanError("lifespan_running() opens one run: call it anew for another one.")
        try:
            yield
        except BaseException:
            self._around.close()
            raise

    async def _open(self, executor: Executor) -> Running:
        lifespan = self._lifespan
        if lifespan is default:
            put_django_around(lifespan)
        recorder = None
        if self._history:
            from .history.in_test import RecorderInTest

            recorder = RecorderInTest(executor)
        changes: list[Change] = [InTest(executor, recorder)]
        if self._only is not None:
            changes.append(self._only)
        # First of all: what a test overrides and injects has the last word.
        lifespan.changes[:0] = changes
        try:
            run = self._prepare()
        finally:
            del lifespan.changes[: len(changes)]
        self._run = run
        await run.start()
        if recorder is not None:
            await recorder.written()
        self._around.enter_context(current(run))
        if not isinstance(run, ServedRun):
            return Running(run, lambda: run.state)
        scope: dict[str, Any] = {"state": {}}
        return Running(run, lambda: run.hand_out(scope))

    def _prepare(self) -> Run:
        lifespan = self._lifespan
        settings = lifespan.host.settings()
        context = LifespanContext(
            self._service_type or settings.service_type, "test", settings.config
        )
        if self._only is not None or lifespan is not default:
            return lifespan.prepare(context, server=SERVER, mode=Mode.TEST)
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        return prepare(lifespan, scope, context, server=SERVER, mode=Mode.TEST, inner=None)

    async def _close(self, error: BaseException | None) -> None:
        run = self._run
        assert run is not None
        quick = isinstance(error, asyncio.CancelledError)
        await run.stop(quick=quick, ended_by=type(error).__name__ if error else "the test's end")
        if error is None:
            raise_stop_errors(run)
        else:
            note_stop_errors(run, error)


def put_django_around(lifespan: Lifespan) -> None:
    """Put Django around the default ``Lifespan`` where the app is not installed."""
    from django.conf import settings

    if settings.configured:
        from .host import install

        install(lifespan)


# Clients.


class StateHandler(ClientHandler):
    """Django's handler behind its test client; requests have the state.

    Args:
        running: whose state.
        enforce_csrf_checks: as Django's handler takes it.
    """

    def __init__(self, running: Running, enforce_csrf_checks: bool) -> None:
        super().__init__(enforce_csrf_checks)
        self._running = running

    def get_response(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a request."""
        scope = {"type": "http", **self._running.scope()}
        request.scope = scope  # type: ignore[attr-defined]
        request.state = RequestState(scope)  # type: ignore[attr-defined]
        return super().get_response(request)


class AsyncStateHandler(AsyncClientHandler):
    """Django's handler behind its async test client; requests have the state of their scope."""

    async def get_response_async(self, request: Any) -> Any:
        """Answer a request."""
        request.state = RequestState(request.scope)
        return await super().get_response_async(request)


class ClientInRun(Client):
    """Django's test client for one run. It takes Django's arguments behind the run.

    Args:
        running: the run.
    """

    def __init__(
        self, running: Running, enforce_csrf_checks: bool = False, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(enforce_csrf_checks, *args, **kwargs)
        self.handler = StateHandler(running, enforce_csrf_checks)


class AsyncClientInRun(AsyncClient):
    """Django's async test client for one run. It takes Django's arguments behind the run.

    Args:
        running: the run.
    """

    def __init__(
        self, running: Running, enforce_csrf_checks: bool = False, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(enforce_csrf_checks, *args, **kwargs)
        self.handler = AsyncStateHandler(enforce_csrf_checks)
        self._running = running

    def _base_scope(self, **request: Any) -> dict[str, Any]:
        scope: dict[str, Any] = super()._base_scope(**request)  # type: ignore[misc]
        return scope | self._running.scope()


class LifespanAwareAsyncClient(AsyncClient):
    """Django's async test client, whose requests carry a lifespan's state.

    With ``state`` they carry that. Without, ``async with LifespanAwareAsyncClient() as client`` opens
    the lifespan once, for all requests, and closes it.

    Args:
        state: what a lifespan has given; None: it is opened here.
        defaults: as Django's client takes them.
    """

    def __init__(self, *, state: Mapping[str, Any] | None = None, **defaults: Any) -> None:
        super().__init__(**defaults)
        self.handler = AsyncStateHandler(self.handler.enforce_csrf_checks)
        self._given = state
        self._opening = lifespan_running()
        self._running: Running | None = None

    @property
    def state(self) -> Mapping[str, Any]:
        """What requests are given.

        Raises:
            LifespanError: there is nothing yet.
        """
        if self._given is not None:
            return self._given
        if self._running is None:
            raise LifespanError(
                "LifespanAwareAsyncClient has no state. Pass it state=, or let it open the "
                "lifespan: 'async with LifespanAwareAsyncClient() as client'."
            )
        return self._running.state

    async def __aenter__(self) -> Self:
        """Open the lifespan."""
        self._running = await self._opening.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        """Close it."""
        await self._opening.__aexit__(*error)

    def _base_scope(self, **request: Any) -> dict[str, Any]:
        scope: dict[str, Any] = super()._base_scope(**request)  # type: ignore[misc]
        if self._running is not None:
            scope |= self._running.scope()
        if self._given is not None or self._running is None:
            scope["state"] = self.state
        return scope


# What a test replaces, and what it breaks.


class Patch:
    """Something that holds inside a ``with`` block, or in the tests that it decorates."""

    def __init__(self) -> None:
        self._entered: list[AbstractContextManager[object]] = []

    def _holding(self) -> AbstractContextManager[object]:
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Let it hold."""
        holding = self._holding()
        holding.__enter__()
        self._entered.append(holding)
        return self

    def __exit__(self, *error: Any) -> None:
        """Let things be as they were."""
        self._entered.pop().__exit__(*error)

    def __call__(self, decorated: F) -> F:
        """Let it hold in a function, sync or async; in a class, in its test methods."""
        if inspect.isclass(decorated):
            for name in dir(decorated):
                method = getattr(decorated, name)
                if name.startswith("test") and inspect.isfunction(method):
                    setattr(decorated, name, self(method))
            return decorated
        if inspect.isgeneratorfunction(decorated) or inspect.isasyncgenfunction(decorated):
            raise TypeError(
                f"{decorated.__qualname__}() yields, and what decorates it would have ended by "
                "then. Write a 'with' block around its 'yield'."
            )
        wrapper: Any
        if inspect.iscoroutinefunction(decorated):

            @functools.wraps(decorated)
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await decorated(*args, **kwargs)

        else:

            @functools.wraps(decorated)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return decorated(*args, **kwargs)

        return wrapper  # type: ignore[no-any-return]


def override(resource: Resource[Any] | str, value: object) -> Patch:
    """Have a value in place of a resource: a context manager, and a decorator.

    In runs that begin while it holds, the resource's own function is not called, and resources that
    nothing but it needs are not opened either (``only=[...]`` asks for such a one). A run that is
    open already goes on, and the value is what views and sync code read in it; its hooks keep what
    they were given. Of several for one resource the last holds.

    Args:
        resource: its handle, or its key, such as ``"library.http_client"``.
        value: what is read; it is not called, entered or awaited.
    """
    return Override(resource, value)


class Override(Patch, Change):
    """What ``override`` returns.

    Args:
        resource: its handle, or its key.
        value: what is read.
    """

    def __init__(self, resource: Resource[Any] | str, value: object) -> None:
        super().__init__()
        if not isinstance(resource, (Resource, str)):
            raise TypeError(
                f"override() takes the handle of a resource, or its key, and not {resource!r}."
            )
        self._resource = resource
        self._value = value

    @contextmanager
    def _holding(self) -> Iterator[None]:
        lifespan = lifespan_of(self._resource)
        with ExitStack() as stack:
            for run in list(lifespan.runs):
                if not (run.over or run.inherited):
                    stack.enter_context(value_in_open_run(run, self._resource, self._value))
            stack.enter_context(changed(lifespan, self))
            yield

    def to_plan(self, plan: Any) -> Any:
        """Return a plan with the value in it."""
        return replaced(plan, self._resource, self._value)


class InjectedFailure(Exception):
    """A hook has failed, since a test wanted it to."""


def inject(
    *hooks: Wanted,
    fail: bool | BaseException | type[BaseException] = False,
    delay: float = 0.0,
    hang: bool = False,
    fail_stop: bool | BaseException | type[BaseException] = False,
) -> Patch:
    """Break hooks, in the runs that begin while it holds: a context manager, and a decorator.

    What breaks is the hook, not the engine: limits, rollback, report and messages are the real ones.

    Args:
        hooks: which, by handle, function or key.
        fail: what they raise in place of starting; True: ``InjectedFailure``.
        delay: seconds that they begin later.
        hang: whether they never begin.
        fail_stop: what they raise when they have stopped; True: ``InjectedFailure``. With a key,
            it is the shutdown function of that key that does.
    """
    if not hooks or isinstance(hooks[0], bool):
        raise TypeError("inject() needs a hook: its handle, its function, or its key.")
    return Inject(
        hooks,
        Trouble(
            hooks,
            fail=failure(fail, "start"),
            delay=delay,
            hang=hang,
            fail_stop=failure(fail_stop, "stop"),
        ),
    )


class Inject(Patch):
    """What ``inject`` returns.

    Args:
        hooks: which hooks.
        trouble: how they break.
    """

    def __init__(self, hooks: Iterable[Wanted], trouble: Trouble) -> None:
        super().__init__()
        self._hooks = list(hooks)
        self._trouble = trouble

    @contextmanager
    def _holding(self) -> Iterator[None]:
        with ExitStack() as stack:
            for lifespan in {lifespan_of(hook) for hook in self._hooks}:
                stack.enter_context(changed(lifespan, self._trouble))
            try:
                yield
            finally:
                self._trouble.over.set()


def failure(wanted: bool | BaseException | type[BaseException], when: str) -> Failure | None:
    """Return what makes the error of a hook, or None where there is to be none."""
    if wanted is False or wanted is None:
        return None

    def make(hook: Hook) -> BaseException:
        if isinstance(wanted, BaseException):
            return wanted
        if isinstance(wanted, type):
            return wanted()
        return InjectedFailure(f"'{hook.name}' fails to {when}, as inject() says.")

    return make


def lifespan_of(wanted: Wanted) -> Lifespan:
    """Return the ``Lifespan`` that a hook was declared with, as far as can be told."""
    return wanted.lifespan if isinstance(wanted, Resource) else default


@contextmanager
def changed(lifespan: Lifespan, change: Change) -> Iterator[None]:
    """Have the runs that begin be made with a change."""
    lifespan.changes.append(change)
    try:
        yield
    finally:
        # reset_instance() may have forgotten it.
        if change in lifespan.changes:
            lifespan.changes.remove(change)
