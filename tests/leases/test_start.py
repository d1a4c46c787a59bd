"""A start function that one process runs: the others wait for it, take its success or its failure."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import pytest

from tests.leases.databases import Database, pids
from tests.projects import Project
from tests.servers import Server

pytestmark = [pytest.mark.server, pytest.mark.slow]

LOADING = """
import asyncio
import os
from pathlib import Path

from journal import write
from lifespan_app import lifespan


@lifespan.on_start(once="launch")
async def load(context):
    write("loads", os.getpid(), context.lease.number)
    while not Path("go").exists():
        await asyncio.sleep(0.02)
    if Path("fail").exists():
        raise OSError("no space")
    write("loaded", os.getpid())
"""

LAUNCH = {"LIFESPAN_LAUNCH": "one"}


def migrated(project: Project, database: Database) -> Project:
    """Return a project whose database has its tables, and whose function loads."""
    database.serve(project).app("shop", lifespan=LOADING)
    done = project.manage("migrate", "-v", "0")
    assert done.returncode == 0, done.stderr
    return project


def started(stack: ExitStack, project: Project) -> Server:
    return stack.enter_context(Server(project, environment=LAUNCH, ready=False))


def test_failure_counts_for_those_who_waited_and_a_later_start_tries_again(
    project: Project, database: Database
) -> None:
    migrated(project, database)
    project.file("fail", "")
    with ExitStack() as stack:
        one = started(stack, project)
        one.until(lambda: pids(project, "loads"), "Nobody began")
        two = started(stack, project)
        wait_until_claimed(two)

        project.file("go", "")

        assert one.wait() != 0
        assert two.wait() != 0
    assert f"has failed in process {one.process.pid} on host " in two.output
    assert "OSError: no space" in two.output
    assert len(pids(project, "loads")) == 1

    (project.folder / "fail").unlink()
    with Server(project, environment=LAUNCH):
        assert len(pids(project, "loaded")) == 1


def wait_until_claimed(server: Server) -> None:
    """Wait until a server has looked at the lease."""
    server.wait_for_output(r"waits for its turn: process \d+ on host .* runs it")


def test_killed_process_is_replaced_by_one_that_waits(project: Project, database: Database) -> None:
    migrated(project, database)
    with ExitStack() as stack:
        servers = [started(stack, project) for _ in range(2)]
        [first] = servers[0].until(lambda: pids(project, "loads"), "Nobody began")
        dies, waits = sorted(servers, key=lambda one: one.process.pid != first)
        dies.signal_group(signal.SIGKILL)

        waits.until(lambda: len(pids(project, "loads")) == 2, "Nobody began anew")
        project.file("go", "")
        waits.wait_until_ready()

    assert pids(project, "loaded") == [waits.process.pid]
    assert [event.split()[2] for event in project.events() if "loads" in event] == ["1", "2"]


def test_start_fails_with_the_error_of_a_database_that_stays_away(project: Project) -> None:
    Database(None).serve(project).app("shop", lifespan=LOADING)
    project.settings("DATABASES['default']['NAME'] = '/nowhere/db.sqlite3'")
    with Server(project, environment=LAUNCH, ready=False) as server:
        assert server.wait() != 0

    assert "unable to open database file" in server.output


NO_LEASES = """
import os

from journal import write
from lifespan_app import lifespan


@lifespan.on_start(once="release")
def load(context):
    write("loads", context.lease)
"""


def test_check_takes_no_lease_and_leaves_the_work_to_a_server(project: Project) -> None:
    Database(None).serve(project).app("shop", lifespan=NO_LEASES)
    project.manage("migrate", "-v", "0")

    done = project.manage("checklifespan", "--run")

    assert done.returncode == 0, done.stdout + done.stderr
    assert project.events() == ["loads None"]
    assert "No hook has had a lease yet" in project.manage("showlifespan", "--leases").stderr


def test_shell_takes_no_lease(project: Project) -> None:
    Database(None).serve(project).app("shop", lifespan=NO_LEASES)

    done = project.manage(
        "shell", "-c", "from lifespan_app import lifespan\nwith lifespan.run_sync(): pass"
    )

    assert done.returncode == 0, done.stderr
    assert project.events() == ["loads None"]


def test_command_with_a_run_takes_its_lease(project: Project) -> None:
    Database(None).serve(project).app("shop", lifespan=NO_LEASES)
    project.manage("migrate", "-v", "0")

    code = "import django; django.setup()\nfrom lifespan_app import lifespan\n"
    for _ in range(2):
        done = project.run("-c", f"{code}with lifespan.run_sync(): pass")
        assert done.returncode == 0, done.stderr

    [event] = project.events()
    assert event == "loads Lease(name='shop.load, release 1, production', number=1)"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"RELEASE": None}, "this process knows no release"),
        ({"HISTORY": False, "RELEASE": "1"}, "LIFESPAN['HISTORY'] is False"),
    ],
    ids=["no release", "no history"],
)
def test_plan_error_names_the_line(
    project: Project, settings: dict[str, object], said: str
) -> None:
    project.settings(LIFESPAN=settings).app("shop", lifespan=NO_LEASES)
    place = f"shop/lifespan.py:{project.line_of('shop/lifespan.py', '@lifespan')}"

    done = project.manage("check")

    assert done.returncode != 0
    assert place in done.stderr
    assert "(lifespan_app.E015)" in done.stderr
    assert said in done.stderr
