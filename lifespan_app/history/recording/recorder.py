"""The observer that records runs in the history."""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from django.db import connections

from lifespan_app import conf
from lifespan_app.engine.reporting.report import IN_SERVICE, Observer, Phase, Report, Step

if TYPE_CHECKING:
    from .record import Record

NO_DATABASE = "django.db.backends.dummy"


class Recorder(Observer):
    """An observer with one ``Record`` per run, unless the setting ``HISTORY`` is False.

    On the event loop it only schedules writes; the record's thread does them.
    """

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    @property
    def every(self) -> float:
        """The seconds between two heartbeats."""
        return float(conf.get("HEARTBEAT")) if is_on() else 0.0

    def watches_steps(self, phase: Phase) -> bool:
        """Return True for the service; steps of other phases are read at the end of the phase."""
        return phase is IN_SERVICE

    def run_changed(self, report: Report) -> None:
        """Schedule a write of the run's row; the first one before the first hook starts."""
        record = self._records.get(report.uuid)
        if record is None:
            # A run that ended before its start is not recorded.
            if report.stopped_at is not None or not is_on():
                return
            from .record import Record  # not needed by a process without a run, such as "migrate"

            record = self._records[report.uuid] = Record(report.uuid)
        record.run_changed(report)

    def step_changed(self, report: Report, step: Step) -> None:
        """Schedule a write of a step that ended while serving, or of a job that is stalled no more."""
        record = self._records.get(report.uuid)
        if record is not None and record.rows.has_changed(step):
            record.step_changed(step)
            # A second failure changes the number of failed hooks, but not the status.
            record.run_changed(report)

    def beat(self, report: Report) -> None:
        """Keep the state of the jobs for the next heartbeat."""
        record = self._records.get(report.uuid)
        if record is not None:
            record.beat(report)

    def is_slow(self, report: Report) -> None:
        """Schedule a write of the steps so far."""
        record = self._records.get(report.uuid)
        if record is not None:
            record.is_slow(report)

    def hook_failed(self, report: Report, step: Step, error: BaseException) -> None:
        """Store the fingerprint of the failure."""
        record = self._records.get(report.uuid)
        if record is not None:
            record.rows.failed(step, error)

    def run_ended(self, report: Report, seconds_left: float) -> Awaitable[None] | None:
        """Schedule the last writes; return an awaitable for their end."""
        record = self._records.pop(report.uuid, None)
        return None if record is None else record.finish(report, seconds_left)


def is_on() -> bool:
    """Return True if runs are recorded.

    Runs in tests are not, which Django's test environment shows, nor are those of a project without
    a database.
    """
    utils = sys.modules.get("django.test.utils")
    if not conf.get("HISTORY") or (utils is not None and hasattr(utils._TestState, "saved_data")):
        return False
    database = connections.settings.get(conf.get("HISTORY_DATABASE"), {})
    return bool(database.get("ENGINE") != NO_DATABASE)
