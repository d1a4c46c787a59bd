"""What was kept is what has happened, whatever happens to the process and to its database."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from lifespan_app.models import LifespanRun, LifespanStep
from tests.clusters import PostgreSQL
from tests.history.databases import HistoryDatabase, opened
from tests.history.served import recorded, statuses, wait_for_record
from tests.needs import needs_postgresql
from tests.projects import Project
from tests.servers import Server

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker, Settings

pytestmark = [pytest.mark.slow, pytest.mark.server, needs_postgresql]

JOBS = 5

WAIT = """
import asyncio
from pathlib import Path

from lifespan_app import lifespan


async def wait(name):
    while not Path(name).exists():
        await asyncio.sleep(0.01)
    raise OSError(f"{name} fell")
"""

JOB = """

@lifespan.background(required=False)
async def job_{number}():
    await wait("job_{number}")
"""


@pytest.fixture
def cluster() -> Iterator[PostgreSQL]:
    with PostgreSQL() as cluster:
        yield cluster


@pytest.fixture
def database(
    cluster: PostgreSQL, settings: Settings, django_db_blocker: DjangoDbBlocker
) -> Iterator[HistoryDatabase]:
    with django_db_blocker.unblock(), opened(cluster.database, kind="postgresql") as database:
        settings.LIFESPAN = {"HISTORY_DATABASE": database.alias}
        database.migrate()
        yield database


@pytest.fixture
def serving(project: Project, database: HistoryDatabase) -> Project:
    """Return a project, recorded, with jobs that fall when a file with their name is there."""
    jobs = "".join(JOB.format(number=number) for number in range(JOBS))
    return recorded(project, database).app("jobs", lifespan=WAIT + jobs)


def fall(project: Project, *numbers: int) -> None:
    """Have jobs of a project crash."""
    for number in numbers:
        project.file(f"job_{number}", "")


def rise(project: Project) -> None:
    """Have no job of a project crash any more."""
    for file in project.folder.glob("job_*"):
        file.unlink()


def kept(phase: str, outcome: str) -> list[str]:
    """Return the names of the steps that the record has."""
    steps = LifespanStep.objects.filter(phase=phase, outcome=outcome)
    return sorted(steps.values_list("name", flat=True))


def spooled(project: Project, text: str) -> bool:
    """Tell whether a text waits in a file."""
    return any(text in file.read_text() for file in project.folder.glob("spool/*.jsonl"))


def warnings(server: Server) -> int:
    """Count how often a server has said that it can't write to its database."""
    return server.output.count("Can't write run history")


def test_record_survives_a_restart_of_its_database(
    serving: Project, cluster: PostgreSQL, database: HistoryDatabase
) -> None:
    with Server(serving) as server:
        wait_for_record(server, lambda: len(kept("startup", "ok")) == 1)
        fall(serving, 0)
        wait_for_record(server, lambda: kept("serving", "crashed") == ["job_0"])
        database.connection.close()
        cluster.stop()
        fall(serving, 1, 2)
        server.until(lambda: spooled(serving, "job_2 fell"), "Nothing waits in a file")
        cluster.start()
        wait_for_record(server, lambda: kept("serving", "crashed") == ["job_0", "job_1", "job_2"])
        fall(serving, 3)
        wait_for_record(server, lambda: len(kept("serving", "crashed")) == 4)
        wait_for_record(server, lambda: LifespanRun.objects.get().hooks_failed == 4)
        server.signal(signal.SIGTERM)
        server.wait()

    [run] = LifespanRun.objects.all()
    assert (run.status, run.hooks_failed, run.recorded_late) == ("stopped", 4, False)
    assert kept("serving", "crashed") == ["job_0", "job_1", "job_2", "job_3"]
    assert kept("serving", "ok") == ["job_4"]
    assert kept("startup", "ok") == ["shelf"]
    assert kept("shutdown", "ok") == ["shelf"]
    assert run.steps.count() == 7
    assert warnings(server) == 1
    assert not list(serving.folder.glob("spool/*.jsonl"))


def test_record_survives_a_kill_while_the_database_is_down(
    serving: Project, cluster: PostgreSQL, database: HistoryDatabase
) -> None:
    with Server(serving) as killed:
        wait_for_record(killed, lambda: kept("startup", "ok") == ["shelf"])
        database.connection.close()
        cluster.stop()
        fall(serving, 0, 1)
        killed.until(lambda: spooled(serving, '"hooks_failed": 2'), "Nothing waits in a file")
        killed.signal(signal.SIGKILL)
        killed.wait()
    rise(serving)
    cluster.start()
    assert statuses() == ["serving"]
    with Server(serving) as server:
        wait_for_record(server, lambda: statuses() == ["lost", "serving"])

    run = LifespanRun.objects.get(status="lost")
    assert run.recorded_late
    assert run.hooks_failed == 2
    assert kept("serving", "crashed") == ["job_0", "job_1"]
    # The others ran when it was killed.
    assert run.steps.filter(phase="serving", outcome="").count() == JOBS - 2
    assert run.steps.count() == JOBS + 1
    assert not list(serving.folder.glob("spool/*.jsonl"))


def test_record_waits_for_a_database_that_was_never_there(
    serving: Project, cluster: PostgreSQL, database: HistoryDatabase
) -> None:
    database.connection.close()
    cluster.stop()
    with Server(serving) as killed:
        fall(serving, 0)
        killed.until(lambda: spooled(serving, "job_0 fell"), "Nothing waits in a file")
        killed.signal(signal.SIGKILL)
        killed.wait()
    rise(serving)
    cluster.start()
    with Server(serving) as server:
        wait_for_record(server, lambda: sorted(statuses()) == ["lost", "serving"])

    run = LifespanRun.objects.get(status="lost")
    assert run.recorded_late
    assert (run.pid, run.server) == (killed.process.pid, f"uvicorn {version('uvicorn')}")
    assert sorted(run.steps.values_list("name", "outcome")) == [
        ("job_0", "crashed"),
        *((f"job_{number}", "") for number in range(1, JOBS)),
        ("shelf", "ok"),
    ]
    assert warnings(killed) == 1
    assert warnings(server) == 0
