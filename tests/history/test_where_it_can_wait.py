"""A folder that could keep no record is told of beforehand, and takes nothing else with it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from django.core.checks import CheckMessage
from django.utils import timezone

from lifespan_app.checks import system_checks
from lifespan_app.history.recording import spool
from lifespan_app.history.recording.maintenance import maintain
from lifespan_app.models import LifespanRun
from tests.history.databases import HistoryDatabase
from tests.history.recording import recorded
from tests.history.records import a_run

if TYPE_CHECKING:
    from pytest_django import Settings


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Iterator[Path]:
    """Return the folder that SPOOL_DIR names, which is not there, in a process that records."""
    folder = tmp_path / "there" / "spool"
    folder.parent.mkdir()
    settings.LIFESPAN = {"SPOOL_DIR": str(folder)}
    with recorded():
        yield folder


def told() -> list[CheckMessage]:
    return list(system_checks.check_spool())


# A check beforehand


def test_spool_folder_that_can_be_made_is_well(folder: Path) -> None:
    assert told() == []
    assert not folder.exists()

    folder.mkdir(0o700)
    assert told() == []


def test_spool_folder_that_others_may_enter_is_told(folder: Path) -> None:
    folder.mkdir(mode=0o755)

    [warning] = told()

    assert warning.id == "lifespan_app.W012"
    assert warning.msg == (
        "Records of runs that the database does not take can't wait in a file: "
        f"{folder} is open to other users (mode 755): chmod 700 {folder}."
    )


@pytest.mark.parametrize("kind", ["link", "file"])
def test_spool_folder_that_is_no_folder_is_told(folder: Path, kind: str, tmp_path: Path) -> None:
    if kind == "link":
        folder.symlink_to(tmp_path / "nowhere")
    else:
        folder.write_text("")

    [warning] = told()
    assert str(folder) in warning.msg


def test_spool_folder_that_can_not_be_made_is_told(settings: Settings, folder: Path) -> None:
    settings.LIFESPAN = {"SPOOL_DIR": "/proc/self/spool"}

    [warning] = told()

    assert "/proc/self" in warning.msg


class Volume(NamedTuple):
    f_bavail: int
    f_frsize: int = 4096


def test_full_disk_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: Volume(f_bavail=2))

    [warning] = told()

    assert f"{folder.parent} has 8,192 bytes left" in warning.msg


def test_project_without_history_needs_no_folder(settings: Settings, folder: Path) -> None:
    folder.mkdir(mode=0o755)
    settings.LIFESPAN = {**settings.LIFESPAN, "HISTORY": False}

    assert told() == []


def test_check_refuses_what_a_record_is_refused(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    file = spool.SpoolFile(folder, "one")

    with pytest.raises(OSError) as caught:  # noqa: PT011  # the message is compared
        file.append({"run": {}})

    assert str(caught.value) == spool.refusal()


# Each step by itself


def maintained() -> None:
    for pause in maintain():
        time.sleep(pause)


def test_old_runs_go_although_lost_ones_can_not_be_marked(
    sqlite_history: HistoryDatabase, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    now = timezone.now()
    for days in (200, 100):
        at = now - timedelta(days=days)
        a_run(host=f"{days} days", started_at=at, last_seen_at=at)
    a_run(host="silent", status="serving", lost_after=now - timedelta(seconds=1))
    sqlite_history.run(
        "CREATE TRIGGER refuse BEFORE UPDATE ON lifespan_app_lifespanrun"
        " BEGIN SELECT RAISE(ABORT, 'nobody is lost'); END"
    )

    maintained()

    assert set(LifespanRun.objects.values_list("host", flat=True)) == {"silent"}
    assert caplog.messages == [
        "Lost runs can't be marked: IntegrityError: nobody is lost. The next start tries again."
    ]


def test_refused_folder_keeps_nothing_from_being_done(
    sqlite_history: HistoryDatabase, folder: Path, settings: Settings
) -> None:
    folder.mkdir(mode=0o755)
    settings.LIFESPAN = {"HISTORY_DATABASE": sqlite_history.alias, "SPOOL_DIR": str(folder)}
    a_run(status="serving", lost_after=timezone.now() - timedelta(seconds=1))

    maintained()

    assert LifespanRun.objects.get().status == "lost"
