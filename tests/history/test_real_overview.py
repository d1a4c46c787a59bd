"""Under a real server: a crash that stops the process is told, and a hook is left out without a deploy."""

from __future__ import annotations

import re
from signal import SIGTERM

import pytest
from django.utils import timezone

from lifespan_app.history.reading.overview import overview
from lifespan_app.models import LifespanRun
from tests.history.databases import HistoryDatabase
from tests.history.served import recorded
from tests.projects import Project
from tests.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.server]

FALLS = """
from lifespan_app import lifespan


@lifespan.background(on_crash="stop")
async def fall():
    raise KeyError("isbn")
"""

BROKEN = """
from lifespan_app import lifespan


@lifespan.resource
async def cache():
    raise OSError("nobody is there")
    yield


@lifespan.on_start
async def warm(cache): ...
"""


def end(project: Project) -> None:
    """Start a server that ends by itself, and wait until it has."""
    server = Server(project)
    server.start()
    try:
        server.wait()
    finally:
        server.kill()


def test_processes_that_a_crash_stops_are_named_with_the_hook(
    project: Project, sqlite_history: HistoryDatabase
) -> None:
    recorded(project, sqlite_history).app("jobs", lifespan=FALLS)
    for _ in range(4):
        end(project)

    found = overview(timezone.now())

    assert {run.ended_by for run in LifespanRun.objects.all()} == {"the crash of 'jobs.fall'"}
    assert found.loops == ["app"]
    assert found.states[0].is_down
    (failure,) = found.current
    assert len(failure.runs) == 4


def test_failed_hook_is_left_out_at_the_next_start_as_the_advice_says(
    project: Project, sqlite_history: HistoryDatabase
) -> None:
    recorded(project, sqlite_history).app("shop", lifespan=BROKEN)
    end(project)
    (failure,) = overview(timezone.now()).current
    advice = " ".join(failure.advice)
    assert "These are then skipped: shop.warm." in advice
    key = re.search(r"LIFESPAN_SKIP=(\S+)", advice)
    assert key is not None

    with Server(project, environment={"LIFESPAN_SKIP": key[1]}) as server:
        server.signal(SIGTERM)
        server.wait()
    run = LifespanRun.objects.latest("pk")

    assert run.left_out == [
        ["shop.cache", "left out by LIFESPAN_SKIP"],
        ["shop.warm", "needs 'shop.cache', which is left out by LIFESPAN_SKIP"],
    ]
    assert set(run.steps.values_list("name", flat=True)) == {"shelf"}
