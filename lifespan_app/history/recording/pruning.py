"""Deletion of old runs, in batches.

It reads old rows only, by the index of ``started_at``, and counts nothing, so the size of the tables
does not matter. Steps are deleted before their runs, by query, without signals.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import connections, transaction
from django.db.models import Q
from django.utils import timezone

from lifespan_app import conf
from lifespan_app.models import LIVE, LifespanRun, LifespanStep, is_overdue

__all__ = ["BATCH", "Pruned", "prune", "prune_some"]

BATCH = 200
"""The runs per batch; locks on so many rows are held briefly."""

BEFORE_ALL = datetime(1980, 1, 1, tzinfo=UTC)
"""A time that every database can represent, in every time zone."""

_STEPS_A_HOOK = 2
"""The usual maximum: a start and a stop."""

_MOST_STEPS = 20_000
"""The most steps that one query deletes, unless one run has more."""

_MOST_RUNS = 900
"""The most runs in one query: SQLite before 3.32 has a limit of 999 parameters
(https://www.sqlite.org/limits.html#max_variable_number)."""


class Pruned(NamedTuple):
    """The numbers of deleted rows so far."""

    runs: int
    steps: int
    until: datetime
    """The start of the last deleted run."""


class _Old(NamedTuple):
    pk: int
    started_at: datetime
    last_seen_at: datetime
    status: str
    lost_after: datetime | None
    service_type: str
    hooks_total: int


def prune(
    days: int,
    *,
    keep_last: int = 1,
    batch: int = BATCH,
    dry_run: bool = False,
    now: datetime | None = None,
) -> Iterator[Pruned]:
    """Delete the runs without a heartbeat for so many days, oldest first.

    Running ones and the last runs of each service type are kept.

    Args:
        days: age from which on a run is old.
        keep_last: how many runs of each service type are kept, however old.
        batch: how many runs are read, and deleted, together.
        dry_run: only count the runs.
        now: the time of day; None for this machine's.

    Yields:
        what has been deleted so far, after each batch.
    """
    now = now or timezone.now()
    runs = steps = 0
    for old in _batches(now, _days_before(now, days), keep_last, batch):
        for some in _by_steps(old):
            if dry_run:
                runs += len(some)
            else:
                deleted, of_them = _delete([one.pk for one in some])
                runs += deleted
                steps += of_them
        yield Pruned(runs, steps, old[-1].started_at)


def prune_some(limit: int = BATCH, now: datetime | None = None) -> int:
    """Delete at most so many of the runs that are older than ``HISTORY_DAYS``.

    Where there are none, it takes one quick query.

    Args:
        limit: how many runs at most.
        now: the time of day, by a clock that can be trusted; None for this machine's.

    Returns:
        how many were deleted; 0 means that nothing is left to do.
    """
    pruned = next(prune(int(conf.get("HISTORY_DAYS")), batch=limit, now=now), None)
    return pruned.runs if pruned else 0


def _days_before(now: datetime, days: int) -> datetime:
    """Return a time so many days ago; of too many days, one before any run."""
    try:
        return max(now - timedelta(days=days), BEFORE_ALL.replace(tzinfo=now.tzinfo))
    except OverflowError:
        return BEFORE_ALL.replace(tzinfo=now.tzinfo)


def _batches(now: datetime, limit: datetime, keep_last: int, batch: int) -> Iterator[list[_Old]]:
    """Yield the runs to delete in batches, oldest first."""
    last_ones: dict[str, set[int]] = {}
    started_before = LifespanRun.objects.filter(started_at__lt=limit).order_by("started_at", "pk")
    rows = started_before.values_list(*_Old._fields)
    found = [_Old(*row) for row in rows[:batch]]
    while found:
        old = []
        for one in found:
            kind = one.service_type
            if kind not in last_ones:
                last_ones[kind] = _last_of(kind, keep_last)
            if not (one.pk in last_ones[kind] or one.last_seen_at >= limit or _lives(one, now)):
                old.append(one)
        if old:
            yield old
        # Continue after this batch, so that kept runs are not read again.
        at, pk = found[-1].started_at, found[-1].pk
        after = rows.filter(Q(started_at__gt=at) | Q(pk__gt=pk), started_at__gte=at)
        found = [_Old(*row) for row in after[:batch]] if len(found) == batch else []


def _last_of(service_type: str, count: int) -> set[int]:
    """Return the primary keys of the newest runs of a service type."""
    runs = LifespanRun.objects.filter(service_type=service_type)
    return set(runs.values_list("pk", flat=True)[:count])


def _lives(run: _Old, now: datetime) -> bool:
    """Return True if a run is live, as in ``RunQuerySet.live``."""
    return run.status in LIVE and not is_overdue(run.status, run.lost_after, now)


def _by_steps(old: list[_Old]) -> Iterator[list[_Old]]:
    """Yield runs in lists with a limited number of steps."""
    some: list[_Old] = []
    steps = 0
    for one in old:
        steps += one.hooks_total * _STEPS_A_HOOK
        if some and (steps > _MOST_STEPS or len(some) == _MOST_RUNS):
            yield some
            some, steps = [], one.hooks_total * _STEPS_A_HOOK
        some.append(one)
    if some:
        yield some


def _delete(pks: list[int]) -> tuple[int, int]:
    """Delete runs and their steps, and return the numbers of both."""
    alias = conf.get("HISTORY_DATABASE")
    runs = LifespanRun.objects.filter(pk__in=pks)
    with transaction.atomic(using=alias):
        # Rows that another process is deleting are skipped; waiting could end in a deadlock:
        # https://www.postgresql.org/docs/current/sql-select.html#SQL-FOR-UPDATE-SHARE
        if connections[alias].features.has_select_for_update_skip_locked:
            free = runs.order_by("pk").select_for_update(skip_locked=True)
            if not (pks := list(free.values_list("pk", flat=True))):
                return 0, 0
            runs = LifespanRun.objects.filter(pk__in=pks)
        steps = LifespanStep.objects.filter(run_id__in=pks)._raw_delete(alias)
        return runs._raw_delete(alias), steps
