"""How often the event loop was blocked while the process served, for how long, and where."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lifespan_app.engine.logger import logger
from lifespan_app.engine.stacks.loop_watch import LoopWatch
from lifespan_app.engine.wording import time_taken

if TYPE_CHECKING:
    from lifespan_app.engine.stacks.stacks import Location

LOG_PATIENCE = 0.5
"""Seconds that the log has to take the line of a blocked loop: one of its handlers may block it."""

QUIET = 60.0
"""Seconds for which the same place is not logged again."""

MOST_PLACES = 100
"""The most places that are remembered."""


class SlowLoop:
    """The blocks of one run's loop while it serves.

    Args:
        limit: seconds from which the loop counts as blocked; 0: it is not watched.
        clock: seconds of a clock that never goes back.
        log_fields: returns the ``extra`` of a log record about the run.
        changed: called on the loop when the count has changed, once a minute at most.
    """

    def __init__(
        self,
        limit: float,
        clock: Callable[[], float],
        log_fields: Callable[[], Mapping[str, str]],
        changed: Callable[[], object],
    ) -> None:
        self.count = 0
        """How often the loop was blocked."""
        self.longest = 0.0
        """The longest time that it was blocked, in seconds."""
        self._limit = limit
        self._clock = clock
        self._log_fields = log_fields
        self._changed = changed
        self._told_at = -QUIET
        self._logged_at: dict[str, float] = {}
        self._watch: LoopWatch | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch the loop from now on."""
        if self._limit > 0:
            self._watch = LoopWatch(
                loop, self._limit, self._located, self._freed, clock=self._clock
            )
            self._watch.begin()

    def end(self) -> None:
        """Watch no more."""
        if self._watch is not None:
            self._watch.end()
            self._watch = None

    def _located(self, place: Location | None, seconds: float) -> None:
        now, where = self._clock(), str(place or "a place that can't be seen")
        if now - self._logged_at.get(where, -QUIET) < QUIET:
            return
        if len(self._logged_at) >= MOST_PLACES:
            self._logged_at.clear()
        self._logged_at[where] = now
        logger.warn_within(
            LOG_PATIENCE,
            "The event loop has been blocked for %s while serving, and answers no request: %s. Call "
            "what blocks there with asyncio.to_thread(), or make the view a plain function ('def').",
            time_taken(seconds),
            where,
            about=self._log_fields(),
        )

    def _freed(self, seconds: float) -> None:
        self.count += 1
        self.longest = max(self.longest, seconds)
        now = self._clock()
        if now - self._told_at >= QUIET:
            self._told_at = now
            self._changed()
