"""The state of the history for the checks: missing tables and recent failures."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

from django.db import DatabaseError, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone, translation
from django.utils.connection import ConnectionDoesNotExist

from lifespan_app import conf
from lifespan_app.engine.wording import count
from lifespan_app.history.recording.store_errors import MIGRATE, StoreError, failure_of
from lifespan_app.models import LifespanRun, Mode

APP = "lifespan_app"
LATELY = timedelta(hours=24)
LENGTH = 200
"""The most characters of an error that are shown."""
SINCE = "; a later one has started successfully"


class RecentFailure(NamedTuple):
    """The failed and lost runs of one service type."""

    service_type: str
    what: str
    advice: str


def missing() -> StoreError | None:
    """Return the error that prevents recording; None if there is none."""
    alias = conf.get("HISTORY_DATABASE")
    try:
        applied = MigrationRecorder(connections[alias]).applied_migrations()
    except (DatabaseError, ConnectionDoesNotExist) as error:
        return failure_of(error)
    unapplied = [name for name in migrations() if (APP, name) not in applied]
    if not unapplied:
        return None
    unapplied_ones = count(len(unapplied), "migration is", "migrations are")
    return StoreError("tables", f"{unapplied_ones} not applied to the database '{alias}'.", MIGRATE)


def migrations() -> list[str]:
    """Return the names of the app's migrations."""
    module, _ = MigrationLoader.migrations_module(APP)
    if module is None:
        return []
    folder = import_module(module).__path__
    return [found.name for found in iter_modules(folder) if found.name[0] not in "_~"]


def recent_failures() -> list[RecentFailure]:
    """Return the failures of the last 24 hours, one per service type, with at most three queries each."""
    since = timezone.now() - LATELY
    own = (Mode.CHECK, Mode.TEST)
    recent = LifespanRun.objects.filter(started_at__gte=since).exclude(mode__in=own)
    bad = recent.failed() | recent.lost()
    found = []
    for service_type in sorted(set(bad.order_by().values_list("service_type", flat=True))):
        of_type = bad.filter(service_type=service_type)
        last = of_type[0]
        runs = count(of_type.count(), "run")
        with translation.override(None):  # checks are English
            status = str(last.status_at().label)
        why = reason_of(last)[:LENGTH]
        later = recent.filter(service_type=service_type, started_at__gt=last.started_at)
        is_resolved = later.filter(ready_at__isnull=False).exists()
        hint = f"'manage.py showlifespan {last.uuid}' and the admin tell what happened."
        found.append(
            RecentFailure(
                service_type,
                f"{runs} of service type '{service_type}' failed or got lost in the last 24 hours; "
                f"the last one: {status}{': ' if why else ''}{why}{SINCE if is_resolved else ''}",
                hint,
            )
        )
    return found


def reason_of(run: LifespanRun) -> str:
    """Return the first line of the error that ended a run; nothing for a lost one.

    The error of a lost run is that of an optional hook, which has nothing to do with the loss.
    """
    return "" if run.is_lost() else run.error.strip().partition("\n")[0]
