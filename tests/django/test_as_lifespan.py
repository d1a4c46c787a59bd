"""`lifespan.as_lifespan()`: our plan as the `lifespan=` of another framework's application."""

from __future__ import annotations

import signal
from textwrap import dedent
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from lifespan_app import Lifespan, LifespanContext, LifespanMiddleware
from lifespan_app.engine.reporting.report import Mode, Status
from tests.exchanges import ask
from tests.projects import Project
from tests.scopes import STARTED, ServerSide, started
from tests.servers import GRANIAN, GUNICORN, HYPERCORN, UVICORN, Kind, Server

pytestmark = pytest.mark.once


class TestInOneLoop:
    @pytest.fixture(params=[Starlette, FastAPI])
    def framework(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    async def test_as_lifespan_opens_and_closes_the_plan(
        self, lifespan: Lifespan, framework: Any, ours: Any, happened: list[str]
    ) -> None:
        async with started(framework(lifespan=lifespan.as_lifespan())) as server:
            assert server.state == {"client": "our client"}
            assert ours.current() == "our client"

        assert happened == ["ours opens", "ours closes"]
        report = lifespan.report()
        assert report is not None
        assert (report.mode, report.status) == (Mode.SERVER, Status.STOPPED)
        assert report.ended_by == "lifespan.shutdown"

    async def test_as_lifespan_takes_a_service_type_or_a_context(
        self, lifespan: Lifespan, framework: Any
    ) -> None:
        told: list[str] = []
        lifespan.on_start(name="tell")(lambda context: told.append(context.service_type))
        for context in ("api", LifespanContext("worker")):
            async with started(framework(lifespan=lifespan.as_lifespan(context))):
                pass

        assert told == ["api", "worker"]

    async def test_as_lifespan_can_be_started_again(
        self, lifespan: Lifespan, framework: Any, ours: Any, happened: list[str]
    ) -> None:
        application = framework(lifespan=lifespan.as_lifespan())
        for _ in range(2):
            async with started(application):
                pass

        assert happened == ["ours opens", "ours closes"] * 2

    async def test_as_lifespan_inside_ours_is_one_run(
        self, lifespan: Lifespan, framework: Any, ours: Any, happened: list[str]
    ) -> None:
        mounted = framework(lifespan=lifespan.as_lifespan())
        application = LifespanMiddleware(
            framework(lifespan=lifespan.as_lifespan()), forward=[mounted]
        )
        async with started(application) as server:
            assert len(lifespan.runs) == 1
            assert server.state == {"client": "our client"}

        assert happened == ["ours opens", "ours closes"]

    async def test_as_lifespan_that_can_not_start_says_so(
        self, lifespan: Lifespan, framework: Any
    ) -> None:
        @lifespan.resource
        def broken() -> None:
            raise OSError("nobody is there")

        server = ServerSide(framework(lifespan=lifespan.as_lifespan()))
        answer = await server.startup()

        assert answer["type"] == "lifespan.startup.failed"
        assert "Raised by lifespan hook" in answer["message"]
        assert isinstance(await server.end(), OSError)

    async def test_as_lifespan_that_can_not_stop_says_so(
        self, lifespan: Lifespan, framework: Any
    ) -> None:
        @lifespan.on_shutdown
        def broken() -> None:
            raise OSError("nobody is there")

        server = ServerSide(framework(lifespan=lifespan.as_lifespan()))
        assert await server.startup() == STARTED
        answer = await server.shutdown()

        assert answer["type"] == "lifespan.shutdown.failed"
        assert isinstance(await server.end(), ExceptionGroup)

    def test_as_lifespan_works_under_starlettes_test_client(
        self, lifespan: Lifespan, framework: Any, ours: Any, happened: list[str]
    ) -> None:
        with TestClient(framework(lifespan=lifespan.as_lifespan())):
            assert happened == ["ours opens"]
        assert happened == ["ours opens", "ours closes"]

    async def test_requests_read_by_handle_from_as_lifespan(
        self, lifespan: Lifespan, ours: Any
    ) -> None:
        application = Starlette(lifespan=lifespan.as_lifespan())

        def in_sync(request: Request) -> PlainTextResponse:
            return PlainTextResponse(ours(request))

        async def in_async(request: Request) -> PlainTextResponse:
            return PlainTextResponse(ours(request))

        application.add_route("/sync", in_sync)
        application.add_route("/async", in_async)
        async with started(application):
            assert (await ask(application, "/sync")).text == "our client"
            assert (await ask(application, "/async")).text == "our client"


APPLICATIONS = {
    "starlette": """
        from starlette.applications import Starlette
        from starlette.responses import PlainTextResponse


        async def read(request):
            return PlainTextResponse(client(request) + lifespan.report().server)


        application = Starlette(lifespan=lifespan.as_lifespan())
        application.add_route("/", read)
        """,
    "fastapi": """
        from fastapi import FastAPI, Request

        application = FastAPI(lifespan=lifespan.as_lifespan())


        @application.get("/")
        def read(request: Request):
            return client(request) + request.state.client + lifespan.report().server
        """,
    "litestar": """
        from litestar import Litestar, Request, get


        @get("/")
        async def read(request: Request) -> str:
            return client(request) + lifespan.report().server


        application = Litestar([read], lifespan=[lifespan.as_lifespan()])
        """,
}


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("framework", APPLICATIONS)
@pytest.mark.parametrize(
    "kind", [UVICORN, HYPERCORN, GRANIAN, GUNICORN], ids=lambda kind: kind.name
)
def test_as_lifespan_works_under_a_server(project: Project, framework: str, kind: Kind) -> None:
    project.app(
        "shop",
        lifespan="""
            from journal import write
            from lifespan_app import lifespan


            @lifespan.resource
            async def client():
                write("opens")
                yield "our client "
                write("closes")
            """,
    ).asgi(
        "import django\n\ndjango.setup()\n\n"
        "from lifespan_app import lifespan\nfrom shop.lifespan import client\n"
        + dedent(APPLICATIONS[framework])
    )
    with Server(project, kind) as server:
        answer = server.get("/")
        assert answer.status == 200, server.output
        assert answer.text.strip('"').startswith("our client ")
        assert f" {kind.name} " in answer.text
        server.signal(signal.SIGTERM)
        server.wait()

    assert project.events() == ["opens", "closes"]
