"""Databases for the record of runs, under an alias that is there for one test.

    with opened(cluster.database, alias="history") as database:
        database.migrate()
        ...

Django knows the alias while the block lasts, in every thread.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from lifespan_app.models import LifespanAlert, LifespanLease, LifespanRun, LifespanStep
from tests.clusters import TAKE_PYMYSQL, PostgreSQL
from tests.projects import Project

MYSQL = "django.db.backends.mysql"


@dataclass(frozen=True, kw_only=True)
class HistoryDatabase:
    """A database under an alias."""

    kind: str
    """The variant: `sqlite`, `postgresql`, `mariadb`, or `latin1`, a MariaDB that takes no emoji."""
    alias: str
    entry: dict[str, Any]
    """Its entry in DATABASES, as a project of the test's own can have it too."""

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The connection of the thread that asks."""
        return connections[self.alias]

    def migrate(self) -> None:
        """Make the tables of the history."""
        call_command("migrate", "lifespan_app", database=self.alias, verbosity=0)

    def clear(self) -> None:
        """Remove all rows of the history."""
        for model in (LifespanStep, LifespanRun, LifespanAlert, LifespanLease):
            with self.connection.cursor() as cursor:
                cursor.execute(f"DELETE FROM {model._meta.db_table}")

    def run(self, sql: str) -> list[Any]:
        """Run a statement on the connection of the thread that asks, and return its rows."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def serve(self, project: Project, alias: str = "default", **options: Any) -> None:
        """Have a project use this database; `options` are added to its entry in DATABASES."""
        databases = {alias: {**self.entry, **options}}
        databases.setdefault(
            "default", {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        )
        project.settings(DATABASES=databases)
        if self.entry["ENGINE"] == MYSQL:
            project.settings(TAKE_PYMYSQL)


@contextmanager
def opened(
    entry: dict[str, Any], *, kind: str = "", alias: str = "history"
) -> Iterator[HistoryDatabase]:
    """Have Django know a database by an alias; its connection in this thread is closed at the end.

    Connections of other threads are those threads' to close.
    """
    if entry["ENGINE"] == MYSQL:
        exec(TAKE_PYMYSQL, {})
    settings = {**entry, "OPTIONS": dict(entry.get("OPTIONS", {}))}
    # Fills in what Django expects of an entry.
    connections.settings.update(
        {alias: connections.configure_settings({"default": {}, alias: settings})[alias]}
    )
    try:
        yield HistoryDatabase(kind=kind, alias=alias, entry=entry)
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


@contextmanager
def postgresql_in_latin1(alias: str) -> Iterator[HistoryDatabase]:
    """Have Django know a database of a PostgreSQL of its own by an alias: its columns take no emoji."""
    with PostgreSQL() as cluster:
        with opened(cluster.database, alias="maker") as maker:
            maker.run("CREATE DATABASE latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        with opened({**cluster.database, "NAME": "latin1"}, kind="latin1", alias=alias) as database:
            database.migrate()
            yield database


def copied(template: Path, to: Path) -> dict[str, Any]:
    """Return the entry of an SQLite database that is a copy of another's file."""
    shutil.copyfile(template, to)
    return sqlite(to)


def sqlite(file: Path) -> dict[str, Any]:
    """Return the entry of an SQLite database in a file."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}
