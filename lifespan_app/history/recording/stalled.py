"""Runs whose processes are gone without a word: a start writes down that they are lost."""

from __future__ import annotations

import os
from datetime import datetime

from django.db.models import Q

from lifespan_app.models import LIVE, LifespanRun, Status

from . import identity

AT_ONCE = 400
"""How many runs of each sort one start looks at; SQLite takes 999 parameters in a query."""


def mark_lost(now: datetime) -> int:
    """Write down who is lost, and return how many that were.

    Lost are the runs that fell silent by the clock, wherever they ran, and those that ran where
    this process runs, and whose processes are not there any more. It takes two queries, and a third
    one if somebody is lost: starts that find nobody lock nothing.

    Args:
        now: the time of day, as in the columns of the record.
    """
    silent = silent_runs(now)
    gone = gone_runs(now)
    if not silent and not gone:
        return 0
    # A run that was heard of since then is not silent any more.
    lost = Q(pk__in=gone) | Q(pk__in=silent, lost_after__lt=now)
    return LifespanRun.objects.filter(lost, status__in=LIVE).update(status=Status.LOST)


def silent_runs(now: datetime) -> list[int]:
    """Return the runs that have not been heard of for too long, other than this process's own."""
    # The oldest first: however many there are, after some starts all are marked.
    silent = LifespanRun.objects.silent(now).order_by("lost_after")
    rows = silent.values_list("pk", "process", "pid")[:AT_ONCE]
    me = (identity.identity(), os.getpid())
    return [pk for pk, *who in rows if tuple(who) != me]


def gone_runs(now: datetime) -> list[int]:
    """Return the runs that have been heard of, and whose processes ran here and have ended."""
    here = identity.place()
    if not here:
        return []
    # In no order: for one, SQLite would read all runs there are.
    neighbours = LifespanRun.objects.live(now).filter(process__startswith=f"{here}:").order_by()
    rows = neighbours.values_list("pk", "process", "pid")[:AT_ONCE]
    return [pk for pk, who, pid in rows if identity.is_gone(who, pid)]
