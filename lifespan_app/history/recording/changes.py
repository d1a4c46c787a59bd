"""Changes of recorded runs, and the Django signal that is sent for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.dispatch import Signal

from lifespan_app.conf import Change
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.report import Readiness, Report, Status

if TYPE_CHECKING:
    from lifespan_app.models import LifespanRun

    from .rows import Row

run_changed = Signal()
"""Sent with ``run``, ``change`` and ``previous`` once a change is written, or spooled.

``sender`` is ``LifespanRun``; ``run`` is its row, which has no primary key while it waits in a spool
file. ``change`` is one of ``serving``, ``degraded``, ``not_ready``, ``recovered``, ``failed``, ``lost``
and ``stopped``; ``previous`` is the state before: ``starting``, ``serving``, ``degraded``,
``not_ready``, ``stopping`` or ``lost``.

It is sent in the thread that writes the record, so a receiver must not take long. One that returns a
started thread has it waited for at the end of the process, for at most 2 seconds. Django logs an error
of a receiver.
"""

STARTING = "starting"

AT_THE_END = {
    Status.STARTUP_FAILED: Change.FAILED,
    Status.SHUTDOWN_FAILED: Change.FAILED,
    Status.STOPPED: Change.STOPPED,
}
WHILE_SERVING = {
    Readiness.OK: Change.SERVING,
    Readiness.DEGRADED: Change.DEGRADED,
    Readiness.CRASHED: Change.NOT_READY,
    Readiness.CHECK_FAILED: Change.NOT_READY,
    Readiness.WARM_UP_FAILED: Change.NOT_READY,
}


def state_of(report: Report) -> Change | None:
    """Return the state of a run as one of its changes; None for a state without a signal."""
    # While a failed startup is rolled back, it has not ended, and its steps are not written.
    if report.stopped_at is not None:
        return AT_THE_END.get(report.status)
    if report.status in (Status.SERVING, Status.DEGRADED):
        return WHILE_SERVING.get(report.readiness)
    return None


class Changes:
    """The changes of one run. Any thread may report them; the signal of each is sent once."""

    def __init__(self) -> None:
        self._state: str = STARTING
        self._deciding = threading.Lock()

    def send(self, report: Report, row: Row, pk: int | None) -> list[threading.Thread]:
        """Send the signal if a report has another state than the last one.

        Args:
            report: the report that was written, or spooled.
            row: the columns of the run.
            pk: the primary key of its row; None if it waits in a spool file.

        Returns:
            The threads that receivers have started for it.
        """
        state = state_of(report)
        with self._deciding:
            previous = self._state
            if state is None or state == previous:
                return []
            self._state = state
        is_better = state is Change.SERVING and previous != STARTING
        return send(run_of(row, pk), Change.RECOVERED if is_better else state, previous)

    def found_again(self, row: Row, pk: int | None) -> None:
        """Send the signal for a run that another process has called lost: its heartbeat goes on."""
        send(run_of(row, pk), Change.RECOVERED, Change.LOST)


def run_of(row: Row, pk: int | None) -> LifespanRun | None:
    """Return the row of a run, without a query; None if nobody would receive it."""
    from lifespan_app.models import LifespanRun

    from .store import alias, fitted

    if not run_changed.has_listeners(LifespanRun):
        return None
    run = LifespanRun(pk=pk, **fitted(LifespanRun, row))
    run._state.adding, run._state.db = pk is None, alias()
    return run


def send(run: LifespanRun | None, change: Change, previous: str) -> list[threading.Thread]:
    """Send the signal, and return the threads that receivers have started. It raises nothing."""
    if run is None:
        return []
    words = {"change": str(change), "previous": str(previous)}
    try:
        answers = run_changed.send_robust(sender=type(run), run=run, **words)
    # Django logs an Exception of a receiver; its SystemExit would end the thread of the record.
    except BaseException as error:
        about = fields_of(run)
        logger.error("A receiver of run_changed failed.", error=error, about=about)
        return []
    return [answer for _, answer in answers if isinstance(answer, threading.Thread)]


def fields_of(run: LifespanRun) -> dict[str, str]:
    """Return the ``extra`` of a log record about a recorded run."""
    return {
        "run": str(run.uuid),
        "service_type": run.service_type,
        "release": run.release,
    }


def wait_for(threads: Iterable[threading.Thread], seconds: float) -> None:
    """Wait for threads, for so many seconds in all at most."""
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
