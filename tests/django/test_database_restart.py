"""A database that restarts, goes away or hangs under a server: jobs go on, the process can end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from textwrap import dedent

import pytest

from tests.clusters import PostgreSQL
from tests.needs import needs_postgresql
from tests.projects import Project
from tests.servers import Server

pytestmark = [pytest.mark.server, needs_postgresql]

# What answers is a process of the database: another one is another connection.
ASKING = """
import asyncio
from pathlib import Path

from asgiref.sync import sync_to_async
from django.db import OperationalError, connection
from journal import write
from lifespan_app.integration import connections
from lifespan_app import lifespan


def ask(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


async def answer():
    return await sync_to_async(ask)("select pg_backend_pid()")
"""

HANGING = "select pg_sleep(1000)"


@pytest.fixture(scope="module")
def one_cluster() -> Iterator[PostgreSQL]:
    with PostgreSQL() as cluster:
        yield cluster


@pytest.fixture
def cluster(one_cluster: PostgreSQL) -> PostgreSQL:
    """Return the cluster, without the queries that an earlier test has left hanging in it."""
    one_cluster.restart()
    return one_cluster


class Shop:
    """A project on a cluster, whose one app has these hooks."""

    def __init__(self, project: Project, cluster: PostgreSQL) -> None:
        self.project = project
        self.cluster = cluster
        cluster.serve(project)

    def hooks(self, source: str) -> Project:
        return self.project.app("shop", lifespan=f"{ASKING}\n\n{dedent(source)}")


@pytest.fixture
def shop(project: Project, cluster: PostgreSQL) -> Shop:
    return Shop(project, cluster)


def wait_for_answer(server: Server, *, other_than: str = "") -> str:
    """Wait until the last thing that happened is an answer, by another process than this one."""

    def answered() -> str:
        last = server.project.events()[-1:]
        return next(
            (one for one in last if one.startswith("answered by") and one != other_than), ""
        )

    return server.until(answered, "The database did not answer")


class TestRestarted:
    """A job queries again after a restart of its database."""

    def test_restarted_database_is_queried_again_by_a_job(self, shop: Shop) -> None:
        project = shop.hooks("""
            @lifespan.background
            async def ask_again_and_again():
                while True:
                    try:
                        write("answered by", await answer())
                    except OperationalError:
                        write("not answered")
                    await asyncio.sleep(0.02)
        """)
        with Server(project, limit=60) as server:
            before = wait_for_answer(server)
            shop.cluster.stop()
            server.wait_for_event("not answered")
            shop.cluster.start()
            assert wait_for_answer(server, other_than=before)
            shop.cluster.wait_for_clients(1)
            server.signal(signal.SIGTERM)
            assert server.wait() == -signal.SIGTERM
            assert "crashed" not in server.output

    def test_restarted_database_is_not_noticed_by_hooks_that_rested(self, shop: Shop) -> None:
        project = shop.hooks("""
            @lifespan.resource
            async def account():
                write("opened by", await answer())
                yield "account"
                write("closed by", await answer())


            @lifespan.background
            async def ask_before_and_after():
                write("answered by", await answer())
                while not Path("go-on").exists():
                    await asyncio.sleep(0.02)
                await asyncio.sleep(connections.RESTED)
                write("answered by", await answer())
        """)
        with Server(project, limit=60) as server:
            before = wait_for_answer(server)
            shop.cluster.restart()
            project.file("go-on", "")
            assert wait_for_answer(server, other_than=before)
            server.signal(signal.SIGTERM)
            assert server.wait() == -signal.SIGTERM
            assert "Traceback" not in server.output
        opened, *_, closed = project.events()
        assert closed.startswith("closed by")
        assert closed.split()[-1] != opened.split()[-1]

    def test_restarted_database_is_queried_again_by_rounds_in_threads(self, shop: Shop) -> None:
        project = shop.hooks("""
            @lifespan.background(every=0.05)
            def ask_in_a_round():
                try:
                    write("answered by", ask("select pg_backend_pid()"))
                except OperationalError:
                    write("not answered")
                    raise
        """)
        with Server(project, limit=60) as server:
            before = wait_for_answer(server)
            shop.cluster.stop()
            server.wait_for_output("shop.ask_in_a_round.* crashed while serving")
            shop.cluster.start()
            assert wait_for_answer(server, other_than=before)
            # A round that has ended holds no connection, and neither does its thread.
            shop.cluster.wait_for_clients(1)
            server.signal(signal.SIGTERM)
            assert server.wait() == -signal.SIGTERM

    def test_restarted_database_is_queried_again_by_a_restarted_job(self, shop: Shop) -> None:
        project = shop.hooks("""
            @lifespan.background(on_crash="restart")
            async def ask_again_and_again():
                while True:
                    write("answered by", await answer())
                    await asyncio.sleep(0.02)
        """)
        with Server(project, limit=60) as server:
            before = wait_for_answer(server)
            shop.cluster.stop()
            server.wait_for_output("shop.ask_again_and_again.* crashed while serving")
            shop.cluster.start()
            assert wait_for_answer(server, other_than=before)
            shop.cluster.wait_for_clients(1)


class TestGone:
    """A database that has gone keeps no process from ending."""

    def test_connections_to_a_database_that_is_gone_close_without_error(self, shop: Shop) -> None:
        project = shop.hooks("""
            # A cursor that is open keeps its connection.
            @lifespan.resource
            def account():
                with connection.cursor() as cursor:
                    cursor.execute("select 1")
                    yield "account"
                write("closed")


            @lifespan.background
            async def ask_once(account):
                cursor = await sync_to_async(lambda: connection.cursor())()
                write("asks")
                await asyncio.Event().wait()
        """)
        with Server(project) as server:
            server.wait_for_event("asks")
            shop.cluster.wait_for_clients(2)
            shop.cluster.stop()
            server.signal(signal.SIGTERM)
            assert server.wait() == -signal.SIGTERM
            assert project.events()[-1] == "closed"
            assert "Traceback" not in server.output


class TestHanging:
    """A query that never answers keeps no process from ending."""

    def until_it_hangs(self, server: Server, cluster: PostgreSQL) -> None:
        query = f"select 1 from pg_stat_activity where state = 'active' and query = '{HANGING}'"
        server.until(lambda: cluster.query(query), "The query did not begin")

    def test_hanging_query_of_a_job_is_left_behind_in_time(self, shop: Shop) -> None:
        project = shop.hooks(f"""
            @lifespan.resource
            async def account():
                yield "account"
                write("closed")


            @lifespan.background(shutdown_timeout=0.2)
            async def hang(account):
                await sync_to_async(ask)("{HANGING}")
        """)
        with Server(project) as server:
            self.until_it_hangs(server, shop.cluster)
            server.signal(signal.SIGTERM)
            assert server.wait() == -signal.SIGTERM
            assert project.events() == ["closed"]
            job = project.line_of("shop/lifespan.py", "@lifespan.background")
            line = project.line_of("shop/lifespan.py", "cursor.execute(sql)")
            [told] = server.wait_for_output("'shop.hang'.*a database call hangs in its thread.*")
            assert f"(shop/lifespan.py:{job})" in told
            assert f"shop/lifespan.py:{line} in ask" in told
            assert "did not stop within its limit of 0.2 s" in server.output

    @pytest.mark.parametrize(
        "start",
        [
            f"async def start():\n    await sync_to_async(ask)('{HANGING}')",
            f"def start():\n    ask('{HANGING}')",
        ],
        ids=["async", "sync"],
    )
    def test_hanging_query_of_a_start_fails_the_startup(self, shop: Shop, start: str) -> None:
        project = shop.hooks(f"@lifespan.on_start(timeout=0.2)\n{start}")
        with Server(project, ready=False) as server:
            assert server.wait() == 3
            assert "'shop.start'" in server.output
            assert "did not start within its limit of 0.2 s" in server.output
