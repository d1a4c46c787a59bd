"""Projects under real servers whose runs are recorded, and what the record says of them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import TypeVar

from django.db import connections

from lifespan_app.models import LifespanRun
from tests.history.databases import HistoryDatabase
from tests.projects import Project
from tests.servers import Kind, Server

T = TypeVar("T")

SHELF = """
from lifespan_app import lifespan


@lifespan.resource
async def shelf():
    yield ["Emma"]
"""


def recorded(project: Project, database: HistoryDatabase, **history: object) -> Project:
    """Have the runs of a project recorded; a spool folder of its own keeps other tests' out."""
    database.serve(project)
    spool = {"SPOOL_DIR": str(project.folder / "spool")}
    return project.app("books", lifespan=SHELF).settings(LIFESPAN={**spool, **history})


def wait_for_record(server: Server, look: Callable[[], T]) -> T:
    """Wait until the record says something true, and return it."""

    def looked() -> T:
        # The answers of a database that was stopped and started come on a new connection.
        connections["history"].close_if_unusable_or_obsolete()
        return look()

    return server.until(looked, f"The record has not come to be: {statuses()}", may_end=True)


def statuses() -> list[str]:
    """Return what the record has written of each run, the oldest first."""
    return list(LifespanRun.objects.order_by("pk").values_list("status", flat=True))


def serving(count: int) -> Callable[[], list[LifespanRun]]:
    """Return what looks for so many runs that serve; all of them, or none while they are fewer."""

    def look() -> list[LifespanRun]:
        runs = list(LifespanRun.objects.filter(status="serving").order_by("pk"))
        return runs if len(runs) == count else []

    return look


def complaints(server: Server) -> list[str]:
    """Return the lines of a server's output that say that something is wrong with the record."""
    words = ("history", "record", "Runs that are gone", "locked", "eadlock", "Traceback")
    return [line for line in server.output.splitlines() if any(word in line for word in words)]


def pause(server: Server, database: HistoryDatabase) -> None:
    """Stop a process with SIGSTOP while it holds no lock of an SQLite file, as it rarely does."""
    database.run("BEGIN EXCLUSIVE")
    try:
        server.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, server.process.pid, os.WSTOPPED | os.WNOWAIT)
    finally:
        database.run("ROLLBACK")


def in_namespace(kind: Kind) -> Kind:
    """Return how a server is run as the first process of a pid namespace of its own."""
    become = "import os, sys; os.execvp('unshare', ['unshare', *sys.argv[1:]])"
    unshare = ("-c", become, "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable)
    return Kind(name=kind.name, command=(*unshare, *kind.command), needs=kind.needs)
