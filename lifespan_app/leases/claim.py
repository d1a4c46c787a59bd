"""One claim to a lease, on the loop of its run and in the thread that keeps leases."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from django.db import DatabaseError

from lifespan_app.engine.errors import HookError
from lifespan_app.engine.lease import Lease
from lifespan_app.engine.logger import logger
from lifespan_app.history.recording.store_errors import failure_of

from . import rows
from .locks import Lock
from .rows import Holder, Key

if TYPE_CHECKING:
    from lifespan_app.engine.lease import Claimant

POLL = 0.5
"""Seconds between two looks at a lease that another process has."""
RENEWALS = 3
"""The number of renewals in the time of a lease."""
MARGIN = 1 / 6
"""The share of its time that is left of a lease when its hook is cancelled, for its clean-up."""
LONGEST_RETRY = 1.0
"""Seconds between two attempts to renew, or to give back, at most."""

MISSING = "tables"
"""The kind of the failure if the table is missing."""


class Ending(NamedTuple):
    """The end of a claim, as its hook has ended."""

    success: bool = False
    error: str = ""
    still_runs: bool = False


class DatabaseClaim:
    """A claim: it waits, then it holds the lease, then it ends.

    Args:
        key: the lease.
        is_for_start: whether the success of one process counts for all.
        seconds: the time of the lease.
        claimant: the hook.
        wake: wakes the thread.
    """

    def __init__(
        self,
        key: Key,
        claimant: Claimant,
        wake: Callable[[], None],
        *,
        is_for_start: bool,
        seconds: float,
    ) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.due = 0.0
        """The time of the next step, by the monotonic clock."""
        self.is_over = False
        self._key = key
        self._claimant = claimant
        self._wake = wake
        self._is_for_start = is_for_start
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._holder = Holder(uuid4().hex, socket.gethostname(), os.getpid())
        self._held_until = 0.0
        """The time until which it holds the lease for sure, by the monotonic clock; 0: it holds none."""
        self._lock: Lock | None = None
        """The lock that stands for the lease while the table is missing."""
        self._behind = 0
        """The number of the first holder that it has waited for."""
        self._last_reason = ""
        self._failing_since = math.inf
        self._last_failure = ""
        self._ending: Ending | None = None
        self._timer: asyncio.TimerHandle | None = None

    # On the loop.

    def end(self, *, success: bool, error: str, still_runs: bool) -> None:
        """Give the lease back, or wait for it no longer."""
        self._end(Ending(success, error, still_runs))

    def _end(self, ending: Ending) -> None:
        self._ending = ending
        if self._timer is not None:
            self._timer.cancel()
        self.due = 0.0
        self._wake()

    def _has_turn(self, lease: Lease) -> None:
        if self._ending is None and self._watch():
            self._claimant.has_turn(lease)

    def _watch(self) -> bool:
        """Look again before the lease ends; return False if it could not be renewed, and is lost."""
        left = self._held_until - self._seconds * MARGIN - time.monotonic()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look_again)
            return True
        why = f": {self._last_failure}" if self._last_failure else ""
        self._loses_lease(f"could not be renewed{why}")
        return False

    def _look_again(self) -> None:
        if self._ending is None:
            self._watch()

    def _loses_lease(self, reason: str) -> None:
        if self._ending is None:
            # Its hook is being cancelled, and may still run: the lease is left to run out.
            self._end(Ending(still_runs=True))
            self._claimant.loses_lease(reason)

    def _is_answered(self, who: str, error: BaseException | None) -> None:
        if self._ending is None:
            self._end(Ending())
            self._claimant.is_answered(who, error)

    def _waits_behind(self, who: str) -> None:
        if self._ending is None:
            self._claimant.waits_behind(who)

    def _set_over(self) -> None:
        if not self.over.done():
            self.over.set_result(None)

    # In the thread.

    @property
    def needs_connection(self) -> bool:
        """True if its lock ends with the connection."""
        return self._lock is not None

    def step(self) -> None:
        """Do what is due: look at the lease, renew it, or give it back. Raises ``DatabaseError``."""
        if self._ending is not None:
            self._finish(self._ending)
        elif self._held_until:
            self._renew()
        else:
            self._look()
        self._failing_since = math.inf
        self._last_failure = ""
        if self._ending is not None:
            # The end was asked for on the loop during this step.
            self.due = 0.0

    def fails(self, error: Exception) -> None:
        """Handle an error of the last step."""
        now = time.monotonic()
        self._failing_since = min(self._failing_since, now)
        failure = failure_of(error)
        self._last_failure = failure.what
        self.due = now + min(LONGEST_RETRY, self._seconds / (2 * RENEWALS))
        if self._ending is not None:
            if now > self._held_until:
                if self._lock is not None:
                    # It has ended with its connection, which is closed by now.
                    self._lock.give_back(for_good=False)
                self._leave()
        elif self._held_until:
            return
        elif self._is_for_start and now - self._failing_since > self._seconds:
            self._on_loop(self._is_answered, "", error)
        else:
            self._wait(f"its lease can't be taken: {failure.what}")

    def _look(self) -> None:
        try:
            row = rows.look(self._key)
        except DatabaseError as error:
            if failure_of(error).kind != MISSING:
                raise
            self._look_without_table(error)
            return
        if row is None:
            if self._is_for_start and not self._lock_is_free(self._make):
                self._wait_for_lock()
                return
            self._make()
            row = rows.look(self._key)
            if row is None:
                return
        if self._is_for_start and self._answers(row):
            return
        if row.holder == self._holder.id:
            # An earlier ``take`` has succeeded, but its answer was lost with the connection.
            self._renew()
            if self._held_until:
                self._takes(row.number)
        elif row.until <= row.now:
            self._take()
        else:
            self._behind = self._behind or row.number
            self._wait(f"{rows.process_of(row)} {'runs it' if self._is_for_start else 'leads'}")

    def _make(self) -> None:
        rows.make(self._key)

    def _answers(self, row: Any) -> bool:
        """Return True if a start has ended in another process, and that counts here."""
        if row.succeeded_at is not None:
            self._on_loop(self._is_answered, rows.process_of(row), None)
        elif self._behind and row.failed_number >= self._behind:
            self._on_loop(self._is_answered, rows.process_of(row), HookError(row.error))
        else:
            return False
        self.due = math.inf
        return True

    def _take(self) -> None:
        sent_at = time.monotonic()
        number = rows.take(self._key, self._holder, self._seconds)
        if number is None:
            self.due = time.monotonic() + POLL
        else:
            self._held_until = sent_at + self._seconds
            self._takes(number)

    def _takes(self, number: int) -> None:
        self._last_reason = ""
        self.due = time.monotonic() + self._seconds / RENEWALS
        self._on_loop(self._has_turn, Lease(self._key.name, number))

    def _renew(self) -> None:
        sent_at = time.monotonic()
        if self._lock is not None:
            is_held = self._lock.is_held()
            lost = "has ended with the connection to the database"
        else:
            is_held = rows.renew(self._key, self._holder, self._seconds)
            lost = "was taken by another process, or released by hand"
        if is_held:
            self._held_until = sent_at + self._seconds
            self.due = time.monotonic() + self._seconds / RENEWALS
        else:
            self.due = math.inf
            self._on_loop(self._loses_lease, lost)

    def _finish(self, ending: Ending) -> None:
        if self._lock is not None:
            is_stored = self._store_result(ending)
            self._lock.give_back(for_good=is_stored)
            self._lock = None
        elif self._held_until:
            was_held = rows.end(self._key, self._holder, **ending._asdict())
            if ending.success and not was_held:
                logger.warning(
                    "'%s' has succeeded, but its lease had run out: another process may run it again.",
                    self._key.name,
                )
        self._leave()

    def _leave(self) -> None:
        self.is_over = True
        self._on_loop(self._set_over)

    # The table is missing.

    def _look_without_table(self, error: DatabaseError) -> None:
        if not self._is_for_start:
            self._wait(f"its lease can't be taken: {failure_of(error).what}")
        elif not self._lock_is_free(self._hold_lock):
            self._wait_for_lock()

    def _lock_is_free(self, then: Callable[[], None]) -> bool:
        """Take the lock, and do something with it; return False if another process has it."""
        lock = Lock(self._key.id)
        if not lock.take():
            return False
        has_table = False
        try:
            then()
            has_table = not self._held_until
        finally:
            if self._held_until:
                self._lock = lock
            else:
                lock.give_back(for_good=has_table)
        return True

    def _hold_lock(self) -> None:
        """Hold the lease by its lock, unless the table was created meanwhile."""
        try:
            rows.look(self._key)
        except DatabaseError as error:
            if failure_of(error).kind != MISSING:
                raise
            self._held_until = time.monotonic() + self._seconds
            self._takes(0)
        else:
            self.due = 0.0

    def _wait_for_lock(self) -> None:
        self._behind = self._behind or 1
        self._wait(
            "another process runs it, while the table of leases is missing or has no row of it"
        )

    def _store_result(self, ending: Ending) -> bool:
        """Store the result of a start that ran with the lock; return True if it is in the table."""
        if not (ending.success or ending.error):
            return False
        try:
            rows.store_result(self._key, self._holder, success=ending.success, error=ending.error)
        except DatabaseError as error:
            failure = failure_of(error)
            if failure.kind != MISSING:
                raise
            if ending.success:
                logger.warning(
                    "The success of '%s' can't be stored, so the next process runs it again: %s. %s",
                    self._key.name,
                    failure.what,
                    failure.advice,
                )
            return False
        return True

    def _wait(self, why: str) -> None:
        self.due = time.monotonic() + POLL
        if why != self._last_reason:
            self._last_reason = why
            self._on_loop(self._waits_behind, why)

    def _on_loop(self, call: Callable[..., None], *arguments: object) -> None:
        """Call a method on the loop; not if the loop is closed."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *arguments)
