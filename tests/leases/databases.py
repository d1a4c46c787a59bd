"""The databases of leases, and projects whose hooks run once."""

from __future__ import annotations

from tests.clusters import Cluster, MariaDB, PostgreSQL
from tests.projects import Project

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

WRITING = """
import asyncio
import os
import threading
import time

from django.db import connection
from journal import write
from lifespan_app import lifespan


def run(number, stopped):
    said = None
    # A thread can't be cancelled: it writes on until its number is refused.
    while said != "refused" and not (stopped.is_set() and said is None):
        with connection.cursor() as cursor:
            cursor.execute("UPDATE fence SET number = %s WHERE number <= %s", [number, number])
            now = "wrote" if cursor.rowcount else "refused"
        if now != said:
            write(now, os.getpid(), number)
            said = now
        # It is paused here, and not with the lock of SQLite.
        time.sleep(0.5)


@lifespan.on_start
def make_fence():
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS fence AS SELECT 0 AS number")


@lifespan.background(once="cluster")
async def lead(context):
    write("leads", os.getpid(), context.lease.number)
    stopped = threading.Event()
    try:
        await asyncio.to_thread(run, context.lease.number, stopped)
    finally:
        stopped.set()
        write("stops", os.getpid())
"""
"""A job whose thread writes with its number, and goes on for as long as that is not refused."""


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
