"""`lifespan.spawn()` in views: the work outlives its request, and gives its connection back."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.clusters import PostgreSQL
from tests.needs import needs_postgresql
from tests.projects import Project
from tests.servers import GRANIAN, GUNICORN_WSGI, RUNSERVER, UVICORN, Kind, Server

pytestmark = pytest.mark.server

VIEWS = """
import asyncio
import contextvars
import threading
import time

import journal
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection
from django.http import HttpResponse
from django.utils import translation
from lifespan_app import lifespan

answered = threading.Event()


def query():
    with connection.cursor() as cursor:
        cursor.execute("select 42")
        return cursor.fetchone()[0]


async def work(label):
    # The request has ended, with its threads, when the function goes on.
    await asyncio.to_thread(answered.wait, 10)
    journal.write(label, "async", await sync_to_async(query)(), translation.get_language())


def sync_work(label):
    answered.wait(10)
    journal.write(label, "sync", query(), translation.get_language())
    journal.write(label, "sync below async", async_to_sync(sync_to_async(query))())


def spawn(label):
    answered.clear()
    with translation.override("de"):
        lifespan.spawn(work, label)
        lifespan.spawn(sync_work, label)


def sync_view(request):
    spawn("sync_view")
    return HttpResponse("spawned")


async def async_view(request):
    spawn("async_view")
    return HttpResponse("spawned")


def answer(request):
    answered.set()
    return HttpResponse(query())


async def spawn_and_fail(request):
    async def fail():
        raise ValueError("after the response")

    lifespan.spawn(fail)
    return HttpResponse("spawned")


def sync_middleware(get_response):
    def middleware(request):
        return get_response(request)

    return middleware
"""


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    with PostgreSQL() as cluster:
        yield cluster


@needs_postgresql
@pytest.mark.parametrize("middleware", [[], ["shop.views.sync_middleware"]], ids=["none", "sync"])
@pytest.mark.parametrize(
    "kind",
    [
        UVICORN,
        pytest.param(RUNSERVER, marks=pytest.mark.slow),
        pytest.param(GUNICORN_WSGI, marks=pytest.mark.slow),
    ],
    ids=lambda kind: kind.name,
)
def test_function_has_a_connection_after_its_request_and_gives_it_back(
    project: Project, postgresql: PostgreSQL, kind: Kind, middleware: list[str]
) -> None:
    pool = {"min_size": 1, "max_size": 1, "timeout": 8}
    postgresql.serve(project, OPTIONS={"pool": pool})
    project.settings(MIDDLEWARE=middleware, DEBUG=kind is RUNSERVER, USE_I18N=True)
    project.app("shop", lifespan="", views=VIEWS)
    project.file(
        "wsgi.py",
        """
        from lifespan_app.wsgi import get_wsgi_application

        application = get_wsgi_application()
        """,
    )
    assert project.manage("migrate", "--verbosity=0").returncode == 0
    options = ["--threads", "4"] if kind is GUNICORN_WSGI else []
    environment = {"DJANGO_SETTINGS_MODULE": "site_settings"}
    with Server(project, kind, options=options, environment=environment) as server:
        for view in ("sync_view", "async_view"):
            assert server.get(f"/{view}/").text == "spawned"
            assert server.get("/answer/").text == "42"
            server.wait_for_event(f"{view} async 42 de")
            server.wait_for_event(f"{view} sync 42 de")
            server.wait_for_event(f"{view} sync below async 42")
        server.signal(signal.SIGINT if kind is RUNSERVER else signal.SIGTERM)
        server.wait()
        assert "failed" not in server.output
        assert "cut off" not in server.output


@pytest.mark.slow
@pytest.mark.parametrize("kind", [UVICORN, GRANIAN], ids=lambda kind: kind.name)
def test_work_that_is_cut_off_is_named_in_log_and_history(project: Project, kind: Kind) -> None:
    views = """
import asyncio

from django.http import HttpResponse
from lifespan_app import lifespan


async def endless_work():
    await asyncio.Event().wait()


def endless(request):
    lifespan.spawn(endless_work)
    return HttpResponse("spawned")
"""
    project.settings(LIFESPAN={"SHUTDOWN_TIMEOUT": 0.5})
    project.app("shop", lifespan="", views=views)
    with Server(project.with_tables(), kind) as server:
        server.get("/endless/")
        server.signal(signal.SIGTERM)
        server.wait()
        server.wait_for_output(
            r"'shop.endless_work' \(shop/views.py:\d+\), spawned at shop/views.py:\d+, was cut off: "
            "the shutdown's time was used up."
        )
    with closing(sqlite3.connect(project.folder / "db.sqlite3")) as database:
        rows = database.execute(
            "SELECT outcome, error, traceback FROM lifespan_app_lifespanstep WHERE name = 'spawned'"
        )
        [(outcome, error, traceback)] = rows
    assert outcome == "timed_out"
    assert "did not stop within its limit of 0.5 s. It waits at shop/views.py:" in error
    assert "Spawned functions were cut off by the shutdown: 'shop.endless_work'" in traceback


def test_error_names_the_line_of_the_view(project: Project) -> None:
    project.app("shop", lifespan="", views=VIEWS)
    with Server(project) as server:
        server.get("/spawn_and_fail/")
        line = project.line_of("shop/views.py", "lifespan.spawn(fail)")
        server.wait_for_output(
            rf"'shop.fail' \(shop/views.py:\d+\), spawned at shop/views.py:{line}, "
            "failed: ValueError: after the response"
        )
