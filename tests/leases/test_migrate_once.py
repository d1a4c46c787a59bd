"""`migrate` as a start function that one process runs for each release, also on an empty database."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.leases.databases import Database, pids
from tests.projects import Project
from tests.servers import Server

pytestmark = [pytest.mark.server, pytest.mark.slow]

MIGRATING = """
import os

from django.core.management import call_command
from journal import write
from lifespan_app import lifespan


@lifespan.on_start(once="release")
def migrate(context):
    write("migrates", os.getpid(), context.lease.number)
    call_command("migrate", verbosity=0)
    write("migrated", os.getpid())
"""

SERVERS = 8


def test_one_of_eight_servers_migrates_an_empty_database_and_all_serve(
    project: Project, database: Database
) -> None:
    database.serve(project).app("shop", lifespan=MIGRATING)
    project.settings("INSTALLED_APPS += ['django.contrib.auth', 'django.contrib.contenttypes']")

    with ExitStack() as stack:
        servers = [stack.enter_context(Server(project, ready=False)) for _ in range(SERVERS)]
        for server in servers:
            server.limit = 120
            server.wait_until_ready()

    assert len(pids(project, "migrates")) == len(pids(project, "migrated")) == 1
    assert [server.output for server in servers if "Traceback" in server.output] == []


def test_later_start_takes_the_success(project: Project, database: Database) -> None:
    database.serve(project).app("shop", lifespan=MIGRATING)
    for _ in range(2):
        with Server(project) as server:
            # A killed server may not have stored its success.
            server.interrupt()
            server.wait()

    assert len(pids(project, "migrates")) == 1


def test_other_release_migrates_again(project: Project, database: Database) -> None:
    database.serve(project).app("shop", lifespan=MIGRATING)
    with Server(project):
        pass
    with Server(project, environment={"LIFESPAN_RELEASE": "2"}):
        pass

    assert [event.split()[2] for event in project.events() if "migrates" in event] == ["0", "1"]
