"""Django under daphne, which has no lifespan, with the plan in a background thread."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import pytest
from websockets.sync.client import connect

from tests.one_loop import FAILS, LIFESPAN, VIEWS
from tests.projects import Project
from tests.servers import DAPHNE, HOST, RUNSERVER, Server

pytestmark = [pytest.mark.server, pytest.mark.slow]

FURTHER_VIEWS = """
import asyncio

from journal import write


async def echoed(request):
    return HttpResponse(request.body)


async def waits(request):
    try:
        write("waits")
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        write("cancelled")
        raise
"""

THREAD = {"WITHOUT_SERVER_LIFESPAN": "thread"}


@pytest.fixture
def shop(project: Project) -> Project:
    return project.app("shop", lifespan=LIFESPAN, views=VIEWS + FURTHER_VIEWS).settings(DEBUG=True)


@pytest.fixture(
    params=[
        (DAPHNE, {"LIFESPAN": THREAD}),
        (
            RUNSERVER,
            {
                "INSTALLED_APPS": ["daphne", "lifespan_app", "shop"],
                "ASGI_APPLICATION": "asgi.application",
            },
        ),
    ],
    ids=["daphne", "its runserver"],
)
def server(request: pytest.FixtureRequest, shop: Project) -> Iterator[Server]:
    """Serve the shop under daphne, with the setting, and under its `runserver`, without."""
    kind, settings = request.param
    options = ("--noreload",) if kind is RUNSERVER else ()
    with Server(shop.settings(**settings), kind, options=options) as server:
        yield server


def test_async_views_run_on_the_loop_of_the_plan(server: Server) -> None:
    for path in ("/awaited/", "/called/"):
        assert server.get(path).text == "<emma>"
    assert server.get("/state/").text == "(True, True) noted <emma>"


def test_streams_run_on_the_loop_of_the_plan(server: Server) -> None:
    assert server.get("/streamed/").text == "<a><b><c>"


def test_async_views_run_side_by_side(server: Server) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = [answer.text for answer in pool.map(server.get, ["/met/", "/met/"])]
    assert answers == ["met", "met"]


def test_view_that_raises_is_answered_with_500(server: Server) -> None:
    answer = server.get("/broken/")
    assert answer.status == 500
    assert "in broken" in answer.text


def test_plan_is_open_from_the_first_request_to_the_end(server: Server) -> None:
    assert server.get("/awaited/").text == "<emma>"
    server.signal(signal.SIGTERM if server.kind is DAPHNE else signal.SIGINT)
    server.wait()
    assert server.project.events() == ["opens", "closes"]
    assert "async code is the first to use it" in server.output


def test_livez_does_not_open_the_plan(shop: Project) -> None:
    shop.settings(LIFESPAN=THREAD, ROOT_URLCONF="lifespan_app.urls")
    # The request by which a test sees that a server answers would be the first use.
    with Server(shop, DAPHNE, ready=False) as server:
        server.until(lambda: "Listening on TCP" in server.output, "daphne does not listen")
        assert server.get("/livez").status == 200
        assert shop.events() == []
        assert server.get("/readyz").status == 200
        assert shop.events() == ["opens"]


def test_middleware_answers_although_the_urlconf_can_not_be_imported(shop: Project) -> None:
    shop.file("broken.py", "import nowhere")
    shop.file("answers.py", ANSWERS)
    shop.settings(LIFESPAN=THREAD, ROOT_URLCONF="broken", MIDDLEWARE=["answers.closed"])
    with Server(shop, DAPHNE) as server:
        assert server.get("/").text == "closed"


ANSWERS = """
from django.http import HttpResponse


def closed(get_response):
    return lambda request: HttpResponse("closed")
"""


def test_client_that_goes_cancels_the_view(shop: Project) -> None:
    shop.settings(LIFESPAN=THREAD)
    with Server(shop, DAPHNE) as server:
        server.get("/awaited/")
        with closing(HTTPConnection(HOST, server.port)) as connection:
            connection.request("GET", "/waits/")
            server.wait_for_event("waits")
        server.wait_for_event("cancelled")


def test_body_comes_whole(shop: Project) -> None:
    shop.settings(LIFESPAN=THREAD)
    body = b"emma " * 100_000
    with Server(shop, DAPHNE) as server:
        assert server.request("POST", "/echoed/", body=body).body == body


def test_views_that_read_nothing_do_without_a_plan_that_does_not_open(shop: Project) -> None:
    shop.settings(LIFESPAN=THREAD).file("shop/lifespan.py", FAILS)
    with Server(shop, DAPHNE) as server:
        assert server.get("/free/").text == "free"
        assert "OSError: nobody is there" in server.get("/awaited/").text


def test_projects_that_want_djangos_way_have_it(shop: Project) -> None:
    shop.settings(LIFESPAN={"WITHOUT_SERVER_LIFESPAN": "error"})
    with Server(shop, DAPHNE) as server:
        assert server.get("/free/").text == "free"
        assert "NotRunning" in server.get("/awaited/").text
    assert shop.events() == []


CHANNELS = """
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter
from lifespan_app import LifespanMiddleware
from lifespan_app.asgi import get_asgi_application

django = get_asgi_application()

from shop.lifespan import client


class Pages(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(await client(self.scope).get(text_data))


application = LifespanMiddleware(ProtocolTypeRouter({"http": django, "websocket": Pages.as_asgi()}))
"""


def test_websockets_run_on_the_loop_of_the_plan_behind_our_middleware(shop: Project) -> None:
    shop.settings(LIFESPAN=THREAD).asgi(CHANNELS)
    with Server(shop, DAPHNE) as server:
        with connect(f"ws://{HOST}:{server.port}/") as socket:
            for page in ("emma", "persuasion"):
                socket.send(page)
                assert socket.recv(timeout=20) == f"<{page}>"
        assert server.get("/awaited/").text == "<emma>"
    assert shop.events() == ["opens"]
