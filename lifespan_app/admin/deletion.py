"""Deletion of runs by query, in batches, with an entry in the admin's log for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType

from lifespan_app.models import LifespanRun, LifespanStep

BATCH = 500


def batches(runs: Any) -> Iterator[list[int]]:
    """Yield the primary keys of runs in batches; the caller deletes each before the next."""
    keys = runs.order_by("pk").values_list("pk", flat=True)
    while batch := list(keys[:BATCH]):
        yield batch


def counts(runs: Any) -> tuple[int, int]:
    """Return the numbers of runs and steps that would be deleted."""
    steps = LifespanStep.objects.filter(run__in=runs.order_by().values("pk"))
    return runs.count(), steps.count()


def delete(runs: Any, user: Any) -> int:
    """Delete runs with their steps, and return the number of runs.

    Args:
        runs: the runs, as a queryset.
        user: the user of the log entries.
    """
    deleted = 0
    for batch in batches(runs):
        found = LifespanRun.objects.filter(pk__in=batch)
        log(found, user)
        LifespanStep.objects.filter(run__in=batch).delete()
        found.delete()
        deleted += len(batch)
    return deleted


def log(runs: Any, user: Any) -> None:
    """Write one entry per run into the admin's log."""
    content_type = ContentType.objects.get_for_model(LifespanRun)
    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=user.pk,
            content_type=content_type,
            object_id=run.pk,
            object_repr=str(run)[:200],
            action_flag=DELETION,
            change_message="",
        )
        for run in runs.only("pk", "uuid", "service_type")
    )
