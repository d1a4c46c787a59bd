"""A background job in one run: its crashes, and when it begins again."""

from __future__ import annotations

import math
from collections import deque

from lifespan_app.engine.hooks.hook import Options
from lifespan_app.engine.wording import count, time_limit

from .pauses import Pauses

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds before a crashed job begins again: the first time, and at most. After service that was
longer than the longest pause, it is the first time again."""


class Job:
    """The begins and crashes of one background job. It decides nothing, and has no clock.

    Args:
        options: those of its hook.
    """

    __slots__ = ("_crashes", "_pauses", "begun", "due", "given_up", "options")

    def __init__(self, options: Options) -> None:
        self.options = options
        self.begun = -math.inf
        """When it has begun last."""
        self.due = math.inf
        """When it begins next."""
        self.given_up = ""
        """Why it does not begin any more."""
        self._pauses = Pauses(FIRST_PAUSE, LONGEST_PAUSE)
        most = 0 if options.give_up is None else options.give_up[0]
        self._crashes: deque[float] = deque(maxlen=most)

    def begins(self, now: float) -> None:
        """Begin, for the first time or again."""
        self.begun = now
        self.due = math.inf

    def crashes(self, now: float, chance: float) -> None:
        """Crash. It is given up, or begins again if its options say so.

        Args:
            now: by the run's clock.
            chance: a random number from 0 to 1, for the jitter.
        """
        self._crashes.append(now)
        if self.options.give_up is not None:
            most, within = self.options.give_up
            if len(self._crashes) == most and now - self._crashes[0] <= within:
                self.given_up = f"{count(most, 'crash', 'crashes')} within {time_limit(within)}"
                return
        if self.options.on_crash == "restart":
            if now - self.begun > LONGEST_PAUSE:
                self._pauses.start_over()
            self.due = now + self._pauses.next(chance)

    def ends(self) -> None:
        """Begin no more."""
        self.due = math.inf

    @property
    def stop_option(self) -> str:
        """The option that has the process stopped after its last crash, or an empty string."""
        if self.options.on_crash == "stop":
            return "on_crash='stop'"
        is_asked = self.given_up and self.options.on_give_up == "stop"
        return "on_give_up='stop'" if is_asked else ""
