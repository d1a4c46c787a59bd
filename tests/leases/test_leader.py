"""A background job that one process leads: when it ends, the next one begins."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.leases.databases import LEASE_SECONDS, POLLING, Database, pids
from tests.projects import Project
from tests.servers import Server

pytestmark = [pytest.mark.server, pytest.mark.slow]

MIGRATED = "migrate", "-v", "0"


@contextmanager
def two_servers(project: Project, database: Database) -> Iterator[tuple[Server, Server]]:
    """Yield two servers: the leader, and the one that stands by."""
    database.serve(project).app("shop", lifespan=POLLING)
    done = project.manage(*MIGRATED)
    assert done.returncode == 0, done.stderr
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(project)) for _ in range(2)]
        leader = next_leader(servers[0], [])
        other = servers[1 - [server.process.pid for server in servers].index(leader)]
        other.wait_for_output("stands by")
        first = servers[0] if other is servers[1] else servers[1]
        yield first, other


def next_leader(server: Server, before: list[int]) -> int:
    """Wait until another process leads, and return its pid."""

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
        leader.signal_group(signal.SIGKILL)

        took = seconds_until(lambda: next_leader(other, pids(project, "leads")))

        assert took < LEASE_SECONDS + 1
        assert [event.split()[2] for event in project.events() if "leads" in event] == ["1", "2"]


def test_stopped_leader_is_replaced_within_a_second(project: Project, database: Database) -> None:
    with two_servers(project, database) as (leader, other):
        leader.signal(signal.SIGTERM)
        other.until(lambda: pids(project, "stops"), "The leader did not stop")

        took = seconds_until(lambda: next_leader(other, pids(project, "leads")))

        assert took < 1


def test_number_of_a_leader_that_was_paused_past_its_lease_is_old(
    project: Project, database: Database
) -> None:
    with two_servers(project, database) as (leader, other):
        os.killpg(leader.process.pid, signal.SIGSTOP)
        next_leader(other, pids(project, "leads"))
        os.killpg(leader.process.pid, signal.SIGCONT)

        leader.wait_for_event(f"stops {leader.process.pid}")

        leader.wait_for_output("lease of .* (taken by another process|could not be renewed)")
        leader.wait_for_output(f"stands by: process {other.process.pid} on host .* leads")
        assert pids(project, "leads") == [leader.process.pid, other.process.pid]
