"""A hook borrows a connection for a use: pools have it back, and a dead one is never met again."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.clusters import Cluster, MariaDB, PostgreSQL
from tests.needs import needs_mariadb, needs_postgresql
from tests.projects import Project
from tests.servers import RUNSERVER, UVICORN, Kind, Server

pytestmark = pytest.mark.server

ASK = """
import asyncio

from asgiref.sync import sync_to_async
from django.db import connection
from journal import write
from lifespan_app import lifespan
from lifespan_app.integration import connections


def ask():
    with connection.cursor() as cursor:
        cursor.execute("select 42")
        return cursor.fetchone()[0]
"""

VIEWS = """
from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpResponse

from .lifespan import ask


def sync_view(request):
    return HttpResponse(ask())


async def async_view(request):
    return HttpResponse(await sync_to_async(ask)())
"""

AT_BOTH_ENDS = """
@lifespan.resource
def account():
    write("opened", ask())
    yield "account"
    write("closed", ask())


@lifespan.resource
async def async_account():
    write("opened", await sync_to_async(ask)())
    yield "account"
    write("closed", await sync_to_async(ask)())
"""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(PostgreSQL, marks=needs_postgresql),
        pytest.param(MariaDB, marks=[needs_mariadb, pytest.mark.slow]),
    ],
)
def any_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with request.param() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    with PostgreSQL() as cluster:
        yield cluster


def pooled(project: Project, cluster: Cluster, hooks: str) -> Project:
    """Have a project use a pool of one connection, and keep its history there."""
    pool = {"min_size": 1, "max_size": 1, "timeout": 8}
    cluster.serve(project, OPTIONS={"pool": pool})
    project.app("shop", lifespan=f"{ASK}\n\n{hooks}", views=VIEWS)
    migrated = project.manage("migrate", "--verbosity=0")
    assert migrated.returncode == 0, migrated.stderr
    return project


@needs_postgresql
class TestAPoolOfOne:
    """Its one connection serves idle hooks and requests in turn."""

    def test_requests_are_answered_beside_a_job_that_rests(
        self, project: Project, postgresql: PostgreSQL
    ) -> None:
        job = """
@lifespan.background
async def count_now_and_then():
    while True:
        write("counted", await sync_to_async(ask)())
        await asyncio.sleep(60)
"""
        with Server(pooled(project, postgresql, job)) as server:
            server.wait_for_event("counted 42")
            for view in ("sync_view", "async_view") * 2:
                assert server.get(f"/{view}/").text == "42"
            server.signal(signal.SIGTERM)
            server.wait()
            assert "Traceback" not in server.output
            assert "Can't write run history" not in server.output

    def test_resources_give_it_back_at_their_yield_at_once(
        self, project: Project, postgresql: PostgreSQL
    ) -> None:
        hooks = f"connections.RESTED = 600\n{AT_BOTH_ENDS}"
        with Server(pooled(project, postgresql, hooks)) as server:
            for view in ("sync_view", "async_view"):
                assert server.get(f"/{view}/").text == "42"
            server.signal(signal.SIGTERM)
            server.wait()
            assert sorted(project.events()) == ["closed 42"] * 2 + ["opened 42"] * 2
            assert "Traceback" not in server.output


@needs_postgresql
class TestAcall:
    """What it calls from another loop has connections for as long as the call lasts."""

    VIEWS = """
import asyncio
import threading

from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpResponse
from lifespan_app import lifespan

from .lifespan import ask


async def answer():
    return await sync_to_async(ask)()


def of_the_view(request):
    return HttpResponse(asyncio.run(lifespan.acall(answer)))


async def of_an_async_view(request):
    return HttpResponse(await asyncio.to_thread(asyncio.run, lifespan.acall(answer)))


def of_async_to_sync(request):
    async def call():
        return await lifespan.acall(answer)

    return HttpResponse(async_to_sync(call)())


def of_a_thread(request):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(asyncio.run(lifespan.acall(answer))))
    thread.start()
    thread.join()
    return HttpResponse(answers[0])
"""

    @pytest.mark.parametrize("kind", [UVICORN, RUNSERVER], ids=lambda kind: str(kind.name))
    def test_acall_gives_the_one_connection_of_a_pool_back(
        self, project: Project, postgresql: PostgreSQL, kind: Kind
    ) -> None:
        resource = "@lifespan.resource\nasync def shelf():\n    yield 'shelf'"
        pooled(project, postgresql, resource).file("shop/views.py", self.VIEWS)
        options = ("--noreload",) if kind is RUNSERVER else ()
        with Server(project, kind, options=options) as server:
            for view in ("of_the_view", "of_an_async_view", "of_async_to_sync", "of_a_thread") * 2:
                assert server.get(f"/{view}/").text == "42", view


class TestADatabaseThatRestarts:
    """What a resource was given before its yield is dead: after it, it gets another connection."""

    def test_resources_clean_up_on_a_fresh_connection(
        self, project: Project, any_cluster: Cluster
    ) -> None:
        any_cluster.serve(project)
        project.settings(LIFESPAN={"HISTORY": False})
        project.app("shop", lifespan=f"{ASK}\n\n{AT_BOTH_ENDS}", views=VIEWS)
        with Server(project, limit=60) as server:
            any_cluster.wait_for_clients(0)
            any_cluster.restart()
            server.signal(signal.SIGTERM)
            server.wait()
            assert sorted(project.events()) == ["closed 42"] * 2 + ["opened 42"] * 2
            assert "Traceback" not in server.output


@needs_postgresql
class TestWhatIsBoundToAConnection:
    """It stays with a sync resource that means to use it."""

    @pytest.mark.parametrize(
        "hook",
        [
            """
            with connection.cursor() as cursor:
                yield cursor
                cursor.execute("select pg_backend_pid()")
                write("closed by", cursor.fetchone()[0])
            """,
            """
            with transaction.atomic():
                backend()
                yield "account"
                write("closed by", backend())
            """,
        ],
        ids=["cursor", "atomic"],
    )
    def test_sync_resource_keeps_its_connection_over_its_yield(
        self, project: Project, postgresql: PostgreSQL, hook: str
    ) -> None:
        postgresql.serve(project)
        project.settings(LIFESPAN={"HISTORY": False})
        source = f"""
from django.db import connection, transaction
from journal import write
from lifespan_app import lifespan


def backend():
    with connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        return cursor.fetchone()[0]


@lifespan.resource
def account():
    write("opened by", backend())
    if True:{hook}
"""
        project.app("shop", lifespan=source)
        with Server(project) as server:
            assert postgresql.clients() == 1
            server.signal(signal.SIGTERM)
            server.wait()
            opened, closed = project.events()
            assert closed.split()[-1] == opened.split()[-1]


@needs_postgresql
class TestThreadsOfTheLoop:
    """Their connections are out of reach, so the error says what to write instead."""

    @pytest.mark.parametrize("call", ["asyncio.to_thread(ask)", "sync_to_async(ask)()"])
    def test_broken_connection_of_to_thread_gets_a_note(
        self, project: Project, postgresql: PostgreSQL, call: str
    ) -> None:
        postgresql.serve(project)
        project.settings(LIFESPAN={"HISTORY": False})
        # Its loop is given one thread: both queries are made on the same connection.
        job = f"""
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


@lifespan.background
async def job():
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    write("answered", await {call})
    while not Path("go-on").exists():
        await asyncio.sleep(0.02)
    write("answered again", await {call})
"""
        project.app("shop", lifespan=f"{ASK}\n\n{job}")
        with Server(project) as server:
            server.wait_for_event("answered 42")
            # The one goes on to hold its connection, the other has given it back.
            postgresql.wait_for_clients(int("to_thread" in call))
            postgresql.restart()
            project.file("go-on", "")
            if "to_thread" in call:
                server.wait_for_output("shop.job.* crashed while serving")
                assert "await sync_to_async(function)()" in server.output
            else:
                server.wait_for_event("answered again 42")
                assert "Traceback" not in server.output
