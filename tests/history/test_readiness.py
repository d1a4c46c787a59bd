"""Readiness in the record: pages, terminal and `readyz` say the same of a process, in each state."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connections
from django.test import Client

from lifespan_app.models import LifespanRun
from tests.admin.conftest import root, site_urls  # noqa: F401  # fixtures
from tests.admin.project import HOME, LIST
from tests.history.databases import HistoryDatabase
from tests.history.served import wait_for_record
from tests.projects import Project
from tests.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.server]

HOOKS = """
import asyncio
from pathlib import Path

from lifespan_app import lifespan


@lifespan.resource(wait=False)
async def model():
    while not Path("warm").exists():
        await asyncio.sleep(0.05)
    yield "a model"


@lifespan.resource
async def pool():
    yield "a pool"


@pool.check(cache=0.1)
async def answers(pool):
    if Path("check fails").exists():
        raise ConnectionError("no connection")


@lifespan.resource(required=False)
async def cache():
    yield "a cache"


@cache.check(cache=0.1)
async def is_warm(cache):
    if Path("cache fails").exists():
        raise ConnectionError("no cache")


@lifespan.background(every=0.2)
async def refresh():
    if Path("crash").exists():
        raise ConnectionError("no books")


@lifespan.background(required=False, stall_after=1)
async def follow():
    while True:
        if not Path("stall").exists():
            lifespan.beat()
        await asyncio.sleep(0.1)
"""

LIFESPAN = {"HEARTBEAT": 0.5, "SHUTDOWN_NOTICE": True, "DRAIN_SECONDS": 10}

BADGE = re.compile(r'<span class="lifespan-badge is-\w+">([^<]+)<')

Look = Callable[[], str]


@pytest.fixture
def server(project: Project, sqlite_history: HistoryDatabase) -> Server:
    sqlite_history.serve(project)
    spool = {"SPOOL_DIR": str(project.folder / "spool")}
    project.app("books", lifespan=HOOKS).settings(LIFESPAN={**spool, **LIFESPAN})
    project.app("health", urls=HEALTH)
    return Server(project)


HEALTH = """
from django.urls import include, path

urlpatterns = [path("", include("lifespan_app.urls"))]
"""


def state(project: Project, *wrong: str) -> None:
    """Have these things go wrong in the project, and no others."""
    for name in ("check fails", "cache fails", "crash", "stall"):
        file = project.folder / name
        if name in wrong:
            file.touch()
        else:
            file.unlink(missing_ok=True)


@pytest.mark.django_db
def test_pages_and_terminal_say_what_readyz_says_in_each_state(
    root: Client,  # noqa: F811
    project: Project,
    server: Server,
) -> None:
    def terminal() -> str:
        output = StringIO()
        call_command("showlifespan", "--now", stdout=output, no_color=True)
        return output.getvalue()

    def page(address: str) -> Look:
        return lambda: root.get(address).content.decode()

    def run_page() -> str:
        return page(f"{LIST}{LifespanRun.objects.get().pk}/change/")()

    recorded = {"overview": page(HOME), "list": page(LIST), "run": run_page, "terminal": terminal}

    def agree(readiness: str, status: str, *words: str) -> None:
        """Wait for the answer of readyz; then all others have it within a heartbeat."""
        answer = 200 if readiness in ("ok", "degraded") else 503

        def is_asked() -> bool:
            found = server.get("/readyz")
            return (found.status, found.text.strip()) == (answer, readiness)

        server.until(is_asked, f"readyz does not say '{readiness}'")

        def is_recorded() -> bool:
            [run] = LifespanRun.objects.all()
            return (run.status, run.readiness) == (status, readiness)

        wait_for_record(server, is_recorded)
        for name, look in recorded.items():
            text = look()
            for word in words:
                assert word in text, (name, readiness, word)
            badges = set(BADGE.findall(text))
            assert badges <= {words[0]}, (name, readiness)

    with server:
        agree("warming_up", "not_ready", "not ready", "warming up")
        (project.folder / "warm").touch()
        agree("ok", "serving", "serving")
        state(project, "check fails")
        agree("check_failed", "not_ready", "not ready", "check failed", "books.pool")
        state(project, "cache fails")
        agree("degraded", "degraded", "degraded")
        state(project, "crash")
        agree("crashed", "not_ready", "not ready", "crashed", "books.refresh")
        state(project, "stall")
        agree("degraded", "degraded", "degraded")
        state(project)
        agree("ok", "serving", "serving")
        server.signal(signal.SIGTERM)
        agree("stopping", "stopping", "stopping")
        connections["history"].close()
