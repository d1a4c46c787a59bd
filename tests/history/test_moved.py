"""A file waits for the database that it was meant for, however the settings are written."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lifespan_app.history.recording import spool
from lifespan_app.history.recording.maintenance import maintain
from lifespan_app.history.recording.spool import SpoolFile, claimed
from tests.history.databases import MYSQL, copied, opened, sqlite

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker, Settings

POSTGRESQL = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "shop",
    "USER": "shop",
    "HOST": "db.example",
    "PORT": "",
}


class Places:
    """Databases that the history is in, one after the other."""

    def __init__(self, settings: Settings, stack: ExitStack, folder: Path) -> None:
        self.folder = folder
        self._settings = settings
        self._stack = stack
        self._opened: dict[str, ExitStack] = {}

    def move_to(self, entry: dict[str, Any], alias: str = "history") -> None:
        """Have the history in a database from now on."""
        if before := self._opened.pop(alias, None):
            before.close()
        here = self._opened[alias] = self._stack.enter_context(ExitStack())
        here.enter_context(opened(entry, alias=alias))
        self._settings.LIFESPAN = {"HISTORY_DATABASE": alias, "SPOOL_DIR": str(self.folder)}

    def leave(self, uuid: str = "one") -> None:
        """Leave the file of a run whose process is gone."""
        file = SpoolFile(self.folder, uuid)
        file.append({"run": {"pid": 1}})
        file.close()

    def waiting(self) -> list[str]:
        """Return the runs that would be imported."""
        return [one.uuid for one in claimed(self.folder)]


@pytest.fixture
def places(
    settings: Settings, tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> Iterator[Places]:
    with django_db_blocker.unblock(), ExitStack() as stack:
        yield Places(settings, stack, tmp_path / "spool")


def empty(file: Path) -> dict[str, Any]:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return sqlite(file)


# It is another one.


def test_relative_path_is_another_database_in_another_project(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for project in ("shop", "blog"):
        empty(tmp_path / project / "db.sqlite3")
    monkeypatch.chdir(tmp_path / "shop")
    places.move_to(sqlite(Path("db.sqlite3")))
    places.leave()
    monkeypatch.chdir(tmp_path / "blog")

    assert places.waiting() == []

    monkeypatch.chdir(tmp_path / "shop")
    assert places.waiting() == ["one"]


def test_same_path_is_another_database_in_another_container(places: Places, tmp_path: Path) -> None:
    """What a container mounts at a path looks from inside as if the file had been exchanged."""
    at = tmp_path / "app" / "db.sqlite3"
    places.move_to(empty(at))
    places.leave()
    (tmp_path / "app").rename(tmp_path / "of the first container")
    places.move_to(empty(at))

    assert places.waiting() == []


def test_servers_with_sockets_of_their_own_are_two_databases(places: Places) -> None:
    for folder in ("first", "second"):
        options = {"unix_socket": f"/run/{folder}/socket"}
        places.move_to({"ENGINE": MYSQL, "NAME": "test", "OPTIONS": options})
        if folder == "first":
            places.leave()

    assert places.waiting() == []


@pytest.mark.parametrize(
    "change", [{"HOST": "db2.example"}, {"PORT": "5433"}, {"NAME": "blog"}], ids=str
)
def test_another_address_is_another_database(places: Places, change: dict[str, str]) -> None:
    places.move_to(POSTGRESQL)
    places.leave()
    places.move_to({**POSTGRESQL, **change})

    assert places.waiting() == []


# It is the same one.


def test_renamed_alias_is_the_same_database(places: Places, tmp_path: Path) -> None:
    for entry in (POSTGRESQL, empty(tmp_path / "db.sqlite3")):
        places.move_to(entry, alias="history")
        places.leave(entry["ENGINE"].rpartition(".")[2])
        places.move_to(entry, alias="records")
        assert places.waiting()


def test_linked_path_is_the_same_database(places: Places, tmp_path: Path) -> None:
    at = tmp_path / "app" / "db.sqlite3"
    places.move_to(empty(at))
    places.leave()
    (tmp_path / "link").symlink_to(at.parent)
    (tmp_path / "link.sqlite3").symlink_to(at)
    at.with_name("hard.sqlite3").hardlink_to(at)
    relative = Path(os.path.relpath(at))

    for way in (
        tmp_path / "link" / "db.sqlite3",
        tmp_path / "link.sqlite3",
        at.with_name("hard.sqlite3"),
        relative,
        Path(f"file:{at}?mode=rw"),
    ):
        places.move_to(sqlite(way))
        assert places.waiting() == ["one"], way


def test_renamed_file_is_the_same_database(places: Places, tmp_path: Path) -> None:
    places.move_to(empty(tmp_path / "old.sqlite3"))
    places.leave()
    (tmp_path / "old.sqlite3").rename(tmp_path / "new.sqlite3")
    places.move_to(sqlite(tmp_path / "new.sqlite3"))

    assert places.waiting() == ["one"]


@pytest.mark.parametrize(
    "change",
    [
        {"PORT": 5432},
        {"HOST": "DB.example"},
        {"USER": "another", "PASSWORD": "another"},
        {"OPTIONS": {"sslmode": "require"}, "CONN_MAX_AGE": 60},
        {"ENGINE": "tests.history.wrapped"},
    ],
    ids=str,
)
def test_settings_written_another_way_are_the_same_database(
    places: Places, change: dict[str, Any]
) -> None:
    places.move_to(POSTGRESQL)
    places.leave()
    places.move_to({**POSTGRESQL, **change})

    assert places.waiting() == ["one"]


def test_file_that_is_made_later_is_the_same_database(places: Places, tmp_path: Path) -> None:
    """The folder of a database is a volume that was mounted late."""
    at = tmp_path / "late" / "db.sqlite3"
    places.move_to(sqlite(at))
    places.leave()
    empty(at)

    assert places.waiting() == ["one"]


# It has moved.


def maintained() -> None:
    for pause in maintain():
        time.sleep(pause)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    return [one for one in found if "another database" in one]


def test_files_of_a_moved_database_are_named_once_with_the_cure(
    places: Places, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    places.move_to(empty(tmp_path / "old.sqlite3"))
    for uuid in ("one", "two"):
        places.leave(uuid)
    moved = copied(tmp_path / "old.sqlite3", tmp_path / "new.sqlite3")
    places.move_to(moved)

    maintained()
    maintained()

    [said] = told(caplog)
    assert said.startswith(f"2 records of runs wait in {places.folder} for another database")
    assert places.waiting() == []
    command = said.rpartition("next start: ")[2]
    subprocess.run(["sh", "-c", command], check=True)
    assert sorted(places.waiting()) == ["one", "two"]


def test_files_of_another_project_are_not_named(
    places: Places,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places.move_to(empty(tmp_path / "its.sqlite3"))
    with monkeypatch.context() as other:
        other.setattr(spool, "project_id", lambda: "0" * 8)
        places.leave()
    places.move_to(empty(tmp_path / "ours.sqlite3"))

    maintained()

    assert told(caplog) == []


def test_file_of_a_process_that_lives_is_not_named(
    places: Places, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    places.move_to(empty(tmp_path / "its.sqlite3"))
    file = SpoolFile(places.folder, "one")
    file.append({"run": {"pid": 1}})
    places.move_to(empty(tmp_path / "ours.sqlite3"))

    maintained()
    file.close()

    assert told(caplog) == []
