"""Time limits: one timer a run, however many hooks it has.

Limits and deadlines are measured with the host's clock, and judged when a hook reports as well as
when the timer fires: a blocked loop can't make a hook look quicker than it was.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .errors import HookError
from .hooks import MANAGER, STAGE
from .lookout import SLOW_SHUTDOWN, SLOW_STARTUP, Lookout
from .report import IN_SHUTDOWN, IN_STARTUP, Outcome
from .unit import DOWN, STARTING, STOPPING, Unit

if TYPE_CHECKING:
    from .runner import Run

GRACE = 1.0
"""Seconds that a cancelled hook has before it is cancelled once more, then before it is left."""
OPTIONAL_TIMEOUT = 10.0
"""Seconds that an optional hook has to start, where nothing else is said."""
ROLLBACK_AFTER_DEADLINE = 4.0
"""Seconds after the startup's deadline by which its rollback has ended."""
LAST_SECOND = 1.0
QUICK_TIMEOUT = 1.0
QUICK_DEADLINE = 3.0
"""Seconds a hook, and in all, for a stop that nobody waits for long: cancelled, the loop ends."""
EARLY = 0.0005
"""Seconds that a loop's timer may fire early, against the clock."""


class Limits:
    """Watch over the hooks of a run that are starting or stopping.

    Args:
        run: whose hooks are watched; it is told what is to be done.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lookout = Lookout(run)
        self._shutdown_timeout = run.settings.shutdown_timeout
        self._running: set[Unit] = set()
        self._deadline = math.inf
        self._startup_deadline = math.inf
        self._begun = 0.0
        self._quick = False
        self._rushed = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    # Phases.

    def begin_startup(self) -> None:
        """Begin the startup's deadline; an explicit longer ``timeout`` of a hook lifts it."""
        run = self._run
        limits = [
            unit.node.timeout
            for unit in run.units
            if unit.node.timeout is not None and not unit.aside
        ]
        self.allowed = max([run.settings.deadline_under(run.server), *limits])
        self._begin(run.began, self.allowed, SLOW_STARTUP)
        self._startup_deadline = self._deadline

    def end_startup(self) -> None:
        """Take note that the process serves: what is still cancelled goes on being watched."""
        self._deadline = math.inf
        if not self._run.startup.warming_up:
            self._lookout.end()

    def begin_shutdown(self, *, quick: bool) -> None:
        """Begin the shutdown's deadline."""
        self._quick = quick
        self.allowed = self._run.settings.shutdown_deadline
        if quick:
            self.allowed = min(self.allowed, QUICK_DEADLINE)
        self._begin(self._run.clock(), self.allowed, SLOW_SHUTDOWN)

    def begin_rollback(self, *, quick: bool) -> None:
        """Begin a shutdown's deadline, in no case long after the startup's."""
        self.begin_shutdown(quick=quick)
        self._deadline = min(self._deadline, self._startup_deadline + ROLLBACK_AFTER_DEADLINE)
        self._arm()

    def hurry(self) -> None:
        """Make a stop that is under way a quick one."""
        if self._quick or self._run.over:
            return
        now = self._run.clock()
        self._quick = True
        self._deadline = min(self._deadline, now + QUICK_DEADLINE)
        for unit in self._running:
            if not unit.strikes:
                unit.due = min(unit.due, now + QUICK_TIMEOUT)
        self._arm()

    def close(self) -> None:
        """End all watching."""
        self._running.clear()
        self._deadline = math.inf
        self._lookout.end()
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self, now: float, allowed: float, looks: Sequence[float]) -> None:
        self._begun = now
        self._deadline = now + allowed
        self._lookout.begin(looks)
        self._arm()

    # Hooks.

    def watch_start(self, unit: Unit) -> None:
        """Watch a hook that begins to start."""
        node, due = unit.node, self._deadline
        if unit.aside:
            # Nobody waits for it: neither the deadline nor the limit of optional hooks is meant.
            due = math.inf
        if node.timeout is not None:
            due = min(due, unit.begun + node.timeout)
        elif not node.required and not unit.aside:
            due = min(due, unit.begun + OPTIONAL_TIMEOUT)
        unit.strikes = 0
        unit.due = due
        self._running.add(unit)
        if due < self._timer_at:
            self._arm_at(due)

    def watch_stop(self, unit: Unit) -> None:
        """Watch a hook that begins to stop."""
        unit.strikes = 0
        unit.due = due = unit.stop_begun + self.stop_limit(unit)
        self._running.add(unit)
        if due < self._timer_at:
            self._arm_at(due)

    def stop_limit(self, unit: Unit) -> float:
        """Return the seconds that a hook has to stop."""
        node = unit.node
        limit = node.timeout if unit.at_end else node.shutdown_timeout
        if limit is None:
            limit = self._shutdown_timeout
        return min(limit, QUICK_TIMEOUT) if self._quick else limit

    def forget(self, unit: Unit) -> None:
        """Watch a hook no longer."""
        self._running.discard(unit)
        unit.due = math.inf

    def judge(self, unit: Unit, at: float) -> None:
        """Say that a hook which reports has passed its limit; the caller has compared the times."""
        if unit.strikes:
            return
        unit.strikes = 1
        self._say(unit, self._limit_text(unit, at), at)

    def give_up(self, unit: Unit) -> None:
        """Cancel a hook that is starting, since the startup is given up."""
        if unit.strikes:
            return
        now = self._run.clock()
        if unit.task is not None:
            self._strike(unit, now)
        else:
            # A thread can't be cancelled. It may be about to return, so it has the same grace.
            unit.strikes = 1
            unit.due = min(unit.due, now + GRACE)
            self._arm_at(unit.due)

    def _strike(self, unit: Unit, now: float) -> None:
        unit.strikes += 1
        if unit.task is None or unit.strikes > 2:
            self._abandon(unit)
            return
        self._run.workers.cancel(unit)
        unit.due = now + GRACE
        if unit.due < self._timer_at:
            self._arm_at(unit.due)

    def _abandon(self, unit: Unit) -> None:
        run = self._run
        self.forget(unit)
        unit.abandoned = True
        unit.stop_asked = True
        if unit.task is None:
            run.workers.lose_thread(unit)
            how = "hangs in its thread, which can't be cancelled"
        else:
            unit.task.cancel()
            how = "ignores its cancellation"
        starting = unit.state is STARTING
        run.telling.abandoned(unit, how)
        if starting:
            unit.ended = run.clock()
            unit.outcome = Outcome.ABANDONED
            if unit.error is None:
                unit.error = HookError(f"{unit} {how}, and was abandoned.")
            run.telling.step(unit, IN_STARTUP)
        elif unit.is_job:
            run.jobs.abandoned(unit, HookError(f"{unit} {how}, and was abandoned."))
            return
        else:
            unit.stop_ended = run.clock()
            if unit.stop_error is None:
                error = HookError(f"{unit} {how}, and was abandoned.")
                run.shutdown.failed(unit, error, Outcome.ABANDONED)
            unit.stop_outcome = Outcome.ABANDONED
            run.telling.step(unit, IN_SHUTDOWN)
        unit.state = DOWN
        if unit.released:
            run.shutdown.down(unit)

    # What has passed.

    def _limit_text(self, unit: Unit, at: float) -> str:
        key = unit.node.key
        if unit.hook.kind is STAGE:
            # No app has declared it: no option and no HOOKS entry could raise its limit.
            setting = "STARTUP_DEADLINE" if unit.state is STARTING else "SHUTDOWN_TIMEOUT"
            what, limit = (
                ("start", self.allowed)
                if unit.state is STARTING
                else ("stop", self.stop_limit(unit))
            )
            return (
                f"{unit} did not {what} within its limit of {limit:g} s.{waits_at(unit)} Raise "
                f"LIFESPAN['{setting}']."
            )
        if unit.state is STARTING and unit.due >= self._startup_deadline and not unit.aside:
            return (
                f"{unit} did not start within the startup's deadline of {self.allowed:g} s; it has "
                f"had {at - unit.begun:.3g} s of them.{waits_at(unit)} Raise "
                "LIFESPAN['STARTUP_DEADLINE'], or make the hook optional with required=False."
            )
        # A lifespan manager is registered without options.
        has_options = unit.hook.kind is not MANAGER
        if unit.state is STARTING:
            limit = unit.node.timeout or OPTIONAL_TIMEOUT
            own = "timeout= of the hook, or " if has_options else ""
            return (
                f"{unit} did not start within its limit of {limit:g} s.{waits_at(unit)} Raise "
                f"{own}LIFESPAN['HOOKS']['{key}']['timeout']."
            )
        limit = self.stop_limit(unit)
        if unit.is_job:
            return (
                f"{unit} did not stop within its limit of {limit:g} s after it was cancelled."
                f"{waits_at(unit)} Let CancelledError through, or raise shutdown_timeout= of the "
                "job."
            )
        option = "timeout" if unit.at_end else "shutdown_timeout"
        own = f"{option}= of the hook, " if has_options else ""
        return (
            f"{unit} did not stop within its limit of {limit:g} s.{waits_at(unit)} Raise {own}"
            f"LIFESPAN['HOOKS']['{key}']['{option}'], or LIFESPAN['SHUTDOWN_TIMEOUT'] for all."
        )

    def _say(self, unit: Unit, text: str, at: float) -> None:
        error = HookError(text)
        if unit.is_job:
            self._run.jobs.too_slow(unit, error)
        elif unit.state is STARTING and unit.outcome is None:
            self._run.startup.failed(unit, error, Outcome.TIMED_OUT, at)
        elif unit.state is STOPPING and unit.stop_outcome is None:
            self._run.shutdown.failed(unit, error, Outcome.TIMED_OUT)

    def _pass(self, units: Iterable[Unit], now: float) -> None:
        """Act on limits that have passed while the hooks are at it."""
        passed: list[tuple[Unit, str]] = []
        for unit in units:
            if unit.strikes:
                self._strike(unit, now)
            else:
                self._lookout.locate(unit)
                passed.append((unit, self._limit_text(unit, now)))
        # All are struck before anything is said: the rollback that may follow takes none of them
        # for one that was merely on its way.
        for unit, _ in passed:
            if unit.task is None:
                unit.strikes = 1
            else:
                self._strike(unit, now)
        for unit, text in passed:
            self._say(unit, text, now)
            if unit.task is None and not unit.abandoned:
                self._strike(unit, now)

    def _pass_startup_deadline(self, now: float) -> None:
        run = self._run
        late = [
            unit
            for unit in self._ordered()
            if unit.state is STARTING and not unit.strikes and not unit.aside
        ]
        self._pass((unit for unit in late if not unit.node.required), now)
        run.startup.skip_optional("the startup passed its deadline before its turn")
        self._pass((unit for unit in late if unit.node.required), now)
        unstarted = run.startup.unstarted()
        if unstarted and run.phase is IN_STARTUP:
            run.fail(
                HookError(
                    f"The startup passed its deadline of {self.allowed:g} s before "
                    f"{unstarted[0]} could begin. Raise LIFESPAN['STARTUP_DEADLINE']."
                )
            )
        if run.phase is IN_STARTUP:
            self._deadline = math.inf

    def _rush(self, now: float) -> None:
        """Give the order up: cancel what is stopping, tell the rest to stop."""
        self._rushed = True
        run = self._run
        for unit in self._ordered():
            if unit.state is STOPPING and not unit.strikes and not unit.is_job:
                if unit.stop_outcome is None:
                    self._lookout.locate(unit)
                    text = (
                        f"{unit} did not stop before the last second of the shutdown's deadline "
                        f"of {self.allowed:g} s.{waits_at(unit)} Raise "
                        "LIFESPAN['SHUTDOWN_DEADLINE'], and the limits of the server and the "
                        "platform with it."
                    )
                    run.shutdown.failed(unit, HookError(text), Outcome.TIMED_OUT)
                if unit.task is not None:
                    self._strike(unit, now)
        run.jobs.stop_all()
        for unit in reversed(run.units):
            run.shutdown.release(unit)
        run.proceed()

    def _end_everything(self) -> None:
        for unit in self._ordered():
            if unit in self._running:
                self._abandon(unit)
        self._run.proceed()
        self._run.finish()

    # The timer.

    def _ordered(self) -> list[Unit]:
        """Return what is watched in the order of the plan, so that two runs tell the same."""
        return sorted(self._running, key=lambda unit: unit.node.index)

    def _tick(self) -> None:
        self._run.guarded(self._look_at_limits)
        self._run.guarded(self._arm)

    def _look_at_limits(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        run = self._run
        now = run.clock()
        late = now + EARLY
        if run.phase is IN_STARTUP and late >= self._deadline:
            self._pass_startup_deadline(now)
        elif run.phase is IN_SHUTDOWN and late >= self._deadline:
            self._end_everything()
            return
        self._pass([unit for unit in self._ordered() if late >= unit.due], now)
        if run.phase is IN_SHUTDOWN and not self._rushed and late >= self._deadline - LAST_SECOND:
            self._rush(now)
        if late >= self._next_look():
            self._lookout.look([unit for unit in self._ordered() if not unit.strikes])
        run.proceed()

    def _next_look(self) -> float:
        looks = self._lookout.looks
        return self._begun + looks[0] if looks else math.inf

    def _arm(self) -> None:
        run = self._run
        if run.over:
            return
        deadline = self._deadline
        if run.phase is IN_SHUTDOWN and not self._rushed:
            deadline -= LAST_SECOND
        soonest = min((unit.due for unit in self._running), default=math.inf)
        self._arm_at(min(soonest, deadline, self._next_look()))

    def _arm_at(self, due: float) -> None:
        if due >= self._timer_at or due == math.inf:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._run.loop.call_later(max(0.0, due - self._run.clock()), self._tick)


def waits_at(unit: Unit) -> str:
    """Return where a hook was last seen to wait, as a sentence, or an empty string."""
    place = unit.waited_at.get(unit.phase) if unit.phase is not None else None
    return f" It waits at {place}." if place else ""
