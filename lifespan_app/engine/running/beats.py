"""The regular calls of observers, and of the health checks, from the begin of a run to its end."""

from __future__ import annotations

import asyncio
import contextvars
import math
from typing import TYPE_CHECKING, Protocol

from lifespan_app.engine.reporting.report import IN_SERVICE, Observer, Phase

if TYPE_CHECKING:
    from lifespan_app.engine.reporting.observers import Observers

    from .health_check import Checked, Checking, CheckResult

    class Beating(Checked, Protocol):
        """The part of a run that is needed here."""

        @property
        def phase(self) -> Phase:
            """The phase that it is in."""

        @property
        def observers(self) -> Observers:
            """Its observers."""

        @property
        def has_checks(self) -> bool:
            """True if a resource of its plan has a health check."""

        def tell_beat(self, observer: Observer) -> None:
            """Notify one observer of the state of the run."""


class Beats:
    """One timer for each observer that wants to be called regularly, and the health checks.

    Args:
        run: the run.
        context: the run's own context, which is part of no hook.
    """

    def __init__(self, run: Beating, context: contextvars.Context) -> None:
        self._run = run
        self._context = context
        self._timers: dict[int, asyncio.TimerHandle] = {}
        """By the observer's identity: a dataclass is none that a dictionary takes."""
        self._checking: Checking | None = None
        """The health checks of the open resources; None until they are needed."""
        self._asking: asyncio.Task[None] | None = None

    def begin(self, observer: Observer) -> None:
        """Call an observer from now on, if it wants that. It has one timer, however often it is added."""
        self.leave_out(observer)
        seconds = self._run.observers.every(observer)
        if 0 < seconds < math.inf:
            self._later(observer, seconds)

    def leave_out(self, observer: Observer) -> None:
        """Call an observer no more."""
        timer = self._timers.pop(id(observer), None)
        if timer is not None:
            timer.cancel()

    def end(self) -> None:
        """Call no observer any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._asking is not None:
            self._asking.cancel()

    async def check(self) -> None:
        """Run the health checks of the open resources, while the process serves."""
        if self._checking is None:
            from .health_check import Checking  # not paid for where nobody asks

            self._checking = Checking(self._run)
        if self._run.phase is IN_SERVICE:
            await self._checking.ask()

    def end_checks(self) -> None:
        """Stop checking: the resources are about to close."""
        if self._checking is not None:
            self._checking.end()

    def failing(self) -> list[CheckResult]:
        """Return the last results of health checks that are not healthy."""
        return [] if self._checking is None else self._checking.failing()

    def _later(self, observer: Observer, seconds: float) -> None:
        context = self._context.copy()
        self._timers[id(observer)] = self._run.loop.call_later(
            seconds, self._beat, observer, seconds, context=context
        )

    def _beat(self, observer: Observer, seconds: float) -> None:
        self._later(observer, seconds)
        self._run.tell_beat(observer)
        if observer not in self._run.observers:
            # It has just failed, or an earlier call of it has.
            self.leave_out(observer)
        # There may be no HTTP request that asks the checks. A new result is told as a change.
        if self._run.has_checks and (self._asking is None or self._asking.done()):
            self._asking = self._run.loop.create_task(self.check(), name="lifespan checks")
