"""The recorder: the observer that keeps in the history what runs do."""

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
    """Give every run a record; the setting ``HISTORY`` turns it off.

    On the event loop it only notes that something has changed. The record has a thread of its own
    that makes rows of it, and writes them.
    """

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    def watches_steps(self, phase: Phase) -> bool:
        """Ask for the steps of the service; those of other phases are read at their ends."""
        return phase is IN_SERVICE

    def run_changed(self, report: Report) -> None:
        """Have the run's row written; the first one before the first hook begins."""
        record = self._records.get(report.uuid)
        if record is None:
            # A run that was over before it began has nothing to be remembered for.
            if report.stopped_at is not None or not is_on():
                return
            from .record import Record  # not paid for by what opens no run, such as "migrate"

            record = self._records[report.uuid] = Record(report.uuid)
        record.run_changed(report)

    def step_changed(self, report: Report, step: Step) -> None:
        """Have a step written that has ended while the process serves."""
        record = self._records.get(report.uuid)
        if record is not None and step.outcome is not None:
            record.step_ended(step)
            # One more that fell changes no status where another had fallen, but it counts.
            record.run_changed(report)

    def hook_failed(self, report: Report, step: Step, error: BaseException) -> None:
        """Take note of what the failure is known by."""
        record = self._records.get(report.uuid)
        if record is not None:
            record.rows.failed(step, error)

    def run_ended(self, report: Report, seconds_left: float) -> Awaitable[None] | None:
        """Have the last rows written, and wait for that."""
        record = self._records.pop(report.uuid, None)
        return None if record is None else record.finish(report, seconds_left)


def is_on() -> bool:
    """Tell whether runs are recorded.

    They are not in tests, which are recognised by Django's test environment, and not in a project
    that has no database.
    """
    utils = sys.modules.get("django.test.utils")
    if not conf.get("HISTORY") or (utils is not None and hasattr(utils._TestState, "saved_data")):
        return False
    database = connections.settings.get(conf.get("HISTORY_DATABASE"), {})
    return bool(database.get("ENGINE") != NO_DATABASE)
