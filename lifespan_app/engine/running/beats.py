"""The regular calls of observers, and of the health checks, from the begin of a run to its end."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Protocol

from lifespan_app.engine.reporting.report import Observer

if TYPE_CHECKING:
    from lifespan_app.engine.reporting.observers import Observers

    class Beating(Protocol):
        """The part of a run that is needed here."""

        @property
        def loop(self) -> asyncio.AbstractEventLoop:
            """The loop of its hooks."""

        @property
        def observers(self) -> Observers:
            """Its observers."""

        @property
        def has_checks(self) -> bool:
            """True if a resource of its plan has a health check."""

        async def check(self) -> None:
            """Run the health checks of the open resources."""

        def tell_beat(self, observer: Observer) -> None:
            """Notify one observer of the state of the run."""


class Beats:
    """One timer for each observer that wants to be called regularly.

    Args:
        run: the run.
        context: the run's own context, which is part of no hook.
    """

    def __init__(self, run: Beating, context: contextvars.Context) -> None:
        self._run = run
        self._context = context
        self._timers: dict[Observer, asyncio.TimerHandle] = {}
        self._checking: asyncio.Task[None] | None = None

    def begin(self, observer: Observer) -> None:
        """Call an observer from now on, if it wants that."""
        seconds = self._run.observers.every(observer)
        if seconds > 0:
            self._later(observer, seconds)

    def end(self) -> None:
        """Call no observer any more."""
        for timer in self._timers.values():
            timer.cancel()
        if self._checking is not None:
            self._checking.cancel()

    def _later(self, observer: Observer, seconds: float) -> None:
        context = self._context.copy()
        self._timers[observer] = self._run.loop.call_later(
            seconds, self._beat, observer, seconds, context=context
        )

    def _beat(self, observer: Observer, seconds: float) -> None:
        self._later(observer, seconds)
        self._run.tell_beat(observer)
        # There may be no HTTP request that asks the checks. A new result is told as a change.
        if self._run.has_checks and (self._checking is None or self._checking.done()):
            self._checking = self._run.loop.create_task(self._run.check(), name="lifespan checks")
