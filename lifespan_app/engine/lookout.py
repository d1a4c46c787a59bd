"""The lookout: says where a slow or stuck hook waits, and what blocks the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .current import here
from .logger import logger
from .report import IN_STARTUP
from .unit import Unit
from .watchdog import Watchdog

if TYPE_CHECKING:
    from .located import Place
    from .runner import Run

SLOW_STARTUP = (5.0, 10.0, 20.0, 40.0)
SLOW_SHUTDOWN = (2.0, 4.0, 8.0)
"""When a phase is looked at, in seconds from its begin."""
LOG_PATIENCE = 0.5
"""Seconds that the log has to take the line of a blocked loop: one of its handlers may block it."""


class Lookout:
    """Look where the hooks of a run wait, when a phase takes long. Nothing is paid before that.

    Args:
        run: whose hooks are looked at.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._watchdog: Watchdog | None = None
        self.looks: list[float] = []
        """When the phase is still to be looked at, in seconds from its begin."""

    def begin(self, looks: Sequence[float]) -> None:
        """Watch over a phase that begins."""
        self.end()
        self.looks = list(looks)
        self._watchdog = Watchdog(self._run.loop, self._blocked, after=looks)
        self._watchdog.begin()

    def end(self) -> None:
        """Take note that the phase has ended."""
        self.looks = []
        if self._watchdog is not None:
            self._watchdog.end()
            self._watchdog = None

    def look(self, units: Sequence[Unit]) -> None:
        """Say which hooks the phase still waits for, for how long, and where each one waits."""
        from .located import tasks_by_value  # not paid for where nothing is slow

        self.looks.pop(0)
        now = self._run.clock()
        tasks = tasks_by_value(here, self._run.loop)
        for unit in units:
            starts = unit.phase is IN_STARTUP
            logger.warning(
                "%s has been %s for %.1f s. It waits at %s.",
                unit,
                "starting" if starts else "stopping",
                now - (unit.begun if starts else unit.stop_begun),
                self.locate(unit, tasks.get(id(unit), ())) or "a place that can't be seen",
            )

    def locate(self, unit: Unit, tasks: Iterable[asyncio.Task[Any]] | None = None) -> str:
        """Note where a hook waits, for its step in the report, and return it.

        Args:
            unit: the hook.
            tasks: the tasks that it has started, where they are known.
        """
        from .located import places_of, where_thread  # not paid for where nothing is slow

        places: list[Place] = []
        home = unit.hook.file
        if unit.on_loop:
            places = places_of(unit.task, here, unit, self._run.loop, among=tasks, home=home)
        elif unit.thread is not None:
            place = where_thread(unit.thread, home=home)
            places = [place] if place is not None else []
        where = "; ".join(map(str, places))
        if unit.phase is not None:
            unit.waited_at = {**unit.waited_at, unit.phase: where}
        return where

    def _blocked(self, place: Place | None, seconds: float) -> None:
        logger.warn_within(
            LOG_PATIENCE,
            "The event loop has been blocked for %.1f s; no hook can progress, no timeout can fire: "
            "%s. Make a hook that blocks a plain function ('def'), which runs in a thread; or call "
            "what blocks with asyncio.to_thread().",
            seconds,
            place or "the place can't be seen",
        )
