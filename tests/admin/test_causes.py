"""The page of a run shows the cause of a failure, what to do, and unapplied migrations."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client

from lifespan_app.integration.database_analyzers import NOT_MIGRATED
from lifespan_app.models import LifespanRun
from tests import records
from tests.admin.project import HOME, LIST

CAUSE = f"SQLite at books has no table 'shop_book' (DATABASES['default']): {NOT_MIGRATED}."
ACTION = "Run 'manage.py migrate'."


@pytest.fixture
def run(db: None) -> LifespanRun:
    run: LifespanRun = records.startup_failed()
    run.steps.filter(outcome="failed").update(cause=CAUSE, action=ACTION)
    return run


def text(client: Client, address: str) -> str:
    answer = client.get(address)
    return " ".join(answer.content.decode().replace("&#x27;", "'").split())


def test_page_of_a_run_shows_cause_and_action(reader: Client, run: LifespanRun) -> None:
    shown = text(reader, f"{LIST}{run.pk}/change/")
    assert f"<li>{ACTION}</li>" in shown
    assert f"<p>{CAUSE}</p>" in shown
    assert "check whether the service" not in shown


def test_overview_shows_cause_and_action(reader: Client, run: LifespanRun) -> None:
    shown = text(reader, HOME)
    assert CAUSE in shown
    assert f"<li>{ACTION}</li>" in shown


def test_page_of_a_run_names_unapplied_migrations(reader: Client, run: LifespanRun) -> None:
    address = f"{LIST}{run.pk}/change/"
    assert "In 'default' all migrations are applied by now." in text(reader, address)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'lifespan_app'")
    assert "Not applied in 'default': lifespan_app.0001_" in text(reader, address)
