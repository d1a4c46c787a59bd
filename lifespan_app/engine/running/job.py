"""A background job in one run: its rounds and crashes, and when it begins again."""

from __future__ import annotations

import math
from collections import deque

from lifespan_app.engine.error_text import one_line
from lifespan_app.engine.hooks.hook import Options
from lifespan_app.engine.wording import count, time_limit

from .pauses import Pauses, jittered

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds before a crashed job begins again: the first time, and at most. After service that was
longer than the longest pause, it is the first time again."""


class Job:
    """The rounds and crashes of one background job. It decides nothing, and has no clock.

    Args:
        options: those of its hook.
    """

    __slots__ = (
        "_crashes",
        "_next_round",
        "_pauses",
        "begun",
        "crashed_at",
        "crashes_in_all",
        "due",
        "given_up",
        "last_crash",
        "on_request",
        "options",
        "rounds",
        "stalled",
        "stalls_at",
        "standing_by",
        "succeeded_at",
    )

    def __init__(self, options: Options) -> None:
        self.options = options
        self.begun = 0.0
        """When it, or its round, has begun last."""
        self.rounds = 0
        """How often it has begun."""
        self.due = math.inf
        """When it begins next."""
        self.stalls_at = math.inf
        """When it is stalled, if it gives no sign of life before."""
        self.stalled = ""
        """Why it is stalled, or an empty string."""
        self.given_up = ""
        """Why it does not begin any more, or an empty string."""
        self.standing_by = ""
        """Why it waits for its lease, such as who leads; or an empty string."""
        self.on_request = False
        """True if it begins only on request, as in a test."""
        self.crashes_in_all = 0
        self.last_crash = ""
        """The error of its last crash, in one line."""
        self.crashed_at: float | None = None
        """When it has crashed last."""
        self.succeeded_at: float | None = None
        """When a round has succeeded last, or when it has returned."""
        self._next_round = math.inf
        self._pauses = Pauses(FIRST_PAUSE, LONGEST_PAUSE)
        most = 0 if options.give_up is None else options.give_up[0]
        self._crashes: deque[float] = deque(maxlen=most)

    @property
    def is_periodic(self) -> bool:
        """True if its function is one round, called again and again."""
        return self.options.every is not None

    @property
    def stop_option(self) -> str:
        """The option that has the process stopped after its last crash, or an empty string."""
        if self.options.on_crash == "stop":
            return "on_crash='stop'"
        is_asked = self.given_up and self.options.on_give_up == "stop"
        return "on_give_up='stop'" if is_asked else ""

    def wait_for_requests(self) -> None:
        """Begin only on request."""
        self.on_request = True

    def is_due_at(self, at: float) -> None:
        """Begin at a time."""
        self.due = math.inf if self.on_request else at

    def begins(self, now: float, chance: float) -> None:
        """Begin, for the first time or again.

        Args:
            now: by the run's clock.
            chance: a random number from 0 to 1, for the jitter.
        """
        self.begun = now
        self.rounds += 1
        self.due = math.inf
        every = self.options.every
        if every is not None:
            self._next_round = now + jittered(every, self.options.jitter, chance)
        stall_after = self.options.stall_after
        if stall_after is not None and (every is None or not now < self.stalls_at < math.inf):
            self.stalls_at = now + stall_after

    def succeeds(self, now: float) -> None:
        """End a round as it should. The next one is due."""
        self.succeeded_at = now
        self._pauses.start_over()
        self.is_due_at(max(now, self._next_round))

    def finishes(self, now: float) -> None:
        """Return, as a job without rounds."""
        self.succeeded_at = now

    def has_crashed(self, now: float, error: BaseException) -> None:
        """Keep a crash for the report."""
        self.crashes_in_all += 1
        self.crashed_at = now
        self.last_crash = one_line(error)

    def goes_on_after_crash(self, now: float, chance: float) -> None:
        """Be given up after a crash, or begin again if its options say so.

        Args:
            now: by the run's clock.
            chance: a random number from 0 to 1, for the jitter.
        """
        self._crashes.append(now)
        if self.options.give_up is not None:
            most, within = self.options.give_up
            if len(self._crashes) == most and now - self._crashes[0] <= within:
                self.given_up = f"{count(most, 'crash', 'crashes')} within {time_limit(within)}"
                self.ends()
                return
        if self.is_periodic:
            self.is_due_at(max(now, self._next_round))
        if self.options.on_crash == "restart":
            if now - self.begun > LONGEST_PAUSE:
                self._pauses.start_over()
            self.is_due_at(min(self.due, now + self._pauses.next(chance)))

    def ends(self) -> None:
        """Begin no more."""
        self.due = self.stalls_at = math.inf

    def stands_by(self, why: str) -> None:
        """Wait for the lease; an empty string: it has the lease, and leads."""
        self.standing_by = why

    # Signs of life.

    def lives(self, now: float) -> bool:
        """Give a sign of life. Any thread may call.

        Returns:
            True if it was stalled.
        """
        is_watched = self.stalled or self.stalls_at < math.inf
        if is_watched and self.options.stall_after is not None:
            self.stalls_at = now + self.options.stall_after
        return bool(self.stalled)

    def stalls(self) -> None:
        """Be stalled: it has given no sign of life for too long."""
        assert self.options.stall_after is not None
        missed = "no round has ended" if self.is_periodic else "no beat() has come"
        self.stalled = f"{missed} for {time_limit(self.options.stall_after)}"
        self.stalls_at = math.inf

    def recovers(self) -> None:
        """Be stalled no more."""
        self.stalled = ""
