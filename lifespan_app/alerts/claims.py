"""The right to send an alert: one process of the whole cluster has it, once an hour.

It is a row with a time until which nobody else may send the same alert, changed by a conditional
UPDATE. While the database is down, each process decides for itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import Q

from lifespan_app.history.recording.clock import database_time
from lifespan_app.history.recording.maintenance import DAY
from lifespan_app.history.recording.rows import Row
from lifespan_app.history.recording.store import (
    alias,
    fitted,
    in_any_encoding,
    moment,
    with_retries,
)
from lifespan_app.models import LifespanAlert

T = TypeVar("T")

QUIET = 3600.0
"""Seconds without the same alert, once it was sent."""

SENDING = 60.0
"""Seconds for which one process tries to send an alert; after them, another one may."""

PATIENCE = 1.0
"""Seconds for which a locked database is asked."""


class Claim(NamedTuple):
    """The identity of an alert: two with the same values are one."""

    change: str
    environment: str
    service_type: str
    fingerprint: str


class InThisProcess:
    """The claims of this process, by the monotonic clock."""

    def __init__(self) -> None:
        self._quiet_until: dict[Claim, float] = {}
        self._deciding = threading.Lock()

    def claim(self, claim: Claim) -> bool:
        """Return True if this process may send an alert."""
        now = time.monotonic()
        with self._deciding:
            if self._quiet_until.get(claim, 0.0) > now:
                return False
            self._quiet_until[claim] = now + SENDING
            return True

    def extend(self, claim: Claim) -> None:
        """Keep an alert that was sent quiet for an hour."""
        self._quiet_until[claim] = time.monotonic() + QUIET


in_this_process = InThisProcess()


def claim(what: Claim, *, in_database: bool) -> bool:
    """Return True if this process may send an alert.

    Args:
        what: the alert.
        in_database: True if the database may be asked.
    """
    if not in_this_process.claim(what):
        return False
    if not in_database:
        return True
    try:
        return with_retries(partial(claim_in_database, what), PATIENCE)
    except Exception:
        # Better sent by each process than by none.
        return True


def was_sent(what: Claim, *, in_database: bool) -> None:
    """Keep an alert that was sent quiet for an hour. It raises nothing for a database that is down."""
    in_this_process.extend(what)
    if not in_database:
        return

    def extend(columns: Row) -> None:
        until = moment(database_time() + QUIET)
        LifespanAlert.objects.filter(**columns).update(quiet_until=until)

    try:
        with_retries(partial(as_stored, what, extend), PATIENCE)
    except Exception:
        return


def claim_in_database(what: Claim) -> bool:
    """Return True if no process has sent the alert within an hour. Raises ``DatabaseError``."""
    return as_stored(what, claim_row)


def claim_row(columns: Row) -> bool:
    """Return True if no process has sent the alert with these columns within an hour."""
    now = database_time()
    rows = LifespanAlert.objects.filter(**columns)
    sending = moment(now + SENDING)
    is_past = Q(quiet_until__lte=moment(now))
    # The clock of the database was ahead when it was sent. Without USE_TZ, a clock change is an hour.
    is_too_late = Q(quiet_until__gt=moment(now + 2 * QUIET))
    if rows.filter(is_past | is_too_late).update(quiet_until=sending):
        return True
    if rows.exists():
        return False
    try:
        with transaction.atomic(using=alias()):
            LifespanAlert.objects.bulk_create([LifespanAlert(**columns, quiet_until=sending)])
    except IntegrityError:  # another process was faster
        return False
    LifespanAlert.objects.filter(quiet_until__lt=moment(now - DAY)).delete()
    return True


def as_stored(what: Claim, work: Callable[[Row], T]) -> T:
    """Call a function with the columns of an alert, whose texts fit them, and return its result."""
    return in_any_encoding(lambda plain: work(fitted(LifespanAlert, plain(what._asdict()))))
