"""When the thread of a record writes next, if nothing changes."""

from __future__ import annotations

import math
import random
import time

RETRIES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds until the next attempt, after the first, second ... failure; a heartbeat at most."""

JITTER = 0.1
"""The random deviation of a heartbeat, as a share, so that those of many workers are spread."""


class Timetable:
    """The times of the heartbeats and of the attempts after failures.

    Args:
        heartbeat: the seconds between two heartbeats; 0: there are none.
    """

    def __init__(self, heartbeat: float) -> None:
        self._heartbeat = heartbeat
        self.failures = 0
        """How many rounds of writes have failed since the last one that did not."""
        self.beat_at = math.inf
        """The time of the next heartbeat, by the monotonic clock."""
        self.heartbeat_is_written()

    def heartbeat_is_written(self) -> None:
        """Plan the next heartbeat."""
        early_or_late = random.uniform(1 - JITTER, 1 + JITTER)
        self.beat_at = time.monotonic() + (self._heartbeat * early_or_late or math.inf)

    def pause(self, maintenance_at: float) -> float:
        """Return the seconds until there is something to do.

        Args:
            maintenance_at: the time of the next piece of maintenance, by the monotonic clock.
        """
        if self.failures:
            # A pause of several heartbeats would make the run a lost one.
            pause = RETRIES[min(self.failures, len(RETRIES)) - 1]
            return min(pause, self._heartbeat or math.inf)
        return max(0.0, min(self.beat_at, maintenance_at) - time.monotonic())
