"""The attempts of one start in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lifespan_app.engine.error_text import one_line
from lifespan_app.engine.reporting.journal import Tried

from .pauses import Pauses

if TYPE_CHECKING:
    from lifespan_app.engine.hooks.retry import Retry

MOST_ERRORS = 100
"""How many errors are kept of one start: the first one, and the last ones."""


class Attempts:
    """The attempts of one start. It decides nothing, and has no clock.

    Args:
        retry: how it is tried again.
    """

    __slots__ = ("_pauses", "errors", "next_at", "number", "passed", "retry", "until")

    def __init__(self, retry: Retry) -> None:
        self.retry = retry
        self.number = 0
        """Which attempt goes on, or was the last one."""
        self.until = 0.0
        """When the hook has to be up, by the run's clock."""
        self.next_at: float | None = None
        """When the next attempt begins; None while one goes on."""
        self.passed: BaseException | None = None
        """The error of an attempt that has passed its limit, and is being cancelled."""
        self.errors: tuple[str, ...] = ()
        """The errors of the attempts that have failed, a line each."""
        self._pauses = Pauses(retry.first, retry.longest)

    def begins(self, now: float, until: float) -> None:
        """Begin an attempt.

        Args:
            now: by the run's clock.
            until: when the startup has to have ended.
        """
        if not self.number:
            self.until = min(now + self.retry.for_, until)
        self.number += 1
        self.next_at = self.passed = None

    def passes_limit(self, error: BaseException) -> None:
        """Have the attempt pass its limit; its task may still be on its way out."""
        self.passed = error

    def fails(self, error: BaseException) -> None:
        """Fail an attempt."""
        self.errors += (one_line(error),)
        if len(self.errors) > MOST_ERRORS:
            self.errors = (self.errors[0], *self.errors[2:])

    def pause(self, chance: float) -> float:
        """Return the seconds until the next attempt; a random number from 0 to 1 is its jitter."""
        return self._pauses.next(chance)

    def wait_until(self, at: float) -> None:
        """Wait for the next attempt."""
        self.next_at = at

    def facts(self) -> Tried:
        """Return the attempts as facts for the report."""
        return Tried(self.errors, self.next_at)
