"""A lifespan for a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any

from asgiref.sync import AsyncToSync

from lifespan_app.engine.context import LifespanContext
from lifespan_app.engine.error_text import class_name, is_a
from lifespan_app.engine.errors import LifespanError
from lifespan_app.engine.lifespan import Lifespan, current, note_stop_errors, raise_stop_errors
from lifespan_app.engine.reporting.report import Mode, Report
from lifespan_app.engine.running.current import SCOPE_KEY
from lifespan_app.engine.running.hook_run import HookRun
from lifespan_app.engine.running.portal import carried, send
from lifespan_app.engine.running.run import Run
from lifespan_app.engine.running.state import RunState
from lifespan_app.engine.running.threads import LoopThread
from lifespan_app.integration.default import lifespan as default
from lifespan_app.serving.protocol import ServedRun, prepare

from .clients import AsyncClientInRun, ClientInRun
from .plan_patch import Change, HookReference, Only, nodes_of
from .serial_executor import (
    InTest,
    TestThreadExecutor,
    ThreadWithConnections,
    async_code_goes_to,
    connections_of_this_thread,
    sync_code_goes_to,
)

if TYPE_CHECKING:
    from django.test import AsyncClient, Client

SERVER = "lifespan_running"
"""The report's ``server`` in a test."""


def lifespan_running(
    service_type: str | None = None,
    *,
    only: Iterable[HookReference] | None = None,
    lifespan: Lifespan | None = None,
    history: bool = False,
    background: bool = False,
) -> LifespanRunning:
    """Return a context manager, async or sync, that opens a plan for a test.

    The environment is ``test``. In ``async with`` the lifespan runs on the test's own loop, in
    ``with`` on a loop in a thread of its own, where ``async_to_sync`` and async views run too. Sync
    hooks run one after the other on the test's own database connections, which are left alone; so
    do the ORM calls of async hooks: a hook sees the rows that the test has made.

    Args:
        service_type: the service type of the plan; None: that of the settings.
        only: hooks, by handle, function or key, to open with their dependencies; None: all,
            and the receivers of django-asgi-lifespan's signals.
        lifespan: the ``Lifespan`` to open; None: the default one.
        history: whether the run is recorded, in the test's own transaction.
        background: whether background jobs begin. Without them ``running.round(job)`` runs one round of
            a job.
    """
    return LifespanRunning(
        service_type, only=only, lifespan=lifespan, history=history, background=background
    )


class Running:
    """A lifespan that is open in a test.

    Args:
        run: the run.
        handed_out: returns the items that a server would put into each request's state.
        here: runs the sync code of the test's thread, in a sync test.
    """

    def __init__(
        self,
        run: Run,
        handed_out: Callable[[], Mapping[str, Any]],
        here: TestThreadExecutor | None = None,
    ) -> None:
        self._run = run
        self._handed_out = handed_out
        self._here = here

    @property
    def state(self) -> RunState:
        """The open resources: ``state["name"]``, ``state.name``."""
        return self._run.state

    @property
    def context(self) -> LifespanContext:
        """The context that the hooks were given."""
        return self._run.context

    @property
    def report(self) -> Report:
        """The report of the run so far; after the ``with`` block, of all of it."""
        return self._run.report()

    @cached_property
    def client(self) -> Client:
        """Django's test client; its requests have ``request.state``."""
        return ClientInRun(self)

    @cached_property
    def async_client(self) -> AsyncClient:
        """Django's async test client; its requests have ``request.state``."""
        return AsyncClientInRun(self)

    async def round(self, job: HookReference) -> None:
        """Run one round of a background job that has ``every``, and wait until it has ended.

        Args:
            job: the job, by its function or its key.

        Raises:
            BaseException: the error of the round.
            LookupError: the plan does not hold the job.
            TypeError: it has no rounds.
            LifespanError: the run stops.
        """
        round_of_it = self._run.round(self._job(job))
        if asyncio.get_running_loop() is self._run.loop:
            await round_of_it
        else:
            await asyncio.wrap_future(send(round_of_it, self._run.loop, carried()))

    def round_sync(self, job: HookReference) -> None:
        """Run one round of a background job, as ``round`` does, in a sync test. Raises the same."""
        if self._here is None:
            raise LifespanError("Write 'await running.round(job)' in an async test.")
        round_of_it = self._run.round(self._job(job))
        self._here.until(send(round_of_it, self._run.loop, carried()))

    def _job(self, job: HookReference) -> HookRun:
        found = nodes_of(self._run.plan, job)
        if not found:
            raise LookupError(f"The plan holds no background job {job!r}.")
        hook_run = self._run.hook_runs[found[0].index]
        if hook_run.job is None or not hook_run.job.is_periodic:
            raise TypeError(
                f"{hook_run} has no rounds: only a background job with every= has. A job without is "
                "run by lifespan_running(background=True)."
            )
        return hook_run

    def scope(self) -> dict[str, Any]:
        """Return the keys of an ASGI scope that name the run of a request."""
        return {SCOPE_KEY: self._run, "state": dict(self._handed_out())}

    def __repr__(self) -> str:
        return f"<running: {self._run}>"


class LifespanRunning:
    """The return value of ``lifespan_running``: opens a run, once, and closes it.

    Args:
        service_type: the service type of the plan; None: that of the settings.
        only: hooks to open with their dependencies; None: all.
        lifespan: the ``Lifespan`` to open; None: the default one.
        history: whether the run is recorded.
        background: whether background jobs begin.
    """

    def __init__(
        self,
        service_type: str | None,
        *,
        only: Iterable[HookReference] | None,
        lifespan: Lifespan | None,
        history: bool,
        background: bool,
    ) -> None:
        self._service_type = service_type
        self._history = history
        self._background = background
        self._only = None if only is None else Only(only)
        self._lifespan = lifespan or default
        self._around = ExitStack()
        self._run: Run | None = None

    # Sync.

    def __enter__(self) -> Running:
        """Open the plan on a loop in a thread of its own.

        Raises:
            LifespanError: a loop runs in this thread.
            PlanError: the plan can't be made.
            LookupError: the plan does not hold a hook of ``only``.
            BaseException: the first error of a hook that failed to start.
        """
        if asyncio._get_running_loop() is not None:
            raise LifespanError(
                "'with lifespan_running()' was entered where an event loop runs, and would block "
                "it. Write 'async with lifespan_running()' in an async test."
            )
        with self._closing_on_error():
            self._here = TestThreadExecutor()
            self._thread = LoopThread("lifespan test loop", self._lifespan.adapter.advice)
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
        """Close the run.

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
        with self._closing_on_error():
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
        """Close the run. Raises as ``with`` does."""
        with self._around:
            await self._close(error)

    # Both.

    @contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        if self._run is not None:
            raise LifespanError("lifespan_running() opens one run. Call it again for another one.")
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
            from lifespan_app.history.recording.in_test import RecorderInTest

            recorder = RecorderInTest(executor)
        changes: list[Change] = [InTest(executor, recorder)]
        if self._only is not None:
            changes.append(self._only)
        # First, so that the test's own overrides and faults win.
        lifespan.changes[:0] = changes
        try:
            run = self._prepare()
        finally:
            del lifespan.changes[: len(changes)]
        self._run = run
        if not self._background:
            run.leave_jobs_out()
        await run.start()
        if recorder is not None:
            await recorder.written()
        self._around.enter_context(current(run))
        here = executor if isinstance(executor, TestThreadExecutor) else None
        if not isinstance(run, ServedRun):
            return Running(run, lambda: run.state, here)
        scope: dict[str, Any] = {"state": {}}
        return Running(run, lambda: run.hand_out(scope), here)

    def _prepare(self) -> Run:
        lifespan = self._lifespan
        settings = lifespan.adapter.settings()
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
        quick = is_a(error, asyncio.CancelledError)
        await run.stop(quick=quick, ended_by=class_name(error) if error else "the test's end")
        if error is None:
            raise_stop_errors(run)
        else:
            note_stop_errors(run, error)


def put_django_around(lifespan: Lifespan) -> None:
    """Give the default ``Lifespan`` Django's adapter, if the app is not installed."""
    from django.conf import settings

    if settings.configured:
        from lifespan_app.apps import install

        install(lifespan)
