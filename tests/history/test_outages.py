"""A database that is down, slow, paused, locked, read-only or not migrated: the record survives it."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from django.db import connections
from django.utils import timezone

from lifespan_app import Lifespan
from lifespan_app.history.recording import (
    maintenance,
    record,
    spool,
    store,
    store_errors,
    timetable,
)
from lifespan_app.history.recording.maintenance import Pieces, maintain
from lifespan_app.history.recording.rows import Rows
from lifespan_app.models import LifespanRun
from tests.clusters import PostgreSQL
from tests.history.databases import HistoryDatabase, opened, sqlite
from tests.history.recording import has_status, recorded, there_is
from tests.history.records import a_run
from tests.needs import needs_postgresql

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker, Settings


DROP_CLIENTS = (
    "with clients as (select pg_terminate_backend(pid) from pg_stat_activity"
    " where backend_type = 'client backend' and pid <> pg_backend_pid()),"
    " noted as (update lifespan_app_lifespanrun set stopping_at = clock_timestamp())"
    " select count(*) from clients"
)
SEEN_SINCE_THEN = "select last_seen_at > stopping_at from lifespan_app_lifespanrun"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where runs wait."""
    return tmp_path / "spool"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a failed write tried again soon; how soon is no part of what is looked at here."""
    monkeypatch.setattr(timetable, "RETRIES", (0.05,))


@pytest.fixture(scope="module")
def one_cluster(django_db_blocker: DjangoDbBlocker) -> Iterator[PostgreSQL]:
    with PostgreSQL() as cluster:
        with django_db_blocker.unblock(), opened(cluster.database, kind="postgresql") as database:
            database.migrate()
        yield cluster


@pytest.fixture
def postgresql(
    one_cluster: PostgreSQL, folder: Path, settings: Settings, django_db_blocker: DjangoDbBlocker
) -> Iterator[PostgreSQL]:
    """Return a cluster of this module's own, up, whose tables are empty."""
    with django_db_blocker.unblock():
        entry = {**one_cluster.database, "CONN_MAX_AGE": None}
        with opened(entry, kind="postgresql") as database:
            database.clear()
            database.connection.close()
            settings.LIFESPAN = {"HISTORY_DATABASE": database.alias, "SPOOL_DIR": str(folder)}
            yield one_cluster
            records_end()


@pytest.fixture
def frequent_heartbeats(postgresql: PostgreSQL, settings: Settings) -> None:
    settings.LIFESPAN = {**settings.LIFESPAN, "HEARTBEAT": 0.2}


@pytest.fixture
def on_sqlite(sqlite_history: HistoryDatabase, folder: Path, settings: Settings) -> HistoryDatabase:
    settings.LIFESPAN = {**settings.LIFESPAN, "SPOOL_DIR": str(folder)}
    return sqlite_history


@pytest.fixture
def lifespan() -> Iterator[Lifespan]:
    with recorded() as lifespan:

        @lifespan.resource
        async def shelf() -> AsyncIterator[str]:
            yield "shelf"

        yield lifespan


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return a function that returns what was logged of the history, from WARNING up."""
    caplog.set_level(logging.INFO, "lifespan_app")

    def said() -> list[str]:
        return [
            one.getMessage()
            for one in caplog.records
            if one.levelno >= logging.WARNING and one.module in {"record", "maintenance"}
        ]

    return said


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return what is set when a record has looked after others: after that it only writes."""
    looked = threading.Event()

    def look(*options: Callable[[], bool]) -> Pieces:
        yield from maintain(*options)
        looked.set()

    monkeypatch.setattr(maintenance, "maintain", look)
    return looked


async def all_is_written(looked: threading.Event) -> None:
    """Wait until nothing is left to be written of a run that serves."""
    await has_status("serving")
    await there_is(LifespanRun.objects.filter(steps__phase="startup"))
    await until(looked.is_set)


async def one_run(lifespan: Lifespan) -> None:
    async with lifespan.run():
        pass


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []


def a_silent_run() -> None:
    """Record a run that has given no sign of life for too long."""
    past = timezone.now() - timedelta(minutes=1)
    a_run(status="serving", service_type="silent", lost_after=past)
    connections["history"].close()


def kept() -> list[tuple[str, int, bool]]:
    """Return the status, the number of steps, and whether it was late, of each run there is."""
    runs = LifespanRun.objects.order_by("started_at")
    return [(run.status, run.steps.count(), run.recorded_late) for run in runs]


def records_end() -> None:
    """Wait for the threads of records that were given up, and that the database goes on with."""
    for thread in threading.enumerate():
        if thread.name.startswith("lifespan record"):
            thread.join(60)


def last_status(lines: list[str]) -> str:
    """Return the status of the run in the last entry that has it."""
    [*_, last] = [entry["run"] for line in lines if "run" in (entry := json.loads(line))]
    return str(last["status"])


async def until(look: Callable[[], object]) -> None:
    while not look():
        await asyncio.sleep(0.01)


def test_clean_run_leaves_no_file(
    on_sqlite: HistoryDatabase, lifespan: Lifespan, folder: Path
) -> None:
    asyncio.run(one_run(lifespan))

    assert kept() == [("stopped", 2, False)]
    assert files(folder) == []


@needs_postgresql
class TestADatabaseThatIsDown:
    @pytest.mark.once
    def test_database_that_is_down_gets_what_waited_from_the_next_start(
        self,
        postgresql: PostgreSQL,
        lifespan: Lifespan,
        folder: Path,
        warnings: Callable[[], list[str]],
    ) -> None:
        postgresql.stop()
        try:
            asyncio.run(one_run(lifespan))
        finally:
            postgresql.start()
        [file] = files(folder)
        [warning] = warnings()
        assert warning.startswith("Can't write run history to the database 'history': Operational")
        assert warning.endswith(
            f"Start it, or set HISTORY to False. Pending records are in {file}."
        )

        async def next_start() -> None:
            async with lifespan.run():
                await until(lambda: not files(folder))

        asyncio.run(next_start())
        assert kept() == [("stopped", 2, True), ("stopped", 2, False)]
        assert len(warnings()) == 1

    @pytest.mark.slow
    def test_processes_that_could_not_write_either_get_time_before_they_are_called_lost(
        self,
        postgresql: PostgreSQL,
        lifespan: Lifespan,
        settings: Settings,
        warnings: Callable[[], list[str]],
        looked: threading.Event,
    ) -> None:
        settings.LIFESPAN = {**settings.LIFESPAN, "HEARTBEAT": 2}

        async def beat_after(run: LifespanRun) -> LifespanRun:
            return await there_is(
                LifespanRun.objects.filter(pk=run.pk, last_seen_at__gt=run.last_seen_at)
            )

        async def main() -> None:
            async with lifespan.run():
                await all_is_written(looked)
                await asyncio.to_thread(postgresql.stop)
                await until(warnings)
                await asyncio.to_thread(postgresql.start)
                await asyncio.to_thread(a_silent_run)
                run = await there_is(LifespanRun.objects.filter(service_type="app"))
                await beat_after(await beat_after(run))
                await there_is(LifespanRun.objects.filter(service_type="silent", status="serving"))
                await has_status("lost")

        asyncio.run(main())

    @pytest.mark.usefixtures("frequent_heartbeats")
    def test_next_attempt_is_made_after_a_heartbeat_at_the_latest(
        self,
        postgresql: PostgreSQL,
        lifespan: Lifespan,
        monkeypatch: pytest.MonkeyPatch,
        warnings: Callable[[], list[str]],
    ) -> None:
        """Else other processes would call the run lost."""
        monkeypatch.setattr(timetable, "RETRIES", (1_000.0,))

        async def main() -> None:
            async with lifespan.run():
                await until(warnings)
                await asyncio.to_thread(postgresql.start)
                await has_status("serving")

        postgresql.stop()
        asyncio.run(main())

    @pytest.mark.usefixtures("frequent_heartbeats")
    def test_run_that_ended_meanwhile_is_taken_from_its_file_by_a_process_that_goes_on(
        self,
        postgresql: PostgreSQL,
        lifespan: Lifespan,
        folder: Path,
        warnings: Callable[[], list[str]],
        looked: threading.Event,
    ) -> None:
        uuid = str(uuid4())

        def ends() -> None:
            now = time.time()
            row = {"uuid": uuid, "mode": "server", "service_type": "other", "pid": 1}
            times = {"started_at": now, "last_seen_at": now}
            file = spool.SpoolFile(folder, uuid)
            file.append({"run": {**row, **times, "status": "stopped"}})
            file.close()

        async def main() -> None:
            async with lifespan.run():
                await all_is_written(looked)
                await asyncio.to_thread(postgresql.stop)
                await until(warnings)
                ends()
                await asyncio.to_thread(postgresql.start)
                await there_is(LifespanRun.objects.filter(uuid=uuid, status="stopped"))

        asyncio.run(main())

    def test_process_that_began_without_the_database_gives_them_that_time_too(
        self,
        postgresql: PostgreSQL,
        lifespan: Lifespan,
        warnings: Callable[[], list[str]],
        looked: threading.Event,
    ) -> None:
        a_silent_run()

        async def main() -> None:
            async with lifespan.run():
                await until(warnings)
                await asyncio.to_thread(postgresql.start)
                await until(looked.is_set)

        postgresql.stop()
        asyncio.run(main())

        assert LifespanRun.objects.get(service_type="silent").status == "serving"

    def test_pool_whose_connections_are_all_in_use_is_no_database_to_start(
        self,
        postgresql: PostgreSQL,
        lifespan: Lifespan,
        folder: Path,
        settings: Settings,
        warnings: Callable[[], list[str]],
    ) -> None:
        pool = {"min_size": 1, "max_size": 1, "timeout": 0.2}
        entry = {**postgresql.database, "OPTIONS": {"pool": pool}}
        with opened(entry, kind="postgresql", alias="pooled") as database:
            settings.LIFESPAN = {**settings.LIFESPAN, "HISTORY_DATABASE": database.alias}
            database.run("select 1")  # on the only connection, which this thread keeps
            asyncio.run(one_run(lifespan))
            records_end()
            database.connection.close()
            database.connection.close_pool()  # type: ignore[attr-defined]  # of PostgreSQL's only

        [warning] = warnings()
        assert "'pooled': OperationalError: couldn't get a connection after" in warning
        assert "All connections are in use. Raise max_size of the pool" in warning
        assert "Start it" not in warning

    def test_database_that_comes_back_while_serving_gets_everything(
        self,
        postgresql: PostgreSQL,
        lifespan: Lifespan,
        folder: Path,
        caplog: pytest.LogCaptureFixture,
        warnings: Callable[[], list[str]],
    ) -> None:
        async def main() -> None:
            async with lifespan.run():
                await until(lambda: files(folder))
                await asyncio.to_thread(postgresql.start)
                await has_status("serving")
                await until(lambda: not files(folder))

        postgresql.stop()
        asyncio.run(main())

        assert kept() == [("stopped", 2, False)]
        assert len(warnings()) == 1
        assert "The history of this run is in the database again." in caplog.messages

    def test_database_that_is_down_between_writes_is_not_noticed(
        self,
        postgresql: PostgreSQL,
        lifespan: Lifespan,
        warnings: Callable[[], list[str]],
        looked: threading.Event,
    ) -> None:
        async def main() -> None:
            async with lifespan.run():
                await all_is_written(looked)
                # The record's connection, which CONN_MAX_AGE keeps open, is dropped.
                await asyncio.to_thread(postgresql.restart)

        asyncio.run(main())
        assert kept() == [("stopped", 2, False)]
        assert warnings() == []

    @pytest.mark.usefixtures("frequent_heartbeats")
    def test_database_that_is_down_between_heartbeats_is_not_noticed(
        self,
        postgresql: PostgreSQL,
        lifespan: Lifespan,
        warnings: Callable[[], list[str]],
    ) -> None:
        """Also where a connection is dropped that nobody uses, as firewalls and poolers do."""

        async def main() -> None:
            async with lifespan.run():
                await has_status("serving")
                await there_is(LifespanRun.objects.filter(steps__phase="startup"))
                [[dropped]] = await asyncio.to_thread(postgresql.query, DROP_CLIENTS)
                assert dropped
                await until(lambda: postgresql.query(SEEN_SINCE_THEN) == [(True,)])

        asyncio.run(main())
        connections["history"].close()
        assert kept() == [("stopped", 2, False)]
        assert warnings() == []

    @pytest.mark.usefixtures("frequent_heartbeats")
    def test_database_that_is_down_for_heartbeats_is_told_once(
        self,
        postgresql: PostgreSQL,
        lifespan: Lifespan,
        folder: Path,
        warnings: Callable[[], list[str]],
        looked: threading.Event,
    ) -> None:
        async def main() -> None:
            async with lifespan.run():
                await all_is_written(looked)
                await asyncio.to_thread(postgresql.stop)
                await until(warnings)
                await asyncio.to_thread(postgresql.start)

        asyncio.run(main())
        [warning] = warnings()
        assert warning.endswith(f"Pending records are in {folder}.")
        assert kept() == [("stopped", 2, False)]


@needs_postgresql
class TestADatabaseThatIsPaused:
    @pytest.mark.slow
    @pytest.mark.once
    def test_paused_database_holds_up_neither_the_startup_nor_the_service(
        self, postgresql: PostgreSQL, lifespan: Lifespan, warnings: Callable[[], list[str]]
    ) -> None:
        async def main() -> None:
            with postgresql.paused():
                async with lifespan.run():
                    assert warnings() == []
                    await until(warnings)
                    assert "a write has taken more than 5 s" in warnings()[0]

        asyncio.run(main())

    @pytest.mark.slow
    def test_paused_database_lets_no_process_call_others_lost_that_waited_too(
        self,
        postgresql: PostgreSQL,
        lifespan: Lifespan,
        settings: Settings,
        looked: threading.Event,
    ) -> None:
        settings.LIFESPAN = {**settings.LIFESPAN, "HEARTBEAT": 2}

        async def main() -> None:
            async with lifespan.run():
                await all_is_written(looked)
                with postgresql.paused():
                    # Longer than a heartbeat: one waits for the database.
                    await asyncio.sleep(5)
                await asyncio.to_thread(a_silent_run)
                ours = LifespanRun.objects.filter(service_type="app")
                for _ in range(2):
                    before = await there_is(ours)
                    await there_is(ours.filter(last_seen_at__gt=before.last_seen_at))
                await there_is(LifespanRun.objects.filter(service_type="silent", status="serving"))
                await has_status("lost")

        asyncio.run(main())

    def test_paused_database_is_waited_for_as_long_as_the_shutdown_allows(
        self,
        postgresql: PostgreSQL,
        lifespan: Lifespan,
        folder: Path,
        settings: Settings,
        warnings: Callable[[], list[str]],
    ) -> None:
        settings.LIFESPAN = {**settings.LIFESPAN, "SHUTDOWN_DEADLINE": 0.5}
        with postgresql.paused():
            asyncio.run(one_run(lifespan))
            [file] = files(folder)
            assert last_status(file.read_text().splitlines()) == "stopped"
        [warning] = warnings()
        assert "Check why it is slow." in warning

    @pytest.mark.slow
    @pytest.mark.once
    def test_paused_database_gets_everything_when_it_goes_on(
        self, postgresql: PostgreSQL, lifespan: Lifespan, folder: Path
    ) -> None:
        with postgresql.paused():
            asyncio.run(one_run(lifespan))
            assert len(files(folder)) == 1
        records_end()

        assert kept() == [("stopped", 2, False)]
        assert files(folder) == []


def test_run_whose_end_waits_in_a_file_is_not_lost(
    on_sqlite: HistoryDatabase, folder: Path
) -> None:
    """Also while another process imports the file."""
    past = timezone.now() - timedelta(minutes=1)
    runs = [a_run(status="serving", lost_after=past) for _ in range(2)]
    held = []
    for run in runs:
        file = spool.SpoolFile(folder, str(run.uuid))
        row = {"uuid": str(run.uuid), "status": "stopped", "last_seen_at": time.time()}
        file.append({"run": row})
        held.append(file)
    held[0].close()

    for pause in maintenance.look_for_lost():
        time.sleep(pause)
    held[1].close()

    assert [LifespanRun.objects.get(pk=run.pk).status for run in runs] == ["stopped", "serving"]


class TestTablesThatAreMissing:
    def test_missing_tables_are_named_once_and_found_when_made(
        self,
        tmp_path: Path,
        folder: Path,
        lifespan: Lifespan,
        settings: Settings,
        django_db_blocker: DjangoDbBlocker,
        warnings: Callable[[], list[str]],
    ) -> None:
        entry = sqlite(tmp_path / "new.sqlite3")
        settings.LIFESPAN = {"HISTORY_DATABASE": "history", "SPOOL_DIR": str(folder)}
        with django_db_blocker.unblock(), opened(entry) as database:

            async def main() -> None:
                async with lifespan.run():
                    await until(warnings)
                    await asyncio.to_thread(database.migrate)
                    await has_status("serving")

            asyncio.run(main())
            [warning] = warnings()
            assert "no such table" in warning
            assert "Run 'manage.py migrate lifespan_app' on that database." in warning
            assert kept() == [("stopped", 2, False)]


@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
class TestALockedSQLite:
    @pytest.fixture(autouse=True)
    def opened_at_once(
        self, on_sqlite: HistoryDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[None]:
        """SQLite 3.53 asks for the lock when it is opened, where Python waits 5 s for it."""
        monkeypatch.setitem(connections["history"].settings_dict["OPTIONS"], "timeout", 0.1)
        yield
        # Django does not close a connection that it could not set up.
        gc.collect()

    def test_locked_sqlite_is_tried_again_and_told_once(
        self,
        on_sqlite: HistoryDatabase,
        lifespan: Lifespan,
        monkeypatch: pytest.MonkeyPatch,
        warnings: Callable[[], list[str]],
    ) -> None:
        monkeypatch.setattr(record, "PATIENCE", 0.3)
        other = sqlite3.connect(on_sqlite.entry["NAME"], isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")

        async def main() -> None:
            async with lifespan.run():
                await until(lambda: any("is locked" in one for one in warnings()))
                other.execute("COMMIT")
                await has_status("serving")

        asyncio.run(main())
        other.close()
        assert sum("is locked" in one for one in warnings()) == 1
        assert kept() == [("stopped", 2, False)]

    def test_sqlite_locked_for_a_moment_is_not_told(
        self,
        on_sqlite: HistoryDatabase,
        lifespan: Lifespan,
        monkeypatch: pytest.MonkeyPatch,
        warnings: Callable[[], list[str]],
    ) -> None:
        noticed = threading.Event()
        is_lock_error = store_errors.is_lock_error

        def notice(error: Exception) -> bool:
            noticed.set()
            return is_lock_error(error)

        monkeypatch.setattr(store, "is_lock_error", notice)
        other = sqlite3.connect(on_sqlite.entry["NAME"], isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")

        async def main() -> None:
            async with lifespan.run():
                await until(noticed.is_set)
                other.execute("COMMIT")
                await has_status("serving")

        asyncio.run(main())
        other.close()
        assert warnings() == []

    def test_sqlite_locked_for_a_moment_lets_a_start_mark_lost_runs(
        self,
        on_sqlite: HistoryDatabase,
        monkeypatch: pytest.MonkeyPatch,
        warnings: Callable[[], list[str]],
    ) -> None:
        """Workers that start at once are in one another's way."""
        now = timezone.now()
        a_run(status="serving", lost_after=now - timedelta(seconds=1))
        noticed = threading.Event()
        is_lock_error = store_errors.is_lock_error

        def notice(error: Exception) -> bool:
            noticed.set()
            return is_lock_error(error)

        def look() -> None:
            for pause in maintain():
                time.sleep(pause)
            connections["history"].close()

        monkeypatch.setattr(maintenance, "is_lock_error", notice)
        other = sqlite3.connect(on_sqlite.entry["NAME"], isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        thread = threading.Thread(target=look)
        thread.start()
        assert noticed.wait(30)
        other.execute("COMMIT")
        thread.join()
        other.close()

        assert warnings() == []
        assert kept() == [("lost", 0, False)]


class TestAReadOnlyDatabase:
    def test_read_only_database_is_named_with_what_to_do(
        self,
        on_sqlite: HistoryDatabase,
        folder: Path,
        lifespan: Lifespan,
        settings: Settings,
        warnings: Callable[[], list[str]],
    ) -> None:
        entry = {**on_sqlite.entry, "NAME": f"file:{on_sqlite.entry['NAME']}?mode=ro"}
        settings.LIFESPAN = {"HISTORY_DATABASE": "read_only", "SPOOL_DIR": str(folder)}
        with opened(entry, alias="read_only"):
            asyncio.run(one_run(lifespan))
        [warning] = warnings()
        assert "attempt to write a readonly database" in warning
        assert "Set HISTORY_DATABASE to a database that can be written to" in warning


class TestAnAliasThatIsMissing:
    def test_missing_alias_is_named_with_what_to_do(
        self,
        lifespan: Lifespan,
        settings: Settings,
        folder: Path,
        warnings: Callable[[], list[str]],
    ) -> None:
        settings.LIFESPAN = {"HISTORY_DATABASE": "nowhere", "SPOOL_DIR": str(folder)}
        asyncio.run(one_run(lifespan))
        [warning] = warnings()
        assert "Set HISTORY_DATABASE to an alias in DATABASES." in warning


class TestAFolderThatCantBeWritten:
    def test_unwritable_folder_leaves_the_record_in_the_log(
        self,
        lifespan: Lifespan,
        settings: Settings,
        folder: Path,
        warnings: Callable[[], list[str]],
    ) -> None:
        folder.write_text("no folder")
        settings.LIFESPAN = {"HISTORY_DATABASE": "nowhere", "SPOOL_DIR": str(folder)}
        asyncio.run(one_run(lifespan))
        said = warnings()
        [why] = [one for one in said if not one.startswith("{")]
        logged = [one for one in said if one.startswith("{")]

        assert "It can't wait in a file either (" in why
        assert last_status(logged) == "stopped"
        assert any(json.loads(one).get("steps") for one in logged)


def test_file_that_is_full_begins_anew_with_what_counts(
    lifespan: Lifespan, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool.SpoolFile.__init__, "__defaults__", (4000,))
    settings.LIFESPAN = {"HISTORY_DATABASE": "nowhere", "SPOOL_DIR": str(folder)}
    begun_anew = threading.Event()
    discard = spool.SpoolFile.discard

    def notice(file: spool.SpoolFile) -> None:
        discard(file)
        begun_anew.set()

    monkeypatch.setattr(spool.SpoolFile, "discard", notice)

    async def main() -> None:
        @lifespan.background(on_crash="restart")
        async def job() -> None:
            raise OSError("it falls")

        async with lifespan.run():
            await until(begun_anew.is_set)

    asyncio.run(main())
    [file] = files(folder)
    assert last_status(file.read_text().splitlines()) == "stopped"


def test_part_that_cannot_be_made_is_left_out_and_the_rest_is_kept(
    on_sqlite: HistoryDatabase,
    lifespan: Lifespan,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise AttributeError("a fault of ours")

    monkeypatch.setattr(Rows, "steps", fail)
    asyncio.run(one_run(lifespan))

    assert kept() == [("stopped", 0, False)]
    excluded = [text for text in caplog.messages if text.endswith("is left out.")]
    assert len(excluded) == 2
