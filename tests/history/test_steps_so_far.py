"""A startup or a shutdown that takes long has its steps so far in the record, and keeps them when killed."""

from __future__ import annotations

import signal

import pytest

from lifespan_app.models import LifespanRun, LifespanStep
from tests.history.databases import HistoryDatabase
from tests.history.served import wait_for_record
from tests.projects import Project
from tests.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.server]


def project_of(project: Project, database: HistoryDatabase, hooks: str) -> Project:
    database.serve(project)
    project.app("books", lifespan=hooks)
    return project.settings(LIFESPAN={"SPOOL_DIR": str(project.folder / "spool")})


def recorded(phase: str) -> list[tuple[str, str]]:
    """Return the name and the outcome of each step of a phase."""
    steps = LifespanStep.objects.filter(phase=phase).order_by("name")
    return list(steps.values_list("name", "outcome"))


def waiting_at(name: str) -> str:
    found = LifespanStep.objects.filter(name=name, outcome="").values_list("waiting_at", flat=True)
    return found[0] if found else ""


@pytest.mark.parametrize(
    ("wait", "line"),
    [
        ("await asyncio.sleep(600)", "await asyncio.sleep(600)"),
        # The event loop is blocked: no hook progresses, and only the watchdog's thread sees it.
        ("time.sleep(600)", "time.sleep(600)"),
    ],
    ids=["waits", "blocks the loop"],
)
def test_start_that_hangs_and_is_killed_keeps_its_steps_and_where_it_hung(
    project: Project, sqlite_history: HistoryDatabase, wait: str, line: str
) -> None:
    project_of(
        project,
        sqlite_history,
        f"""
import asyncio
import time

from lifespan_app import lifespan


@lifespan.resource
async def shelf():
    yield "a shelf"


@lifespan.on_start
async def load(shelf):
    {wait}
""",
    )
    with Server(project, ready=False) as server:
        wait_for_record(server, lambda: LifespanStep.objects.exists())
        [run] = LifespanRun.objects.all()
        server.signal(signal.SIGKILL)
        server.wait()

    assert (run.status, run.ready_at) == ("starting", None)
    assert recorded("startup") == [("load", ""), ("shelf", "ok")]
    place = f"books/lifespan.py:{project.line_of('books/lifespan.py', line)}"
    assert place in waiting_at("load")


def test_stop_that_hangs_and_is_killed_keeps_its_steps_and_where_it_hung(
    project: Project, sqlite_history: HistoryDatabase
) -> None:
    project_of(
        project,
        sqlite_history,
        """
import asyncio

from lifespan_app import lifespan


@lifespan.resource(shutdown_timeout=60)
async def shelf():
    yield "a shelf"
    await asyncio.sleep(600)


@lifespan.resource
async def books(shelf):
    yield "books"
""",
    )
    with Server(project) as server:
        server.signal(signal.SIGTERM)
        wait_for_record(server, lambda: bool(waiting_at("shelf")))
        server.signal(signal.SIGKILL)
        server.wait()

    assert LifespanRun.objects.get().status == "stopping"
    assert recorded("startup") == [("books", "ok"), ("shelf", "ok")]
    assert recorded("shutdown") == [("books", "ok"), ("shelf", "")]
    assert "books/lifespan.py:9" in waiting_at("shelf")


def test_start_that_is_slow_and_comes_up_has_each_step_once(
    project: Project, sqlite_history: HistoryDatabase
) -> None:
    project_of(
        project,
        sqlite_history,
        """
import asyncio
from pathlib import Path

from lifespan_app import lifespan


@lifespan.resource(retry=60)
async def load():
    if not Path("loaded").exists():
        raise ConnectionError("no books")
    yield "books"


@lifespan.on_start
async def wait():
    while not Path("loaded").exists():
        await asyncio.sleep(0.01)
""",
    )
    with Server(project, ready=False) as server:
        wait_for_record(server, lambda: bool(waiting_at("wait")))
        attempts = LifespanStep.objects.get(name="load")
        assert attempts.outcome == ""
        assert attempts.errors == ["ConnectionError: no books"] * len(attempts.errors)
        assert len(attempts.errors) > 1
        (project.folder / "loaded").touch()
        wait_for_record(server, lambda: LifespanRun.objects.filter(status="serving").exists())
        wait_for_record(server, lambda: recorded("startup") == [("load", "ok"), ("wait", "ok")])
    loaded = LifespanStep.objects.get(name="load", phase="startup")
    assert loaded.attempt == len(loaded.errors) + 1


def test_start_that_hangs_without_its_database_keeps_its_steps_in_a_file(project: Project) -> None:
    nowhere = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "shop",
        "HOST": "127.0.0.1",
        "PORT": 9,
    }
    spool = {"SPOOL_DIR": str(project.folder / "spool")}
    project.settings(DATABASES={"default": nowhere}, LIFESPAN=spool).app(
        "books",
        lifespan="""
            import asyncio

            from lifespan_app import lifespan


            @lifespan.on_start
            async def load():
                await asyncio.sleep(600)
        """,
    )
    with Server(project, ready=False) as server:
        server.wait_for_output("books.load.* has been starting for")
        server.until(
            lambda: "in load" in file_of(project),
            "The steps are in no file",
        )
        server.signal(signal.SIGKILL)
        server.wait()

    shown = project.manage("showlifespan").stdout
    assert "it waits at books/lifespan.py:8 in load" in " ".join(shown.split())


def file_of(project: Project) -> str:
    """Return what waits in the files of a project."""
    return "".join(file.read_text() for file in (project.folder / "spool").glob("*.jsonl"))
