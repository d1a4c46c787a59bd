"""A server that writes its messages in German is understood all the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.db import DatabaseError

from lifespan_app import Lifespan
from lifespan_app.history.recording import store_errors, timetable
from lifespan_app.history.recording.store import in_any_encoding
from lifespan_app.models import LifespanLease, LifespanRun
from tests.history.conftest import Prepare
from tests.history.databases import HistoryDatabase, opened
from tests.history.recording import has_status, recorded
from tests.needs import needs_mariadb, needs_postgresql

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker, Settings


@pytest.fixture
def in_german(
    prepared: Prepare, tmp_path: Path, settings: Settings, django_db_blocker: DjangoDbBlocker
) -> Iterator[HistoryDatabase]:
    """Return a database of MariaDB without tables, whose messages are German."""
    settings.LIFESPAN = {"HISTORY_DATABASE": "history", "SPOOL_DIR": str(tmp_path / "spool")}
    with django_db_blocker.unblock():
        entry = prepared("mariadb")
        options = {**entry["OPTIONS"], "init_command": "SET lc_messages = 'de_DE'"}
        with opened(entry, alias="maker") as maker:
            maker.run("CREATE DATABASE german CHARACTER SET latin1")
            try:
                with opened({**entry, "NAME": "german", "OPTIONS": options}) as database:
                    yield database
            finally:
                maker.run("DROP DATABASE german")


@needs_mariadb
def test_run_waits_for_tables_that_are_missing(
    in_german: HistoryDatabase, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(timetable, "RETRIES", (0.05,))
    caplog.set_level(logging.WARNING, "lifespan_app")

    async def main(lifespan: Lifespan) -> None:
        async with lifespan.run():
            while not caplog.messages:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(in_german.migrate)
            await has_status("serving")

    with recorded() as lifespan:
        asyncio.run(main(lifespan))

    [message] = caplog.messages
    assert "existiert nicht" in message
    assert "Run 'manage.py migrate lifespan_app' on that database." in message
    assert [run.status for run in LifespanRun.objects.all()] == ["stopped"]


@needs_mariadb
def test_character_that_a_column_can_not_hold_is_escaped(in_german: HistoryDatabase) -> None:
    in_german.migrate()

    in_any_encoding(
        lambda plain: LifespanLease.objects.create(id="one", hook=plain("\N{SNAKE}"), once="host")
    )

    assert LifespanLease.objects.get().hook == r"\U0001f40d"


@needs_postgresql
@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("42P01", "Relation »lifespan_app_lifespanrun« existiert nicht", "tables"),
        ("42703", "Spalte »boot« existiert nicht", "tables"),
        ("42501", "keine Berechtigung für Tabelle lifespan_app_lifespanrun", "denied"),
        ("55P03", "storniere Anfrage wegen Zeitüberschreitung einer Sperre", "locked"),
        (
            "40001",
            "konnte Zugriff nicht serialisieren wegen gleichzeitiger Aktualisierung",
            "locked",
        ),
        (
            "53100",
            "konnte Datei nicht erweitern: Auf dem Gerät ist kein Speicherplatz frei",
            "full",
        ),
    ],
)
def test_failure_of_postgresql_is_known_by_its_code(
    prepared: Prepare, django_db_blocker: DjangoDbBlocker, code: str, message: str, kind: str
) -> None:
    with (
        django_db_blocker.unblock(),
        opened(prepared("postgresql")) as database,
        pytest.raises(DatabaseError) as raised,
    ):
        database.run(f"DO $$ BEGIN RAISE '{message}' USING ERRCODE = '{code}'; END $$")

    assert message in str(raised.value)
    assert store_errors.failure_of(raised.value).kind == kind
    assert store_errors.is_temporary(raised.value)
    assert store_errors.is_lock_error(raised.value) == (kind == "locked")
