"""The record of one run: its pending writes, and the thread that writes them.

Entries that the database does not accept are appended to a spool file and retried. A timer on the
run's event loop does this for a thread that hangs in a query.
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from typing import NamedTuple

from lifespan_app import conf
from lifespan_app.conf import Change
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.report import (
    IN_SERVICE,
    IN_SHUTDOWN,
    IN_STARTUP,
    Readiness,
    Report,
    Status,
    Step,
)

from . import spool
from .changes import Changes, state_of, wait_for
from .forks import forks
from .maintenance import Maintenance
from .rows import Entry, Rows
from .store import Writer, alias, forget_connection, release_connection, with_retries
from .store_errors import StoreError, failure_of, is_temporary, unanswered
from .timetable import Timetable

PATIENCE = 5.0
"""Seconds after which a pending write is also written to the spool file."""

LAST_PATIENCE = 1.0
"""Seconds after which it is also written there at the end of a run: the process may be killed soon."""

ALERT_PATIENCE = 2.0
"""The longest that a process which fails waits for the alerts about it."""

QUIET_TIME = 0.1
"""Seconds that the thread waits for further changes. The event loop is busy then, and both need the GIL."""

LEAST_PAUSE = 5.0
"""The least seconds between two writes of changes while the process serves; the last state wins."""

UP = (Status.SERVING, Status.DEGRADED)
BEGUN = [IN_STARTUP, IN_SERVICE]
"""The phases with steps when the process serves: background jobs have begun."""


class Pending(NamedTuple):
    """A pending write."""

    number: int
    entry: Callable[[], Entry]
    may_wait: bool
    """True if it is written together with others, after the pause."""
    report: Report | None = None
    """The report that it writes, if it is the row of the run."""


class Record:
    """The record of one run; created and called on the run's event loop.

    Args:
        uuid: the UUID of the run.
    """

    def __init__(self, uuid: str) -> None:
        self._heartbeat = float(conf.get("HEARTBEAT"))
        self.rows = Rows(self._heartbeat)
        self._uuid = uuid
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(uuid)
        self._pending: dict[str, Pending] = {}
        """Pending writes by subject; a newer one replaces an older one."""
        self._count = 0
        self._closing = False
        self._changed = threading.Condition()
        self._spool: spool.SpoolFile | None = None
        self._spooled = 0
        self._spooling = threading.Lock()
        self._logged: set[str] = set()
        self._free_at = 0.0
        """The time from which a change of a process that serves may be written, by the monotonic clock."""
        self._latest: Report | None = None
        self._status: Status | None = None
        self._has_steps = False
        self._was_starting = False
        """True if hooks were still starting when those steps were written."""
        self._thread: threading.Thread | None = None
        self._changes = Changes()
        self._unsent: list[Report] = []
        """Reports that are written, and whose change is not sent yet. In the thread only."""
        self._timetable = Timetable(self._heartbeat)
        """In the thread only."""
        self._is_last_round = False
        """True in the round that writes the end of the run. In the thread only."""
        self._alerts: list[threading.Thread] = []
        """The threads that receivers of the last change have started. In the thread only."""
        self._is_sending = False
        """True while receivers of changes are called: no write goes on meanwhile."""
        self._written: asyncio.Future[None] = self._loop.create_future()
        self._over: asyncio.Future[None] = self._loop.create_future()

    # On the loop.

    def run_changed(self, report: Report) -> None:
        """Schedule a write of the run's row, and of its startup steps once it is serving."""
        goes_on = report.status in UP and report.readiness is not Readiness.STOPPING
        may_wait = goes_on and self._status in UP
        self._status, self._latest = report.status, report
        if report.ready_at is not None and not self._has_steps:
            self._has_steps = True
            self._was_starting = bool(report.pending)
            self._schedule("startup", lambda: self.rows.steps(report, BEGUN))
        # ``finish`` sends the end, after the steps are written.
        unsent = report if report.stopped_at is None else None
        self._schedule("run", self.rows.changes(report), unsent, may_wait=may_wait)

    def step_changed(self, step: Step) -> None:
        """Schedule a write of one step of a process that serves."""
        name = f"{step.phase} {step.kind} {step.key}"
        self._schedule(name, lambda: self.rows.step(step), may_wait=True)

    def beat(self, report: Report) -> None:
        """Keep the state of the jobs for the next heartbeat."""
        self._latest = report

    def is_slow(self, report: Report) -> None:
        """Schedule a write of the steps so far. Any thread may call this."""
        if report.stopping_at is None:
            self._schedule("startup", lambda: self.rows.steps(report, [IN_STARTUP]))
        else:
            phases = [IN_SHUTDOWN] if self._has_steps else [IN_STARTUP, IN_SHUTDOWN]
            self._schedule("shutdown", lambda: self.rows.steps(report, phases))

    async def finish(self, report: Report, seconds_left: float) -> None:
        """Schedule the last writes, and wait for them for at most so many seconds."""
        until = time.monotonic() + seconds_left * 0.9
        phases = [IN_SERVICE, IN_SHUTDOWN]
        if not self._has_steps or self._was_starting:
            phases.insert(0, IN_STARTUP)
        self._schedule("end", lambda: self.rows.steps(report, phases))
        self._schedule("run", self.rows.changes(report), report, is_last=True)
        await asyncio.wait([self._written], timeout=min(LAST_PATIENCE, seconds_left * 0.5))
        if not self._written.done():
            # Not a failure yet, but the process may be killed soon.
            self._spool_pending(None)
            if self._is_sending:
                logger.warning(
                    "A receiver of run_changed has not returned: the end of run %s waits in a file.",
                    self._uuid,
                )
                return
            threading.Thread(target=self._send_spooled, daemon=True).start()
            await asyncio.wait([self._written], timeout=max(0.0, until - time.monotonic()))
            if not self._written.done():
                self._spool_pending(unanswered(seconds_left))
        if has_alert(report):
            left = min(ALERT_PATIENCE, until - time.monotonic())
            await asyncio.wait([self._over], timeout=max(0.0, left))

    def _schedule(
        self,
        what: str,
        entry: Callable[[], Entry],
        report: Report | None = None,
        *,
        may_wait: bool = False,
        is_last: bool = False,
    ) -> None:
        with self._changed:
            self._count += 1
            before = self._pending.get(what)
            may_wait = may_wait and (before is None or before.may_wait)
            self._pending[what] = Pending(self._count, entry, may_wait, report)
            self._closing = self._closing or is_last
            self._changed.notify()
        if self._thread is None:
            name = f"lifespan record {self._uuid[:8]}"
            self._thread = threading.Thread(target=self._keep, name=name, daemon=True)
            self._thread.start()
        if not is_last:
            late = PATIENCE + (max(0.0, self._free_at - time.monotonic()) if may_wait else 0.0)
            if self._logged and not may_wait:
                # The database is known to be out of reach, and the process may be killed soon.
                late = 0.0
            with suppress(RuntimeError):  # the loop may be closed
                self._loop.call_soon_threadsafe(
                    self._loop.call_later, late, self._spool_late, self._count
                )

    def _spool_late(self, number: int) -> None:
        """Spool pending writes up to a number, in another thread, since it may block."""
        with self._changed:
            waits = any(self._spooled < one.number <= number for one in self._pending.values())
        if waits:
            threading.Thread(target=self._spool_and_send, daemon=True).start()

    def _spool_and_send(self) -> None:
        self._spool_pending(None if self._logged else unanswered(PATIENCE))
        self._send_spooled()

    # In the thread.

    @forks.wait()
    def _keep(self) -> None:
        try:
            self._write_until_closed()
        except Exception as error:
            logger.error("The record of run %s was given up.", self._uuid, error=error)
        finally:
            with self._spooling:
                if self._spool is not None:
                    self._spool.close()
            forget_connection()
            self._settle(self._written)
            with forks.go_on():
                wait_for(self._alerts, ALERT_PATIENCE)
            self._settle(self._over)

    def _settle(self, future: asyncio.Future[None]) -> None:
        with suppress(RuntimeError):  # the loop may be closed
            self._loop.call_soon_threadsafe(settle, future)

    def _write_until_closed(self) -> None:
        with closing(Maintenance(self._heartbeat)) as maintenance:
            while not self._is_last_round:
                pause = self._timetable.pause(maintenance.due_at)
                self._is_last_round = self._wait(pause, for_changes=not self._timetable.failures)
                is_beat = time.monotonic() >= self._timetable.beat_at and not self._is_last_round
                try:
                    self._write_due(maintenance, is_beat=is_beat)
                except Exception as error:
                    self._timetable.failures += 1
                    maintenance.database_is_late()
                    forget_connection()
                    self._spool_pending(failure_of(error))
                    self._send_changes()
                    self._alerts += self._send_spooled()
                else:
                    self._timetable.failures = 0
                    self._recovered()
                    self._send_changes()
                    if not self._is_last_round and maintenance.due_at <= time.monotonic():
                        maintenance.go_on(self._has_time)
                    release_connection()

    def _write_due(self, maintenance: Maintenance, *, is_beat: bool) -> None:
        begun = time.monotonic()
        if self._timetable.failures or self._is_last_round or is_beat or self._has_changes():
            with_retries(self._write_pending, PATIENCE)
        if is_beat:
            with_retries(self._beat, PATIENCE)
            self._timetable.heartbeat_is_written()
        if time.monotonic() - begun > min(PATIENCE, self._heartbeat):
            maintenance.database_is_late()
        if is_beat:
            maintenance.heartbeat_is_written()

    def _has_time(self) -> bool:
        return not self._has_changes() and time.monotonic() < self._timetable.beat_at

    def _has_changes(self) -> bool:
        with forks.go_on(), self._changed:
            return self._closing or self._due_at() <= time.monotonic()

    def _due_at(self) -> float:
        """Return the time at which the pending writes are due, by the monotonic clock."""
        if all(one.may_wait for one in self._pending.values()):
            return self._free_at if self._pending else math.inf
        return 0.0

    def _wait(self, seconds: float, *, for_changes: bool) -> bool:
        """Wait for changes or a timeout; return True if the run has ended."""
        until = time.monotonic() + seconds
        with forks.go_on(), self._changed:
            is_first = self._count == 1 and bool(self._pending)
            while not self._closing:
                left = min(until, self._due_at() if for_changes else math.inf) - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            if for_changes and not is_first:
                self._changed.wait_for(lambda: self._closing, QUIET_TIME)
            return self._closing

    def _beat(self) -> None:
        jobs = {} if self._latest is None else {"jobs": self.rows.jobs(self._latest)}
        if self._writer.beat({**jobs, **self.rows.heartbeat()}):
            self._changes.found_again(self._writer.row, self._writer.pk)

    def _send_changes(self) -> None:
        """Send the changes that are written."""
        if self._is_last_round:
            # A slow receiver is no slow write.
            forget_connection()
            self._settle(self._written)
        if self._unsent:
            row = (self._writer.row, self._writer.pk)
            self._is_sending = not self._is_last_round
            self._alerts = [
                thread for one in self._unsent for thread in self._changes.send(one, *row)
            ]
            self._is_sending = False
            self._unsent = []

    def _write_pending(self) -> None:
        """Write the entries that are pending now; later ones are written the next time."""
        with self._changed:
            last = self._count
        while True:
            if self._writer.has_lost_steps():
                last = self._write_again()
            with self._changed:
                pending = self._pending.items()
                what, one = next((pair for pair in pending if pair[1].number <= last), ("", None))
            if one is None:
                return
            try:
                self._writer.write(one.entry())
            except Exception as error:
                if is_temporary(error):
                    raise
                text = "A part of the record of run %s is left out."
                logger.error(text, self._uuid, error=error)
            else:
                if one.report is not None:
                    self._unsent.append(one.report)
            with self._changed:
                if one.may_wait:
                    self._free_at = time.monotonic() + LEAST_PAUSE
                if self._pending[what] is one:
                    del self._pending[what]

    def _write_again(self) -> int:
        """Schedule the steps, which were deleted with the row of the run; return the number of the write."""
        if (report := self._latest) is not None:
            self._schedule("startup", lambda: self.rows.steps(report, [*BEGUN, IN_SHUTDOWN]))
        return self._count

    def _recovered(self) -> None:
        with self._spooling:
            with self._changed:
                if self._pending:
                    return
            if self._spool is not None:
                self._spool.discard()
            if self._logged:
                self._logged.clear()
                logger.info("The history of this run is in the database again.")

    # In any thread.

    def _send_spooled(self) -> list[threading.Thread]:
        """Send the change that waits in the spool file; return the threads of receivers."""
        with self._changed:
            one = self._pending.get("run")
        if one is None or one.report is None or one.number > self._spooled:
            return []
        return self._changes.send(one.report, one.entry()["run"], None)

    @forks.wait()
    def _spool_pending(self, failure: StoreError | None) -> None:
        """Write pending entries to the spool file, and log the failure once."""
        with self._spooling:
            with self._changed:
                pending = list(self._pending.values())
            late = [one for one in pending if one.number > self._spooled]
            where = self._spool_or_log(late, pending)
            self._spooled = max([self._spooled, *(one.number for one in late)])
            if failure is not None and failure.kind not in self._logged:
                self._logged.add(failure.kind)
                logger.warning(
                    "Can't write run history to the database '%s': %s. %s %s",
                    alias(),
                    failure.what,
                    failure.advice,
                    where,
                )

    def _spool_or_log(self, late: list[Pending], pending: list[Pending]) -> str:
        """Append late entries to the file, else log them; return a sentence with the location."""
        try:
            if self._spool is None:
                self._spool = spool.SpoolFile(spool.folder(), self._uuid)
            try:
                append(self._spool, entries_of(late))
            except OSError:
                if self._spool.path is None:
                    raise
                # It may be full of outdated entries.
                self._spool.discard()
                append(self._spool, entries_of(pending))
        except OSError as error:
            for entry in entries_of(late):
                logger.warning("%s", json.dumps(entry))
            return f"It can't wait in a file either ({error}), so it is logged as JSON."
        # A failed heartbeat is not stored: the next one replaces it.
        return f"Pending records are in {self._spool.path or self._spool.folder}."


def has_alert(report: Report) -> bool:
    """Return True if the end of a run may send alerts, for which the process waits for a short time."""
    end = state_of(report)
    return end is Change.FAILED or any(end in alert.on for alert in conf.alerts())


def settle(future: asyncio.Future[None]) -> None:
    """Wake the tasks that wait for a future."""
    if not future.done():
        future.set_result(None)


def entries_of(pending: Iterable[Pending]) -> list[Entry]:
    """Return the entries of pending writes, without those that fail: their writes log the error."""
    entries = []
    for one in pending:
        with suppress(Exception):
            entries.append(one.entry())
    return entries


def append(file: spool.SpoolFile, entries: Iterable[Entry]) -> None:
    """Append entries to a file. Raises ``OSError``."""
    for entry in entries:
        file.append(entry)
