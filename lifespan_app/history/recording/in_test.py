"""The record of a run in a test, inside the test's transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future

from lifespan_app import conf
from lifespan_app.engine.reporting.report import (
    IN_SERVICE,
    IN_SHUTDOWN,
    IN_STARTUP,
    Observer,
    Report,
    Step,
)

from .rows import Entry, Rows
from .store import Writer


class RecorderInTest(Observer):
    """An observer that writes a run immediately, with the test's connection.

    Args:
        executor: makes calls in the thread that has the connection.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._rows = Rows(conf.get("HEARTBEAT"))
        self._writer: Writer | None = None
        self._has_steps = False
        self._writes: list[Future[None]] = []

    def run_changed(self, report: Report) -> None:
        """Write the run's row, and its startup steps once it is serving."""
        self._write(report, self._rows.changes(report))
        if report.ready_at is not None and not self._has_steps:
            self._has_steps = True
            self._write(report, lambda: self._rows.steps(report, [IN_STARTUP, IN_SERVICE]))

    def step_changed(self, report: Report, step: Step) -> None:
        """Write a step that has ended while the process serves, or a job that is stalled no more."""
        if self._has_steps and self._rows.has_changed(step):
            self._write(report, lambda: self._rows.step(step))

    def hook_failed(self, report: Report, step: Step, error: BaseException) -> None:
        """Store the fingerprint of the failure."""
        self._rows.failed(step, error)

    def run_ended(self, report: Report, seconds_left: float) -> Awaitable[None]:
        """Write the last rows; return an awaitable for their end."""
        phases = [IN_SERVICE, IN_SHUTDOWN]
        if not self._has_steps:
            phases.insert(0, IN_STARTUP)
        self._write(report, lambda: self._rows.steps(report, phases))
        self._write(report, self._rows.changes(report))
        return self.written()

    async def written(self) -> None:
        """Wait for the pending writes. Raises the error of the first failed one."""
        for write in self._writes:
            await asyncio.wrap_future(write)
        self._writes.clear()

    def _write(self, report: Report, entry: Callable[[], Entry]) -> None:
        if self._writer is None:
            self._writer = Writer(report.uuid)
        self._writes.append(self._executor.submit(self._writer.write, entry()))
