"""A project with several databases keeps the history in one of them, whatever its routers say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.history.databases import sqlite
from tests.projects import Project

ROUTERS = """
class ReadsFromAReplica:
    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default"
"""

LIFESPAN = """
from lifespan_app import lifespan


@lifespan.resource
async def shelf():
    yield "shelf"
"""

# What a page of the admin does, and what a project's own code may do.
PROGRAM = """
import asyncio

import django

django.setup()

from django.db import connections
from lifespan_app import lifespan
from lifespan_app.models import LifespanRun


async def main():
    async with lifespan.run():
        pass


asyncio.run(main())
run = LifespanRun.objects.get()
print(run._state.db, run.status, [step.name for step in run.steps.all()])
run.delete()
for alias in connections:
    tables = connections[alias].introspection.table_names()
    print(alias, sorted(name for name in tables if name.startswith("lifespan_app_")))
"""


@pytest.mark.slow
@pytest.mark.parametrize("alias", ["history", "default"])
def test_reads_and_writes_go_to_the_history_database(project: Project, alias: str) -> None:
    folder = Path(project.folder)
    names = ("default", "history", "replica")
    project.app("books", lifespan=LIFESPAN).file("site_routers.py", ROUTERS)
    project.settings(
        DATABASES={name: sqlite(folder / f"{name}.sqlite3") for name in names},
        DATABASE_ROUTERS=[
            "lifespan_app.routers.HistoryRouter",
            "site_routers.ReadsFromAReplica",
        ],
        LIFESPAN={"HISTORY_DATABASE": alias},
    )
    for name in names:
        migrated = project.manage("migrate", f"--database={name}", "--verbosity=0")
        assert migrated.returncode == 0, migrated.stderr

    done = project.file("main.py", PROGRAM).run("main.py")

    assert done.stderr == ""
    first, *others = done.stdout.splitlines()
    assert first == f"{alias} stopped ['shelf', 'shelf']"
    ours = [f"lifespan_app_lifespan{name}" for name in ("alert", "lease", "run", "step")]
    assert others == [f"{name} {ours if name == alias else []}" for name in names]
