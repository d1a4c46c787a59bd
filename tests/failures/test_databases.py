"""Failures of real databases say what is wrong, and which setting to correct."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from tests.clusters import MariaDB, PostgreSQL
from tests.failures.conftest import Fail
from tests.history.databases import opened, sqlite
from tests.needs import needs_mariadb, needs_postgresql
from tests.servers import _free_port


@pytest.fixture(autouse=True)
def queries(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Allow queries: each test has a database of its own."""
    with django_db_blocker.unblock():
        yield


class ByNetwork(PostgreSQL):
    """A PostgreSQL that asks for passwords by TCP, and has few connections."""

    def __init__(self) -> None:
        super().__init__()
        self.port = _free_port()

    def make(self) -> None:
        options = ["--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256"]
        self._run([self._tool("initdb"), f"--pgdata={self.data}", "--no-sync", *options])

    def command(self) -> list[str]:
        few = ["-c", "max_connections=8", "-c", "superuser_reserved_connections=2"]
        listen = ["-c", "listen_addresses=127.0.0.1", "-p", str(self.port)]
        return [*super().command(), *listen, *few]

    def query(self, sql: str) -> list[Any]:
        where = {"host": str(self.folder), "port": self.port, "user": "postgres"}
        with psycopg.connect(**where, dbname="postgres", autocommit=True) as connection:  # type: ignore[arg-type]
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def _answers(self) -> bool:
        self.socket = self.folder / f".s.PGSQL.{self.port}"
        return super()._answers()

    def entry(self, **changed: Any) -> dict[str, Any]:
        return {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": "127.0.0.1",
            "PORT": self.port,
            "USER": "shop",
            "PASSWORD": "not-a-word",
            "NAME": "postgres",
            **changed,
        }


@pytest.fixture(scope="module")
def postgresql() -> Iterator[ByNetwork]:
    with ByNetwork() as cluster:
        cluster.query("create role shop login password 'not-a-word'")
        cluster.query("create table private (id integer)")
        cluster.query("create table shelf (id integer)")
        cluster.query("grant select on shelf to shop")
        yield cluster


def query(alias: str, sql: str = "select 1") -> Callable[[], None]:
    """Return a hook that asks a database of Django's."""

    def shop() -> None:
        with closing(connections[alias]) as connection, connection.cursor() as cursor:
            cursor.execute(sql)

    return shop


@pytest.mark.once
@needs_postgresql
def test_postgresql_that_does_not_run_is_named(fail: Fail, postgresql: ByNetwork) -> None:
    port = _free_port()
    with opened(postgresql.entry(PORT=port), alias="books"):
        failed = fail(query("books"))
    assert failed.cause == (
        f"PostgreSQL at 127.0.0.1:{port} refuses connections (DATABASES['books']): no server listens there."
    )
    assert "correct HOST and PORT in DATABASES['books']" in failed.action


@needs_postgresql
def test_postgresql_without_the_database_is_named(fail: Fail, postgresql: ByNetwork) -> None:
    with opened(postgresql.entry(NAME="nosuch"), alias="books"):
        failed = fail(query("books"))
    assert failed.cause == (
        f"PostgreSQL at 127.0.0.1:{postgresql.port} has no database 'nosuch' (DATABASES['books'])."
    )
    assert failed.action == "Create it, or correct NAME in DATABASES['books']."


@needs_postgresql
def test_postgresql_with_a_wrong_password_is_named(fail: Fail, postgresql: ByNetwork) -> None:
    with opened(postgresql.entry(PASSWORD="another"), alias="books"):
        failed = fail(query("books"))
    assert "refuses the user 'shop' (DATABASES['books'])" in failed.cause
    assert failed.action.startswith("Correct USER and PASSWORD in DATABASES['books']")
    assert "another" not in failed.message


@needs_postgresql
def test_postgresql_without_a_free_connection_is_named(fail: Fail, postgresql: ByNetwork) -> None:
    where = {"host": "127.0.0.1", "port": postgresql.port, "dbname": "postgres"}
    with ExitStack() as held, opened(postgresql.entry(), alias="books"):
        with suppress(psycopg.OperationalError):
            while True:
                held.enter_context(psycopg.connect(**where, user="shop", password="not-a-word"))  # type: ignore[arg-type]
        failed = fail(query("books"))
    assert "has no free connection (DATABASES['books'])" in failed.cause
    assert "max_connections" in failed.action


@needs_postgresql
def test_postgresql_without_a_table_is_named(fail: Fail, postgresql: ByNetwork) -> None:
    with opened(postgresql.entry(), alias="books"):
        failed = fail(query("books", "select * from shop_book"))
    assert "has no table or column 'shop_book' (DATABASES['books'])" in failed.cause
    assert "Run 'manage.py migrate --database books'" in failed.action


@needs_postgresql
def test_postgresql_without_a_column_is_named(fail: Fail, postgresql: ByNetwork) -> None:
    with opened(postgresql.entry(), alias="books"):
        failed = fail(query("books", "select isbn from shelf"))
    assert "has no table or column 'isbn'" in failed.cause


@needs_postgresql
def test_postgresql_that_denies_a_table_is_named(fail: Fail, postgresql: ByNetwork) -> None:
    with opened(postgresql.entry(), alias="books"):
        failed = fail(query("books", "select * from private"))
    assert failed.cause.startswith("The database user may not do that in PostgreSQL at 127.0.0.1")


@needs_postgresql
def test_host_of_postgresql_without_an_address_is_named(fail: Fail, postgresql: ByNetwork) -> None:
    with opened(postgresql.entry(HOST="db.invalid"), alias="books"):
        failed = fail(query("books"))
    assert failed.cause.startswith(
        f"The host of PostgreSQL at db.invalid:{postgresql.port} can't be "
    )
    assert failed.action.startswith("Correct HOST in DATABASES['books']")


@needs_postgresql
def test_postgresql_by_its_driver_alone_is_named(
    fail: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = _free_port()
    monkeypatch.setenv("BOOKS_URL", f"postgresql://shop@127.0.0.1:{port}/books")

    async def shop() -> None:
        await psycopg.AsyncConnection.connect(f"postgresql://shop@127.0.0.1:{port}/books")

    failed = fail(shop)
    assert failed.cause == (
        f"PostgreSQL at 127.0.0.1:{port} refuses connections (the environment variable BOOKS_URL): no server "
        "listens there."
    )
    assert "or correct the environment variable BOOKS_URL." in failed.action


class MariaDBByNetwork(MariaDB):
    """A MariaDB that listens at a port."""

    def __init__(self) -> None:
        super().__init__()
        self.port = _free_port()

    def command(self) -> list[str]:
        own = [option for option in super().command() if option != "--skip-networking"]
        return [*own, f"--port={self.port}", "--bind-address=127.0.0.1"]

    def entry(self, **changed: Any) -> dict[str, Any]:
        return {
            "ENGINE": "django.db.backends.mysql",
            "HOST": "127.0.0.1",
            "PORT": self.port,
            "USER": "root",
            "NAME": "test",
            **changed,
        }


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDBByNetwork]:
    with MariaDBByNetwork() as cluster:
        yield cluster


@pytest.mark.once
@needs_mariadb
@pytest.mark.parametrize(
    ("changed", "sql", "cause"),
    [
        ({"PORT": 1}, "select 1", "MySQL or MariaDB at 127.0.0.1:1 refuses connections"),
        ({"NAME": "nosuch"}, "select 1", "has no database 'nosuch' (DATABASES['books'])"),
        ({"PASSWORD": "wrong-one"}, "select 1", "refuses the user 'root' (DATABASES['books'])"),
        ({}, "select * from shop_book", "has no table or column 'test.shop_book'"),
        ({}, "select isbn from mysql.user", "has no table or column 'isbn'"),
        ({"HOST": "db.invalid"}, "select 1", "The host of MySQL or MariaDB at db.invalid:"),
    ],
    ids=["does not run", "database", "password", "table", "column", "host"],
)
def test_failure_of_mariadb_is_named(
    fail: Fail, mariadb: MariaDBByNetwork, changed: dict[str, Any], sql: str, cause: str
) -> None:
    with opened(mariadb.entry(**changed), alias="books"):
        failed = fail(query("books", sql))
    assert cause in failed.cause
    assert failed.action


def test_sqlite_without_a_table_is_named(fail: Fail, tmp_path: Path) -> None:
    with opened(sqlite(tmp_path / "books"), alias="books"):
        failed = fail(query("books", "select * from shop_book"))
    assert failed.cause.startswith(
        f"SQLite at {tmp_path}/books has no table or column 'shop_book' (DATABASES['books'])"
    )


def test_sqlite_in_a_folder_that_is_missing_is_named(fail: Fail, tmp_path: Path) -> None:
    with opened(sqlite(tmp_path / "nosuch/books"), alias="books"):
        failed = fail(query("books"))
    assert f"The SQLite file {tmp_path}/nosuch/books can't be opened" in failed.cause
    assert failed.action == "Create the folder, or correct NAME in DATABASES['books']."


def test_sqlite_that_another_process_writes_is_named(fail: Fail, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "books")
    other.execute("create table shelf (id integer)")
    # Readers are let in: Django would leave a connection open that fails while it is set up.
    other.execute("begin immediate")
    entry = {**sqlite(tmp_path / "books"), "OPTIONS": {"timeout": 0}}
    try:
        with opened(entry, alias="books"):
            failed = fail(query("books", "insert into shelf values (1)"))
    finally:
        other.close()
    assert failed.cause.startswith("Another process holds a lock in SQLite")
