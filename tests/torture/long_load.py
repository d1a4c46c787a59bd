"""A server under load for a long time, with jobs that crash, rounds, spawned functions and leases.

Memory, objects, threads, tasks and descriptors are counted in the process again and again, each time when
what was asked for and spawned has ended, and a line is fitted to each count, as in ``soak``. Another server restarts from time to time; then the lease of a job is
released by hand, and one of the two takes it.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.clusters import CLUSTERS, Cluster
from tests.projects import Project
from tests.servers import UVICORN, Server
from tests.torture.load import Clients, failed
from tests.torture.results import Row, table
from tests.torture.soak import WARM_UP, slope

SECONDS, SECONDS_QUICK = 600.0, 20.0
PAUSE = 0.25
"""Seconds between two requests of a client."""
COUNTS = 200
"""How often is counted."""
RIVAL = 20.0
"""Seconds after which the other server restarts."""
MOST = {"memory, KiB": 100.0, "objects": 100.0, "threads": 0.1, "tasks": 0.1, "descriptors": 0.1}
"""What a minute may leave behind, beyond three standard errors."""
STEADY = 300.0
"""Seconds before which caches fill: memory and objects are only printed then."""

LIFESPAN = """
import asyncio
import os
import threading
import time

from django.db import connection
from journal import write
from lifespan_app import lifespan

spawned = {"begun": 0, "ended": 0}
adding = threading.Lock()


def add(what):
    with adding:
        spawned[what] += 1


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


async def in_a_task():
    await asyncio.sleep(0.01)
    add("ended")


def in_a_thread():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    add("ended")
"""

VIEWS = """
import asyncio
import gc
import os
import threading

from django.db import connection
from django.http import HttpResponse, JsonResponse
from lifespan_app import lifespan

from .lifespan import add, client, in_a_task, in_a_thread, spawned


async def work(request):
    client(request)
    add("begun")
    lifespan.spawn(in_a_task)
    return HttpResponse("begun")


def books(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    add("begun")
    lifespan.spawn(in_a_thread)
    return HttpResponse("begun")


async def counts(request):
    gc.collect()
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return JsonResponse({
        "counts": [
            pages * os.sysconf("SC_PAGE_SIZE") / 1024,
            len(gc.get_objects()),
            threading.active_count(),
            len(asyncio.all_tasks()),
            len(os.listdir("/proc/self/fd")),
        ],
        **spawned,
    })
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
        project = Project(folder / "project").app("shop", lifespan=LIFESPAN, views=VIEWS)
        database = stack.enter_context(CLUSTERS[kind]())
        database.serve(project)
        limits = {"LEASE_SECONDS": 3, "HEARTBEAT": 1, "SPOOL_DIR": str(folder / "spool")}
        project.settings(LIFESPAN=limits)
        migrated = project.manage("migrate", "-v", "0")
        assert migrated.returncode == 0, migrated.stderr
        server = stack.enter_context(Server(project, options=("--lifespan", "on")))
        clients = Clients(server.port, paths=("/work/", "/books/"), pause=PAUSE)
        stack.callback(clients.end)
        clients.begin()
        samples, rivals = watched(server, clients, database, seconds)
        clients.end()
        server.signal(signal.SIGTERM)
        server.wait()
        runs = database.query("SELECT pid, status, jobs FROM lifespan_app_lifespanrun")
        leads = [event for event in project.events() if event.startswith("leads")]
    faults = [f"run of {pid}: {status}" for pid, status, _ in runs if status != "stopped"]
    if len(runs) != rivals + 1:
        faults.append(f"the history has {len(runs)} runs of {rivals + 1}")
    if count := failed(clients.asked):
        faults.append(f"{count} requests failed")
    [jobs] = [jobs for pid, _, jobs in runs if pid == server.process.pid]
    crashes = sum(job["crashes"] for job in (json.loads(jobs) if isinstance(jobs, str) else jobs))
    taken = sum(one != other for one, other in pairwise(leads))
    texts = slopes(samples, seconds, faults)
    did = (
        f"{seconds:g} s: {len(clients.asked):,} requests, {samples[-1]['begun']:,} spawned, "
        f"{crashes} crashes, {len(leads)} leads, {taken} by another process than before"
    )
    result = f"left by one minute: {', '.join(texts)}"
    return Row("load", did, result, faults, "", time.monotonic() - begun)


def watched(
    server: Server, clients: Clients, database: Cluster, seconds: float
) -> tuple[list[dict[str, Any]], int]:
    """Count for so long, with another server that restarts; return the counts, and how many there were."""
    ends_at = time.monotonic() + seconds
    samples: list[dict[str, Any]] = []
    rivals = 0
    while time.monotonic() < ends_at:
        with Server(server.project, UVICORN, options=("--lifespan", "on")) as rival:
            rivals += 1
            database.query("DELETE FROM lifespan_app_lifespanlease")
            restarts_at = min(ends_at, time.monotonic() + min(RIVAL, seconds / 4))
            while time.monotonic() < restarts_at:
                time.sleep(seconds / COUNTS)
                clients.resting = True
                samples.append(server.until(lambda: idle(server, clients), "It is not idle"))
                clients.resting = False
            rival.signal(signal.SIGTERM)
            rival.wait()
    return samples, rivals


def idle(server: Server, clients: Clients) -> dict[str, Any]:
    """Return the counts if no request is under way and each spawned function has ended."""
    found: dict[str, Any] = {} if clients.under_way else server.get("/counts/").json()
    return found if found and found["begun"] == found["ended"] else {}


def slopes(samples: list[dict[str, Any]], seconds: float, faults: list[str]) -> list[str]:
    """Print what a minute leaves behind; return it as texts, and add what is too much to the faults."""
    counts = [sample["counts"] for sample in samples[int(len(samples) * WARM_UP) :]]
    in_a_minute = 60 * len(samples) / seconds
    rows, texts = [], []
    for (name, most), numbers in zip(MOST.items(), zip(*counts, strict=True), strict=True):
        left, error = (one * in_a_minute for one in slope(numbers))
        ends = (f"{numbers[0]:,.0f}", f"{numbers[-1]:,.0f}")
        rows.append((name, *ends, f"{left:.3f}", f"{error:.3f}"))
        texts.append(f"{name} {left:.3f} ± {error:.3f}")
        is_steady = seconds >= STEADY or name not in {"memory, KiB", "objects"}
        if is_steady and left - 3 * error > most:
            faults.append(f"each minute leaves {left:.3f} ± {error:.3f} behind: {name}")
    head = ("count", "first", "last", "left by one minute", "error")
    sys.stdout.write(f"\n{table(head, rows)}\n")
    return texts
