"""The well-known Stack Overflow answer: `application.on_shutdown.append(session.close)`."""

from __future__ import annotations

from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.handler import LifespanASGIHandler
from tests.projects import Project
from tests.scopes import STARTED, ServerSide, started
from tests.servers import Server

# As in the answer, but for the application: ours, instead of a subclass made by hand.
CLIENT = """
import asyncio

import aiohttp
from asgi import application
from journal import write

CLIENT_SESSION = None

_lock = asyncio.Lock()


async def get_client_session():
    global CLIENT_SESSION

    async with _lock:
        if not CLIENT_SESSION:
            CLIENT_SESSION = aiohttp.ClientSession()
            application.on_shutdown.append(CLIENT_SESSION.close)
            application.on_shutdown.append(say_in_what_state)

    return CLIENT_SESSION


def say_in_what_state():
    write("closed" if CLIENT_SESSION.closed else "open", "when the last appended is called")
"""

# Imported when they are called: the module of the application imports the views' too.
VIEWS = """
from django.http import HttpResponse


async def hello(request):
    return HttpResponse("hello")


async def ask(request):
    from .client import get_client_session

    session = await get_client_session()
    response = await session.get(request.build_absolute_uri("/hello/"))
    return HttpResponse(await response.text())
"""

# A session that is thrown away unclosed complains; at the end of a process nobody hears it.
CLOSED_AFTERWARDS = """
import atexit
import gc

from journal import write


def tell():
    from shop import client

    write("closed" if client.CLIENT_SESSION.closed else "open", "in the end")
    client.application.on_shutdown.clear()
    client.CLIENT_SESSION = None
    gc.collect()


atexit.register(tell)
"""


@pytest.mark.server
@pytest.mark.parametrize("debug", [True, False], ids=["debug", "production"])
@pytest.mark.parametrize("installed", [True, False], ids=["installed", "not installed"])
def test_session_made_in_a_view_is_closed(project: Project, debug: bool, installed: bool) -> None:
    project.app("shop", views=VIEWS, client=CLIENT, goodbye=CLOSED_AFTERWARDS)
    apps = ["lifespan_app", "shop"] if installed else ["shop"]
    project.settings(DEBUG=debug, INSTALLED_APPS=apps)
    project.asgi(
        """
        from lifespan_app.asgi import get_asgi_application

        application = get_asgi_application()

        import shop.goodbye
        """
    )
    with Server(project, options=["--lifespan", "on"]) as server:
        assert server.get("/ask/").text == "hello"
        # After SIGTERM uvicorn would end before an unclosed session could complain.
        server.interrupt()
        assert server.wait() == 0
        assert project.events() == ["open when the last appended is called", "closed in the end"]
        assert "Unclosed" not in server.output
        assert "Traceback" not in server.output


class TestFunctions:
    async def test_functions_are_called_last_appended_first(self, lifespan: Lifespan) -> None:
        happened: list[str] = []
        application = LifespanASGIHandler()

        async def asynchronous() -> None:
            happened.append("async")

        def sync() -> None:
            happened.append("sync")

        application.on_shutdown.append(asynchronous)
        async with started(application):
            application.on_shutdown.append(sync)
            application.on_shutdown.append(lambda: asynchronous())
            assert happened == []
        assert happened == ["async", "sync", "async"]

    async def test_function_that_fails_keeps_no_other_from_being_called(
        self, lifespan: Lifespan
    ) -> None:
        happened: list[str] = []
        application = LifespanASGIHandler()

        async def fails() -> None:
            raise ZeroDivisionError("by nothing")

        application.on_shutdown += [lambda: happened.append("called"), fails]
        server = ServerSide(application)
        await server.startup()
        answer = await server.shutdown()
        assert happened == ["called"]
        assert answer["type"] == "lifespan.shutdown.failed"
        assert "ZeroDivisionError: by nothing" in answer["message"]

    async def test_functions_are_called_at_each_shutdown(self, lifespan: Lifespan) -> None:
        happened: list[str] = []
        application = LifespanASGIHandler()
        application.on_shutdown.append(lambda: happened.append("called"))
        for _ in range(2):
            async with started(application):
                pass
        assert happened == ["called", "called"]

    async def test_functions_may_be_in_another_list_at_the_end(self, lifespan: Lifespan) -> None:
        happened: list[str] = []
        application = LifespanASGIHandler()
        async with started(application):
            application.on_shutdown = [lambda: happened.append("called")]
        assert happened == ["called"]

    async def test_functions_in_no_list_keep_nothing_from_closing(self, lifespan: Lifespan) -> None:
        happened: list[str] = []
        application = LifespanASGIHandler()
        lifespan.on_shutdown(lambda: happened.append("hook"), name="hook")  # type: ignore[call-overload]
        server = ServerSide(application)
        assert await server.startup() == STARTED
        application.on_shutdown = None  # type: ignore[assignment]
        answer = await server.shutdown()
        assert happened == ["hook"]
        assert answer["type"] == "lifespan.shutdown.failed"
        assert "on_shutdown" in answer["message"]

    async def test_object_that_is_no_function_is_named_and_the_others_called(
        self, lifespan: Lifespan
    ) -> None:
        happened: list[str] = []
        application = LifespanASGIHandler()
        result: Any = "what close() returned"
        application.on_shutdown += [lambda: happened.append("called"), result]
        server = ServerSide(application)
        assert await server.startup() == STARTED
        answer = await server.shutdown()
        assert happened == ["called"]
        assert "what close() returned' can't be called" in answer["message"]
