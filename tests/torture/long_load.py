"""A server under load for a long time, with jobs that crash, rounds, spawned functions and leases.

Memory, objects, threads, tasks and descriptors are counted in the process again and again, each time when
what was asked for and spawned has ended. A line is fitted to each count, as in ``soak``. Another server
restarts from time to time; then the lease of a job is released by hand, and one of the two takes it.

The control is plain Django under the same load. What it leaves behind is not ours.
"""

from __future__ import annotations

import json
import signal
import tempfile
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.clusters import CLUSTERS, Cluster
from tests.projects import Project
from tests.servers import UVICORN, Server
from tests.torture.counts import (
    MODULE,
    NAMES,
    OF_MEMORY,
    Slopes,
    left_behind,
    slopes,
)
from tests.torture.load import Clients, failed
from tests.torture.results import Row

SECONDS, SECONDS_QUICK = 600.0, 20.0
PAUSE = 0.25
"""Seconds between two requests of a client."""
COUNTS = 200
"""How often is counted."""
RIVAL = 20.0
"""Seconds after which the other server restarts."""
MOST_OF_MEMORY = 100.0
"""What a minute may leave behind, beyond three standard errors and what the control leaves.
Of what else is counted, not even one may be left behind in all."""
STEADY = 300.0
"""Seconds before which caches fill: memory and objects are only printed then."""

LIFESPAN = """
import asyncio
import os
import time

from django.db import connection
from journal import write
from lifespan_app import lifespan


@lifespan.resource
async def client():
    yield object()


@lifespan.resource
def shelf():
    yield object()
    write("closes", os.getpid())


@lifespan.background(every=0.2)
def sweep(shelf):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@lifespan.background(every=0.3, required=False)
async def crash_now_and_then(client):
    crash_now_and_then.rounds = getattr(crash_now_and_then, "rounds", 0) + 1
    if crash_now_and_then.rounds % 2:
        raise OSError("no network")


@lifespan.background(on_crash="restart", required=False)
async def crash(client):
    await asyncio.sleep(0.1)
    raise OSError("no network")


@lifespan.background(once="cluster", on_crash="restart", required=False)
async def lead(client):
    write("leads", os.getpid())
    await asyncio.sleep(1)
    raise OSError("no network")


@lifespan.background(every=1)
def check(shelf):
    time.sleep(0.01)
"""

WORK = """
import asyncio
import threading

from django.db import connection

spawned = {"begun": 0, "ended": 0}
adding = threading.Lock()


def add(what):
    with adding:
        spawned[what] += 1


async def in_a_task():
    await asyncio.sleep(0.01)
    add("ended")


def in_a_thread():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    add("ended")
"""

SPAWNING = """
from lifespan_app import lifespan

from .lifespan import client

spawn = lifespan.spawn
"""

SPAWNING_OF_CONTROL = """
import asyncio
from concurrent.futures import ThreadPoolExecutor

from django.db import connection

pool = ThreadPoolExecutor(4)
tasks = set()


def client(request):
    pass


def spawn(function):
    if asyncio.iscoroutinefunction(function):
        task = asyncio.get_running_loop().create_task(function())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    else:
        pool.submit(in_a_thread, function)


def in_a_thread(function):
    function()
    connection.close()
"""

PLAIN_ASGI = """
from django.core.asgi import get_asgi_application

application = get_asgi_application()
"""

VIEWS = """
import counting
from django.db import connection
from django.http import HttpResponse, JsonResponse

from .spawning import client, spawn
from .work import add, in_a_task, in_a_thread, spawned


async def work(request):
    client(request)
    add("begun")
    spawn(in_a_task)
    return HttpResponse("begun")


def books(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    add("begun")
    spawn(in_a_thread)
    return HttpResponse("begun")


async def counts(request):
    return JsonResponse({"counts": counting.counts(), **spawned})
"""


def load(kind: str, seconds: float) -> Row:
    """Serve for so long, and print the slope of each count.

    Args:
        kind: the database.
        seconds: how long.
    """
    begun = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(CLUSTERS[kind]())
        project = shop(folder / "project", database, SPAWNING, lifespan=LIFESPAN)
        limits = {"LEASE_SECONDS": 3, "HEARTBEAT": 1, "SPOOL_DIR": str(folder / "spool")}
        project.settings(LIFESPAN=limits)
        migrated = project.manage("migrate", "-v", "0")
        assert migrated.returncode == 0, migrated.stderr
        plain = shop(folder / "control", database, SPAWNING_OF_CONTROL)
        plain.settings(INSTALLED_APPS=["shop"]).asgi(PLAIN_ASGI)
        own, control = (
            Loaded(stack.enter_context(Server(one, options=("--lifespan", lifespan))))
            for one, lifespan in ((project, "on"), (plain, "off"))
        )
        for one in (own, control):
            stack.callback(one.clients.end)
            one.clients.begin()
        rivals = watched(own, control, database, seconds)
        for one in (own, control):
            one.clients.end()
            one.server.signal(signal.SIGTERM)
            one.server.wait()
        runs = database.query("SELECT pid, status, jobs FROM lifespan_app_lifespanrun")
        leads = [event for event in project.events() if event.startswith("leads")]
    faults = [f"run of {pid}: {status}" for pid, status, _ in runs if status != "stopped"]
    if len(runs) != rivals + 1:
        faults.append(f"the history has {len(runs)} runs of {rivals + 1}")
    if count := failed(own.clients.asked):
        faults.append(f"{count} requests failed")
    [jobs] = [jobs for pid, _, jobs in runs if pid == own.server.process.pid]
    crashes = sum(job["crashes"] for job in (json.loads(jobs) if isinstance(jobs, str) else jobs))
    taken = sum(one != other for one, other in pairwise(leads))
    most = {name: 60 / seconds for name in NAMES if name not in OF_MEMORY}
    if seconds >= STEADY:
        most |= dict.fromkeys(OF_MEMORY, MOST_OF_MEMORY)
    result, too_much = left_behind("one minute", own.slopes(seconds), most, control.slopes(seconds))
    did = (
        f"{seconds:g} s: {len(own.clients.asked):,} requests, {own.spawned:,} spawned, "
        f"{crashes} crashes, {len(leads)} leads, {taken} by another process than before"
    )
    return Row("load", did, result, [*faults, *too_much], "", time.monotonic() - begun)


def shop(folder: Path, database: Cluster, spawning: str, lifespan: str | None = None) -> Project:
    """Write the project, with its own way to spawn functions, into a folder."""
    project = Project(folder).file("counting.py", MODULE)
    project.app("shop", lifespan=lifespan, views=VIEWS, work=WORK, spawning=spawning)
    database.serve(project)
    return project


class Loaded:
    """A server, its clients, and what was counted in it.

    Args:
        server: serves already.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.clients = Clients(server.port, paths=("/work/", "/books/"), pause=PAUSE)
        self.samples: list[list[float]] = []
        self.spawned = 0

    def count(self) -> None:
        """Have the clients rest, wait until all that was spawned has ended, and count."""
        self.clients.resting = True
        found = self.server.until(self._idle, "It is not idle")
        self.samples.append(found["counts"])
        self.spawned = found["begun"]
        self.clients.resting = False

    def _idle(self) -> dict[str, Any]:
        if self.clients.under_way:
            return {}
        found: dict[str, Any] = self.server.get("/counts/").json()
        return found if found["begun"] == found["ended"] else {}

    def slopes(self, seconds: float) -> Slopes:
        """Return what each minute has left behind."""
        return slopes(self.samples, 60 * len(self.samples) / seconds)


def watched(own: Loaded, control: Loaded, database: Cluster, seconds: float) -> int:
    """Count for so long, with another server that restarts; return how many there were."""
    ends_at = time.monotonic() + seconds
    rivals = 0
    while time.monotonic() < ends_at:
        with Server(own.server.project, UVICORN, options=("--lifespan", "on")) as rival:
            rivals += 1
            database.query("DELETE FROM lifespan_app_lifespanlease")
            restarts_at = min(ends_at, time.monotonic() + min(RIVAL, seconds / 4))
            while time.monotonic() < restarts_at:
                time.sleep(seconds / COUNTS)
                own.count()
                control.count()
            rival.signal(signal.SIGTERM)
            rival.wait()
    return rivals
