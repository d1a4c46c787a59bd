"""What comes before the hooks is a part of a start, and is recorded with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from lifespan_app.history.reading.boot import Boot, boot_of
from lifespan_app.history.recording.boot import boot_record
from lifespan_app.models import LifespanRun
from tests.projects import Project
from tests.servers import GUNICORN, UVICORN, Server

LIFESPAN = """
import asyncio

from lifespan_app import lifespan


@lifespan.resource
async def slow():
    await asyncio.sleep(0.5)
    yield "up"
"""

APPS = """
import time

from django.apps import AppConfig

time.sleep(1)


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self):
        time.sleep(1.5)
"""


def shop(project: Project) -> Project:
    project.app("shop", lifespan=LIFESPAN, apps=APPS)
    project.settings(LIFESPAN={"SPOOL_DIR": str(project.folder / "spool")})
    return project.with_tables()


def recorded(project: Project) -> dict[str, Any]:
    """Return what the newest run of a project says of its boot, and that run's columns."""
    told = project.manage("showlifespan", "--format", "json")
    found = json.loads(told.stdout)
    parts = {part["until"]: part["seconds"] for part in found["boot"]["parts"]}
    return {**found["run"], **found["boot"], "parts": parts}


def parts_of(boot: Boot | None) -> dict[str, float]:
    assert boot is not None
    return {part.until: part.seconds for part in boot.parts}


def run_with(boot: object, hooks: float | None = 0.25) -> LifespanRun:
    """Return a run with such a boot record; without a time of hooks, it was never ready."""
    run = LifespanRun(boot=boot)
    if hooks is not None:
        run.ready_at = timezone.now()
        run.startup_duration = timedelta(seconds=hooks)
    return run


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the start")


@on_linux
@pytest.mark.server
@pytest.mark.slow
@pytest.mark.once
def test_parts_add_up_to_the_time_that_a_server_takes_to_be_ready(project: Project) -> None:
    shop(project)

    before = time.time()
    server = subprocess.Popen(
        UVICORN.arguments("asgi:application", 0),
        cwd=project.folder,
        env=project.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stderr is not None
        next(line for line in server.stderr if "Application startup complete" in line)
        taken = time.time() - before
        server.terminate()
        server.stderr.read()

    boot = recorded(project)
    assert sum(boot["parts"].values()) == pytest.approx(taken, rel=0.05)
    assert boot["seconds"] == pytest.approx(taken, rel=0.05)
    names = ["imported", "app_ready", "apps_ready", "application", "startup", "ready"]
    assert list(boot["parts"]) == names
    assert boot["parts"]["app_ready"] >= 1.0
    assert boot["parts"]["apps_ready"] >= 1.5
    assert 0.5 <= boot["parts"]["ready"] < 1.5
    assert (boot["begins"], boot["forked"]) == ("process", False)


@on_linux
@pytest.mark.server
@pytest.mark.slow
@pytest.mark.once
def test_worker_begins_at_its_fork_and_says_that_the_project_was_imported_before(
    project: Project,
) -> None:
    shop(project)

    with Server(project, GUNICORN, options=["--preload"]) as server:
        server.until(lambda: len(project.runs()) == 1 and project.runs()[0]["ready_at"], "No run")
        boot = recorded(project)
        assert boot["pid"] != server.process.pid

    assert boot["forked"] is True
    assert list(boot["parts"]) == ["startup", "ready"]
    assert boot["seconds"] < 2.5
    assert "It was forked from a process that had imported the project already." in boot["summary"]


@on_linux
@pytest.mark.slow
@pytest.mark.once
def test_command_has_a_boot_record_without_an_application(project: Project) -> None:
    shop(project)

    done = project.manage("runlifespan", "--service-type", "worker", "--", sys.executable, "-c", "")

    assert done.returncode == 0, done.stderr
    boot = recorded(project)
    assert (boot["service_type"], boot["begins"]) == ("worker", "process")
    assert list(boot["parts"]) == ["imported", "app_ready", "startup", "ready"]
    assert boot["parts"]["startup"] >= 1.5


def test_parts_follow_each_other_from_the_process_to_the_last_hook() -> None:
    boot = boot_of(
        run_with({"process": 18.32, "imported": 17.9, "apps_ready": 2, "application": 1})
    )

    assert boot is not None
    assert (
        boot.summary
        == "Ready 18.6 s after the process began: 18.3 s before the hooks, 0.25 s of hooks."
    )
    assert parts_of(boot) == {
        "imported": 0.42,
        "apps_ready": 15.9,
        "application": 1.0,
        "startup": 1.0,
        "ready": 0.25,
    }
    assert boot.seconds == 18.57


def test_start_of_a_process_that_is_unknown_is_not_made_up() -> None:
    boot = boot_of(run_with({"imported": 2.01, "apps_ready": 0.5}))

    assert boot is not None
    assert boot.summary.startswith("Ready 2.3 s after lifespan_app was imported: 2.0 s before")
    assert parts_of(boot) == {"apps_ready": 1.51, "startup": 0.5, "ready": 0.25}


def test_run_that_was_never_ready_says_only_what_came_before_its_hooks() -> None:
    boot = boot_of(run_with({"process": 3.0, "imported": 2.0}, hooks=None))

    assert boot is not None
    assert boot.summary == "The startup began 3.0 s after the process was started."
    assert parts_of(boot) == {"imported": 1.0, "startup": 2.0}


@pytest.mark.parametrize("boot", [{}, [], None, {"process": "x"}, {"apps_ready": 1}], ids=repr)
def test_run_without_a_usable_record_says_nothing(boot: object) -> None:
    assert boot_of(run_with(boot)) is None


@on_linux
def test_only_the_first_run_of_a_process_has_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lifespan_app.history.recording.boot._first_runs", {})

    first = boot_record("first", time.time())
    assert first["process"] > first["imported"] >= 0
    assert boot_record("second", time.time()) == {}
    assert boot_record("first", time.time())


@on_linux
def test_process_began_when_the_system_says_so() -> None:
    before = time.time()
    child = os.fork()
    if child == 0:
        from lifespan_app.engine import proc

        began = proc.began()
        os._exit(0 if began is not None and before - 0.05 < began < time.time() + 0.05 else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
