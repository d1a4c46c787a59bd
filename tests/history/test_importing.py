"""A start imports what waits in files; a file that can't be imported stops nothing else."""

from __future__ import annotations

import json
import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connections
from django.utils import timezone

from lifespan_app.history.reading.spooled import spooled_runs
from lifespan_app.history.recording.maintenance import maintain
from lifespan_app.history.recording.spool import SpoolFile
from lifespan_app.models import LifespanRun
from tests.history.databases import HistoryDatabase
from tests.history.records import a_run

if TYPE_CHECKING:
    from pytest_django import Settings

AT = time.time() - 3600
STEP = {
    "app_label": "books",
    "name": "shelf",
    "kind": "resource",
    "phase": "startup",
    "offset": 0.0,
    "duration": 0.5,
    "outcome": "ok",
}


def a_row(**values: Any) -> dict[str, Any]:
    """Return the row of a run, as a file has it."""
    given = {"mode": "server", "service_type": "app", "status": "stopped", "pid": 1, "host": "a"}
    return {"uuid": str(uuid4()), **given, "started_at": AT, "last_seen_at": AT, **values}


def steps(*rows: Any) -> dict[str, Any]:
    return {"steps": list(rows), "phases": ["startup"]}


NEVER_TAKEN = {
    "a time that no calendar has": {"run": a_row(started_at=1e18)},
    "a time that no clock has": {"run": a_row(started_at=1e300)},
    "no number as a time": {"run": a_row(started_at=float("nan"))},
    "a word as a time": {"run": a_row(started_at="soon")},
    "an endless duration": {"run": a_row(startup_duration=float("inf"))},
    "a number that no column takes": {"run": a_row(pid=10**30)},
    "a word as a number": {"run": a_row(hooks_total="many")},
    "a number as a text": {"run": a_row(host=5)},
    "nothing where something must be": {"run": a_row(started_at=None)},
    "no UUID": {"run": a_row(uuid="one")},
    "half a row": {"run": {"status": "stopped"}},
    "a list as a step": steps([1]),
    "half a step": steps({"name": "shelf"}),
    "steps without their phases": {"steps": [STEP]},
    "a step by itself": {"step": STEP},
}


@pytest.fixture
def folder(tmp_path: Path, settings: Settings, request: pytest.FixtureRequest) -> Path:
    """Return where files wait for the database of the test."""
    names = {"history_database", "sqlite_history"} & set(request.fixturenames)
    request.getfixturevalue(names.pop())
    folder = tmp_path / "spool"
    settings.LIFESPAN = {**settings.LIFESPAN, "SPOOL_DIR": str(folder)}
    return folder


def left(folder: Path, *entries: Any) -> str:
    """Leave the file of a run whose process is gone, and return its name."""
    file = SpoolFile(folder, str(uuid4()))
    for entry in entries:
        file.append(entry)
    assert file.path is not None
    name = file.path.name
    file.close()
    return name


def maintained() -> None:
    """Do what a start does for others."""
    for pause in maintain():
        time.sleep(pause)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def hosts() -> list[str]:
    return list(LifespanRun.objects.order_by("host").values_list("host", flat=True))


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged from WARNING up, but for the lost run that the same start finds."""
    said = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    return [line for line in said if "is lost" not in line]


@pytest.mark.once
@pytest.mark.parametrize("entry", NEVER_TAKEN.values(), ids=NEVER_TAKEN)
def test_file_that_the_database_cannot_take_is_set_aside(
    history_database: HistoryDatabase,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    entry: dict[str, Any],
) -> None:
    long_ago = timezone.now() - timedelta(days=100)
    a_run(host="silent", status="serving", lost_after=timezone.now() - timedelta(seconds=1))
    for _ in range(2):
        a_run(host="old", service_type="old", started_at=long_ago, last_seen_at=long_ago)
    poison = left(folder, *([{"run": a_row(host="its run")}] if "run" not in entry else []), entry)
    left(folder, {"run": a_row(host="behind it")}, steps(STEP))

    maintained()

    assert names(folder) == [f"{poison}.refused"]
    assert {"behind it", "silent"} <= {*hosts()}
    assert hosts().count("old") == 1
    assert LifespanRun.objects.get(host="silent").status == "lost"
    assert LifespanRun.objects.get(host="behind it").steps.count() == 1
    [said] = errors(caplog)
    assert f"{folder}/{poison}.refused" in said

    maintained()
    assert len(errors(caplog)) == 1


def test_corrected_file_is_imported_under_its_old_name(
    sqlite_history: HistoryDatabase, folder: Path
) -> None:
    name = left(folder, {"run": a_row(started_at=1e18)})
    maintained()
    corrected = {"run": a_row(host="corrected")}
    (folder / f"{name}.refused").write_text(json.dumps(corrected) + "\n")
    (folder / f"{name}.refused").rename(folder / name)

    maintained()

    assert hosts() == ["corrected"]
    assert names(folder) == []


def test_part_of_a_file_that_the_database_can_take_is_taken(
    history_database: HistoryDatabase, folder: Path
) -> None:
    left(folder, {"run": a_row(host="kept")}, steps([1]), steps(STEP))

    maintained()

    assert hosts() == ["kept"]
    assert LifespanRun.objects.get().steps.count() == 1


def test_columns_of_a_newer_version_are_left_out(
    history_database: HistoryDatabase, folder: Path
) -> None:
    """A deployment that is rolled back finds what the newer one has left."""
    left(folder, {"run": a_row(host="newer", colour="red")}, steps({**STEP, "colour": "red"}))

    maintained()

    assert hosts() == ["newer"]
    assert LifespanRun.objects.get().steps.count() == 1
    assert names(folder) == []


def test_steps_of_a_run_that_was_deleted_since_are_dropped(
    history_database: HistoryDatabase, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left(folder, steps(STEP))

    maintained()

    assert names(folder) == []
    assert errors(caplog) == []


def test_steps_may_come_before_the_row_of_their_run(
    sqlite_history: HistoryDatabase, folder: Path
) -> None:
    """The row had been written, and its table was dropped since."""
    left(folder, steps(STEP), {"run": a_row(host="dropped")})

    maintained()

    assert LifespanRun.objects.get(host="dropped").steps.count() == 1
    assert names(folder) == []


def test_missing_tables_keep_every_file(
    history_database: HistoryDatabase, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = [left(folder, {"run": a_row()}) for _ in range(2)]
    call_command("migrate", "lifespan_app", "zero", database=history_database.alias, verbosity=0)
    try:
        maintained()
    finally:
        history_database.migrate()
    connections[history_database.alias].close()

    assert names(folder) == sorted(waiting)
    assert errors(caplog)

    maintained()
    assert len(hosts()) == 2


@pytest.mark.parametrize("entry", NEVER_TAKEN.values(), ids=NEVER_TAKEN)
def test_file_that_cannot_be_imported_hides_no_other(
    sqlite_history: HistoryDatabase, folder: Path, entry: dict[str, Any]
) -> None:
    left(folder, entry)
    left(folder, {"run": a_row(host="another")}, steps(STEP))

    shown = [(run.host, len(steps)) for run, steps in spooled_runs()]

    assert ("another", 1) in shown
