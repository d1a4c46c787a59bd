"""A machine whose clock is wrong deletes no history, and calls nobody lost."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from lifespan_app.history.recording.clock import database_time
from lifespan_app.history.recording.maintenance import maintain
from lifespan_app.models import LifespanRun
from tests.history.conftest import KINDS
from tests.history.databases import HistoryDatabase
from tests.history.records import a_run

YEARS = timedelta(days=3650)


WITH_A_CLOCK = pytest.mark.parametrize("history_database", KINDS[1:3], indirect=True)
"""SQLite has none but the machine's."""


def set_clock(monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    """Set the clock that this process sees."""
    seconds, now = time.time, timezone.now
    monkeypatch.setattr(time, "time", lambda: seconds() + ahead.total_seconds())
    monkeypatch.setattr(timezone, "now", lambda: now() + ahead)


def maintained() -> None:
    for pause in maintain():
        time.sleep(pause)


def runs_of_a_year() -> datetime:
    """Write two old runs and one that serves; return the real time."""
    now = timezone.now()
    for days in (300, 10, 1):
        at = now - timedelta(days=days)
        a_run(host=f"{days} days", started_at=at, last_seen_at=at)
    a_run(host="serves", status="serving", lost_after=now + timedelta(seconds=90))
    return now


def found() -> dict[str, str]:
    return dict(LifespanRun.objects.values_list("host", "status"))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


@WITH_A_CLOCK
@pytest.mark.parametrize(("ahead", "said"), [(YEARS, "ahead of"), (-YEARS, "behind")])
def test_clock_that_is_years_off_deletes_and_loses_nothing(
    history_database: HistoryDatabase,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ahead: timedelta,
    said: str,
) -> None:
    runs_of_a_year()
    set_clock(monkeypatch, ahead)

    maintained()

    assert len(found()) == 4
    assert found()["serves"] == "serving"
    [warning] = warnings(caplog)
    assert f"the clock of this machine is 3,650 days {said} that of the database" in warning


@WITH_A_CLOCK
@pytest.mark.parametrize("ahead", [timedelta(hours=-2), timedelta(0), timedelta(hours=2)])
def test_clocks_hours_apart_delete_what_is_old_and_lose_nothing(
    history_database: HistoryDatabase,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ahead: timedelta,
) -> None:
    runs_of_a_year()
    set_clock(monkeypatch, ahead)

    maintained()

    assert found() == {"10 days": "stopped", "1 days": "stopped", "serves": "serving"}
    assert warnings(caplog) == []


def test_project_that_was_idle_for_a_year_is_pruned(history_database: HistoryDatabase) -> None:
    for days in (500, 400, 370):
        at = timezone.now() - timedelta(days=days)
        a_run(host=f"{days} days", started_at=at, last_seen_at=at)

    maintained()

    assert found() == {"370 days": "stopped"}


def test_prunelifespan_goes_by_the_clock_of_its_machine(
    history_database: HistoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs_of_a_year()
    set_clock(monkeypatch, YEARS)

    call_command("prunelifespan", keep_last=0, stdout=StringIO())

    assert found() == {}


def test_time_of_each_database_is_its_machines(
    history_database: HistoryDatabase,
) -> None:
    assert abs(database_time() - time.time()) < 60
