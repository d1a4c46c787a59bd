"""The databases of leases, and projects whose hooks run once."""

from __future__ import annotations

from collections.abc import Callable

from tests.clusters import Cluster, MariaDB, PostgreSQL
from tests.projects import Project

CLUSTERS: dict[str, Callable[[], Cluster]] = {"postgresql": PostgreSQL, "mariadb": MariaDB}
LEASE_SECONDS = 3

POLLING = """
import asyncio
import os

from journal import write
from lifespan_app import lifespan


@lifespan.background(once="cluster")
async def poll(context):
    write("leads", os.getpid(), context.lease.number)
    try:
        await asyncio.Event().wait()
    finally:
        write("stops", os.getpid())
"""
"""A job that one process leads."""


class Database:
    """A database that projects may use.

    Args:
        cluster: its server; None: SQLite.
    """

    def __init__(self, cluster: Cluster | None) -> None:
        self.cluster = cluster

    def empty(self) -> None:
        """Drop all tables."""
        if isinstance(self.cluster, PostgreSQL):
            self.cluster.query("DROP SCHEMA public CASCADE")
            self.cluster.query("CREATE SCHEMA public")
        elif isinstance(self.cluster, MariaDB):
            tables = self.cluster.query("SHOW TABLES")
            names = ", ".join(f"`{name}`" for [name] in tables)
            if names:
                self.cluster.query(f"SET STATEMENT foreign_key_checks=0 FOR DROP TABLE {names}")

    def serve(self, project: Project) -> Project:
        """Have a project use this database, with short leases."""
        if self.cluster is not None:
            self.cluster.serve(project)
        project.settings(
            LIFESPAN={"RELEASE": "1", "LEASE_SECONDS": LEASE_SECONDS},
            LOGGING={
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {"console": {"class": "logging.StreamHandler"}},
                "loggers": {"lifespan_app": {"level": "INFO", "handlers": ["console"]}},
            },
        )
        return project


def pids(project: Project, word: str) -> list[int]:
    """Return the processes that have written a word, in order."""
    events = [event.split() for event in project.events()]
    return [int(event[1]) for event in events if event[0] == word]
