"""A Django project under real uvicorn: opened, served with, closed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.projects import Project
from tests.servers import Server

pytestmark = pytest.mark.server

# Two resources, the second needs the first; each says when it opens and when it closes.
LIFESPAN = """
from journal import write
from lifespan_app import lifespan


class Connection:
    pass


@lifespan.resource
async def connection():
    write("connection opens")
    yield Connection()
    write("connection closes")


@lifespan.resource
def catalogue(connection):
    write("catalogue opens")
    yield ["Emma", "Persuasion"]
    write("catalogue closes")
"""

OPENED = ["connection opens", "catalogue opens"]
CLOSED = ["catalogue closes", "connection closes"]

# The ways of reading a resource, and what each gives or is refused with.
READING = """
from lifespan_app.errors import LifespanError

from .lifespan import connection

WAYS = {
    "item": lambda request: request.state["connection"],
    "attribute": lambda request: request.state.connection,
    "handle": lambda request: connection(request),
}


def objects(request):
    return {way: id(read(request)) for way, read in WAYS.items()}


def refusals(request):
    told = {}
    for way, read in WAYS.items():
        try:
            told[way] = {"gave": repr(read(request))}
        except LifespanError as error:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            told[way] = {"error": str(error), "kinds": kinds}
    return told
"""

VIEWS = """
import threading

from django.http import JsonResponse

from .reading import objects, refusals


def in_sync(request):
    on_loop = threading.current_thread() is threading.main_thread()
    return JsonResponse(
        {"read": objects(request), "middleware": request.middleware, "on_loop": on_loop}
    )


async def in_async(request):
    on_loop = threading.current_thread() is threading.main_thread()
    return JsonResponse(
        {"read": objects(request), "middleware": request.middleware, "on_loop": on_loop}
    )


def refused_in_sync(request):
    return JsonResponse(refusals(request))


async def refused_in_async(request):
    return JsonResponse(refusals(request))


async def asked_politely(request):
    return JsonResponse(
        {
            "in": "connection" in request.state,
            "get": request.state.get("connection", "nothing"),
            "hasattr": hasattr(request.state, "connection"),
        }
    )
"""

# Each reads the resource before the view does.
MIDDLEWARE = """
from django.utils.decorators import async_only_middleware, sync_only_middleware


@sync_only_middleware
def in_sync(get_response):
    def middleware(request):
        request.middleware = [*getattr(request, "middleware", []), id(request.state["connection"])]
        return get_response(request)

    return middleware


@async_only_middleware
def in_async(get_response):
    async def middleware(request):
        request.middleware = [*getattr(request, "middleware", []), id(request.state.connection)]
        return await get_response(request)

    return middleware


def none_at_all(get_response):
    async def middleware(request):
        request.middleware = []
        return await get_response(request)

    return middleware


none_at_all.sync_capable, none_at_all.async_capable = False, True
"""


def shop(project: Project) -> Project:
    """Write the shop, without middleware that reads, into a project."""
    return project.app(
        "shop", lifespan=LIFESPAN, reading=READING, views=VIEWS, middleware=MIDDLEWARE
    ).settings(MIDDLEWARE=["shop.middleware.none_at_all"])


class TestServing:
    """What is open is there for every request, under every middleware."""

    @pytest.fixture(
        scope="class",
        params=[
            ["none_at_all"],
            ["in_async"],
            ["in_sync"],
            ["in_sync", "in_async"],
            ["in_async", "in_sync"],
        ],
        ids=" then ".join,
    )
    @classmethod
    def middleware(cls, request: pytest.FixtureRequest) -> list[str]:
        names: list[str] = request.param
        return names

    @pytest.fixture(scope="class")
    @classmethod
    def server(
        cls, middleware: list[str], tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Server]:
        project = shop(Project(tmp_path_factory.mktemp("project")))
        project.settings(MIDDLEWARE=[f"shop.middleware.{name}" for name in middleware])
        with Server(project) as server:
            yield server

    @pytest.mark.parametrize("view", ["in_sync", "in_async"])
    def test_every_way_to_read_gives_one_object_under_uvicorn(
        self, server: Server, middleware: list[str], view: str
    ) -> None:
        seen = server.get(f"/{view}/").json()
        [one] = set(seen["read"].values())
        assert seen["on_loop"] is (view == "in_async")
        readers = [name for name in middleware if name != "none_at_all"]
        assert seen["middleware"] == [one] * len(readers)

    def test_every_request_sees_one_object_under_uvicorn(self, server: Server) -> None:
        views = ["/in_sync/", "/in_async/"] * 4
        with ThreadPoolExecutor(len(views)) as clients:
            answers = list(clients.map(server.get, views))
        answers += [server.get(view) for view in views]
        seen = {number for answer in answers for number in answer.json()["read"].values()}
        assert len(seen) == 1
        assert server.project.events() == OPENED


class TestAFailingStop:
    """A stop that fails is told, and the server ends."""

    def test_failing_stop_keeps_no_other_from_stopping(self, project: Project) -> None:
        project.app(
            "till",
            lifespan="""
                from journal import write
                from lifespan_app import lifespan

                @lifespan.resource
                async def till(connection):
                    yield "till"
                    write("till breaks")
                    raise OSError("the drawer is stuck")
            """,
        )
        with Server(shop(project)) as server:
            server.signal(signal.SIGTERM)
            server.wait()
        events = project.events()
        assert sorted(events[2:]) == sorted([*CLOSED, "till breaks"])
        assert events[-1] == "connection closes"
        assert "Application shutdown failed" in server.output
        assert server.output.count("Traceback (most recent call last)") == 1
        assert "till.till" in server.output
        assert "the drawer is stuck" in server.output


class TestAFailingStart:
    """A start that fails is told once, undone in reverse, and ends the server."""

    BAKERY = """
        from journal import write
        from lifespan_app import lifespan


        @lifespan.resource
        async def oven(catalogue):
            write("oven opens")
            yield "oven"
            write("oven closes")


        @lifespan.on_start
        async def bake(oven):
            write("bake begins")
            raise RuntimeError("no bread today")


        @lifespan.on_start
        async def sell(oven):
            write("sell begins")
    """

    @pytest.fixture(scope="class")
    @classmethod
    def failed(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        project = shop(Project(tmp_path_factory.mktemp("project")))
        project.app("bakery", lifespan=cls.BAKERY)
        with Server(project, ready=False) as server:
            server.wait_unanswered()
            yield server

    def test_failing_start_ends_the_server_with_code_3(self, failed: Server) -> None:
        assert failed.exit_code == 3

    def test_failing_start_closes_open_resources_in_reverse(self, failed: Server) -> None:
        began = [*OPENED, "oven opens", "bake begins"]
        assert failed.project.events() == [*began, "oven closes", *CLOSED]

    def test_failing_start_names_hook_location_error_and_rollback(self, failed: Server) -> None:
        _, _, message = failed.output.rpartition("Traceback (most recent call last)")
        line = failed.project.line_of("bakery/lifespan.py", "async def bake") - 1
        told = message[message.index("ERROR:") :]
        assert "bakery.bake" in told
        assert f"bakery/lifespan.py:{line}" in told
        assert "RuntimeError: no bread today" in told
        for resource in ("shop.connection", "shop.catalogue", "bakery.oven"):
            assert resource in told

    def test_failing_start_has_its_traceback_in_the_log_exactly_once(self, failed: Server) -> None:
        assert failed.output.count("Traceback (most recent call last)") == 1
        line = failed.project.line_of("bakery/lifespan.py", "raise RuntimeError")
        assert f'bakery/lifespan.py", line {line}, in bake' in failed.output
        assert "appears unsupported" not in failed.output


class TestLifespanOff:
    """Where no lifespan ran, reading a resource says so; asking politely never raises."""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        project = shop(Project(tmp_path_factory.mktemp("project")))
        with Server(project, options=["--lifespan", "off"]) as server:
            yield server

    @pytest.mark.parametrize("view", ["refused_in_sync", "refused_in_async"])
    def test_lifespan_off_refuses_reading_and_names_the_resource(
        self, server: Server, view: str
    ) -> None:
        refused: dict[str, dict[str, Any]] = server.get(f"/{view}/").json()
        assert set(refused) == {"item", "attribute", "handle"}
        for way, told in refused.items():
            assert told.get("kinds", told)[0] == "NotRunning", way
            assert {"KeyError", "AttributeError"} <= set(told["kinds"]), way
            assert "connection" in told["error"], way

    def test_lifespan_off_says_that_no_resource_is_there(self, server: Server) -> None:
        answer = server.get("/asked_politely/").json()
        assert answer == {"in": False, "get": "nothing", "hasattr": False}

    def test_lifespan_off_opens_nothing(self, server: Server) -> None:
        assert server.project.events() == []


class TestWebSockets:
    """Django serves HTTP only, and says so itself."""

    def test_websockets_get_djangos_error(self, project: Project) -> None:
        handshake = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        with Server(shop(project)) as server:
            assert server.request("GET", "/in_async/", headers=handshake).status == 500
            server.wait_for_output("Django can only handle ASGI/HTTP connections, not websocket")
            assert server.answers()
