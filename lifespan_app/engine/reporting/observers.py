"""The observers of one run, and the only calls to them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

from lifespan_app.engine.error_text import path_of
from lifespan_app.engine.logger import logger
from lifespan_app.engine.wording import time_taken

from .report import Observer, Phase, Readiness, Report, Step


class Observers:
    """The observers of one run. One that raises is logged and dropped.

    Args:
        observers: the first observers.
    """

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = list(observers)
        self._of_steps: list[Observer] = []
        """The observers of each step in this phase."""
        self._readiness: Readiness | None = None

    def is_news(self, readiness: Readiness) -> bool:
        """Return True if the readiness has changed since the last call."""
        before, self._readiness = self._readiness, readiness
        return before is not readiness

    def add(self, observer: Observer, phase: Phase) -> None:
        """Add an observer in the midst of a phase."""
        self._observers.append(observer)
        if self._call(observer, observer.watches_steps, phase):
            self._of_steps = [*self._of_steps, observer]

    def remove(self, observer: Observer) -> None:
        """Remove an observer."""
        self._observers = [other for other in self._observers if other is not observer]
        self._of_steps = [other for other in self._of_steps if other is not observer]

    def __iter__(self) -> Iterator[Observer]:
        return iter(list(self._observers))

    def __contains__(self, observer: object) -> bool:
        # Two that are equal, as dataclasses can be, are two observers.
        return any(one is observer for one in self._observers)

    @property
    def watch_steps(self) -> bool:
        """True if an observer wants each step of this phase."""
        return bool(self._of_steps)

    def phase_begins(self, phase: Phase) -> bool:
        """Ask the observers whether they want each step of a phase. Returns True if one does."""
        self._of_steps = [
            observer
            for observer in list(self._observers)
            if self._call(observer, observer.watches_steps, phase)
        ]
        return self.watch_steps

    def run_changed(self, report: Report) -> None:
        """Call the observers: the run's status has changed."""
        for observer in list(self._observers):
            self._call(observer, observer.run_changed, report)

    def step_changed(self, report: Report, step: Step) -> None:
        """Call the observers of steps: a step has begun or ended."""
        for observer in self._of_steps:
            self._call(observer, observer.step_changed, report, step)

    def hook_failed(self, report: Report, step: Step, error: BaseException) -> None:
        """Call the observers: a hook has failed, with the error itself."""
        for observer in list(self._observers):
            self._call(observer, observer.hook_failed, report, step, error)

    def progressed(self, report: Report) -> None:
        """Call the observers: a hook has reported its progress."""
        for observer in list(self._observers):
            self._call(observer, observer.progressed, report)

    def every(self, observer: Observer) -> float:
        """Ask an observer for the seconds between two calls of ``beat``; 0 for none."""
        return self._call(observer, lambda: float(observer.every)) or 0.0

    def beat(self, observer: Observer, report: Report) -> None:
        """Call one observer, as it wants to be called regularly."""
        if observer in self:
            self._call(observer, observer.beat, report)

    def is_slow(self, report: Report) -> None:
        """Call the observers: a phase takes long. A watchdog's thread may call."""
        for observer in list(self._observers):
            self._call(observer, observer.is_slow, report)

    def run_ended(self, report: Report, seconds_left: float) -> list[Awaitable[None]]:
        """Call the observers: the run has ended. Returns awaitables for their last writes."""
        return [
            write
            for observer in list(self._observers)
            if (write := self._call(observer, observer.run_ended, report, seconds_left)) is not None
        ]

    def _call(self, observer: Observer, call: Callable[..., Any], *args: Any) -> Any:
        try:
            return call(*args)
        # Not even an observer's SystemExit may reach the task of a hook.
        except BaseException as error:
            name = path_of(type(observer))
            logger.error(
                "Observer %s failed. It is not called again in this run.", name, error=error
            )
            self.remove(observer)
            return None


async def wait_for_writes(writes: Sequence[Awaitable[None]], seconds: float) -> None:
    """Wait for the last writes of observers, for so many seconds at most."""
    tasks = [asyncio.ensure_future(finished(write)) for write in writes]
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
        logger.warning(
            "An observer's last write took more than %s and was given up.", time_taken(seconds)
        )


async def finished(write: Awaitable[None]) -> None:
    """Await the last write of an observer, and log its error."""
    try:
        await write
    except asyncio.CancelledError:
        return
    # A SystemExit would end the event loop.
    except BaseException as error:
        logger.error("An observer's last write failed.", error=error)
