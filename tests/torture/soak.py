"""A thousand starts and stops in one process, with jobs, threads and spawned functions.

Memory, objects, threads, tasks and descriptors are counted after each start and stop. A line is fitted
to each count: its slope, with its standard error, says what is left behind by one start and stop.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.projects import Project
from tests.torture.results import Row, table

STARTS, STARTS_QUICK = 1_000, 100
STEADY = 1_000
"""Starts below which memory and objects are only printed: the record's timers keep a run for five seconds."""
WARM_UP = 0.3
"""The share of the starts that is left out, in which caches fill."""
MOST = {"memory, KiB": 4.0, "objects": 5.0, "threads": 0.001, "tasks": 0.001, "descriptors": 0.001}
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
import gc
import json
import logging
import os
import sys
import threading

import django

django.setup()
logging.disable(logging.CRITICAL)

from lifespan_app import lifespan


def count():
    gc.collect()
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return [
        pages * os.sysconf("SC_PAGE_SIZE") / 1024,
        len(gc.get_objects()),
        threading.active_count(),
        len(asyncio.all_tasks()),
        len(os.listdir("/proc/self/fd")),
    ]


async def main():
    for _ in range(int(sys.argv[1])):
        done = asyncio.Event()

        async def work():
            done.set()

        async with lifespan.run("app"):
            lifespan.spawn(work)
            await done.wait()
        print(json.dumps(count()))


asyncio.run(main())
"""


def soak(starts: int) -> Row:
    """Start and stop so many times, and print the slope of each count."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder)).app("shop", lifespan=LIFESPAN).file("soak.py", SCRIPT)
        migrated = project.manage("migrate", "-v", "0")
        assert migrated.returncode == 0, migrated.stderr
        done = project.run("soak.py", str(starts), limit=3_600)
        recorded = len(project.runs())
    samples = [json.loads(line) for line in done.stdout.splitlines()]
    faults = [] if done.returncode == 0 else [done.stderr[-2_000:]]
    if recorded != starts:
        faults.append(f"the history has {recorded:,} runs of {starts:,}")
    rows, texts = [], []
    for name, counts in zip(
        MOST, zip(*samples[int(starts * WARM_UP) :], strict=True), strict=False
    ):
        left, error = slope(counts)
        rows.append(
            (name, f"{counts[0]:,.0f}", f"{counts[-1]:,.0f}", f"{left:.4f}", f"{error:.4f}")
        )
        texts.append(f"{name} {left:.3f} ± {error:.3f}")
        is_steady = starts >= STEADY or name not in {"memory, KiB", "objects"}
        if is_steady and left - 3 * error > MOST[name]:
            faults.append(f"each start leaves {left:.3f} ± {error:.3f} behind: {name}")
    head = ("count", "first", "last", "left by one start", "error")
    sys.stdout.write(f"\n{table(head, rows)}\n")
    result = f"left by one start: {', '.join(texts)}"
    return Row("soak", f"{starts:,} starts", result, faults, "", time.monotonic() - begun)


def slope(counts: Sequence[float]) -> tuple[float, float]:
    """Return the slope of the line through counts, and its standard error."""
    number = len(counts)
    middle, mean = (number - 1) / 2, sum(counts) / number
    spread = sum((index - middle) ** 2 for index in range(number))
    found = sum((index - middle) * (one - mean) for index, one in enumerate(counts)) / spread
    rest = sum((one - mean - found * (index - middle)) ** 2 for index, one in enumerate(counts))
    return found, math.sqrt(rest / (number - 2) / spread)
