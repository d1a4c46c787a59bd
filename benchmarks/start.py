"""
The first table is what our names cost, from their import to ``startup.complete`` with ten resources that do nothing, in
a process that has all of plain Django imported. The second one is the start of a whole project: a new process, with
what ``startproject`` makes and one app, until ``startup.complete``; with plain Django, until the application is made.

Each sample is a new process, and its time is the processor's, of all threads. *history* records the run in SQLite.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.processes import answer, environment, race
from benchmarks.projects import PLAIN_ASGI, django_admin, write_project
from benchmarks.results import AGAIN, Row, Table
from benchmarks.systems import (
    AIODRF,
    DECLARE,
    LIFECYCLE,
    MANAGERS,
    OURS,
    PLAIN,
    STARLETTE,
    Work,
    installed,
    serve,
)

TITLE = "Startup"
ROUNDS, PROJECT_ROUNDS = 15, 11
RESOURCES = 10
# 10 ms where asgi-lifecycle takes 3.
RATIO_AT_MOST = 10 / 3
NAMES = (OURS, OURS + AGAIN, MANAGERS, LIFECYCLE, AIODRF, STARLETTE)

HISTORY = f"{OURS}, history"
PROJECTS = {
    PLAIN: "plain",
    PLAIN + AGAIN: "plain",
    OURS: "ours",
    HISTORY: "ours_history",
    MANAGERS: "managers",
    LIFECYCLE: "lifecycle",
    AIODRF: "aiodrf",
}


# Our names alone


def names_here(system: str) -> float:
    """Return the processor's milliseconds from here to ``startup.complete``."""
    from django.conf import settings

    settings.configure(ROOT_URLCONF="benchmarks.start", LIFESPAN={"HISTORY": False})
    import django.contrib.admin  # noqa: F401  # as a project has it
    from django.core.asgi import get_asgi_application

    get_asgi_application()
    asyncio.run(asyncio.sleep(0))
    works = [Work(name=f"resource_{number}") for number in range(RESOURCES)]
    begun = time.process_time()
    application = DECLARE[system](works)()
    return (asyncio.run(serve(application, time.process_time)).complete - begun) * 1000


# Whole projects

WRITTEN = {
    "plain": PLAIN_ASGI,
    "ours": "from lifespan_app.asgi import get_asgi_application\n\napplication = get_asgi_application()\n",
    "managers": "from django_asgi_lifespan.asgi import get_asgi_application\n\n"
    "application = get_asgi_application()\n",
    "lifecycle": PLAIN_ASGI.replace(
        "\n\n", "\nfrom asgi_lifecycle.middleware import LifespanMiddleware\n\n", 1
    )
    + "application = LifespanMiddleware(application)\n",
    "aiodrf": "from aiodrf_asgi_lifespan.asgi import get_asgi_application\n\n"
    "application = get_asgi_application()\n",
}
"""The ``asgi.py`` of each system."""

APPS = {
    "managers": """
from contextlib import asynccontextmanager
from django.apps import AppConfig
from django_asgi_lifespan.register import register_lifespan_manager

def manager(number):
    @asynccontextmanager
    async def resource():
        yield {{f"resource_{{number}}": number}}
    return resource

class BooksConfig(AppConfig):
    name = "books"

    def ready(self):
        for number in range({resources}):
            register_lifespan_manager(context_manager=manager(number))
""",
    "lifecycle": """
from django.apps import AppConfig

class BooksConfig(AppConfig):
    name = "books"

    def ready(self):
        from asgi_lifecycle import lifespan

        async def function():
            pass

        for number in range({resources}):
            lifespan.on_start(number, name=f"start_{{number}}")(function)
            lifespan.on_shutdown(number, name=f"shutdown_{{number}}")(function)
""",
}
"""The ``apps.py`` of those that register there."""

CONTEXT = """
from contextlib import AsyncExitStack, asynccontextmanager

@asynccontextmanager
async def resource(number):
    yield number

@asynccontextmanager
async def resources():
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(resource(n)) for n in range({resources})]
"""

LIFESPAN = "from lifespan_app import lifespan\n" + "".join(
    f"\n@lifespan.resource\nasync def resource_{number}():\n    yield {number}\n"
    for number in range(RESOURCES)
)

SETTINGS = {
    "ours": 'INSTALLED_APPS += ["lifespan_app"]\nLIFESPAN = {"HISTORY": False}\n',
    "ours_history": 'INSTALLED_APPS += ["lifespan_app"]\n',
    "aiodrf": 'DJANGO_LIFESPAN = "books.context.resources"\n',
}


def write(folder: Path, kind: str) -> None:
    """Write the project of a system."""
    of = kind.removesuffix("_history")
    files = {"mysite/asgi.py": WRITTEN[of]}
    if of in APPS:
        files["books/apps.py"] = APPS[of].format(resources=RESOURCES)
    if of == "ours":
        files["books/lifespan.py"] = LIFESPAN
    if of == "aiodrf":
        files["books/context.py"] = CONTEXT.format(resources=RESOURCES)
    write_project(folder, ["books"], SETTINGS.get(kind, ""), files)
    django_admin(folder, "migrate", "--verbosity=0")


PROJECT = """
import asyncio, importlib, json, sys, time
from benchmarks.systems import serve

application = importlib.import_module("mysite.asgi").application

async def main():
    if sys.argv[1] == "plain":
        return time.process_time()
    return (await serve(application, time.process_time)).complete

print(json.dumps(asyncio.run(main()) * 1000))
"""
"""Prints the processor's milliseconds of its process, until the project is started."""


def _names(rounds: int) -> Table:
    names = installed(NAMES)
    taken = race(
        {
            name: partial(answer, ["-m", "benchmarks.start", name.removesuffix(AGAIN)])
            for name in names
        },
        rounds,
    )
    rows = [Row(name=name, samples=taken[name]) for name in names if name != OURS]
    goal = f"at most {RATIO_AT_MOST:.2f} of {LIFECYCLE} (10 ms where it takes 3)"
    ours = Row(
        name=OURS,
        samples=taken[OURS],
        goal=goal if LIFECYCLE in names else "",
        ratio_at_most=RATIO_AT_MOST,
        why="nearly all of it is the import of about 80 modules, of which none stands out: finding, reading and"
        " running each; the run itself is below 1 ms",
    )
    return Table(
        title=f"From the import to startup.complete, {RESOURCES} resources",
        unit="ms",
        rows=[ours, *rows],
        against=LIFECYCLE if LIFECYCLE in names else "",
        noise_at_most=0.15,
    )


def _projects(rounds: int) -> Table:
    with tempfile.TemporaryDirectory() as name:
        kinds = {
            of: PROJECTS[of]
            for of in PROJECTS
            if of.removesuffix(AGAIN) in installed(list(PROJECTS))
        }
        for kind in set(kinds.values()):
            write(Path(name) / kind, kind)
        taken = race(
            {
                of: partial(
                    answer,
                    ["-c", PROJECT, kind],
                    environment([Path(name) / kind], DJANGO_SETTINGS_MODULE="mysite.settings"),
                )
                for of, kind in kinds.items()
            },
            rounds,
        )
    rows = [Row(name=of, samples=samples) for of, samples in taken.items()]
    return Table(
        title=f"Start of a whole project, {RESOURCES} resources",
        unit="ms",
        rows=rows,
        against=PLAIN,
    )


def measure(rounds: int = ROUNDS) -> Sequence[Table]:
    """Measure both."""
    return [_names(rounds), _projects(min(rounds, PROJECT_ROUNDS))]


if __name__ == "__main__":
    print(json.dumps(names_here(sys.argv[1])))
