"""What the record says of processes that are killed under real servers."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest
from django.utils import timezone

from lifespan_app.models import LifespanRun, Status
from tests.history.databases import HistoryDatabase
from tests.history.served import (
    complaints,
    in_namespace,
    pause,
    recorded,
    serving,
    statuses,
    wait_for_record,
)
from tests.needs import needs_namespaces
from tests.projects import Project
from tests.servers import GUNICORN, UVICORN, Kind, Server

pytestmark = [pytest.mark.slow, pytest.mark.server]

THREE = {UVICORN.name: ["--workers", "3"], GUNICORN.name: ["-w", "3"]}


@pytest.mark.parametrize("kind", [UVICORN, GUNICORN], ids=lambda kind: kind.name)
def test_killed_worker_is_lost_as_soon_as_another_one_starts(
    kind: Kind, project: Project, sqlite_history: HistoryDatabase
) -> None:
    recorded(project, sqlite_history)
    with Server(project, kind, options=THREE[kind.name]) as server:
        killed = wait_for_record(server, serving(3))[1]
        os.kill(killed.pid, signal.SIGKILL)
        wait_for_record(server, lambda: LifespanRun.objects.filter(status="lost").exists())
        runs = wait_for_record(server, serving(3))
        killed.refresh_from_db()

        assert killed.status == Status.LOST
        # It was not the clock that told.
        assert killed.lost_after is not None
        assert killed.lost_after > timezone.now()
        assert len({run.launch for run in [killed, *runs]}) == 1

        server.signal(signal.SIGTERM)
        server.wait()
    assert sorted(statuses()) == ["lost", "stopped", "stopped", "stopped"]
    assert complaints(server) == []


def test_killed_process_is_lost_by_the_clock_without_another_start(
    project: Project, sqlite_history: HistoryDatabase
) -> None:
    recorded(project, sqlite_history)
    with Server(project) as server:
        [run] = wait_for_record(server, serving(1))
        server.signal(signal.SIGKILL)
        server.wait()
    run.refresh_from_db()
    assert run.lost_after is not None
    at = run.lost_after + timedelta(milliseconds=1)

    assert list(LifespanRun.objects.lost(at)) == [run]
    assert list(LifespanRun.objects.lost(run.lost_after)) == []
    assert list(LifespanRun.objects.live(at)) == []
    assert run.status_at(at) == Status.LOST
    # Reading writes nothing.
    assert statuses() == ["serving"]


def test_paused_process_that_was_called_lost_comes_back(
    project: Project, sqlite_history: HistoryDatabase
) -> None:
    recorded(project, sqlite_history, HEARTBEAT=0.2)
    with Server(project) as paused:
        [run] = wait_for_record(paused, serving(1))
        pause(paused, sqlite_history)
        wait_for_record(paused, lambda: LifespanRun.objects.lost().exists())
        with Server(project) as other:
            wait_for_record(other, lambda: LifespanRun.objects.filter(status="lost").exists())
        paused.signal(signal.SIGCONT)
        wait_for_record(paused, lambda: LifespanRun.objects.serving().filter(pk=run.pk).exists())


def test_process_that_is_only_busy_is_not_lost_with_the_next_start(
    project: Project, sqlite_history: HistoryDatabase
) -> None:
    recorded(project, sqlite_history)
    with Server(project) as paused:
        wait_for_record(paused, serving(1))
        pause(paused, sqlite_history)
        with Server(project) as other:
            wait_for_record(other, serving(2))
            other.signal(signal.SIGTERM)
            other.wait()

    assert statuses() == ["serving", "stopped"]


@needs_namespaces
def test_processes_of_another_namespace_are_left_to_the_clock(
    project: Project, sqlite_history: HistoryDatabase
) -> None:
    """Both are the first process of their container, and neither sees the other."""
    recorded(project, sqlite_history)
    with Server(project, in_namespace(UVICORN)) as first:
        [one] = wait_for_record(first, serving(1))
        with Server(project, in_namespace(UVICORN)) as second:
            wait_for_record(second, serving(2))
            second.signal_group(signal.SIGTERM)
            wait_for_record(second, lambda: statuses() == ["serving", "stopped"])
        other = LifespanRun.objects.get(status="stopped")

        assert (one.pid, other.pid) == (1, 1)
        assert one.process != other.process
        assert one.launch != other.launch
        first.kill()
    with Server(project) as third:
        wait_for_record(third, lambda: LifespanRun.objects.count() == 3)
        third.signal(signal.SIGTERM)
        third.wait()

    assert statuses() == ["serving", "stopped", "stopped"]
    assert one.lost_after is not None
    assert list(LifespanRun.objects.lost(one.lost_after + timedelta(hours=1))) == [one]


def test_process_that_is_killed_in_its_startup_is_lost_with_the_next_start(
    project: Project, sqlite_history: HistoryDatabase
) -> None:
    recorded(project, sqlite_history)
    project.app(
        "slow",
        lifespan="""
            import asyncio

            from lifespan_app import lifespan


            @lifespan.on_start
            async def wait():
                await asyncio.sleep(60)
        """,
    )
    with Server(project, ready=False) as killed:
        wait_for_record(killed, lambda: statuses() == ["starting"])
        killed.signal(signal.SIGKILL)
        killed.wait()
    project.file("slow/lifespan.py", "")
    with Server(project) as server:
        wait_for_record(server, lambda: statuses() == ["lost", "serving"])
