"""Servers that return 0 though their workers failed: what the workers tell decides."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from lifespan_app.serving.startup_report import StartupReports, listening, write
from tests.projects import Project
from tests.running.processes import running, script
from tests.servers import HYPERCORN, UVICORN, Kind, Server, _free_port

WORKERS = [UVICORN, HYPERCORN]

FAILS = """
from lifespan_app import lifespan
import journal

@lifespan.on_start
async def open_shop():
    journal.write("fails")
    raise OSError("no key")
"""

# The second worker is the one that fails, and not before the first one has written its journal.
FAILS_ONCE = """
import asyncio, os
from lifespan_app import lifespan
import journal

@lifespan.resource
async def shop():
    try:
        os.close(os.open("key", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        while not os.path.exists("journal.txt"):
            await asyncio.sleep(0.01)
        journal.write("fails")
        raise OSError("no key") from None
    journal.write("opens")
    yield
"""

WHOLE = """
from lifespan_app import lifespan
import journal

@lifespan.resource
async def shop():
    journal.write("opens")
    yield
    journal.write("closes")
"""


def around(project: Project, kind: Kind, *options: str) -> Server:
    """Return a server with two workers inside the plan of its own service type."""
    command = kind.arguments("asgi:application", _free_port())
    return running(project, "--", *command, "--workers", "2", *options)


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
@pytest.mark.parametrize("kind", WORKERS, ids=lambda kind: kind.name)
class TestWithTwoWorkers:
    def test_two_failing_workers_return_1(self, project: Project, kind: Kind) -> None:
        project.app("shop", lifespan=FAILS)

        with around(project, kind) as server:
            assert server.wait() == 1

        assert re.search(
            r"\d of \d runs of the command failed to start, and its exit code is 0: that counts as "
            r"1\. The first error: OSError: no key",
            server.output,
        )

    def test_failing_worker_returns_1_unless_the_end_was_asked_for(
        self, tmp_path: Path, kind: Kind
    ) -> None:
        project = Project(tmp_path / "project").app("shop", lifespan=FAILS_ONCE)

        with around(project, kind) as server:
            # hypercorn's own is 0, or the -15 of the worker that was up: it terminates that.
            assert server.wait() in ((1, 241) if kind is HYPERCORN else (1,))

        assert project.events() == ["opens", "fails"]

    def test_failing_workers_without_runlifespan_return_0(
        self, project: Project, kind: Kind
    ) -> None:
        """When this fails, the servers have been mended, and the docs can say so."""
        project.app("shop", lifespan=FAILS)

        with Server(project, kind, options=["--workers", "2"], ready=False) as server:
            assert server.wait() == 0

    def test_workers_asked_to_end_return_0(self, project: Project, kind: Kind) -> None:
        project.app("shop", lifespan=WHOLE)

        with around(project, kind) as server:
            server.wait_for_event("opens", count=2)
            if kind is HYPERCORN:
                # A worker that has begun its lifespan, and does not listen yet, hears of no end.
                server.wait_for_output("Running on", count=2)
            server.signal(signal.SIGTERM)

            assert server.wait() == 0
        assert project.events().count("closes") == 2

    def test_startup_report_needs_no_database(self, project: Project, kind: Kind) -> None:
        project.app("shop", lifespan=FAILS).settings(
            DATABASES={
                "default": {
                    "ENGINE": "django.db.backends.sqlite3",
                    "NAME": "/no/such/folder/db.sqlite3",
                }
            }
        )

        with around(project, kind) as server:
            assert server.wait() == 1


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
def test_record_shows_one_launch_of_the_command_and_its_workers(project: Project) -> None:
    project.app("shop", lifespan=WHOLE).with_tables()

    with around(project, UVICORN) as server:
        server.wait_for_event("opens", count=2)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0

    listed = project.manage(
        *("shell", "--verbosity", "0", "--command"),
        "from lifespan_app.models import LifespanRun\n"
        "for run in LifespanRun.objects.order_by('mode'):\n"
        "    print(run.launch, run.mode, run.service_type, run.status)\n",
    )
    launches, *rest = zip(*(line.split() for line in listed.stdout.splitlines()), strict=True)
    assert len(set(launches)) == 1
    assert [*zip(*rest, strict=True)] == [
        ("command", "server", "stopped"),
        ("server", "app", "stopped"),
        ("server", "app", "stopped"),
    ]


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
def test_plan_that_no_worker_can_make_returns_1(project: Project) -> None:
    """hypercorn returns 0 then, too. The plan of `server` itself is whole."""
    project.app("shop", lifespan=WHOLE).settings(
        "import os\nif 'LIFESPAN_STARTS_FILE' in os.environ:\n"
        "    LIFESPAN = {'HOOKS': {'shop.shop': {'state_name': 'items'}}}\n"
    )

    with around(project, HYPERCORN) as server:
        assert server.wait() == 1

    assert "The first error: PlanError: " in server.output


FAILS_THEN_SERVES = """
import asyncio, signal, sys
import django

django.setup()

import journal
from lifespan_app import Lifespan, lifespan

def broken():
    raise OSError("no key")

async def main():
    for fails in (True, False):
        own = Lifespan(lifespan.adapter)
        if fails:
            own.on_start(broken)
        run = own.prepare(server=SERVER)
        try:
            await run.start()
            await run.stop()
        except OSError:
            journal.write("failed")

asyncio.run(main())
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
journal.write("up")
signal.pause()
"""


def test_worker_mended_before_the_end_returns_0(
    project: Project,
) -> None:
    child = script(project, "child.py", FAILS_THEN_SERVES.replace("SERVER", "''"))

    with running(project, "--", *child) as server:
        server.wait_for_event("up")
        server.signal(signal.SIGTERM)

        assert server.wait() == 0
    assert project.events() == ["failed", "up"]


@pytest.mark.parametrize(("server", "code"), [("None", 0), ("''", 1)], ids=["command", "server"])
def test_command_that_fails_to_open_a_plan_is_its_own_business(
    project: Project, server: str, code: int
) -> None:
    source = FAILS_THEN_SERVES.replace("SERVER", server).replace("signal.pause()", "")

    done = project.manage("runlifespan", "--", *script(project, "child.py", source))

    assert done.returncode == code, done.stderr
    assert project.events() == ["failed", "up"]


# The file.


def test_startup_reports_are_counted() -> None:
    with listening() as told:
        write(str(told.path), "1", True, "")
        write(str(told.path), "2", False, "OSError: no")

        assert told.starts() == (1, ["OSError: no"])


def test_startup_report_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "starts"
    whole = json.dumps({"run": "1", "came_up": True, "error": ""})
    path.write_text(f'{whole}\n{{"run": "2", "came')

    assert StartupReports(path).starts() == (1, [])


def test_startup_report_is_private_and_removed() -> None:
    with listening() as told:
        assert told.path is not None
        assert told.path.stat().st_mode & 0o077 == 0
        assert told.path.parent.stat().st_mode & 0o077 == 0

    assert not told.path.parent.exists()


def test_launcher_that_has_gone_is_no_error(tmp_path: Path) -> None:
    write(str(tmp_path / "gone" / "starts"), "1", True, "")

    assert list(tmp_path.iterdir()) == []
