"""Detection of lost runs at each start."""

from __future__ import annotations

import os
from datetime import datetime

from django.db.models import Q

from lifespan_app.models import LIVE, LifespanRun, Status

from . import identity

AT_ONCE = 400
"""The most runs of each kind that one start checks; for SQLite's limit see ``pruning``."""


def mark_lost(now: datetime) -> int:
    """Mark lost runs, and return their number.

    Lost are the runs with an overdue heartbeat, on any host, and those on this host whose process has
    ended. It takes two queries, and an update only if there are lost runs.

    Args:
        now: the current time, as the columns store it.
    """
    silent = overdue_runs(now)
    gone = ended_runs(now)
    if not silent and not gone:
        return 0
    # A run with a heartbeat since then is not lost.
    lost = Q(pk__in=gone) | Q(pk__in=silent, lost_after__lt=now)
    return LifespanRun.objects.filter(lost, status__in=LIVE).update(status=Status.LOST)


def overdue_runs(now: datetime) -> list[int]:
    """Return the runs with an overdue heartbeat, without those of this process."""
    # Oldest first, so that several starts mark all of many.
    silent = LifespanRun.objects.silent(now).order_by("lost_after")
    rows = silent.values_list("pk", "process", "pid")[:AT_ONCE]
    me = (identity.identity(), os.getpid())
    return [pk for pk, *who in rows if tuple(who) != me]


def ended_runs(now: datetime) -> list[int]:
    """Return the live runs of ended processes on this host."""
    here = identity.place()
    if not here:
        return []
    # Unordered: with an order, SQLite would read the whole table.
    neighbours = LifespanRun.objects.live(now).filter(process__startswith=f"{here}:").order_by()
    rows = neighbours.values_list("pk", "process", "pid")[:AT_ONCE]
    return [pk for pk, who, pid in rows if identity.is_gone(who, pid)]
