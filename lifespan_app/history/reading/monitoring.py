"""Problems of the running processes, for monitoring systems: too few serve, or some have failed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta

from django.utils import timezone

from lifespan_app.conf import Change
from lifespan_app.models import OF_DEVELOPMENT, LifespanRun, RunQuerySet, Status

from . import time_text
from .states import is_warming_up
from .troubles import reason_of

LATELY = timedelta(hours=24)
"""The age from which a failed or lost run is no longer a problem."""

FAIL_ON = (Change.LOST, Change.FAILED, Change.NOT_READY)


def problems(expected: Mapping[str, int], fail_on: Collection[str]) -> list[str]:
    """Return the problems, a clause each.

    A failed or lost run of the last 24 hours counts until a run of its service type that began later has
    started well.

    Args:
        expected: the least number of serving processes, by service type.
        fail_on: some of ``lost``, ``failed`` and ``not_ready``.
    """
    runs = LifespanRun.objects.exclude(mode__in=OF_DEVELOPMENT).order_by()
    found = [*too_few(runs, expected)]
    if Change.LOST in fail_on:
        found += unresolved(runs.lost(), "is lost")
    if Change.FAILED in fail_on:
        found += unresolved(runs.failed(), "failed")
    if Change.NOT_READY in fail_on:
        not_ready = runs.live().filter(status=Status.NOT_READY).order_by("pk")
        found += [f"{named(run)} is not ready" for run in not_ready if not is_warming_up(run)]
    return found


def too_few(runs: RunQuerySet, expected: Mapping[str, int]) -> Iterator[str]:
    """Yield the service types with fewer serving processes than expected."""
    for service_type, least in expected.items():
        serving = runs.serving().filter(service_type=service_type).count()
        if serving < least:
            yield f"{serving} of {least} processes of '{service_type}' are serving"


def unresolved(bad: RunQuerySet, what: str) -> Iterator[str]:
    """Yield the newest run of each service type that no later good start has made up for."""
    bad = bad.filter(started_at__gte=timezone.now() - LATELY)
    for service_type in sorted(set(bad.values_list("service_type", flat=True))):
        run = bad.filter(service_type=service_type).latest("started_at")
        ended = run.stopped_at or run.last_seen_at
        later = LifespanRun.objects.filter(service_type=service_type, started_at__gte=ended)
        if not later.filter(ready_at__isnull=False).exists():
            error = reason_of(run)
            yield f"{named(run)} {what}, {time_text.ago(ended)}{': ' if error else ''}{error}"


def named(run: LifespanRun) -> str:
    """Return the service type, the first digits of the UUID, and the process of a run."""
    return f"'{run.service_type}' {run.shown_id} ({run.host or 'unknown host'}, pid {run.pid})"
