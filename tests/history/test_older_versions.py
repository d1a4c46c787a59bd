"""Processes of an older version write to the tables of this one, as they do in a rolling deployment."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from lifespan_app.cli.show import keys_of
from lifespan_app.history.reading import describe
from lifespan_app.models import LifespanRun, LifespanStep
from tests.history.databases import HistoryDatabase
from tests.history.records import a_run

APP = "lifespan_app"


def migrations() -> list[str]:
    """Return the names of the migrations, the first one first."""
    names = MigrationLoader(None).disk_migrations
    return sorted(name for app, name in names if app == APP)


@pytest.fixture(params=migrations())
def older(request: pytest.FixtureRequest) -> Any:
    """Return the models as they were after one of the migrations."""
    return MigrationLoader(None).project_state((APP, request.param)).apps.get_model


def test_run_and_step_of_an_older_version_are_stored_and_shown(
    older: Any, history_database: HistoryDatabase
) -> None:
    now = timezone.now()
    run = older(APP, "LifespanRun").objects.using(history_database.alias)
    row = run.create(
        uuid=uuid4(),
        mode="server",
        service_type="app",
        status="serving",
        pid=1,
        started_at=now,
        ready_at=now,
        last_seen_at=now,
    )
    older(APP, "LifespanStep").objects.using(history_database.alias).create(
        run=row,
        app_label="books",
        name="broker",
        kind="resource",
        phase="startup",
        offset=timedelta(),
        duration=timedelta(seconds=1),
        outcome="ok",
    )

    stored, step = LifespanRun.objects.get(), LifespanStep.objects.get()

    assert (stored.jobs, stored.left_out, stored.boot, step.errors) == ([], [], {}, [])
    assert describe.headline(stored, [step], now).startswith("Serving")


def test_run_without_a_short_id_is_found_by_the_command(sqlite_history: HistoryDatabase) -> None:
    run = a_run(short_id="")

    assert keys_of(str(run.uuid)) == keys_of(str(run.uuid)[:8]) == [run.pk]


def test_lease_and_alert_of_an_older_version_are_stored(
    older: Any, history_database: HistoryDatabase
) -> None:
    columns: dict[str, dict[str, Any]] = {
        "LifespanLease": {"id": "0" * 32, "hook": "books.migrate", "once": "release"},
        "LifespanAlert": {
            "change": "failed",
            "service_type": "app",
            "quiet_until": timezone.now(),
        },
    }
    for name, values in columns.items():
        try:
            model = older(APP, name)
        except LookupError:
            continue  # that version had no such table
        model.objects.using(history_database.alias).create(**values)
        assert model.objects.using(history_database.alias).count() == 1
