"""The time limits of a run, as data: the deadline of each hook, and the next time to look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .hook_run import RETRYING, STARTING, STOPPING, HookRun

GOES_ON = (STARTING, RETRYING, STOPPING)
GRACE = 1.0
"""Seconds that a cancelled hook has before it is cancelled once more, then before it is left."""
OPTIONAL_TIMEOUT = 10.0
"""Seconds that an optional hook has to start by default."""
ROLLBACK_AFTER_DEADLINE = 4.0
"""Seconds after the startup's deadline by which its rollback has ended."""
LAST_SECOND = 1.0
"""Seconds before the end of the shutdown's deadline at which its order is given up."""
QUICK_TIMEOUT = 1.0
"""Seconds that a hook has to stop in a quick stop: the task was cancelled, or the loop ends."""
QUICK_DEADLINE = 3.0
"""Seconds of a quick stop in all."""
EARLY = 0.0005
"""Seconds that a loop's timer may fire early, against the clock."""
SLOW_STARTUP = (5.0, 10.0, 20.0, 40.0)
SLOW_SHUTDOWN = (2.0, 4.0, 8.0)
"""The times when slow hooks are looked for, in seconds from the begin of the phase."""


class Limits(NamedTuple):
    """The time limits of a run, in seconds."""

    startup: float
    """The startup, in all."""
    stop: float
    """The default for one hook's stop."""
    shutdown: float
    """The shutdown, in all."""


class Deadlines:
    """The deadlines of a run, by the clock.

    Args:
        limits: the limits of the run.
        hook_runs: the hooks, in the order of the plan; the shutdown adds some.
    """

    def __init__(self, limits: Limits, hook_runs: Sequence[HookRun]) -> None:
        self.limits = limits
        self._hook_runs = hook_runs
        self.allowed = 0.0
        """The seconds of the phase in all."""
        self.deadline = math.inf
        """When they end, by the run's clock; infinity while the process serves."""
        self.of_startup = math.inf
        """The deadline of the startup, also after it."""
        self.quick = False
        """True in a quick stop."""
        self.rushed = False
        """True once the order of the shutdown was given up."""
        self.soonest = math.inf
        """The earliest time at which there may be something to do; exact after ``look_ahead``."""
        self._begun = 0.0
        self._looks: list[float] = []
        self._stopping = False
        self._jobs = [one for one in hook_runs if one.job is not None]

    # Phases.

    def begin_startup(self, now: float) -> None:
        """Begin the startup's deadline; an explicit longer ``timeout`` of a hook lifts it."""
        own = [
            one.node.options.timeout or 0.0
            for one in self._hook_runs
            if not (one.non_blocking or one.is_job or one.at_end)
        ]
        self._begin(now, max(self.limits.startup, *own, 0.0), SLOW_STARTUP)
        self.of_startup = self.deadline

    def end_startup(self, *, warming_up: bool) -> None:
        """End the startup's deadline; cancelled hooks stay watched."""
        self.deadline = math.inf
        if not warming_up:
            self._looks = []

    def begin_shutdown(self, now: float, *, quick: bool) -> None:
        """Begin the shutdown's deadline."""
        self.quick = quick
        self._stopping = True
        allowed = self.limits.shutdown
        if quick:
            # A drain function may have begun before.
            self._hasten(now)
        self._begin(now, min(allowed, QUICK_DEADLINE) if quick else allowed, SLOW_SHUTDOWN)

    def begin_rollback(self, now: float, *, quick: bool) -> None:
        """Begin a shutdown's deadline, not long after the startup's unless that was missed by far."""
        self.begin_shutdown(now, quick=quick)
        latest = max(self.of_startup + ROLLBACK_AFTER_DEADLINE, now + LAST_SECOND)
        self.deadline = min(self.deadline, latest)
        self.look_ahead()

    def begin_last_second(self, now: float) -> None:
        """Give the order up, and begin the last second, after the deadline has passed unseen."""
        self.rush()
        self.deadline = now + LAST_SECOND

    def rush(self) -> None:
        """Give the order of the shutdown up."""
        self.rushed = True

    def hurry(self, now: float) -> None:
        """Make a stop that is under way a quick one."""
        self.quick = True
        self.deadline = min(self.deadline, now + QUICK_DEADLINE)
        self._hasten(now)
        self.look_ahead()

    def _hasten(self, now: float) -> None:
        for hook_run in self.watched():
            if not hook_run.cancel_attempts:
                hook_run.due_at(min(hook_run.deadline, now + QUICK_TIMEOUT))

    def close(self) -> None:
        """End all watching."""
        self.end_jobs()
        self.deadline = self.soonest = math.inf
        self._looks = []

    def _begin(self, now: float, allowed: float, looks: Sequence[float]) -> None:
        self._begun = now
        self.allowed = allowed
        self.deadline = now + allowed
        self._looks = list(looks)
        self.look_ahead()

    # Hooks.

    def watched(self) -> list[HookRun]:
        """Return the hooks whose steps have a limit, in the order of the plan."""
        return [
            one
            for one in self._hook_runs
            # A job has a limit once it is asked to stop; a barrier has none.
            if one.state in GOES_ON and one.hook is not None
        ]

    def of_start(self, hook_run: HookRun, now: float) -> float:
        """Return when a hook that begins now has to be up."""
        options = hook_run.node.options
        limit = options.timeout
        if limit is None:
            # Only an optional hook that the startup waits for, and that has no retry, has a default limit.
            unlimited = options.required or not options.wait or options.retry is not None
            limit = math.inf if unlimited else OPTIONAL_TIMEOUT
        due = now + limit
        if hook_run.attempts is not None:
            due = min(due, hook_run.attempts.until)
        if options.wait and self.deadline < due:
            due = self.deadline
        if due < self.soonest:
            self.soonest = due
        return due

    def of_stop(self, hook_run: HookRun, now: float) -> float:
        """Return the deadline of a hook that is asked to stop now."""
        due = now + self.stop_limit(hook_run)
        if due < self.soonest:
            self.soonest = due
        return due

    def stop_limit(self, hook_run: HookRun) -> float:
        """Return the seconds that a hook has to stop."""
        options = hook_run.node.options
        limit = options.timeout if hook_run.at_end else options.shutdown_timeout
        if limit is None:
            limit = self.limits.stop
        return min(limit, QUICK_TIMEOUT) if self.quick else limit

    def expect(self, at: float) -> None:
        """Wake up at a time, such as that of a job which begins again."""
        self.soonest = min(self.soonest, at)

    def due_jobs(self, now: float) -> list[HookRun]:
        """Return the jobs that begin now, whose rounds have passed their limit, or that are stalled."""
        return [one for one in self._jobs if now + EARLY >= one.looks_at]

    def end_jobs(self) -> None:
        """Have no job begin any more."""
        for one in self._jobs:
            one.job.ends()

    def grant(self, hook_run: HookRun, due: float) -> None:
        """Give a hook that is watched until another time."""
        hook_run.due_at(due)
        self.soonest = min(self.soonest, due)

    # Queries.

    def due(self, now: float) -> list[HookRun]:
        """Return the hooks whose limit has passed, and those whose next attempt is due."""
        return [hook_run for hook_run in self.watched() if now + EARLY >= hook_run.deadline]

    def deadline_has_passed(self, now: float) -> bool:
        """Return True if the phase has used up its time."""
        return now + EARLY >= self.deadline

    def last_second_has_begun(self, now: float) -> bool:
        """Return True if too little time is left to keep the order of the shutdown."""
        return not self.rushed and now + EARLY >= self.deadline - LAST_SECOND

    def takes_look(self, now: float) -> bool:
        """Return True if it is time to look at slow hooks; each time counts once."""
        if self._looks and now + EARLY >= self._begun + self._looks[0]:
            self._looks.pop(0)
            return True
        return False

    def look_ahead(self) -> None:
        """Find anew the earliest time at which there may be something to do."""
        deadline = self.deadline
        if self._stopping and not self.rushed:
            deadline -= LAST_SECOND
        look = self._begun + self._looks[0] if self._looks else math.inf
        due = min((hook_run.deadline for hook_run in self.watched()), default=math.inf)
        jobs = min((one.looks_at for one in self._jobs), default=math.inf)
        self.soonest = min(due, deadline, look, jobs)
