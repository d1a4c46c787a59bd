"""A background job that one process leads: when it ends, the next one begins."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from textwrap import dedent

import pytest

from tests.clusters import PostgreSQL
from tests.leases.databases import LEASE_SECONDS, POLLING, WRITING, Database, pids
from tests.projects import Project
from tests.servers import Server

pytestmark = [pytest.mark.server, pytest.mark.slow]

CLOCK = """
import os
import time

def shifted(clock, seconds):
    return lambda: clock() + seconds

time.time = shifted(time.time, float(os.environ.get("AHEAD", 0)))
for options in DATABASES.values():
    if zone := os.environ.get("ZONE"):
        hours = {"Asia/Tokyo": "+09:00", "America/Lima": "-05:00"}[zone]
        if "mysql" in options["ENGINE"]:
            options["OPTIONS"]["init_command"] = f"SET time_zone = '{hours}'"
        else:
            options["TIME_ZONE"] = zone
"""
"""The clock of a host, and the time zone of its sessions."""


@contextmanager
def two_servers(
    project: Project,
    database: Database,
    job: str = POLLING,
    hosts: tuple[dict[str, str], dict[str, str]] = ({}, {}),
) -> Iterator[tuple[Server, Server]]:
    """Yield two servers: the leader, and the one that stands by."""
    database.serve(project).app("shop", lifespan=job)
    done = project.manage("migrate", "-v", "0")
    assert done.returncode == 0, done.stderr
    with ExitStack() as stack:
        one, two = (stack.enter_context(Server(project, environment=host)) for host in hosts)
        leader = next_leader(one, [])
        leads, other = (one, two) if one.process.pid == leader else (two, one)
        other.wait_for_output("stands by here: process")
        yield leads, other


def next_leader(server: Server, before: list[int]) -> int:
    """Wait until one more process leads, and return its pid."""

    def leading() -> list[int]:
        leaders = pids(server.project, "leads")
        return leaders if len(leaders) > len(before) else []

    return server.until(leading, "Nobody came to lead")[-1]


def seconds_until(look: Callable[[], object]) -> float:
    began = time.monotonic()
    look()
    return time.monotonic() - began


def test_killed_leader_is_replaced_when_its_lease_has_ended(
    project: Project, database: Database
) -> None:
    with two_servers(project, database) as (leader, other):
        before = pids(project, "leads")
        leader.signal_group(signal.SIGKILL)

        took = seconds_until(lambda: next_leader(other, before))

        assert took < LEASE_SECONDS + 1
        assert [event.split()[2] for event in project.events() if "leads" in event] == ["1", "2"]


def test_stopped_leader_is_replaced_within_a_second(project: Project, database: Database) -> None:
    with two_servers(project, database) as (leader, other):
        before = pids(project, "leads")
        leader.signal(signal.SIGTERM)
        other.until(lambda: pids(project, "stops"), "The leader did not stop")

        took = seconds_until(lambda: next_leader(other, before))

        assert took < 1


def test_number_of_a_leader_that_was_paused_past_its_lease_is_refused(
    project: Project, database: Database
) -> None:
    with two_servers(project, database, WRITING) as (leader, other):
        pid, before = leader.process.pid, pids(project, "leads")
        other.until(lambda: f"wrote {pid} 1" in project.events(), "The leader wrote nothing")
        os.killpg(pid, signal.SIGSTOP)
        next_leader(other, before)
        other.wait_for_event(f"wrote {other.process.pid} 2")

        os.killpg(pid, signal.SIGCONT)

        leader.wait_for_event(f"refused {pid} 1")
        leader.wait_for_output(f"stands by here: process {other.process.pid} on host .* leads")
        assert pids(project, "leads") == [pid, other.process.pid]


def test_leader_is_cancelled_when_it_can_not_renew_and_one_leads_once_the_database_is_back(
    project: Project, database: Database
) -> None:
    with two_servers(project, database) as (leader, other):
        before = pids(project, "leads")
        with away(project, database):
            took = seconds_until(lambda: leader.wait_for_event(f"stops {before[-1]}"))
            leader.wait_for_output("lease of .* could not be renewed")

        assert took < LEASE_SECONDS
        next_leader(other, before)
        assert len(pids(project, "leads")) == 2


@contextmanager
def away(project: Project, database: Database) -> Iterator[None]:
    """Have the database answer nobody inside the block."""
    if database.cluster is not None:
        database.cluster.stop()
        yield
        database.cluster.start()
        return
    connection = sqlite3.connect(project.folder / "db.sqlite3", isolation_level=None, timeout=30)
    connection.execute("BEGIN EXCLUSIVE")
    yield
    connection.close()


def test_only_the_clock_of_the_database_counts(project: Project, database: Database) -> None:
    if database.cluster is None:
        pytest.skip("SQLite has the clock of the machine")
    project.settings(CLOCK)
    hosts = ({"AHEAD": "300", "ZONE": "Asia/Tokyo"}, {"AHEAD": "-300", "ZONE": "America/Lima"})
    with two_servers(project, database, hosts=hosts) as (leader, other):
        before = pids(project, "leads")
        time.sleep(2 * LEASE_SECONDS)  # what must not happen has had its time
        assert pids(project, "leads") == before

        leader.signal_group(signal.SIGKILL)

        assert seconds_until(lambda: next_leader(other, before)) < LEASE_SECONDS + 1


def test_blocked_loop_keeps_its_lease(project: Project) -> None:
    blocking = """
    import asyncio
    import os
    import time
    from pathlib import Path

    from journal import write
    from lifespan_app import lifespan


    @lifespan.background(once="cluster")
    async def poll():
        write("leads", os.getpid())
        while not Path("go").exists():
            await asyncio.sleep(0.02)
        time.sleep(7)
        write("woken")
        await asyncio.Event().wait()
    """
    with two_servers(project, Database(None), dedent(blocking)) as (leader, other):
        project.file("go", "")
        other.wait_for_event("woken")

        assert pids(project, "leads") == [leader.process.pid]
        assert "could not be renewed" not in leader.output


def test_lease_shares_the_only_connection_of_a_pool(project: Project, database: Database) -> None:
    if not isinstance(database.cluster, PostgreSQL):
        pytest.skip("only PostgreSQL has Django's pool")
    views = """
    from asgiref.sync import sync_to_async
    from django.db import connection
    from django.http import HttpResponse

    def ask():
        with connection.cursor() as cursor:
            cursor.execute("select 1")
            return cursor.fetchone()[0]

    async def number(request):
        return HttpResponse(await sync_to_async(ask)())
    """
    project.app("front", views=views)
    project.settings(
        "DATABASES['default']['OPTIONS'] = {'pool': {'min_size': 0, 'max_size': 1, 'timeout': 2}}"
    )
    with two_servers(project, database) as (leader, other):
        for _ in range(20):
            assert leader.get("/number/").text == other.get("/number/").text == "1"

        assert pids(project, "leads") == [leader.process.pid]


def test_fork_of_the_leader_does_not_lead(project: Project) -> None:
    forking = """
    import asyncio
    import os

    from journal import write
    from lifespan_app import lifespan
    from lifespan_app.leases.keeper import keeper


    @lifespan.background(once="cluster")
    async def poll(context):
        write("leads", os.getpid(), context.lease.number)
        if not (child := os.fork()):
            write("child", len(keeper._claims))
            os._exit(0)
        os.waitpid(child, 0)
        await asyncio.Event().wait()
    """
    with two_servers(project, Database(None), dedent(forking)) as (leader, other):
        other.wait_for_event("child 0")
        before = pids(project, "leads")
        leader.signal(signal.SIGTERM)

        assert next_leader(other, before) == other.process.pid
