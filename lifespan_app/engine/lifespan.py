"""``Lifespan``: the public face of the engine."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, TypeVarTuple, cast, overload

# Every process that imports a lifespan.py imports this, ``manage.py migrate`` too. Modules that only
# a plan or a run needs are imported by the methods that make one.
from lifespan_app.engine.current_hook import current_hook

from .adapter import Adapter
from .context import LifespanContext, plain
from .hooks.hook import RESOURCE
from .hooks.registry import Registry
from .running.current import Threads, named_run, run_or_last
from .running.handle import Resource
from .wording import count

if TYPE_CHECKING:
    from .adapter import Change
    from .hooks.hook import Hook, HookReference
    from .hooks.retry import Retry
    from .lease import Refusal
    from .planning.plan import Plan
    from .reporting.report import Observer, Report
    from .running.handle import ResourceDecorator
    from .running.run import Run
    from .running.shutdown_event import Stopping
    from .running.state import RunState
    from .running.threads import LoopThread
    from .settings import Settings

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

creating = threading.Lock()


class Lifespan(Registry):
    """Declare hooks, and run them: the beginning and the end of a process.

    ``lifespan_app.lifespan`` is the one that every app of a Django project declares its hooks
    with; ``Lifespan()`` is a registry of its own.

    Args:
        adapter: the interface to the host program.
    """

    _instance: ClassVar[Lifespan | None] = None

    def __init__(self, adapter: Adapter | None = None) -> None:
        super().__init__()
        self.adapter = adapter or Adapter()
        self.runs: list[Run] = []
        """The runs of this process that have begun and have not ended."""
        self.last_run: Run | None = None
        self.changes: list[Change] = []
        """The changes to the plan of the runs to come, in their order; tests add them."""
        self.is_handed_out = False
        """True once ``as_lifespan`` has given it to another application, which opens it."""
        self._apart: dict[Run, LoopThread] = {}
        """The runs that were opened by hand and live on a loop thread of their own."""
        self._planned: tuple[tuple[object, ...], Plan] | None = None
        """The last plan, with its input."""

    @classmethod
    def get_instance(cls) -> Lifespan:
        """Return the default ``Lifespan``: ``lifespan_app.lifespan``."""
        with creating:
            if Lifespan._instance is None:
                Lifespan._instance = cls()
        return Lifespan._instance

    @classmethod
    def reset_instance(cls) -> None:
        """Clear the default ``Lifespan`` for tests: its hooks, runs and last report.

        It stays the same object. A run that ``startup`` has put on a loop thread of its own is
        closed; any other stays open, with a warning.
        """
        from .logger import logger
        from .running.portal import result_of

        instance = cls.get_instance()
        for run in list(instance.runs):
            thread = instance._apart.pop(run, None)
            if thread is not None and not run.inherited:
                result_of(thread.submit(run.stop(ended_by="reset_instance()")))
                thread.close()
            elif not (run.inherited or run.loop.is_closed()):
                logger.warning(
                    "reset_instance() was called while %s is open: what has opened it has to "
                    "close it.",
                    run,
                )
            instance.forget(run)
        instance.clear()
        instance.changes.clear()
        instance.last_run = None

    @overload
    def resource(
        self, function: Callable[..., AbstractAsyncContextManager[T]], /
    ) -> Resource[T]: ...
    @overload
    def resource(self, function: Callable[..., AbstractContextManager[T]], /) -> Resource[T]: ...
    @overload
    def resource(self, function: Callable[..., AsyncIterator[T]], /) -> Resource[T]: ...
    @overload
    def resource(self, function: Callable[..., Iterator[T]], /) -> Resource[T]: ...
    @overload
    def resource(self, function: Callable[..., Awaitable[T]], /) -> Resource[T]: ...
    @overload
    def resource(
        self,
        priority: int = 0,
        *,
        name: str | None = None,
        service_types: Iterable[str] | None = None,
        depends_on: Iterable[HookReference] = (),
        timeout: float | None = None,
        shutdown_timeout: float | None = None,
        required: bool = True,
        state_name: str | None = None,
        wait: bool = True,
        retry: Retry | float | None = None,
    ) -> ResourceDecorator: ...
    @overload
    def resource(self, function: Callable[..., T], /) -> Resource[T]: ...
    def resource(self, *function: Any, **options: Any) -> Any:
        """Declare a resource: one value, open from startup to shutdown.

        Args:
            priority: lower ones open before higher ones, and close after them.
            name: the hook's name, instead of the function's.
            service_types: the service types it is open for; None: all.
            depends_on: hooks that must be up before.
            timeout: seconds that it may take to open.
            shutdown_timeout: seconds that it may take to close; else ``SHUTDOWN_TIMEOUT``.
            required: whether the startup fails when it does; else the process serves degraded.
            state_name: its name in the state, where that is not ``name``.
            wait: whether the startup waits for it. With False the process serves meanwhile, and is
                not ready before it is up; the startup does not wait for its dependents either.
            retry: seconds within which a failed start is tried again, or a ``Retry``. What an attempt has
                half opened is closed before the next one.

        Returns:
            Its handle: ``handle(request)`` and ``handle.current()`` give the value.

        Raises:
            TypeError, ValueError: the function or an option is wrong; the text has the correct code.
        """
        return self._decorate(RESOURCE, function, options, sys._getframe(1))

    def _handle(self, hook: Hook) -> Resource[Any]:
        return Resource(hook, self)

    def plan(
        self,
        service_type: str | None = None,
        settings: Settings | None = None,
        mode: str | None = None,
    ) -> Plan:
        """Return the plan of a service type, as a value; nothing is run.

        It is made once, and again only when a hook was declared since, or the settings say something
        else of hooks.

        Args:
            service_type: the service type of the plan; None: that of the settings.
            settings: the settings; None: they are read now.
            mode: the way in which a run is opened with it, such as ``"test"``; None: as by a server. It
                says whether hooks that run once need a lease.

        Raises:
            PlanError: all problems, each with file, line and remedy.
        """
        settings = settings or self.adapter.settings()
        hooks = self.hooks
        made_of = (
            hooks,
            plain(service_type or settings.service_type),
            settings.hooks,
            settings.skip,
            settings.release,
            self.adapter,
            takes_leases := mode is None or self.adapter.takes_leases(mode),
        )
        if self._planned is not None and self._planned[0] == made_of and not self.broken:
            return self._planned[1]
        from .planning.builder import build_plan

        plan = build_plan(
            hooks,
            made_of[1],
            label_of=self.adapter.app_label,
            overrides=settings.hooks,
            skip=settings.skip,
            broken=list(self.broken.values()),
            advice=self.adapter.advice,
            refusals=self.refusals(settings) if takes_leases else {},
        )
        # A plan keeps its hooks alive, and receivers of signals must stay weakly referenced.
        self._planned = (made_of, plan) if self.declares_all(hooks) else None
        return plan

    def refusals(self, settings: Settings) -> Mapping[str, Refusal]:
        """Return the values of the option ``once`` that can't be used, each with the reason."""
        if not any(hook.options.once for hook in self.hooks):
            return {}
        from .lease import refusals

        return refusals(self.adapter.leases, settings)

    def report(self) -> Report | None:
        """Return the report of the current run; after it has ended, the last one's; else None."""
        run = run_or_last(self)
        return None if run is None else run.report()

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Add an observer to the open runs, and to those to come.

        Args:
            observer: an instance of a subclass of ``lifespan_app.observers.Observer``.

        Returns:
            A function that removes it. A second call does nothing.

        Raises:
            TypeError: it is no instance of ``Observer``.
        """
        from .reporting.report import Observer

        if not isinstance(observer, Observer):
            raise TypeError(
                f"lifespan.observe() takes an instance of a subclass of Observer, not {observer!r}."
            )
        self.adapter.observers.append(observer)
        for run in list(self.runs):
            run.on_its_loop(run.observe, observer)

        def remove() -> None:
            self.adapter.observers[:] = [
                one for one in self.adapter.observers if one is not observer
            ]
            for run in list(self.runs):
                run.on_its_loop(run.unobserve, observer)

        return remove

    @property
    def stopping(self) -> Stopping:
        """The event of this process's shutdown: ``is_set()``, and ``await wait()``.

        With ``SHUTDOWN_NOTICE`` it is set when the server is sent a signal, else when the shutdown
        begins. ``is_set()`` may be called in any thread, ``wait()`` on any event loop.
        """
        from .running.shutdown_event import Stopping

        return Stopping(self)

    def until_stopping(self, source: AsyncIterable[T]) -> AsyncIterator[T]:
        """Yield from a source until the shutdown begins: ``async for``.

        The source is cancelled where it waits, and closed, so that a response which has no end of
        its own keeps no server from stopping.

        Args:
            source: an async iterable, such as an async generator.

        Raises:
            TypeError: it is no async iterable.
        """
        from .running.shutdown_event import iterator_of, until_stopping

        return until_stopping(self, iterator_of(source))

    def prepare(
        self,
        context: LifespanContext | str | None = None,
        *,
        server: str | None = None,
        mode: str | None = None,
        background: bool = True,
        is_inner: bool = False,
    ) -> Run:
        """Return a run on the running loop, which has not begun.

        Args:
            context: the hooks' context, or the service type; None: from the settings.
            server: name and version of the ASGI server; "" if it is unknown, None without one.
            mode: the way it was opened; None: by a server if there is one.
            background: whether background jobs run.
            is_inner: whether the run is used only inside the block that opens it.

        Raises:
            PlanError: the plan can't be made.
            TypeError: the context is something else.
        """
        from .running.run import Run

        refuse_other(context)
        settings = self.adapter.settings()
        if context is None or isinstance(context, str):
            context = self.adapter.context(context, settings)
        plan = self.plan(context.service_type, settings, mode)
        if not background:
            from .hooks.hook import BACKGROUND

            jobs = {node.index for node in plan.nodes if node.hook and node.hook.kind is BACKGROUND}
            plan = plan.without(jobs, "left out: background jobs do not run here")
        run = Run(
            self, plan, context, server=server, mode=mode, settings=settings, is_inner=is_inner
        )
        self.runs.append(run)
        return run

    def has_open_run(self) -> bool:
        """Return True if a run is open in this process, which a new one is nested in."""
        return any(not (run.inherited or run.over) for run in self.runs)

    def changed(self, plan: Plan) -> tuple[Plan, Adapter]:
        """Return the plan and the adapter of a new run, with the changes by tests.

        Args:
            plan: the original plan.

        Raises:
            LookupError: a test names an unknown hook.
        """
        adapter = self.adapter
        for change in self.changes:
            plan, adapter = change.to_plan(plan), change.to_adapter(adapter)
        for change in self.changes:
            plan = change.at_last(plan, self.changes)
        return plan, adapter

    def forget(self, run: Run) -> None:
        """Remove a run that has ended."""
        if run in self.runs:
            self.runs.remove(run)
            self.last_run = run

    def run(
        self, context: LifespanContext | str | None = None
    ) -> AbstractAsyncContextManager[RunState]:
        """Open the plan for the body of an ``async with``, which gets the state.

        Args:
            context: the hooks' context, or the service type; None: from the settings.

        Raises:
            PlanError: the plan can't be made.
            BaseException: the first error of a hook that failed to start.
            ExceptionGroup: the errors of hooks that failed to stop; an error of the body comes
                through as itself, with notes on theirs.
        """
        return self._opened(context, ended_by="the end of its body")

    def as_lifespan(
        self, context: LifespanContext | str | None = None
    ) -> Callable[[object], AbstractAsyncContextManager[Mapping[str, Any]]]:
        """Return a lifespan function, for ``lifespan=`` of Starlette, FastAPI and Litestar.

        It opens the plan at the application's startup, hands the state to its requests, and closes
        the plan at its shutdown. Inside an application of ours it joins the run that is open.

        Args:
            context: the hooks' context, or the service type; None: from the settings.

        Raises:
            TypeError: the context is something else, such as the application itself.
        """
        refuse_other(context)

        def lifespan(app: object) -> AbstractAsyncContextManager[Mapping[str, Any]]:
            return self._of_application(context)

        self.is_handed_out = True
        return lifespan

    @asynccontextmanager
    async def _of_application(
        self, context: LifespanContext | str | None
    ) -> AsyncIterator[Mapping[str, Any]]:
        around = named_run(self)
        if around is not None and not around.over:
            yield dict(around.state)
            return
        await self.adapter.on_server_startup()
        server = self.adapter.server()
        async with self._opened(context, server=server, ended_by="lifespan.shutdown") as state:
            yield dict(state)

    @asynccontextmanager
    async def _opened(
        self,
        context: LifespanContext | str | None,
        *,
        server: str | None = None,
        ended_by: str,
    ) -> AsyncIterator[RunState]:
        is_inner = server is None and self.has_open_run()
        with Threads.watched() if is_inner else nullcontext():
            run = self.prepare(context, server=server, is_inner=is_inner)
            async with self._kept_open(run, ended_by) as state:
                yield state

    @asynccontextmanager
    async def _kept_open(self, run: Run, ended_by: str) -> AsyncIterator[RunState]:
        await run.start()
        try:
            with current(run):
                yield run.state
        except BaseException as error:
            from .error_text import class_name, is_a

            quick = is_a(error, asyncio.CancelledError)
            await run.stop(quick=quick, ended_by="cancelled" if quick else class_name(error))
            note_stop_errors(run, error)
            raise
        await run.stop(ended_by=ended_by)
        raise_stop_errors(run)

    @contextmanager
    def run_sync(self, context: LifespanContext | str | None = None) -> Iterator[RunState]:
        """Open the plan for the body of a ``with``, on a loop in a thread of its own.

        Args:
            context: the hooks' context, or the service type; None: from the settings.

        Raises:
            PlanError, BaseException, ExceptionGroup: as ``run`` does.
        """
        is_inner = self.has_open_run()
        with Threads.watched() if is_inner else nullcontext():
            yield from self._kept_open_in_thread(context, is_inner=is_inner)

    def _kept_open_in_thread(
        self, context: LifespanContext | str | None, *, is_inner: bool
    ) -> Iterator[RunState]:
        from .running.portal import result_of
        from .running.threads import LoopThread

        thread = LoopThread("lifespan loop", self.adapter.advice)
        try:
            run = result_of(thread.submit(self._start(context, is_inner=is_inner)))
            try:
                with current(run):
                    yield run.state
            except BaseException as error:
                if not run.inherited:
                    from .error_text import class_name

                    result_of(thread.submit(run.stop(ended_by=class_name(error))))
                note_stop_errors(run, error)
                raise
            # A child that was forked in the body has neither the thread nor the resources of the run.
            if not run.inherited:
                result_of(thread.submit(run.stop(ended_by="the end of its body")))
                raise_stop_errors(run)
        finally:
            thread.close()

    async def _start(self, context: LifespanContext | str | None, *, is_inner: bool = False) -> Run:
        run = self.prepare(context, is_inner=is_inner)
        await run.start()
        return run

    async def startup(self, context: LifespanContext | str | None = None) -> RunState:
        """Open the plan by hand, on the running loop; ``shutdown`` closes it.

        On a loop that ``async_to_sync`` has made for this one call, as in a worker's signal
        handler, the plan is opened on a loop thread of its own instead, where the resources stay
        alive: sync code uses them through ``call``.

        Args:
            context: the hooks' context, or the service type; None: from the settings.

        Returns:
            The state.

        Raises:
            LifespanError: a run is open on this loop already; nothing changes.
            PlanError: the plan can't be made.
            BaseException: the first error of a hook that failed to start.
        """
        from .running.portal import is_temporary
        from .running.threads import LoopThread

        loop = asyncio.get_running_loop()
        apart = is_temporary(loop)
        run = self._by_hand(loop)
        if run is not None and (apart or run.loop is loop):
            from .errors import LifespanError

            where = "in one process" if apart else "on one event loop"
            raise LifespanError(
                f"startup() was called twice {where}: {run} is open. Call shutdown() first; "
                "nothing has changed."
            )
        if not apart:
            return (await self._start(context)).state
        thread = LoopThread("lifespan loop", self.adapter.advice)
        try:
            run = await asyncio.wrap_future(thread.submit(self._start(context)))
        except BaseException:
            await asyncio.to_thread(thread.close)
            raise
        self._apart[run] = thread
        return run.state

    async def shutdown(self, context: LifespanContext | None = None) -> None:
        """Close the run of ``startup``. A second call joins the first.

        Args:
            context: accepted as earlier packages have it; hooks get the one of the startup.

        Raises:
            ExceptionGroup: the errors of the hooks that failed to stop, after all have stopped.
        """
        run = self._by_hand(asyncio.get_running_loop())
        if run is None:
            from .logger import logger

            logger.warning(
                "shutdown() was called without a startup() before; there is nothing to do."
            )
            return
        thread = self._apart.get(run)
        if thread is None:
            await run.stop()
        else:
            try:
                await asyncio.wrap_future(thread.submit(run.stop()))
            finally:
                await asyncio.to_thread(thread.close)
                self._apart.pop(run, None)
        raise_stop_errors(run)

    def _by_hand(self, loop: asyncio.AbstractEventLoop) -> Run | None:
        """Return the open run of a loop, or the one on a loop thread of its own."""
        own = [run for run in reversed(self.runs) if not run.inherited]
        on_loop = (run for run in own if run.loop is loop)
        return next(on_loop, None) or next((run for run in own if run in self._apart), None)

    def call(
        self,
        async_function: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        timeout: float | None = None,
    ) -> T:
        """Run an async function, from sync code, on the loop that the current run lives on.

        It sees the caller's context variables. Where Django is around, the ORM calls that it makes
        are made in the thread that waits here, in its transaction.

        Args:
            async_function: the function to call.
            args: its arguments.
            timeout: seconds that it may take; after them it is cancelled. None: no limit.

        Returns:
            Its result.

        Raises:
            NotRunning: no run is open here, or several are, or it was opened
                by the process from which this one was forked.
            LifespanError: it was called on the run's own loop, where code can await; or the loop
                has ended meanwhile.
            TimeoutError: it took too long.
            TypeError: it is no async function.
        """
        from .running.portal import call

        return call(self, async_function, args, timeout)

    async def acall(
        self,
        async_function: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        timeout: float | None = None,
    ) -> T:
        """Run an async function, from async code on any loop, on the loop of the current run.

        On that very loop it is awaited where it is called. It sees the caller's context variables.

        Args:
            async_function: the function to call.
            args: its arguments.
            timeout: seconds that it may take; after them it is cancelled. None: no limit.

        Returns:
            Its result.

        Raises:
            NotRunning: no run is open here, or several are, or it was opened
                by the process from which this one was forked.
            LifespanError: it was cancelled on the loop of the run.
            TimeoutError: it took too long.
            TypeError: it is no async function.
        """
        from .running.portal import acall

        return await acall(self, async_function, args, timeout)

    def spawn(
        self,
        function: Callable[..., Any],
        *args: Any,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Run a function in the background of the current run, and return at once.

        An async function runs in a task of the run's loop, a sync one in a thread. It sees the caller's
        context variables, and not its request. Where Django is around, it has database connections of
        its own, which are closed after it. Its error is logged with the line that has spawned it. The
        shutdown waits for it before any hook stops, within its limits. It is lost with its process.

        Any thread or task may call this: async and sync views, and hooks.

        Args:
            function: the function to call, async or sync.
            args: its arguments.
            timeout: seconds that it may take from its begin. Then an async function is cancelled; a sync
                one can't be, so that is only logged. None: no limit.
            kwargs: its named arguments.

        Raises:
            NotRunning: no run is open here, or it is stopping.
            QueueFull: too many functions wait for a place.
            TypeError: it is no function, such as a coroutine object; or it yields.
            TypeError, ValueError: the timeout is no number of seconds above 0.
        """
        from .running.spawned import spawn

        caller = sys._getframe(1)
        place = caller.f_code.co_filename, caller.f_lineno
        spawn(self, function, args, kwargs, timeout, place)

    def progress(self, fraction: float, doing: str = "") -> None:
        """Report the progress of a slow hook: ``progress(0.6, "shard 3 of 5")``.

        It is logged, kept with the hook's step in the history, and shown by ``readyz`` (to users with
        the permission) and in the status file. Any thread or task that a hook has started may call
        it; outside of hooks it has no effect, so a shared function may always call it.

        Args:
            fraction: from 0 to 1.
            doing: the current work.

        Raises:
            TypeError, ValueError: it is no number from 0 to 1.
        """
        from .running.progress import tell_progress

        tell_progress(fraction, doing)

    def beat(self) -> None:
        """Say, in a background job with ``stall_after``, that it is alive.

        Called from any thread or task that the job has begun; outside of jobs it does nothing.
        """
        from .running.beat import beat

        beat()

    def is_initialized(self) -> bool:
        """Return True if a run is open in this process."""
        return any(not run.inherited for run in self.runs)


def refuse_other(context: object) -> None:
    """Raise ``TypeError`` for a context that is neither one, nor a service type, nor None."""
    if context is None or isinstance(context, (str, LifespanContext)):
        return
    from .errors import with_article

    remedy = (
        " For lifespan= of FastAPI, Starlette and Litestar write lifespan.as_lifespan()."
        if callable(context)
        else ""
    )
    raise TypeError(
        "A lifespan is opened with a LifespanContext, or with a service type such as 'worker', not with "
        f"{with_article(type(context))}.{remedy}"
    )


@contextmanager
def current(run: Run) -> Iterator[None]:
    """Make a run the current one in a block, which may be left in another task."""
    token = current_hook.set(run)
    try:
        yield
    finally:
        try:
            current_hook.reset(token)
        except ValueError:
            # The block may be left in another task, with a context of its own.
            if current_hook.get() is run:
                current_hook.set(None)


def note_stop_errors(run: Run, error: BaseException) -> None:
    """Add the errors of a run's shutdown to the error that has ended it."""
    from .error_text import add_note, one_line

    for failure in run.stop_errors:
        add_note(error, f"Then, at shutdown: {one_line(failure)}")


def raise_stop_errors(run: Run) -> None:
    """Raise the errors of a run's shutdown as one group, if there are any."""
    if not run.stop_errors:
        return
    from .error_text import is_a

    for error in run.stop_errors:
        if not is_a(error, Exception):
            raise error
    raise ExceptionGroup(
        f"{count(len(run.stop_errors), 'hook')} failed to stop",
        cast("list[Exception]", run.stop_errors),
    )
