"""Detection of lost runs, at each start and at each heartbeat."""

from __future__ import annotations

import os
from datetime import datetime

from django.db.models import Q

from lifespan_app.conf import Change
from lifespan_app.engine.logger import logger
from lifespan_app.models import LIVE, OF_DEVELOPMENT, LifespanRun, Status

from . import identity
from .changes import fields_of, run_changed, send

AT_ONCE = 400
"""The most runs of each kind that one search returns; for SQLite's limit see ``pruning``."""


def lost_runs(now: datetime) -> dict[int, Q]:
    """Return the primary keys of runs to mark as lost, each with a condition that must hold then.

    Lost are the runs with an overdue heartbeat, on any host, and those on this host whose process has
    ended. It takes two queries.

    Args:
        now: the current time, as the columns store it.
    """
    # A run with a heartbeat since then is not lost.
    silent = dict.fromkeys(overdue_runs(now), Q(lost_after__lt=now))
    return {**silent, **ended_runs(now)}


def mark_lost(pk: int, condition: Q) -> bool:
    """Mark a run as lost, log it, and send ``run_changed``. Returns False if another process has done so.

    Args:
        pk: its primary key.
        condition: what must still hold.
    """
    found = LifespanRun.objects.filter(condition, pk=pk, status__in=LIVE)
    run = found.first()
    if run is None:
        return False
    previous = run.status
    if not found.filter(status=previous).update(status=Status.LOST):
        return False
    run.status = Status.LOST
    if run.mode not in OF_DEVELOPMENT:
        logger.error(
            "Run %s of '%s' on %s, pid %d, is lost: its last heartbeat was at %s. It was killed, its "
            "host is down, or it can't reach the database.",
            run.shown_id,
            run.service_type,
            run.host or "an unknown host",
            run.pid,
            f"{run.last_seen_at:%Y-%m-%d %H:%M:%S %Z}".strip(),
            about=fields_of(run),
        )
    if run_changed.has_listeners(LifespanRun):
        send(run, Change.LOST, previous)
    return True


def overdue_runs(now: datetime) -> list[int]:
    """Return the runs with an overdue heartbeat, without those of this process."""
    # Oldest first, so that several starts mark all of many.
    silent = LifespanRun.objects.silent(now).order_by("lost_after")
    rows = silent.values_list("pk", "process", "pid")[:AT_ONCE]
    me = (identity.identity(), os.getpid())
    return [pk for pk, *who in rows if tuple(who) != me]


def ended_runs(now: datetime) -> dict[int, Q]:
    """Return the live runs of ended processes on this host, as ``lost_runs`` does."""
    here = identity.place()
    if not here:
        return {}
    # Unordered: with an order, SQLite would read the whole table.
    neighbours = LifespanRun.objects.live(now).filter(process__startswith=f"{here}:").order_by()
    rows = neighbours.values_list("pk", "process", "pid")[:AT_ONCE]
    return {pk: Q() for pk, who, pid in rows if identity.is_gone(who, pid)}
