"""The rows of leases: one conditional UPDATE decides who has one, by the clock of the database.

All calls need a connection with autocommit: in a transaction, an UPDATE that waits for another one
may win with a time that has passed meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db.models import CharField, F

from lifespan_app.history.recording.clock import MICROSECONDS, Clock
from lifespan_app.history.recording.sanitize import sanitize
from lifespan_app.history.recording.store import in_any_encoding
from lifespan_app.integration.redaction import masked
from lifespan_app.models import LifespanLease

LENGTHS = {
    field.name: field.max_length
    for field in LifespanLease._meta.get_fields()
    if isinstance(field, CharField)
}
"""The most characters of each column."""

LONGEST_ERROR = 2_000


class Key(NamedTuple):
    """The hook of a lease, and the processes among which it runs once."""

    hook: str
    once: str
    value: str
    """The release, launch or host; "" for a cluster."""
    environment: str

    @property
    def id(self) -> str:
        """Its primary key: a hash, since databases compare texts in different ways."""
        # What repr() writes has no lone surrogates, and no two keys have the same.
        return hashlib.sha256(repr(tuple(self)).encode()).hexdigest()[:32]

    @property
    def name(self) -> str:
        """Its name for people, and for ``Lease.name``."""
        scope = f"{self.once} {self.value}".strip()
        return ", ".join(word for word in (self.hook, scope, self.environment) if word)


class Holder(NamedTuple):
    """The process that claims a lease."""

    id: str
    """A claim of its own: one process may have several."""
    host: str
    pid: int


def look(key: Key) -> LifespanLease | None:
    """Return the row of a lease, or None. Its ``now`` is the time of the database."""
    row: LifespanLease | None = (
        LifespanLease.objects.annotate(now=Clock()).filter(pk=key.id).first()
    )
    return row


def make(key: Key) -> None:
    """Add the row of a lease, unless there is one."""

    def write(plain: Callable[[str], str]) -> None:
        columns = {
            name: sanitize(plain(value), LENGTHS[name]) for name, value in key._asdict().items()
        }
        row = LifespanLease(id=key.id, **columns)
        LifespanLease.objects.bulk_create([row], ignore_conflicts=True)

    in_any_encoding(write)


def take(key: Key, holder: Holder, seconds: float) -> int | None:
    """Take a lease that nobody has, and that no success has closed. Returns its number, or None."""
    mine = LifespanLease.objects.filter(pk=key.id)
    changed = mine.filter(until__lte=Clock(), succeeded_at__isnull=True).update(
        holder=holder.id,
        host=holder.host,
        pid=holder.pid,
        number=F("number") + 1,
        since=Clock(),
        until=Clock() + round(seconds * MICROSECONDS),
    )
    if not changed:
        return None
    number = mine.filter(holder=holder.id).values_list("number", flat=True).first()
    return None if number is None else int(number)


def renew(key: Key, holder: Holder, seconds: float) -> bool:
    """Make a lease last longer. Returns False if another one has it, or it was released by hand."""
    until = Clock() + round(seconds * MICROSECONDS)
    return LifespanLease.objects.filter(pk=key.id, holder=holder.id).update(until=until) > 0


def end(key: Key, holder: Holder, *, success: bool, error: str, still_runs: bool) -> bool:
    """Store the result of a start function, and give the lease back. Returns False if it was lost.

    Args:
        key: the lease.
        holder: the claim that holds it.
        success: whether the start function has succeeded.
        error: its failure; or an empty string.
        still_runs: whether its code may still run: then the lease is left to run out.
    """
    changes: dict[str, Any] = {} if still_runs else {"until": 0}
    if success:
        changes["succeeded_at"] = Clock()
    if error:
        changes |= {"failed_number": F("number"), "error": stored_text(error)}
    mine = LifespanLease.objects.filter(pk=key.id, holder=holder.id)

    def write(plain: Callable[[Any], Any]) -> int:
        values = {name: plain(value) for name, value in changes.items()}
        return mine.update(**values) if changes else mine.count()

    return in_any_encoding(write) > 0


def store_result(key: Key, holder: Holder, *, success: bool, error: str) -> None:
    """Store the result of a start function that ran while the table of leases was missing."""
    make(key)
    mine = LifespanLease.objects.filter(pk=key.id, number=0)

    def write(plain: Callable[[str], str]) -> None:
        mine.update(
            host=holder.host,
            pid=holder.pid,
            number=1,
            since=Clock(),
            succeeded_at=Clock() if success else None,
            failed_number=1 if error else 0,
            error=plain(stored_text(error)),
        )

    in_any_encoding(write)


def release(ids: list[str]) -> int:
    """Release leases by hand: their holders lose them, and their start functions may run again.

    Returns:
        The number of released leases.
    """
    leases = LifespanLease.objects.filter(pk__in=ids)
    return leases.update(holder="", until=0, succeeded_at=None)


def stored_text(error: str) -> str:
    """Return an error without its secrets, at most as long as the column."""
    return sanitize(masked(error), LONGEST_ERROR)


def process_of(row: LifespanLease) -> str:
    """Return the process that holds a lease, or held it last."""
    return f"process {row.pid} on host {row.host}"


def moment(microseconds: int) -> datetime:
    """Return a time of the database."""
    return datetime.fromtimestamp(microseconds / MICROSECONDS, UTC)
