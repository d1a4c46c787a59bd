"""Background jobs: begun when everything is up, stopped before the first hook stops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .report import IN_SERVICE, OK, Outcome
from .unit import DOWN, STOPPING, UP, Unit, is_cancellation, what_befell

if TYPE_CHECKING:
    from .runner import Run

FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 60.0
"""Seconds before a crashed job is begun again: the first time, and at most. After service that was
longer than the longest pause, it is the first time again."""
JITTER = 0.1
"""The share of a pause by which it is shorter or longer, at most."""


class Jobs:
    """The background jobs of a run.

    Args:
        run: whose jobs they are.
        units: the jobs, in the order of the plan.
        place: where in the run's graph they are stopped; None without jobs.
    """

    def __init__(self, run: Run, units: list[Unit], place: Unit | None) -> None:
        self._run = run
        self.units = units
        self.place = place
        self._restarts: dict[Unit, asyncio.TimerHandle] = {}
        self._pauses: dict[Unit, float] = {}
        """The last pause of each job that has crashed, in seconds, without its jitter."""

    def begin(self) -> None:
        """Begin every job whose turn has come."""
        for unit in self.units:
            if unit.state is UP:
                self.begin_one(unit)

    def begin_one(self, unit: Unit) -> None:
        """Begin one job: while the process serves."""
        run = self._run
        unit.state = UP
        unit.arguments = run.arguments_of(unit)
        unit.served_from = run.clock()
        # Each attempt is a step of its own, with its own lines.
        unit.logs = {phase: sink for phase, sink in unit.logs.items() if phase is not IN_SERVICE}
        unit.serving_outcome = unit.serving_error = None
        run.telling.step(unit, IN_SERVICE)
        run.workers.create_task(unit)

    def ended(self, unit: Unit, error: BaseException | None) -> None:
        """Take note that a job's task has ended: finished, stopped or crashed."""
        run = self._run
        run.limits.forget(unit)
        unit.served_to = run.clock()
        cancelled = error is not None and is_cancellation(error)
        if unit.stop_asked or (cancelled and run.loop_is_ending()):
            unit.state = DOWN
            if error is not None and not cancelled:
                self._fail(unit, error)
            elif unit.serving_outcome is None:
                unit.serving_outcome = OK
            run.telling.step(unit, IN_SERVICE)
            self._stop_next()
        elif error is None:
            unit.state = DOWN
            unit.serving_outcome = Outcome.FINISHED
            run.telling.step(unit, IN_SERVICE)
        else:
            run.crashed(unit, error)
            self._after_crash(unit)

    def _after_crash(self, unit: Unit) -> None:
        run = self._run
        if run.phase is not IN_SERVICE:
            return
        if unit.hook.on_crash == "restart":
            pause = self._pause_after(unit)
            self._restarts[unit] = run.loop.call_later(pause, run.guarded, self._restart, unit)
        elif unit.hook.on_crash == "stop":
            run.telling.stops_server(unit)
            run.ask_to_stop()

    def _pause_after(self, unit: Unit) -> float:
        """Return the seconds from a crash to the next begin."""
        pause = self._pauses.get(unit, 0.0)
        if unit.served_to - unit.served_from > LONGEST_BACKOFF:
            pause = 0.0
        pause = min(LONGEST_BACKOFF, 2 * pause or FIRST_BACKOFF)
        self._pauses[unit] = pause
        return pause * (1 + JITTER * (2 * self._run.host.random() - 1))

    def _restart(self, unit: Unit) -> None:
        del self._restarts[unit]
        run = self._run
        if run.phase is not IN_SERVICE:
            return
        lost = run.lost(unit)
        if lost is not None:
            unit.reason = f"it is not begun again: it needs {lost}, which {what_befell(lost)}"
            run.telling.step(unit, IN_SERVICE)
            return
        unit.attempt += 1
        self.begin_one(unit)
        run.judge_service()

    # The stop: in reverse of each other, by priority.

    def stop(self) -> None:
        """Stop every job, those of the highest priority first; then the run goes on."""
        for timer in self._restarts.values():
            timer.cancel()
        self._restarts.clear()
        self._stop_next()

    def stop_all(self) -> None:
        """Stop every job at once, since there is no time left for an order."""
        for unit in self._living():
            self._stop(unit)

    def _living(self) -> list[Unit]:
        return [unit for unit in self.units if unit.task is not None and not unit.abandoned]

    def _stop_next(self) -> None:
        place = self.place
        if place is None or place.state is not STOPPING:
            return
        living = self._living()
        if not living:
            self._run.shutdown.down(place)
            return
        highest = max(unit.node.priority for unit in living)
        for unit in living:
            if unit.node.priority == highest:
                self._stop(unit)

    def _stop(self, unit: Unit) -> None:
        if unit.stop_asked:
            return
        unit.stop_asked = True
        unit.state = STOPPING
        unit.stop_begun = self._run.clock()
        self._run.limits.watch_stop(unit)
        # At its end the loop has cancelled the job already: once more would cut its clean-up short.
        self._run.workers.cancel(unit, again=False)

    def too_slow(self, unit: Unit, error: BaseException) -> None:
        """Take note that a job that is being stopped has passed its limit."""
        unit.serving_outcome = Outcome.TIMED_OUT
        self._fail(unit, error)

    def abandoned(self, unit: Unit, error: BaseException) -> None:
        """Take note that a job which ignores its cancellation was given up."""
        unit.served_to = self._run.clock()
        if unit.stop_error is None:
            self._fail(unit, error)
        unit.serving_outcome = Outcome.ABANDONED
        unit.state = DOWN
        self._run.telling.step(unit, IN_SERVICE)
        self._stop_next()

    def _fail(self, unit: Unit, error: BaseException) -> None:
        outcome = unit.serving_outcome or Outcome.FAILED
        self._run.shutdown.failed(unit, error, outcome)
        unit.serving_outcome = outcome
        unit.serving_error = unit.stop_error
