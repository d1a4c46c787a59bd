"""`LifespanMiddleware`: our lifespan around any ASGI application, and around its own lifespan."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from asgi_lifespan import LifespanManager
from django.core.asgi import get_asgi_application as get_djangos_application
from django.core.checks import run_checks
from django.http import HttpRequest, HttpResponse, JsonResponse
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

import lifespan_app
from lifespan_app import Lifespan, LifespanContext, LifespanMiddleware
from lifespan_app.asgi import get_asgi_application
from lifespan_app.errors import HookError
from lifespan_app.handler import LifespanASGIHandler
from tests.compat.conftest import no_receivers
from tests.django.conftest import MountViews
from tests.django.inner_applications import lifespan_that_tells
from tests.exchanges import LIMIT, ask
from tests.projects import Project
from tests.scopes import MISSING, STARTED, STOPPED, ServerSide, started
from tests.servers import Server

if TYPE_CHECKING:
    from pytest_django import Settings

__all__ = ["no_receivers"]

Application = Callable[..., Any]


@pytest.fixture(params=[Starlette, FastAPI])
def framework(request: pytest.FixtureRequest) -> Any:
    """Return a framework whose applications have a lifespan of their own."""
    return request.param


async def no_lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Be an application that knows of no lifespan, and says so as Django does."""
    if scope["type"] != "http":
        raise ValueError("only http")


class TestAroundDjango:
    async def test_views_read_resources_below_the_middleware(
        self, mount: MountViews, ours: Any
    ) -> None:
        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse(ours(request))

        mount(view=view)
        application = LifespanMiddleware(get_djangos_application())
        async with started(application) as server:
            assert server.state == {"client": "our client"}
            answer = await ask(application, "/view/", state=dict(server.state))
        assert answer.text == "our client"

    async def test_request_state_comes_from_the_state_middleware(
        self, mount: MountViews, ours: Any, settings: Settings
    ) -> None:
        settings.MIDDLEWARE = ["lifespan_app.middleware.LifespanStateMiddleware"]

        async def view(request: Any) -> HttpResponse:
            return JsonResponse([request.state["client"], request.state.client], safe=False)

        mount(view=view)
        application = LifespanMiddleware(get_djangos_application())
        async with started(application):
            answer = await ask(application, "/view/")
        assert answer.text == '["our client", "our client"]'

    async def test_hooks_get_the_context_of_the_middleware(self, lifespan: Lifespan) -> None:
        told: list[LifespanContext] = []

        @lifespan.on_start(service_types=["api"])
        def setup(context: LifespanContext) -> None:
            context.set_metadata("ready", True)

        @lifespan.on_shutdown
        def teardown(context: LifespanContext) -> None:
            told.append(context)

        context = LifespanContext(service_type="api", environment="staging")
        async with started(LifespanMiddleware(get_djangos_application(), context)):
            pass
        assert told == [context]
        assert told[0].get_metadata("ready") is True

    async def test_middleware_takes_a_service_type_as_context(self, lifespan: Lifespan) -> None:
        async with started(LifespanMiddleware(get_djangos_application(), context="api")):
            assert lifespan.runs[0].context.service_type == "api"


class TestAnInnerLifespan:
    """The inner application's lifespan lies inside ours."""

    async def test_inner_lifespan_opens_after_ours_and_closes_before_it(
        self, framework: Any, ours: Any, happened: list[str]
    ) -> None:
        inner = framework(lifespan=lifespan_that_tells(happened))
        async with started(LifespanMiddleware(inner)):
            assert happened == ["ours opens", "theirs opens"]
        assert happened[2:] == ["theirs closes", "ours closes"]

    @pytest.mark.parametrize("state", [{}, MISSING])
    async def test_inner_lifespan_shares_its_state_with_ours(
        self, framework: Any, ours: Any, happened: list[str], state: Any
    ) -> None:
        async def view(request: Request) -> Any:
            read = [request.state.client, request.state.pool, ours(request)]
            return JSONResponse(read)

        inner = framework(lifespan=lifespan_that_tells(happened, pool="their pool"))
        inner.add_route("/", view)
        application = LifespanMiddleware(inner)
        async with started(application, state=state) as server:
            # A server that has a state hands a copy of it to each request.
            copied: dict[str, Any] = {} if state is MISSING else {"state": dict(server.state)}
            answer = await ask(application, "/", **copied)
        assert answer.text == '["our client","their pool","our client"]'

    async def test_inner_lifespan_has_our_resources_in_its_state(
        self, ours: Any, happened: list[str]
    ) -> None:
        @asynccontextmanager
        async def inner_lifespan(app: Any) -> AsyncIterator[None]:
            happened.append(ours.current())
            yield
            happened.append(ours.current())

        async with started(LifespanMiddleware(Starlette(lifespan=inner_lifespan))):
            pass
        assert happened == ["ours opens", "our client", "our client", "ours closes"]

    async def test_inner_lifespan_that_sets_a_key_of_ours_is_an_error(
        self, framework: Any, ours: Any, happened: list[str]
    ) -> None:
        inner = framework(lifespan=lifespan_that_tells(happened, client="their client"))
        application = LifespanMiddleware(inner)
        server = ServerSide(application)
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        error = await server.end()
        assert isinstance(error, HookError)
        assert "'client'" in str(error)
        assert f"{ours.hook.module}.client' (tests/django/conftest.py:" in str(error)
        line = self.line_of("application = LifespanMiddleware(inner)")
        assert f"'{__name__}.inner' (tests/django/test_middleware.py:{line})" in str(error)
        assert "state_name=" in str(error)
        assert happened == ["ours opens", "theirs opens", "theirs closes", "ours closes"]

    def line_of(self, text: str) -> int:
        code = TestAnInnerLifespan.test_inner_lifespan_that_sets_a_key_of_ours_is_an_error
        first = code.__code__.co_firstlineno
        lines = Path(__file__).read_text().splitlines()
        return next(n for n, line in enumerate(lines, 1) if n > first and text in line)

    async def test_inner_lifespan_may_hand_on_our_resource(
        self, ours: Any, happened: list[str]
    ) -> None:
        @asynccontextmanager
        async def inner_lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
            yield {"client": ours.current()}

        async with started(LifespanMiddleware(Starlette(lifespan=inner_lifespan))):
            pass

    async def test_inner_lifespan_that_fails_to_start_fails_ours_after_a_rollback(
        self, framework: Any, ours: Any, happened: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        @asynccontextmanager
        async def inner_lifespan(app: Any) -> AsyncIterator[None]:
            raise ZeroDivisionError("in theirs")
            yield

        server = ServerSide(LifespanMiddleware(framework(lifespan=inner_lifespan)))
        answer = await server.startup()
        assert happened == ["ours opens", "ours closes"]
        assert answer["type"] == "lifespan.startup.failed"
        assert "in theirs" in answer["message"]
        assert f"'{__name__}.{framework.__name__}' (tests/django/" in answer["message"]
        assert "in inner_lifespan" in caplog.text
        assert isinstance(await server.end(), ZeroDivisionError)

    async def test_inner_lifespan_that_fails_to_stop_stops_ours_all_the_same(
        self, framework: Any, ours: Any, happened: list[str]
    ) -> None:
        @asynccontextmanager
        async def inner_lifespan(app: Any) -> AsyncIterator[None]:
            yield
            raise ZeroDivisionError("in theirs")

        server = ServerSide(LifespanMiddleware(framework(lifespan=inner_lifespan)))
        await server.startup()
        answer = await server.shutdown()
        assert happened == ["ours opens", "ours closes"]
        assert answer["type"] == "lifespan.shutdown.failed"
        assert "ZeroDivisionError: in theirs" in answer["message"]
        error = await server.end()
        assert isinstance(error, ExceptionGroup)
        assert [type(one) for one in error.exceptions] == [ZeroDivisionError]

    async def test_inner_lifespan_that_hangs_at_startup_is_given_up(
        self, ours: Any, happened: list[str], settings: Settings
    ) -> None:
        settings.LIFESPAN = {"STARTUP_DEADLINE": 0.3}

        @asynccontextmanager
        async def inner_lifespan(app: Any) -> AsyncIterator[None]:
            try:
                await asyncio.Event().wait()
            finally:
                happened.append("theirs gives up")
            yield

        server = ServerSide(LifespanMiddleware(Starlette(lifespan=inner_lifespan)))
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert "STARTUP_DEADLINE" in answer["message"]
        assert happened == ["ours opens", "theirs gives up", "ours closes"]
        assert isinstance(await server.end(), HookError)

    async def test_inner_lifespan_that_hangs_at_shutdown_is_given_up(
        self, ours: Any, happened: list[str], settings: Settings
    ) -> None:
        settings.LIFESPAN = {"SHUTDOWN_TIMEOUT": 0.3}

        @asynccontextmanager
        async def inner_lifespan(app: Any) -> AsyncIterator[None]:
            yield
            try:
                await asyncio.Event().wait()
            finally:
                happened.append("theirs gives up")

        server = ServerSide(LifespanMiddleware(Starlette(lifespan=inner_lifespan)))
        await server.startup()
        answer = await server.shutdown()
        assert answer["type"] == "lifespan.shutdown.failed"
        assert "limit of 0.3 s" in answer["message"]
        assert happened == ["ours opens", "theirs gives up", "ours closes"]

    async def test_inner_lifespan_that_crashes_makes_the_process_not_ready(
        self, ours: Any, lifespan: Lifespan, happened: list[str]
    ) -> None:
        crash = asyncio.Event()

        async def inner(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await crash.wait()
            raise ZeroDivisionError("in theirs")

        server = ServerSide(LifespanMiddleware(inner))
        await server.startup()
        run = lifespan.runs[0]
        assert run.report().ready
        crash.set()
        async with asyncio.timeout(LIMIT):
            while run.report().ready:
                await asyncio.sleep(0)
        assert not server.task.done()
        step = next(step for step in run.report().steps if step.outcome == "crashed")
        assert step.error == "in theirs"
        assert await server.shutdown() == STOPPED
        assert happened == ["ours opens", "ours closes"]

    async def test_inner_lifespan_is_closed_when_the_server_cancels(
        self, ours: Any, happened: list[str]
    ) -> None:
        inner = Starlette(lifespan=lifespan_that_tells(happened))
        server = ServerSide(LifespanMiddleware(inner))
        await server.startup()
        server.task.cancel()
        assert isinstance(await server.end(), asyncio.CancelledError)
        assert happened == ["ours opens", "theirs opens", "theirs closes", "ours closes"]

    @pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
    async def test_inner_lifespan_that_raises_a_base_exception_fails_ours(
        self, ours: Any, happened: list[str], kind: type[BaseException]
    ) -> None:
        async def inner(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            raise kind("enough")

        server = ServerSide(LifespanMiddleware(inner))
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert happened == ["ours opens", "ours closes"]
        assert type(await server.end()) is kind


class TestAnInnerApplication:
    """What counts as having no lifespan, and what as a failed one."""

    @pytest.mark.parametrize(
        "inner", [get_djangos_application, lambda: no_lifespan], ids=["django", "raises"]
    )
    async def test_inner_application_that_raises_before_it_asks_has_no_lifespan(
        self, ours: Any, happened: list[str], inner: Callable[[], Application]
    ) -> None:
        async with started(LifespanMiddleware(inner())):
            assert happened == ["ours opens"]

    async def test_inner_application_that_returns_before_it_asks_has_no_lifespan(
        self, ours: Any, happened: list[str]
    ) -> None:
        async def inner(scope: Any, receive: Any, send: Any) -> None: ...

        async with started(LifespanMiddleware(inner)):
            assert happened == ["ours opens"]

    async def test_inner_application_without_an_answer_is_served_with_a_warning(
        self, ours: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def inner(scope: Any, receive: Any, send: Any) -> None:
            await receive()

        async with started(LifespanMiddleware(inner)):
            assert "returned without an answer" in caplog.text

    async def test_inner_application_that_raises_after_it_has_asked_fails_the_startup(
        self, ours: Any, happened: list[str]
    ) -> None:
        async def inner(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            raise ZeroDivisionError("in theirs")

        server = ServerSide(LifespanMiddleware(inner))
        assert (await server.startup())["type"] == "lifespan.startup.failed"
        assert happened == ["ours opens", "ours closes"]
        assert isinstance(await server.end(), ZeroDivisionError)

    async def test_inner_application_that_sends_startup_failed_fails_the_startup(
        self, ours: Any, happened: list[str]
    ) -> None:
        async def inner(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no luck"})

        server = ServerSide(LifespanMiddleware(inner))
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert "no luck" in answer["message"]
        assert happened == ["ours opens", "ours closes"]

    async def test_error_of_an_inner_application_that_sends_startup_failed_is_raised(
        self, ours: Any
    ) -> None:
        async def inner(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no luck"})
            # It may have something to do in between.
            for _ in range(10):
                await asyncio.sleep(0)
            raise ZeroDivisionError("the reason")

        server = ServerSide(LifespanMiddleware(inner))
        assert "the reason" in (await server.startup())["message"]
        assert isinstance(await server.end(), ZeroDivisionError)

    async def test_failed_shutdown_of_an_inner_application_fails_the_shutdown(
        self, ours: Any, happened: list[str]
    ) -> None:
        async def inner(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            assert (await receive())["type"] == "lifespan.shutdown"
            await send({"type": "lifespan.shutdown.failed", "message": "no luck"})

        server = ServerSide(LifespanMiddleware(inner))
        await server.startup()
        answer = await server.shutdown()
        assert answer["type"] == "lifespan.shutdown.failed"
        assert "no luck" in answer["message"]
        assert happened == ["ours opens", "ours closes"]

    async def test_inner_application_that_ends_its_lifespan_early_is_served_on(
        self, ours: Any, happened: list[str]
    ) -> None:
        async def inner(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})

        async with started(LifespanMiddleware(inner)):
            assert happened == ["ours opens"]

    async def test_inner_application_is_asked_once_for_each_start_of_a_server(
        self, ours: Any, happened: list[str]
    ) -> None:
        application = LifespanMiddleware(Starlette(lifespan=lifespan_that_tells(happened)))
        for _ in range(2):
            async with started(application):
                pass
        assert happened == ["ours opens", "theirs opens", "theirs closes", "ours closes"] * 2


class TestOursInOurs:
    """One run, whatever is inside what."""

    @pytest.fixture(params=["handler", "middleware", "both"])
    def nested(self, request: pytest.FixtureRequest, happened: list[str]) -> Any:
        innermost: Any = Starlette(lifespan=lifespan_that_tells(happened))
        if request.param == "middleware":
            return LifespanMiddleware(LifespanMiddleware(innermost))
        if request.param == "handler":
            return LifespanMiddleware(get_asgi_application())
        return LifespanMiddleware(LifespanMiddleware(get_asgi_application()))

    async def test_nested_middleware_is_one_run(
        self, nested: Any, lifespan: Lifespan, ours: Any, happened: list[str]
    ) -> None:
        async with started(nested):
            assert len(lifespan.runs) == 1
        ours = [event for event in happened if event.startswith("ours")]
        assert ours == ["ours opens", "ours closes"]

    async def test_nested_middleware_runs_the_lifespan_of_the_innermost_once(
        self, ours: Any, happened: list[str]
    ) -> None:
        innermost = Starlette(lifespan=lifespan_that_tells(happened))
        async with started(LifespanMiddleware(LifespanMiddleware(innermost))):
            pass
        assert happened == ["ours opens", "theirs opens", "theirs closes", "ours closes"]

    async def test_nested_middleware_calls_the_inner_handlers_on_shutdown(
        self, ours: Any, happened: list[str]
    ) -> None:
        handler = get_asgi_application()
        async with started(LifespanMiddleware(handler)):
            handler.on_shutdown.append(lambda: happened.append("function"))
        assert happened == ["ours opens", "function", "ours closes"]

    async def test_nested_middleware_driven_by_the_lifespan_of_a_framework_is_one_run(
        self, lifespan: Lifespan, framework: Any, ours: Any, happened: list[str]
    ) -> None:
        handler = get_asgi_application()
        handler.on_shutdown.append(lambda: happened.append("function"))

        @asynccontextmanager
        async def inner_lifespan(app: Any) -> AsyncIterator[None]:
            # With a scope that knows nothing of ours.
            async with LifespanManager(handler):
                assert len(lifespan.runs) == 1
                yield

        async with started(LifespanMiddleware(framework(lifespan=inner_lifespan))):
            pass
        assert happened == ["ours opens", "function", "ours closes"]

    async def test_nested_middleware_serves_requests_with_that_run(
        self, mount: MountViews, ours: Any
    ) -> None:
        def view(request: Any) -> HttpResponse:
            return JsonResponse([request.state["client"], ours(request)], safe=False)

        mount(view=view)
        application = LifespanMiddleware(get_asgi_application())
        async with started(application):
            answer = await ask(application, "/view/")
        assert answer.text == '["our client", "our client"]'

    async def test_nested_middleware_in_a_framework_finds_the_run_around_it(
        self, mount: MountViews, ours: Any, happened: list[str]
    ) -> None:
        def view(request: Any) -> HttpResponse:
            return JsonResponse([request.state["client"], request.state["pool"]], safe=False)

        mount(view=view)
        routes = [Mount("/django", get_asgi_application())]
        inner = Starlette(routes=routes, lifespan=lifespan_that_tells(happened, pool="their pool"))
        application = LifespanMiddleware(inner)
        async with started(application):
            answer = await ask(application, "/django/view/")
        assert answer.text == '["our client", "their pool"]'

    async def test_nested_middleware_may_be_the_frameworks_own(
        self, framework: Any, ours: Any, happened: list[str]
    ) -> None:
        async def view(request: Request) -> Any:
            return JSONResponse([request.state.client, request.state.pool, ours(request)])

        inner = framework(lifespan=lifespan_that_tells(happened, pool="their pool"))
        inner.add_route("/", view)
        inner.add_middleware(LifespanMiddleware)
        async with started(inner) as server:
            answer = await ask(inner, "/", state=dict(server.state))
        assert answer.text == '["our client","their pool","our client"]'
        assert happened == ["ours opens", "theirs opens", "theirs closes", "ours closes"]


class TestRequests:
    def test_http_and_websocket_requests_read_by_handle(self, ours: Any) -> None:
        async def view(request: StarletteRequest) -> JSONResponse:
            return JSONResponse(ours(request))

        async def socket(websocket: WebSocket) -> None:
            await websocket.accept()
            await websocket.send_json([ours(websocket), websocket.state.client])
            await websocket.close()

        inner = Starlette(routes=[Route("/", view), WebSocketRoute("/socket", socket)])
        with TestClient(LifespanMiddleware(inner)) as browser:
            assert browser.get("/").json() == "our client"
            with browser.websocket_connect("/socket") as connection:
                assert connection.receive_json() == ["our client", "our client"]

    async def test_requests_without_a_lifespan_reach_the_application(
        self, lifespan: Lifespan
    ) -> None:
        scopes: list[dict[str, Any]] = []

        async def inner(scope: Any, receive: Any, send: Any) -> None:
            scopes.append(dict(scope))

        sent = {"type": "http", "path": "/"}
        await LifespanMiddleware(inner)(sent, None, None)  # type: ignore[arg-type]
        assert scopes == [{"type": "http", "path": "/"}]


FASTAPI = """
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from journal import write
from lifespan_app import LifespanMiddleware
from lifespan_app.asgi import get_asgi_application


@asynccontextmanager
async def theirs(app):
    write("theirs opens")
    yield {"pool": "their pool"}
    write("theirs closes")


app = FastAPI(lifespan=theirs)
app.mount("/django", get_asgi_application())


@app.get("/")
async def read(request: Request):
    return [request.state.shelf, request.state.pool]


application = LifespanMiddleware(app)
"""


@pytest.mark.server
def test_fastapi_with_django_mounted_is_served_by_uvicorn(project: Project) -> None:
    project.app(
        "shop",
        lifespan="""
            from journal import write
            from lifespan_app import lifespan


            @lifespan.resource
            async def shelf():
                write("ours opens")
                yield "our shelf"
                write("ours closes")
            """,
        views="""
            from django.http import JsonResponse


            async def view(request):
                return JsonResponse([request.state["shelf"], request.state["pool"]], safe=False)
            """,
    ).asgi(FASTAPI)
    with Server(project, options=["--lifespan", "on"]) as server:
        assert server.get("/").json() == ["our shelf", "their pool"]
        assert server.get("/django/view/").json() == ["our shelf", "their pool"]
        server.signal(signal.SIGTERM)
        server.wait()
        assert project.events() == ["ours opens", "theirs opens", "theirs closes", "ours closes"]
        assert "Traceback" not in server.output


# Neither Django nor asgiref can be imported in this process.
WITHOUT_DJANGO = """
import asyncio
import sys


class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"django", "asgiref"}:
            raise ImportError(f"{name} is not installed here")


sys.meta_path.insert(0, Refuse())

from lifespan_app import LifespanMiddleware, lifespan


@lifespan.resource
async def client():
    print("opens")
    yield "client"
    print("closes")


async def app(scope, receive, send):
    assert scope["type"] == "http"
    print("request", client(scope))


application = LifespanMiddleware(app)


async def main():
    told = asyncio.Queue()
    said = asyncio.Queue()
    serving = asyncio.create_task(application({"type": "lifespan", "state": {}}, told.get, said.put))
    await told.put({"type": "lifespan.startup"})
    print((await said.get())["type"])
    await application({"type": "http"}, None, None)
    await told.put({"type": "lifespan.shutdown"})
    print((await said.get())["type"])
    await serving


asyncio.run(main())
"""


def test_middleware_works_without_django_installed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(dedent(WITHOUT_DJANGO))
    package = Path(lifespan_app.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, str(program)],
        env={"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "opens",
        "lifespan.startup.complete",
        "request client",
        "closes",
        "lifespan.shutdown.complete",
    ]


class TestListedInDjangosMiddleware:
    """It goes around the application; in MIDDLEWARE it is a mistake."""

    @pytest.mark.parametrize(
        "path", ["lifespan_app.LifespanMiddleware", "lifespan_app.middleware.LifespanMiddleware"]
    )
    def test_middleware_listed_in_djangos_setting_is_found_by_a_check(
        self, settings: Settings, path: str
    ) -> None:
        settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware", path]
        found = run_checks(tags=["lifespan"])
        messages = [message for message in found if path in str(message.msg)]
        assert [message.id for message in messages] == ["lifespan_app.E010"]
        assert messages[0].is_serious()
        assert "application = LifespanMiddleware(get_asgi_application())" in str(messages[0].hint)

    def test_check_is_silent_where_the_middleware_is_not_listed(self, settings: Settings) -> None:
        settings.MIDDLEWARE = ["lifespan_app.middleware.LifespanStateMiddleware"]
        found = [message.id for message in run_checks(tags=["lifespan"])]
        assert "lifespan_app.E010" not in found

    def test_middleware_listed_in_djangos_setting_is_refused(self, settings: Settings) -> None:
        settings.MIDDLEWARE = ["lifespan_app.LifespanMiddleware"]
        with pytest.raises(RuntimeError, match=r"lifespan_app\.LifespanMiddleware"):
            LifespanASGIHandler()


async def test_startup_that_comes_twice_is_refused_inside_too(
    lifespan: Lifespan, happened: list[str]
) -> None:
    answers: list[str] = []

    async def asks_twice(scope: Any, receive: Any, send: Any) -> None:
        inner = ServerSide(LifespanASGIHandler(), **scope)
        await receive()
        answers.append((await inner.startup())["type"])
        answers.append((await inner.startup())["type"])
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    server = ServerSide(LifespanMiddleware(asks_twice))
    assert await server.startup() == STARTED
    assert answers == ["lifespan.startup.complete", "lifespan.startup.failed"]
    assert len(lifespan.runs) == 1
    assert await server.shutdown() == STOPPED
