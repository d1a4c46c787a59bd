"""Cause and action are recorded, and shown first in the terminal."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from lifespan_app import Lifespan
from lifespan_app.history.reading.migrations import unapplied
from lifespan_app.integration.database_analyzers import NOT_MIGRATED
from lifespan_app.models import LifespanRun
from lifespan_app.testing import lifespan_running
from tests import records

CAUSE = "PostgreSQL at db:5432 refuses connections (DATABASES['default']): no server listens there."
ACTION = "Start the server, or correct HOST and PORT in DATABASES['default']."
NO_TABLE = (
    f"SQLite at books has no table or column 'shop_book' (DATABASES['default']): {NOT_MIGRATED}."
)

pytestmark = pytest.mark.django_db


def with_sentences(cause: str = CAUSE) -> LifespanRun:
    run: LifespanRun = records.startup_failed()
    run.steps.filter(outcome="failed").update(cause=cause, action=ACTION)
    return run


def shown(*arguments: str) -> str:
    output = StringIO()
    call_command("showlifespan", *arguments, stdout=output, no_color=True)
    return " ".join(output.getvalue().split())


def test_failure_is_recorded_with_cause_and_action(lifespan: Lifespan) -> None:
    @lifespan.on_start
    def shop() -> None:
        raise ConnectionRefusedError(111, "refused")

    with pytest.raises(ConnectionRefusedError), lifespan_running(history=True):
        pass
    [step] = LifespanRun.objects.get().steps.filter(outcome="failed")
    assert step.cause == "Nothing listens at the address: the connection was refused."
    assert step.action.startswith("Start the service")


def test_terminal_shows_cause_and_action(tmp_path: Path, settings: Any) -> None:
    settings.LIFESPAN = {"SPOOL_DIR": tmp_path / "spool"}
    with_sentences()
    text = shown()
    assert f"What to do - {ACTION}" in text
    assert CAUSE in text
    assert text.index(CAUSE) < text.index("ConnectionRefusedError")
    assert "Look at" not in text


def test_cause_that_the_error_begins_with_is_shown_once(tmp_path: Path, settings: Any) -> None:
    settings.LIFESPAN = {"SPOOL_DIR": tmp_path / "spool"}
    run = with_sentences()
    run.steps.filter(outcome="failed").update(error=f"{CAUSE} {ACTION}")
    assert shown().count(CAUSE) == 1


def test_unapplied_migrations_are_named(tmp_path: Path, settings: Any) -> None:
    settings.LIFESPAN = {"SPOOL_DIR": tmp_path / "spool"}
    run = with_sentences(NO_TABLE)
    assert "In 'default' all migrations are applied by now." in shown()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'lifespan_app'")
    first, *_ = unapplied(run.steps.all())
    assert first.startswith("Not applied in 'default': lifespan_app.0001_")
    assert first in shown()


@pytest.mark.parametrize(
    "cause", [CAUSE, "", NO_TABLE.replace("default", "nosuch")], ids=["other", "none", "unknown"]
)
def test_nothing_is_said_about_migrations(cause: str, django_assert_num_queries: Any) -> None:
    run = with_sentences(cause)
    steps = list(run.steps.all())
    with django_assert_num_queries(0):
        assert not list(unapplied(steps))
