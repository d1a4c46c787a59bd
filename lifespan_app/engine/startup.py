"""The startup of a run: each hook begins when all that it waits for has come up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .error_text import add_note, one_line
from .hooks import START
from .limits import EARLY
from .report import IN_SERVICE, IN_SHUTDOWN, IN_STARTUP, OK, Mode, Outcome
from .unit import (
    DOWN,
    PENDING,
    STARTING,
    UP,
    Unit,
    is_cancellation,
    named,
    what_befell,
)

if TYPE_CHECKING:
    from .runner import Run


class Startup:
    """Bring the hooks of a run up, each when its turn comes.

    A hook is settled when what waits for it need wait no longer: it is up, has failed, or is
    skipped. Those that stand aside are not waited for: they may come up while the process serves.

    Args:
        run: whose hooks they are. It serves once all are settled, unless one fails that it needs.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._queue = run.queue
        if run.mode is Mode.TEST:
            # A test reads what it needs as soon as it begins.
            for unit in run.units:
                unit.aside = False
        self.aside = [unit for unit in run.units if unit.aside]
        self._unsettled = len(run.units) - len(self.aside)
        self._warm: asyncio.Future[None] | None = None

    @property
    def warming_up(self) -> bool:
        """Whether hooks are starting, or about to, that the startup does not wait for."""
        return not all(unit.settled for unit in self.aside)

    async def warmed_up(self) -> None:
        """Wait, while the process serves, until nothing starts any more, or the run stops."""
        if self._run.phase is IN_SERVICE and self.warming_up:
            self._warm = self._run.loop.create_future()
            await self._warm

    def begin(self) -> None:
        """Begin the hooks that wait for nothing."""
        for unit in self._run.units:
            unit.waiting = len(unit.leaders)
            if self.aside and not unit.aside:
                unit.waiting -= sum(leader.aside for leader in unit.leaders)
            if not unit.waiting:
                self._queue.append((self._begin, unit))
        if not self._unsettled:
            self._run.serve()

    def _begin(self, unit: Unit) -> None:
        run = self._run
        if unit.settled or (run.phase is not IN_STARTUP and not self._goes_on(unit)):
            return
        unit.begun = unit.ended = run.clock()
        hook = unit.hook
        if hook is None or unit.at_end or unit.is_job:
            unit.state = UP
            self._settle(unit)
            return
        if run.some_crashed and (lost := run.lost(unit)) is not None:
            self._skip(unit, f"it needs {lost}, which {what_befell(lost)}")
            return
        if unit.node.arguments:
            unit.arguments = run.arguments_of(unit)
        unit.state = STARTING
        run.limits.watch_start(unit)
        if run.telling.of_steps:
            run.telling.step(unit, IN_STARTUP)
        run.workers.call(unit, owns_thread=hook.kind is not START)

    def _goes_on(self, unit: Unit) -> bool:
        """Tell whether a hook that the startup did not wait for starts while the process serves."""
        return unit.aside and self._run.phase is IN_SERVICE

    def came_up(self, unit: Unit, value: Any, at: float | None = None) -> None:
        """Take note that a resource is up, and that its task or thread holds it.

        Args:
            unit: whose resource it is.
            value: what it is worth.
            at: when it came up, by the clock; None: now. A thread may have to wait for the loop.
        """
        if not unit.abandoned:
            self._run.guarded(self._settle_up, unit, value, at, unit=unit)

    def _settle_up(self, unit: Unit, value: Any, at: float | None) -> None:
        run = self._run
        if at is None:
            at = run.clock()
        if unit.outcome is None:
            unit.ended = at
        unit.value = value
        unit.holds = True
        if at + EARLY >= unit.due:
            run.limits.judge(unit, at)
        unit.strikes = 0
        if unit.task is not None:
            # A cancellation left over would make a later TaskGroup in this task raise
            # CancelledError instead of its children's errors (seen on Python 3.13).
            while unit.task.cancelling():
                unit.task.uncancel()
        self._is_up(unit)
        run.proceed()

    def ended(self, unit: Unit, error: BaseException | None, at: float) -> None:
        """Take note that the task or thread of a hook has ended while it was starting."""
        run = self._run
        if at + EARLY >= unit.due:
            run.limits.judge(unit, at)
        if error is None and unit.outcome is None:
            unit.ended = at
            self._is_up(unit)
            return
        run.limits.forget(unit)
        unit.state = DOWN
        if unit.outcome is None:
            assert error is not None
            self.failed(unit, error, Outcome.FAILED, at)
        if unit.released:
            run.shutdown.down(unit)

    def _is_up(self, unit: Unit) -> None:
        run = self._run
        run.limits.forget(unit)
        unit.state = UP
        if unit.outcome is not None:
            # It had failed already, by its limit: what was entered late is left at once.
            run.shutdown.stop(unit)
            return
        unit.outcome = OK
        if run.telling.of_steps:
            run.telling.step(unit, IN_STARTUP)
        if run.phase is IN_STARTUP or self._goes_on(unit):
            self._settle(unit)
        elif unit.released:
            run.shutdown.stop(unit)

    def failed(self, unit: Unit, error: BaseException, outcome: Outcome, at: float) -> None:
        """Take note that a hook has failed to start; its task may still be on its way out."""
        run = self._run
        unit.ended = at
        cancelled = unit.strikes or run.loop_is_ending()
        if cancelled and outcome is Outcome.FAILED and is_cancellation(error):
            unit.outcome = Outcome.CANCELLED
            unit.reason = "the startup was given up"
            if run.telling.of_steps:
                run.telling.step(unit, IN_STARTUP)
            return
        unit.outcome = outcome
        unit.error = named(unit, error, "at startup")
        if run.telling.of_steps:
            run.telling.step(unit, IN_STARTUP)
        run.telling.hook_failed(unit, IN_STARTUP, unit.error)
        if unit.aside and run.phase is not IN_SHUTDOWN:
            self._settle(unit)
        elif run.phase is not IN_STARTUP:
            if run.first_error is not None and run.first_error is not unit.error:
                add_note(run.first_error, f"Then {unit} failed too: {one_line(unit.error)}")
        elif unit.node.required:
            run.fail(unit.error)
        else:
            self._settle(unit)

    def _settle(self, unit: Unit) -> None:
        """Take note that what waits for a hook need wait no longer."""
        unit.settled = True
        aside = unit.aside
        if not aside:
            self._unsettled -= 1
        failed = unit.outcome is not None and unit.outcome is not OK
        for follower in unit.followers:
            # What the startup waits for has not counted what it does not wait for.
            if follower.settled or (aside and not follower.aside):
                continue
            if failed and hangs_on(follower, unit):
                self._skip(follower, f"it needs {unit}, which {what_befell(unit)}")
                continue
            follower.waiting -= 1
            if not follower.waiting:
                self._queue.append((self._begin, follower))
        if aside:
            self._run.settled_late(unit)
            if not self.warming_up:
                self._end_warm_up()
        elif not self._unsettled and self._run.phase is IN_STARTUP:
            self._queue.append((self._all_settled, unit))

    def _all_settled(self, _: Unit) -> None:
        if self._run.phase is IN_STARTUP:
            self._run.serve()

    def _skip(self, unit: Unit, reason: str) -> None:
        self._mark_skipped(unit, reason)
        self._settle(unit)

    def _mark_skipped(self, unit: Unit, reason: str) -> None:
        run = self._run
        unit.state = DOWN
        unit.outcome = Outcome.SKIPPED
        unit.reason = reason
        unit.begun = unit.ended = run.clock()
        if run.telling.of_steps:
            run.telling.step(unit, IN_STARTUP)

    def skip_optional(self, reason: str) -> None:
        """Skip the optional hooks whose turn has not come."""
        for unit in self._run.units:
            if (
                unit.hook is not None
                and not unit.node.required
                and not unit.aside
                and unit.state is PENDING
            ):
                self._skip(unit, reason)

    def unstarted(self) -> list[Unit]:
        """Return the required hooks that are not up, in the order of the plan."""
        return [
            unit
            for unit in self._run.units
            if unit.hook is not None and unit.node.required and not unit.aside and not unit.settled
        ]

    def give_up(self, reason: str) -> None:
        """Cancel what is starting, and skip whose turn has not come."""
        for unit in self._run.units:
            if unit.state is STARTING:
                self._run.limits.give_up(unit)
            elif unit.state is PENDING and unit.hook is None:
                unit.state = DOWN
            elif unit.state is PENDING:
                self._mark_skipped(unit, reason)
        self._end_warm_up()

    def _end_warm_up(self) -> None:
        if self._warm is not None and not self._warm.done():
            self._warm.set_result(None)


def hangs_on(follower: Unit, leader: Unit) -> bool:
    """Tell whether a hook can't start when another one has failed."""
    index = leader.node.index
    return any(wait.node == index and wait.hard for wait in follower.node.waits)
