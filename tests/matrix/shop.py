"""The project that is served in every cell: it writes down what each of its processes does."""

from __future__ import annotations

from tests.history.databases import HistoryDatabase
from tests.projects import Project

TIMES = 10_000
WHOLE = "Emma\n" * TIMES
"""The whole answer to the request that is in flight."""

GO_ON = "go-on"
"""The file for which all that is slow waits."""

# It keeps the state that the server has given, tells of a signal where the server's handler is a
# function, and lets a test ask a blocked process for its stack. granian is left alone: a worker that is
# slow to hear a signal blocks more often.
ASGI = """
import asyncio
import faulthandler
import os
import signal
import sys

import journal
from lifespan_app.asgi import get_asgi_application

django = get_asgi_application()
faulthandler.register(signal.SIGUSR2)


def tell_of(number):
    server = signal.getsignal(number)

    def hear(*signalled):
        journal.write(os.getpid(), "hears", number.name)
        server(*signalled)

    if callable(server):
        signal.signal(number, hear)


async def application(scope, receive, send):
    if scope["type"] != "lifespan":
        return await django(scope, receive, send)
    journal.state = scope["state"]
    if "granian" not in sys.modules:
        tell_of(signal.SIGTERM)
    if getattr(signal.getsignal(signal.SIGINT), "__name__", "") == "handle_exit":  # uvicorn's
        tell_of(signal.SIGINT)
    try:
        await django(scope, receive, send)
    except asyncio.CancelledError:
        journal.write(os.getpid(), "cancelled")
        raise
"""

LIFESPAN = """
import os

import journal
from journal import write
from lifespan_app import lifespan


@lifespan.resource
async def connection():
    write(os.getpid(), "opens connection")
    yield "connection"
    write(os.getpid(), "closes connection")


@lifespan.resource
async def shelf(connection):
    write(os.getpid(), "opens shelf")
    books = ["Emma"]
    yield books
    write(os.getpid(), "state", *journal.state)
    write(os.getpid(), "closes shelf of", *books)
"""

VIEWS = f"""
import asyncio
import os
from pathlib import Path

from django.http import HttpResponse
from journal import write
from lifespan_app.errors import LifespanError

from .lifespan import shelf


def in_sync(request):
    try:
        return HttpResponse(" ".join(shelf(request)))
    except LifespanError as error:
        return HttpResponse(type(error).__name__)


async def in_async(request):
    return in_sync(request)


async def slow(request):
    write(os.getpid(), "begins")
    try:
        while not Path({GO_ON!r}).exists():
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        write(os.getpid(), "is cut off")
        raise
    [book] = shelf(request)
    return HttpResponse(f"{{book}}\\n" * {TIMES})
"""

HOLDS = f"""
    write(os.getpid(), "holds")
    while not Path({GO_ON!r}).exists():
        await asyncio.sleep(0.01)
"""

TILL = """
import asyncio
import os
from pathlib import Path

from journal import write
from lifespan_app import lifespan


"""

STARTS_SLOWLY = f"{TILL}@lifespan.on_start\nasync def count(shelf):{HOLDS}"
STOPS_SLOWLY = f"{TILL}@lifespan.resource\nasync def till(shelf):\n    yield{HOLDS}"
FAILS = (
    f'{TILL}@lifespan.on_start\nasync def count(shelf):\n    raise OSError("the till is empty")\n'
)
HANGS = f"{TILL}@lifespan.on_start\nasync def count(shelf):\n    await asyncio.Event().wait()\n"


def shop(project: Project, database: HistoryDatabase, till: str = "", **options: object) -> Project:
    """
    Write the shop into a project.

    Args:
        project: an empty one.
        database: where its history goes.
        till: the `lifespan.py` of a second app, which comes after all others.
        options: more of the setting `LIFESPAN`.
    """
    database.serve(project)
    spool = {"SPOOL_DIR": str(project.folder / "spool")}
    project.asgi(ASGI).settings(LIFESPAN={**spool, **options})
    return project.app("books", lifespan=LIFESPAN, views=VIEWS).app("till", lifespan=till)
