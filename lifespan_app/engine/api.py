"""``Lifespan``: the public face of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from .context import LifespanContext
from .current import here, run_in_context
from .errors import LifespanError
from .hooks import Hook
from .host import Host
from .log import logger
from .plan import Plan, build_plan
from .registry import Registry
from .report import Report
from .resource import Resource
from .runner import Run
from .state import RunState
from .threads import LoopThread


class Lifespan(Registry):
    """Declare hooks, and run them: the beginning and the end of a process.

    ``lifespan_app.lifespan`` is the one that every app of a Django project declares its hooks
    with; ``Lifespan()`` is a registry of its own.

    Args:
        host: what the engine is given by the program around it.
    """

    def __init__(self, host: Host | None = None) -> None:
        super().__init__()
        self.host = host or Host()
        self.runs: list[Run] = []
        """The runs of this process that have begun and are not over."""
        self.last_run: Run | None = None

    def _handle(self, hook: Hook) -> Resource[Any]:
        return Resource(hook, self)

    def plan(self, service_type: str | None = None) -> Plan:
        """Return the plan of a service type, as a value; nothing is run.

        Args:
            service_type: whose plan; None: that of the settings.

        Raises:
            PlanError: naming everything that is wrong, each with file, line and what to do.
        """
        settings = self.host.settings()
        return build_plan(
            self.hooks,
            str(service_type or settings.service_type),
            label_of=self.host.app_label,
            overrides=settings.hooks,
            broken=list(self.broken.values()),
        )

    def report(self) -> Report | None:
        """Return the report of the current run; after it has ended, the last one's; else None."""
        run = run_in_context()
        if run is None or run.lifespan is not self:
            own = [run for run in self.runs if not run.inherited]
            loop = asyncio._get_running_loop()
            here_runs = [run for run in own if run.loop is loop] or own
            run = here_runs[-1] if here_runs else None
        run = run or self.last_run
        return None if run is None else run.report()

    def prepare(
        self,
        context: LifespanContext | str | None = None,
        *,
        server: str | None = None,
        stages: Iterable[Hook] = (),
    ) -> Run:
        """Return a run on the running loop, which has not begun.

        Args:
            context: what the hooks are told, or the service type; None: as the settings say.
            server: name and version of the ASGI server; "" if not known, None without one.
            stages: edges of the run behind the hooks, in their order.

        Raises:
            PlanError: the plan can't be made.
        """
        if context is None or isinstance(context, str):
            context = self.host.context(context)
        run = Run(self, self.plan(context.service_type), context, server=server, stages=stages)
        self.runs.append(run)
        return run

    def forget(self, run: Run) -> None:
        """Take note that a run is over."""
        if run in self.runs:
            self.runs.remove(run)
            self.last_run = run

    @asynccontextmanager
    async def run(self, context: LifespanContext | str | None = None) -> AsyncIterator[RunState]:
        """Open the plan for the body of an ``async with``, which gets the state.

        Args:
            context: what the hooks are told, or the service type; None: as the settings say.

        Raises:
            PlanError: the plan can't be made.
            BaseException: the first error of a hook that failed to start.
            ExceptionGroup: the errors of hooks that failed to stop; an error of the body comes
                through as itself, with notes on theirs.
        """
        run = self.prepare(context)
        await run.start()
        token = here.set(run)
        try:
            yield run.state
        except BaseException as error:
            here.reset(token)
            quick = isinstance(error, asyncio.CancelledError)
            await run.stop(quick=quick, ended_by="cancelled" if quick else type(error).__name__)
            for failure in run.stop_errors:
                error.add_note(f"Then, at shutdown: {type(failure).__name__}: {failure}")
            raise
        here.reset(token)
        await run.stop(ended_by="the end of its body")
        raise_stop_errors(run)

    @contextmanager
    def run_sync(self, context: LifespanContext | str | None = None) -> Iterator[RunState]:
        """Open the plan for the body of a ``with``, on a loop in a thread of its own.

        Args:
            context: what the hooks are told, or the service type; None: as the settings say.

        Raises:
            PlanError, BaseException, ExceptionGroup: as ``run`` does.
        """
        thread = LoopThread("lifespan loop")
        try:
            run = thread.submit(self._start(context)).result()
            token = here.set(run)
            try:
                yield run.state
            except BaseException as error:
                thread.submit(run.stop(ended_by=type(error).__name__)).result()
                for failure in run.stop_errors:
                    error.add_note(f"Then, at shutdown: {type(failure).__name__}: {failure}")
                raise
            finally:
                here.reset(token)
            thread.submit(run.stop(ended_by="the end of its body")).result()
            raise_stop_errors(run)
        finally:
            thread.close()

    async def _start(self, context: LifespanContext | str | None) -> Run:
        run = self.prepare(context)
        await run.start()
        return run

    async def startup(self, context: LifespanContext | str | None = None) -> RunState:
        """Open the plan by hand, on the running loop; ``shutdown`` closes it.

        Args:
            context: what the hooks are told, or the service type; None: as the settings say.

        Returns:
            The state.

        Raises:
            LifespanError: a run is open on this loop already; nothing changes.
            PlanError: the plan can't be made.
            BaseException: the first error of a hook that failed to start.
        """
        loop = asyncio.get_running_loop()
        for run in self.runs:
            if run.loop is loop and not run.inherited:
                raise LifespanError(
                    f"startup() was called twice on one event loop: {run} is open here. Call "
                    "shutdown() first; nothing has changed."
                )
        return (await self._start(context)).state

    async def shutdown(self, context: LifespanContext | None = None) -> None:
        """Close what ``startup`` has opened on the running loop. A second call joins the first.

        Args:
            context: accepted as earlier packages have it; hooks get the one of the startup.

        Raises:
            ExceptionGroup: the errors of the hooks that failed to stop, after all have stopped.
        """
        loop = asyncio.get_running_loop()
        for run in reversed(self.runs):
            if run.loop is loop and not run.inherited:
                await run.stop()
                raise_stop_errors(run)
                return
        logger.warning("shutdown() was called without a startup() before; there is nothing to do.")

    def is_initialized(self) -> bool:
        """Tell whether a run is open in this process."""
        return any(not run.inherited for run in self.runs)


def raise_stop_errors(run: Run) -> None:
    """Raise the errors of a run's shutdown as one group, if there are any."""
    if not run.stop_errors:
        return
    for error in run.stop_errors:
        if not isinstance(error, Exception):
            raise error
    raise ExceptionGroup(
        f"{len(run.stop_errors)} hooks failed to stop",
        [error for error in run.stop_errors if isinstance(error, Exception)],
    )
