"""A thousand starts and stops in one process, with jobs, threads and spawned functions.

Memory, objects, threads, tasks and descriptors are counted after each start and stop. A line is fitted
to each count: its slope, with its standard error, says what is left behind by one start and stop.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from tests.projects import Project
from tests.torture.counts import MODULE, NAMES, OF_MEMORY, left_behind, slopes
from tests.torture.results import Row

STARTS, STARTS_QUICK = 1_000, 100
STEADY = 1_000
"""Starts below which memory and objects are only printed: the record's timers keep a run for five seconds."""
MOST = {
    **dict.fromkeys(NAMES, 0.001),
    "memory, KiB": 4.0,
    "blocks": 20.0,
    "objects": 5.0,
}
"""What may be left behind by one start, beyond three standard errors."""

LIFESPAN = """
import asyncio
from contextlib import suppress

from lifespan_app import lifespan
from lifespan_app.errors import NotRunning


@lifespan.resource
async def client():
    yield object()


@lifespan.resource
def connection():
    yield object()


@lifespan.on_start
def check(connection):
    lifespan.spawn(work)


@lifespan.background(every=0.01, first=0)
def sweep(connection):
    with suppress(NotRunning):  # the stop may begin while it runs
        lifespan.spawn(work)


@lifespan.background(on_crash="restart", required=False)
async def crash(client):
    raise OSError("no network")


@lifespan.background
async def poll(client):
    await asyncio.Event().wait()


async def work():
    await asyncio.sleep(0)
"""

SCRIPT = """
import asyncio
import json
import logging
import sys

import django
from counting import counts

django.setup()
logging.disable(logging.CRITICAL)

from lifespan_app import lifespan


async def main():
    for _ in range(int(sys.argv[1])):
        done = asyncio.Event()

        async def work():
            done.set()

        async with lifespan.run("app"):
            lifespan.spawn(work)
            await done.wait()
        print(json.dumps(counts()))


asyncio.run(main())
"""


def soak(starts: int) -> Row:
    """Start and stop so many times, and print the slope of each count."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder)).app("shop", lifespan=LIFESPAN)
        project.file("soak.py", SCRIPT).file("counting.py", MODULE)
        migrated = project.manage("migrate", "-v", "0")
        assert migrated.returncode == 0, migrated.stderr
        done = project.run("soak.py", str(starts), limit=3_600)
        recorded = len(project.runs())
    samples = [json.loads(line) for line in done.stdout.splitlines()]
    faults = [] if done.returncode == 0 else [done.stderr[-2_000:]]
    if recorded != starts:
        faults.append(f"the history has {recorded:,} runs of {starts:,}")
    most = {
        name: limit for name, limit in MOST.items() if starts >= STEADY or name not in OF_MEMORY
    }
    result, too_much = left_behind("one start", slopes(samples), most)
    faults += too_much
    return Row("soak", f"{starts:,} starts", result, faults, "", time.monotonic() - begun)
