"""The databases that the record of runs is kept in: tests ask for `history_database`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lifespan_app import Lifespan
from tests.clusters import MariaDB, PostgreSQL
from tests.history.databases import HistoryDatabase, copied, opened, sqlite
from tests.history.recording import recorded
from tests.needs import needs_mariadb, needs_postgresql

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker, Settings

Prepare = Callable[[str], dict[str, Any]]

KINDS = [
    "sqlite",
    pytest.param("postgresql", marks=needs_postgresql),
    pytest.param("mariadb", marks=needs_mariadb),
    pytest.param("latin1", marks=needs_mariadb),
]


@pytest.fixture(params=KINDS)
def history_database(
    request: pytest.FixtureRequest,
    prepared: Prepare,
    tmp_path: Path,
    settings: Settings,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[HistoryDatabase]:
    """Return a database with the empty tables of the history, which HISTORY_DATABASE names.

    The test runs once with each kind: SQLite in a file, PostgreSQL, MariaDB, and a MariaDB
    database whose columns take no emoji. The servers are those of the whole test run: a test that
    stops, pauses or fills one starts its own.
    """
    with django_db_blocker.unblock(), a_database(request.param, prepared, tmp_path) as database:
        settings.LIFESPAN = {"HISTORY_DATABASE": database.alias}
        yield database


@pytest.fixture
def sqlite_history(
    prepared: Prepare, tmp_path: Path, settings: Settings, django_db_blocker: DjangoDbBlocker
) -> Iterator[HistoryDatabase]:
    """Return what `history_database` does, SQLite's only: for what no database does differently."""
    with django_db_blocker.unblock(), a_database("sqlite", prepared, tmp_path) as database:
        settings.LIFESPAN = {"HISTORY_DATABASE": database.alias}
        yield database


@contextmanager
def a_database(kind: str, prepared: Prepare, folder: Path) -> Iterator[HistoryDatabase]:
    """Open a database whose tables are empty."""
    entry = prepared(kind)
    if kind == "sqlite":
        entry = copied(Path(entry["NAME"]), folder / "history.sqlite3")
    with opened(entry, kind=kind) as database:
        database.clear()
        yield database


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepare]:
    """Return what gives the entry of a kind of database, made and migrated when first asked for."""
    with ExitStack() as servers:

        @cache
        def mariadb() -> MariaDB:
            return servers.enter_context(MariaDB())

        def made(kind: str) -> dict[str, Any]:
            if kind == "sqlite":
                return sqlite(tmp_path_factory.mktemp("history") / "template.sqlite3")
            if kind == "postgresql":
                return servers.enter_context(PostgreSQL()).database
            if kind == "latin1":
                mariadb().query("CREATE DATABASE latin1 CHARACTER SET latin1")
                return {**mariadb().database, "NAME": "latin1"}
            mariadb().query("ALTER DATABASE test CHARACTER SET utf8mb4")
            return mariadb().database

        @cache
        def migrated(kind: str) -> dict[str, Any]:
            entry = made(kind)
            with opened(entry, kind=kind) as database:
                database.migrate()
            return entry

        yield migrated


@pytest.fixture
def lifespan(history_database: HistoryDatabase) -> Iterator[Lifespan]:
    """Return a lifespan whose runs are recorded, in each kind of database."""
    with recorded() as lifespan:
        yield lifespan


@pytest.fixture
def on_sqlite(sqlite_history: HistoryDatabase) -> Iterator[Lifespan]:
    """Return a lifespan whose runs are recorded in SQLite."""
    with recorded() as lifespan:
        yield lifespan
