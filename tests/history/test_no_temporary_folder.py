"""A read-only container, in which no file can be: the history does what is left to do."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
import time
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from lifespan_app.history.recording import timetable
from lifespan_app.history.recording.maintenance import maintain
from lifespan_app.models import LifespanRun
from tests.history.databases import HistoryDatabase, opened, sqlite
from tests.history.recording import recorded
from tests.history.records import a_run
from tests.projects import Project

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker, Settings

NO_FOLDER = """
import tempfile

tempfile.tempdir = None
tempfile._candidate_tempdir_list = lambda: []
"""


@pytest.fixture(autouse=True)
def _no_temporary_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Have `tempfile` find no folder that it can write to, once pytest has its own."""
    tmp_path_factory.getbasetemp()
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/nowhere"])
    with pytest.raises(FileNotFoundError, match="No usable temporary directory"):
        tempfile.gettempdir()


@pytest.fixture
def no_database(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timetable, "RETRIES", (0.05,))
    settings.LIFESPAN = {"HISTORY_DATABASE": "nowhere"}


@pytest.mark.usefixtures("no_database")
def test_entries_that_the_database_refuses_are_logged_as_json(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def one_run() -> None:
        async with lifespan.run():
            pass

    with recorded() as lifespan:
        asyncio.run(one_run())

    said = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    logged = [json.loads(one) for one in said if one.startswith("{")]
    [why] = [one for one in said if not one.startswith("{")]
    assert "No usable temporary directory" in why
    assert "so it is logged as JSON." in why
    assert [one["run"]["status"] for one in logged if "run" in one][-1] == "stopped"


def test_lost_runs_are_marked_without_a_temporary_folder(
    sqlite_history: HistoryDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    now = timezone.now()
    old = now - timedelta(days=100)
    for _ in range(2):
        a_run(host="old", started_at=old, last_seen_at=old)
    a_run(host="silent", status="serving", lost_after=now - timedelta(seconds=1))

    for pause in maintain():
        time.sleep(pause)

    assert dict(LifespanRun.objects.values_list("host", "status")) == {"silent": "lost"}
    [line] = caplog.messages
    assert "is lost" in line


def test_showlifespan_shows_the_database_without_a_temporary_folder(
    sqlite_history: HistoryDatabase,
) -> None:
    run = a_run()
    output = StringIO()

    call_command("showlifespan", stdout=output)

    assert str(run.uuid) in output.getvalue()


def test_showlifespan_says_that_there_is_no_database_either(
    settings: Settings, django_db_blocker: DjangoDbBlocker
) -> None:
    settings.LIFESPAN = {"HISTORY_DATABASE": "history"}
    errors = StringIO()

    with (
        django_db_blocker.unblock(),
        opened(sqlite(Path("/proc/nowhere/db.sqlite3"))),
        pytest.raises(CommandError, match=r"Not known: the database can't be read"),
    ):
        call_command("showlifespan", stderr=errors)

    assert "The database of the history does not respond" in errors.getvalue()


def test_runlifespan_runs_its_command_without_a_temporary_folder(project: Project) -> None:
    project.settings(NO_FOLDER, LIFESPAN={"HISTORY": False})

    ran = project.manage("runlifespan", "--", "true")

    assert ran.returncode == 0, ran.stderr
