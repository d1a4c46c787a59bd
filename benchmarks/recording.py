"""Measure a startup with a recorded run, in comparison with HISTORY off.

Four layers of five resources that take 50 ms each, and fifty that take no time at all. The two take
turns, in another order each round; the figure is the median of the rounds' ratios. The record goes
into an SQLite file, where its thread has most to do by itself.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command
from django.test import override_settings

from benchmarks.figures import Figure, show

if not settings.configured:
    FOLDER = tempfile.TemporaryDirectory(prefix="recording-")
    settings.configure(
        SECRET_KEY="for benchmarks only",
        USE_TZ=True,
        INSTALLED_APPS=["lifespan_app"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(Path(FOLDER.name) / "history.sqlite3"),
            }
        },
    )
    django.setup()

from lifespan_app import Lifespan, Resource
from lifespan_app.apps import install
from lifespan_app.history.recording.recorder import Recorder
from lifespan_app.models import LifespanRun

AT_MOST = 1.02
ROUNDS = 21
LAYERS, WIDTH, WAIT = 4, 5, 0.05
NO_TIME = 50


def a_lifespan() -> Lifespan:
    """Return the hooks: layers of waiting resources, and resources that do not wait."""
    lifespan = Lifespan()
    install(lifespan)
    lifespan.adapter.observers.append(Recorder())
    before: list[Resource[int]] = []
    for layer in range(LAYERS):
        before = [add(lifespan, f"layer_{layer}_{n}", WAIT, before) for n in range(WIDTH)]
    for number in range(NO_TIME):
        add(lifespan, f"no_time_{number}", 0, [])
    return lifespan


def add(lifespan: Lifespan, name: str, wait: float, needs: list[Resource[int]]) -> Resource[int]:
    """Declare a resource that takes some seconds to start."""

    async def resource() -> AsyncIterator[int]:
        if wait:
            await asyncio.sleep(wait)
        yield 1

    return lifespan.resource(name=name, depends_on=needs)(resource)


async def startup(lifespan: Lifespan) -> float:
    """Start and stop. Return the seconds until the service began."""
    run = lifespan.prepare()
    begun = time.perf_counter()
    await run.start()
    seconds = time.perf_counter() - begun
    await run.stop()
    return seconds


def measure() -> list[Figure]:
    """Return the ratio."""
    logging.getLogger("lifespan_app").setLevel(logging.ERROR)
    call_command("migrate", "lifespan_app", verbosity=0)
    lifespan = a_lifespan()
    asyncio.run(startup(lifespan))
    ratios = []
    taken: dict[bool, list[float]] = {True: [], False: []}
    for number in range(ROUNDS):
        for on in (number % 2 == 0, number % 2 != 0):
            with override_settings(LIFESPAN={"HISTORY": on}):
                taken[on].append(asyncio.run(startup(lifespan)))
        ratios.append(taken[True][-1] / taken[False][-1])
    recorded = LifespanRun.objects.filter(status="stopped").count()
    assert recorded == ROUNDS + 1, f"{recorded} runs were recorded"
    figure = Figure(
        benchmark="recording",
        what="startup with its run recorded, to one without",
        value=statistics.median(ratios),
        unit="ratio",
        at_most=AT_MOST,
        note=f"median of {ROUNDS}; medians {statistics.median(taken[True]) * 1000:.1f} and"
        f" {statistics.median(taken[False]) * 1000:.1f} ms, ratios from {min(ratios):.3f} to"
        f" {max(ratios):.3f}",
    )
    return [figure]


if __name__ == "__main__":
    show(measure, "Recording")
