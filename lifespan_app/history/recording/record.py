"""The record of one run: what is still to be written, and the thread that writes it.

What the database does not take goes to a spool file as well, and is tried again. The run's event
loop looks after the thread: one that stands still in a query could not open the file.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from typing import NamedTuple

from lifespan_app import conf
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.report import IN_SERVICE, IN_SHUTDOWN, IN_STARTUP, Report, Step

from . import spool
from .forks import forks
from .maintenance import Pieces, maintain
from .rows import Entry, Rows
from .store import Writer, alias, forget_connection, release_connection, with_retries
from .store_errors import StoreError, failure_of, may_pass, unanswered

PATIENCE = 5.0
"""Seconds after which something goes to the spool file that the database has not taken."""

LAST_PATIENCE = 1.0
"""The same when the run is over: the process may be killed any moment."""

RETRIES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds until the next attempt, after the first, second and so on that failed."""

SETTLED = 0.1
"""Seconds that the thread stays out of the way of the loop, which has news of its own to handle:
both run under one lock, the interpreter's."""

JITTER = 0.1
"""By what part a heartbeat may come earlier or later, so that those of many workers spread."""


class Pending(NamedTuple):
    """Something that the database has not taken yet."""

    number: int
    entry: Callable[[], Entry]


class Record:
    """The record of one run. It is made, and told of the run, on the run's event loop.

    Args:
        uuid: the run's.
    """

    def __init__(self, uuid: str) -> None:
        self._heartbeat = float(conf.get("HEARTBEAT"))
        self.rows = Rows(self._heartbeat)
        self._uuid = uuid
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(uuid)
        self._pending: dict[str, Pending] = {}
        """By what it is: something newer takes the place of what is outdated."""
        self._noted = 0
        self._closing = False
        self._changed = threading.Condition()
        self._spool: spool.SpoolFile | None = None
        self._spooled = 0
        self._spooling = threading.Lock()
        self._told: set[str] = set()
        self._has_steps = False
        self._goes_on = False
        """Whether hooks were still starting when those steps were written."""
        self._thread: threading.Thread | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()

    # On the loop.

    def run_changed(self, report: Report) -> None:
        """Have the run's row written, and the steps of its startup when it is up."""
        if report.ready_at is not None and not self._has_steps:
            self._has_steps = True
            self._goes_on = bool(report.pending)
            self._note("startup", lambda: self.rows.steps(report, [IN_STARTUP]))
        self._note("run", lambda: self.rows.run(report))

    def step_ended(self, step: Step) -> None:
        """Have one step written."""
        self._note(f"{step.phase} {step.kind} {step.key}", lambda: self.rows.step(step))

    async def finish(self, report: Report, seconds_left: float) -> None:
        """Have the last rows written, and wait until they are kept, so many seconds at most."""
        until = time.monotonic() + seconds_left * 0.9
        phases = [IN_SERVICE, IN_SHUTDOWN]
        if not self._has_steps or self._goes_on:
            phases.insert(0, IN_STARTUP)
        self._note("end", lambda: self.rows.steps(report, phases))
        self._note("run", lambda: self.rows.run(report), is_last=True)
        await asyncio.wait([self._over], timeout=min(LAST_PATIENCE, seconds_left * 0.5))
        if not self._over.done():
            # Not a failure yet; but whoever waits for this process may not wait much longer.
            self._spool_pending(None)
            await asyncio.wait([self._over], timeout=max(0.0, until - time.monotonic()))
            if not self._over.done():
                self._spool_pending(unanswered(seconds_left))

    def _note(self, what: str, entry: Callable[[], Entry], *, is_last: bool = False) -> None:
        with self._changed:
            self._noted += 1
            self._pending[what] = Pending(self._noted, entry)
            self._closing = is_last
            self._changed.notify()
        if self._thread is None:
            name = f"lifespan record {self._uuid[:8]}"
            self._thread = threading.Thread(target=self._keep, name=name, daemon=True)
            self._thread.start()
        if not is_last:
            self._loop.call_later(PATIENCE, self._look, self._noted)

    def _look(self, noted: int) -> None:
        """See whether something was taken; if not, have it spooled, in a thread that can wait."""
        with self._changed:
            waits = any(self._spooled < one.number <= noted for one in self._pending.values())
        if waits:
            failure = unanswered(PATIENCE)
            threading.Thread(target=self._spool_pending, args=[failure], daemon=True).start()

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
            with suppress(RuntimeError):  # the loop may be closed
                self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def _write_until_closed(self) -> None:
        failed = 0
        beat_at = self.next_beat()
        with closing(maintain()) as maintenance:
            maintain_at = 0.0
            while True:
                if failed:
                    wait = RETRIES[min(failed, len(RETRIES)) - 1]
                else:
                    wait = max(0.0, min(beat_at, maintain_at) - time.monotonic())
                is_closing = self._wait(wait, for_news=not failed)
                try:
                    with_retries(self._write_pending, PATIENCE)
                    if time.monotonic() >= beat_at and not is_closing:
                        with_retries(self._beat, PATIENCE)
                        beat_at = self.next_beat()
                except Exception as error:
                    failed += 1
                    forget_connection()
                    self._spool_pending(failure_of(error))
                else:
                    failed = 0
                    self._is_taken_again()
                    if not is_closing:
                        maintain_at = self._maintain(maintenance, beat_at)
                    release_connection()
                if is_closing:
                    return

    def _maintain(self, maintenance: Pieces, until: float) -> float:
        """Look after other runs until this one has news, or a time has come; return when to go on."""
        for pause in maintenance:
            if pause or self._has_news() or time.monotonic() >= until:
                return time.monotonic() + pause
        return math.inf

    def _has_news(self) -> bool:
        with forks.go_on(), self._changed:
            return self._closing or bool(self._pending)

    def _wait(self, seconds: float, *, for_news: bool) -> bool:
        """Wait until there is something to do; tell whether the run is over."""
        with forks.go_on(), self._changed:
            is_first = self._noted == 1 and bool(self._pending)
            self._changed.wait_for(
                lambda: self._closing or (for_news and self._pending),
                min(seconds, threading.TIMEOUT_MAX),
            )
            if for_news and not is_first:
                self._changed.wait_for(lambda: self._closing, SETTLED)
            return self._closing

    def next_beat(self) -> float:
        """Return when the next sign of life is due, by the monotonic clock."""
        early_or_late = random.uniform(1 - JITTER, 1 + JITTER)
        return time.monotonic() + (self._heartbeat * early_or_late or math.inf)

    def _beat(self) -> None:
        self._writer.beat(self.rows.sign_of_life())

    def _write_pending(self) -> None:
        while True:
            with self._changed:
                what = next(iter(self._pending), None)
                if what is None:
                    return
                one = self._pending[what]
            try:
                self._writer.write(one.entry())
            except Exception as error:
                if may_pass(error):
                    raise
                text = "A part of the record of run %s is left out."
                logger.error(text, self._uuid, error=error)
            with self._changed:
                if self._pending[what] is one:
                    del self._pending[what]

    def _is_taken_again(self) -> None:
        with self._spooling:
            with self._changed:
                if self._pending:
                    return
            if self._spool is not None:
                self._spool.discard()
            if self._told:
                self._told.clear()
                logger.info("The history of this run is in the database again.")

    # In any thread.

    @forks.wait()
    def _spool_pending(self, failure: StoreError | None) -> None:
        """Keep in a file what the database has not taken, and say once why it has not."""
        with self._spooling:
            with self._changed:
                pending = list(self._pending.values())
            late = [one for one in pending if one.number > self._spooled]
            where = self._spool_or_log(late, pending)
            self._spooled = max([self._spooled, *(one.number for one in late)])
            if failure is not None and failure.kind not in self._told:
                self._told.add(failure.kind)
                logger.warning(
                    "Can't write run history to the database '%s': %s. %s %s",
                    alias(),
                    failure.what,
                    failure.advice,
                    where,
                )

    def _spool_or_log(self, late: list[Pending], pending: list[Pending]) -> str:
        """Append what is late to the file, or log it; return where it is, for people."""
        try:
            if self._spool is None:
                self._spool = spool.SpoolFile(spool.folder(), self._uuid)
            try:
                append(self._spool, made(late))
            except OSError:
                if self._spool.path is None:
                    raise
                # It may be full of what is outdated by now.
                self._spool.discard()
                append(self._spool, made(pending))
        except OSError as error:
            for entry in made(late):
                logger.warning("%s", json.dumps(entry))
            return f"It can't wait in a file either ({error}), so it is logged as JSON."
        # A sign of life that was not taken waits nowhere: the next one says the same.
        return f"Pending records are in {self._spool.path or self._spool.folder}."


def made(pending: Iterable[Pending]) -> list[Entry]:
    """Return the entries of what is pending, without what can't be made: its write says so."""
    entries = []
    for one in pending:
        with suppress(Exception):
            entries.append(one.entry())
    return entries


def append(file: spool.SpoolFile, entries: Iterable[Entry]) -> None:
    """Append entries to a file. Raises ``OSError``."""
    for entry in entries:
        file.append(entry)
