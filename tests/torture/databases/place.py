"""What a fault happens to: a database of its own, and a project that writes down what happens in it."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.clusters import CLUSTERS, Cluster
from tests.projects import Project

HEARTBEAT = 2
SHUTDOWN = 3
"""Seconds that a stop may take."""
LIMITS = {"SHUTDOWN_TIMEOUT": 1, "SHUTDOWN_DEADLINE": SHUTDOWN, "HEARTBEAT": HEARTBEAT}

LIFESPAN = """
import asyncio
import logging
import os
import random
import time

from journal import write
from lifespan_app import lifespan


def much():
    # Nothing compresses it: a full disk has no room for it.
    return random.randbytes(6_000).hex()


@lifespan.resource
async def store():
    logging.getLogger("shop").warning(much())
    write("starts", os.getpid())
    yield "store"
    write("closes", os.getpid(), time.time())


@lifespan.on_start
def check(store):
    pass


@lifespan.background(on_crash="restart", required=False)
async def crash(store):
    await asyncio.sleep(0.5)
    write("crashes", os.getpid())
    raise OSError(much())


@lifespan.background(every=0.5)
def sweep(store):
    pass
"""

VIEWS = """
from django.db import connection
from django.http import HttpResponse

from .lifespan import store


async def plain(request):
    return HttpResponse(store(request))


def books(request):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO visits (number) VALUES (1)")
    return HttpResponse("one more")
"""

PROBES = """
from django.urls import include, path

urlpatterns = [path("", include("lifespan_app.urls"))]
"""

LOOK = """
import json

import django

django.setup()

from lifespan_app.models import LifespanRun

runs = LifespanRun.objects.prefetch_related("steps").order_by("started_at")
print(json.dumps([
    {
        "pid": run.pid,
        "status": run.status,
        "late": run.recorded_late,
        "stopped_at": run.stopped_at and run.stopped_at.timestamp(),
        "crashes": sum(job["crashes"] for job in run.jobs),
        "steps": sorted(f"{step.phase} {step.name}" for step in run.steps.all()),
    }
    for run in runs
]))
"""


class SQLite:
    """An SQLite file, with what is needed here of a ``Cluster``.

    Args:
        folder: the folder of the file.
    """

    def __init__(self, folder: Path) -> None:
        self.data = folder
        self.file = folder / "db.sqlite3"

    def connect(self) -> Any:
        """Open a connection, with autocommit."""
        return sqlite3.connect(self.file, timeout=30, isolation_level=None, check_same_thread=False)

    def query(self, sql: str) -> list[Any]:
        """Run a query on a connection of its own and return its rows."""
        with closing(self.connect()) as connection:
            return list(connection.execute(sql))

    def serve(self, project: Project) -> None:
        """Have a project use this database."""
        entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(self.file)}
        project.settings(DATABASES={"default": entry})


class Disk:
    """A small disk in memory, mounted at a folder.

    Args:
        folder: is made.
        owner: the user to whom it belongs.
    """

    def __init__(self, folder: Path, owner: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._mount(f"size=1G,mode=0700,uid={owner}", "-t", "tmpfs", "tmpfs")

    def fill(self) -> None:
        """Leave no room."""
        found = os.statvfs(self.folder)
        self._mount(f"remount,size={(found.f_blocks - found.f_bfree) * found.f_frsize}")

    def clear(self) -> None:
        """Make room again."""
        self._mount("remount,size=1G")

    def remove(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", "--lazy", self.folder], check=True)

    def _mount(self, options: str, *words: str) -> None:
        command = ["mount", *words, "-o", options, str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)


@dataclass
class Place:
    """A project on a database of its own.

    Args:
        kind: the database.
        database: its server, or its file.
        project: the project.
        control: the same project without a history, which no fault of the database can reach.
        spool: the folder in which records wait.
        disk: the disk of the database, if it can become full.
    """

    kind: str
    database: Cluster | SQLite
    project: Project
    control: Project
    spool: Path
    disk: Disk | None = None
    done: Counter[str] = field(default_factory=Counter)
    """What was done to it in the fault, more than once."""

    @property
    def cluster(self) -> Cluster:
        """Its server."""
        assert isinstance(self.database, Cluster)
        return self.database

    def migrate(self, *target: str) -> bool:
        """Migrate; return False if the database refuses it now."""
        return self.project.manage("migrate", "-v", "0", *target).returncode == 0

    def files(self) -> list[Path]:
        """Return what waits in the spool."""
        return list(self.spool.iterdir()) if self.spool.exists() else []

    def look(self) -> list[dict[str, Any]]:
        """Return the runs in the history, with their steps."""
        done = self.project.run("look.py")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found


class NotHere(Exception):
    """A cell can't be tried on this machine."""


@contextmanager
def placed(kind: str, folder: Path, *, small_disk: bool = False) -> Iterator[Place]:
    """Make a database and a project on it. Raises ``NotHere``.

    Args:
        kind: the database.
        folder: is empty.
        small_disk: whether the disk of the database can become full.
    """
    with ExitStack() as stack:
        database: Cluster | SQLite
        if kind == "sqlite":
            database = SQLite(folder / "database")
            database.data.mkdir()
            owner = os.geteuid()
        else:
            server = CLUSTERS[kind]
            if server.program.find() is None:
                raise NotHere(server.program.missing)
            database = server()
            owner = pwd.getpwnam(database.owner).pw_uid if os.geteuid() == 0 else os.geteuid()
        disk = None
        if small_disk:
            try:
                disk = Disk(database.data, owner)
            except (OSError, subprocess.CalledProcessError) as error:
                raise NotHere(f"no disk can be mounted here ({error}): run it as root") from error
            stack.callback(disk.remove)
        if isinstance(database, Cluster):
            stack.enter_context(database)
        project = shop(folder / "project")
        project.settings(LIFESPAN={**LIMITS, "SPOOL_DIR": str(folder / "spool")})
        database.serve(project)
        control = shop(folder / "control").settings(LIFESPAN={**LIMITS, "HISTORY": False})
        place = Place(kind, database, project, control, folder / "spool", disk)
        assert place.migrate()
        database.query("CREATE TABLE visits (number INT)")
        yield place


def shop(folder: Path) -> Project:
    """Write the project into a folder."""
    project = Project(folder).app("shop", lifespan=LIFESPAN, views=VIEWS)
    return project.app("probes", urls=PROBES).file("look.py", LOOK)
