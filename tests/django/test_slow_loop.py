"""A view that blocks the event loop of a server is named, and counted in the record of the run."""

from __future__ import annotations

import pytest

from tests.projects import Project
from tests.servers import Server

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.once]

LIFESPAN = """
from lifespan_app import lifespan


@lifespan.on_start
async def look(): ...
"""

VIEWS = """
import time

from django.http import HttpResponse
from lifespan_app import lifespan


async def blocks(request):
    time.sleep(0.8)
    return HttpResponse("done")


async def told(request):
    report = lifespan.report()
    return HttpResponse(f"{report.loop_blocks} {report.longest_block >= 0.6}")
"""


def shop(project: Project, **lifespan: object) -> Project:
    project.app("shop", lifespan=LIFESPAN, views=VIEWS)
    project.settings(LIFESPAN={"SPOOL_DIR": str(project.folder / "spool"), **lifespan})
    return project.with_tables()


def test_view_that_blocks_is_named_once_and_counted_each_time(project: Project) -> None:
    shop(project, SLOW_LOOP=0.2)
    with Server(project) as server:
        for _ in range(2):
            assert server.get("/blocks/").text == "done"
        assert server.get("/told/").text == "2 True"
        server.interrupt()
        server.wait()

    line = project.line_of("shop/views.py", "time.sleep(0.8)")
    where = f"while serving, and answers no request: shop/views.py:{line} in blocks. Call what"
    assert server.output.count(where) == 1
    [run] = project.runs()
    assert (run["status"], run["loop_blocks"]) == ("stopped", 2)
    assert run["longest_block"] >= 600_000  # microseconds


def test_loop_is_not_watched_with_zero(project: Project) -> None:
    shop(project, SLOW_LOOP=0)
    with Server(project) as server:
        server.get("/blocks/")
        server.interrupt()
        server.wait()

    assert "has been blocked" not in server.output
    assert [run["loop_blocks"] for run in project.runs()] == [0]
