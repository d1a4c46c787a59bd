"""The shutdown of a run: each hook stops when all that stood on it is down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .error_text import add_note, one_line
from .hooks import RESOURCE
from .limits import EARLY
from .report import IN_SHUTDOWN, OK, Outcome
from .unit import (
    DOWN,
    STOPPING,
    UP,
    Unit,
    is_cancellation,
    named,
    what_befell,
)

if TYPE_CHECKING:
    from .runner import Run


class Shutdown:
    """Bring the hooks of a run down: at its end, or where its startup is rolled back.

    A hook is released when its turn to stop has come, or the order is given up.

    Args:
        run: whose hooks they are. It is over once all are down.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._queue = run.queue
        self._left = 0

    def begin(self) -> None:
        """Stop the hooks that nothing stands on."""
        run = self._run
        for unit in run.graph.arm():
            run.units_by_hook[unit.hook] = unit
        run.serving.clear()
        run.stopping.set()
        if run.checking is not None:
            run.checking.end()
        run.stop_began = run.clock()
        run.stopping_at = run.host.time()
        run.telling.capture(True)
        run.telling.phase_begins()
        run.telling.status_changed()
        self._left = len(run.units)
        for unit in run.units:
            unit.waiting = len(unit.followers)
            if not unit.waiting:
                self._queue.append((self.release, unit))
        if not run.units:
            run.finish()

    def release(self, unit: Unit) -> None:
        """Let a hook stop: everything that stood on it is down, or the order is given up."""
        if unit.released:
            return
        unit.released = True
        if unit is self._run.jobs.place and unit.state is UP:
            unit.state = STOPPING
            self._run.jobs.stop()
        elif unit.state is UP:
            self.stop(unit)
        elif unit.state is DOWN:
            self.down(unit)

    def stop(self, unit: Unit) -> None:
        """Have a hook that is up leave what it holds, or be called where that is done at the end."""
        run = self._run
        if unit.at_end:
            if (lost := run.lost(unit)) is not None:
                self._skip(unit, f"it needs {lost}, which {what_befell(lost)}")
                return
            unit.arguments = run.arguments_of(unit)
        elif unit.holds:
            unit.stop_asked = True
        else:
            if unit.hook is not None and unit.hook.kind is RESOURCE:
                # Nothing is to be left, but since when it can't be read is worth knowing.
                unit.stop_begun = unit.stop_ended = run.clock()
                unit.stop_outcome = OK
            self.down(unit)
            return
        unit.state = STOPPING
        unit.stop_begun = run.clock()
        run.limits.watch_stop(unit)
        if run.telling.of_steps:
            run.telling.step(unit, IN_SHUTDOWN)
        if unit.at_end:
            run.workers.call(unit, owns_thread=False)
        elif unit.gate is not None and not unit.on_loop:
            run.host.work_handed_over()
            unit.gate.release()
        elif unit.waker is not None and not unit.waker.done():
            unit.waker.set_result(None)

    def _skip(self, unit: Unit, reason: str) -> None:
        unit.stop_begun = unit.stop_ended = self._run.clock()
        unit.stop_outcome = Outcome.SKIPPED
        unit.reason = reason
        unit.state = DOWN
        if unit.released:
            self.down(unit)

    def ended(self, unit: Unit, error: BaseException | None, at: float) -> None:
        """Take note that the task or thread of a hook has ended while it was stopping."""
        run = self._run
        if at + EARLY >= unit.due:
            run.limits.judge(unit, at)
        run.limits.forget(unit)
        unit.stop_ended = at
        unit.state = DOWN
        cancelled = unit.strikes or run.loop_is_ending()
        if error is not None and not (cancelled and is_cancellation(error)):
            self.failed(unit, error, unit.stop_outcome or Outcome.FAILED)
        elif unit.stop_outcome is None:
            unit.stop_outcome = OK if error is None else Outcome.CANCELLED
        if run.telling.of_steps:
            run.telling.step(unit, IN_SHUTDOWN)
        if unit.released:
            self.down(unit)

    def failed(self, unit: Unit, error: BaseException, outcome: Outcome) -> None:
        """Take note that a hook has failed to stop; its task may still be on its way out."""
        run = self._run
        unit.stop_outcome = outcome
        if unit.stop_error is not None:
            add_note(unit.stop_error, f"Then it raised {one_line(error)}")
            return
        unit.stop_error = named(unit, error, "at shutdown")
        run.stop_errors.append(unit.stop_error)
        if run.first_error is not None:
            add_note(
                run.first_error, f"While rolling back, {unit} failed to stop: {one_line(error)}"
            )
        run.telling.hook_failed(unit, IN_SHUTDOWN, unit.stop_error)

    def down(self, unit: Unit) -> None:
        """Take note that a hook is down, for those that it stood on."""
        unit.state = DOWN
        if not unit.stop_ended:
            # Nothing was to be stopped here; when its turn was over tells what waited for what.
            unit.stop_ended = self._run.clock()
        self._left -= 1
        for leader in unit.leaders:
            leader.waiting -= 1
            if not leader.waiting:
                self._queue.append((self.release, leader))
        if not self._left:
            self._queue.append((self._all_down, unit))

    def _all_down(self, _: Unit) -> None:
        self._run.finish()
