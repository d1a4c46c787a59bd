"""`get_asgi_application(mounts={...})`: applications beside Django, each with its lifespan and its paths."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from asgiref.wsgi import WsgiToAsgi
from channels.generic.websocket import (  # type: ignore[import-untyped]
    AsyncWebsocketConsumer,
)
from channels.routing import URLRouter  # type: ignore[import-untyped]
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from fastapi import FastAPI, Request
from litestar import Litestar, get
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from lifespan_app import Lifespan, LifespanMiddleware
from lifespan_app.asgi import get_asgi_application
from lifespan_app.engine.reporting.report import Outcome, Phase, Report
from lifespan_app.handler import LifespanASGIHandler
from tests.django.conftest import MountViews
from tests.django.inner_applications import lifespan_of_two, lifespan_that_tells
from tests.exchanges import LIMIT, ask, http_scope
from tests.scopes import STARTED, STOPPED, ServerSide, started

Make = Callable[..., FastAPI]


@pytest.fixture
def make(happened: list[str]) -> Make:
    """Return a function that makes an application with a lifespan, and with the state it is given."""

    def application(name: str, **state: Any) -> FastAPI:
        return FastAPI(lifespan=lifespan_that_tells(happened, name, **state))

    return application


async def where(request: Any) -> JSONResponse:
    """Answer with the place that a framework sees."""
    scope = request.scope
    return JSONResponse(
        [
            scope["root_path"],
            scope["path"],
            (scope.get("raw_path") or b"").decode(),
            request.url.path,
        ]
    )


class Site:
    """An application without a lifespan, which answers each path with its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await JSONResponse(self.name)(scope, receive, send)


def site(name: str = "mounted") -> Site:
    """Return an application that answers each path with its name."""
    return Site(name)


def report_of(lifespan: Lifespan) -> Report:
    """Return the report of the last run."""
    report = lifespan.report()
    assert report is not None
    return report


def websocket_scope(path: str, **scope: Any) -> dict[str, Any]:
    """Return the scope of a websocket."""
    return {**http_scope(path, **scope), "type": "websocket", "subprotocols": []}


async def tell_websocket(application: Any, path: str, **scope: Any) -> Any:
    """Open a websocket, and return the first text that it gets."""
    communicator = ApplicationCommunicator(application, websocket_scope(path, **scope))
    await communicator.send_input({"type": "websocket.connect"})
    assert (await communicator.receive_output(LIMIT))["type"] == "websocket.accept"
    message = await communicator.receive_output(LIMIT)
    await communicator.send_input({"type": "websocket.disconnect", "code": 1000})
    await communicator.wait(LIMIT)
    return message["text"]


class TestTheOrder:
    async def test_mounts_open_after_our_hooks_and_close_before_them(
        self, make: Make, ours: Any, happened: list[str]
    ) -> None:
        application = get_asgi_application(mounts={"/api": make("api")})
        application.on_shutdown.append(lambda: happened.append("function"))

        async with started(application):
            happened.append("serves")

        assert happened == [
            *["ours opens", "api opens", "serves"],
            *["api closes", "function", "ours closes"],
        ]

    async def test_mounts_open_side_by_side(self, ours: Any) -> None:
        lifespan = lifespan_of_two()
        mounts = {"/a": FastAPI(lifespan=lifespan), "/b": FastAPI(lifespan=lifespan)}
        async with started(get_asgi_application(mounts=mounts)):
            pass

    async def test_application_at_two_prefixes_opens_once(
        self, make: Make, ours: Any, happened: list[str]
    ) -> None:
        api = make("api")

        async with started(get_asgi_application(mounts={"/api": api, "/v1": api})):
            pass

        assert happened.count("api opens") == 1


class TestTheReport:
    async def test_report_has_each_mount_by_its_prefix(
        self, make: Make, ours: Any, lifespan: Lifespan
    ) -> None:
        async with started(get_asgi_application(mounts={"/api": make("a"), "/mcp": make("b")})):
            pass

        steps = [(step.key, step.phase, step.outcome) for step in report_of(lifespan).steps]
        for key in (f"{__name__}.mounts[/api]", f"{__name__}.mounts[/mcp]"):
            assert (key, Phase.STARTUP, Outcome.OK) in steps
            assert (key, Phase.SHUTDOWN, Outcome.OK) in steps

    async def test_step_of_a_mount_has_the_line_of_the_call(
        self, make: Make, ours: Any, lifespan: Lifespan
    ) -> None:
        async with started(get_asgi_application(mounts={"/api": make("a")})):
            pass

        (step,) = {(s.file, s.line) for s in report_of(lifespan).steps if "mounts" in s.name}
        code = type(self).test_step_of_a_mount_has_the_line_of_the_call.__code__
        assert step == ("tests/django/test_mounts.py", code.co_firstlineno + 3)


class TestAFailure:
    async def test_mount_that_fails_to_start_rolls_everything_back(
        self, make: Make, ours: Any, happened: list[str]
    ) -> None:
        @asynccontextmanager
        async def fails(app: Any) -> AsyncIterator[None]:
            raise OSError("no queue")
            yield

        server = ServerSide(get_asgi_application(mounts={"/api": FastAPI(lifespan=fails)}))

        answer = await server.startup()

        assert answer["type"] == "lifespan.startup.failed"
        assert "mounts[/api]" in answer["message"]
        assert "OSError: no queue" in answer["message"]
        assert isinstance(await server.end(), OSError)
        assert happened == ["ours opens", "ours closes"]

    async def test_mount_that_raises_behind_its_answer_fails_the_start(
        self, ours: Any, happened: list[str]
    ) -> None:
        async def breaks(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            raise OSError("no queue")

        server = ServerSide(get_asgi_application(mounts={"/api": breaks}))

        answer = await server.startup()

        assert answer["type"] == "lifespan.startup.failed"
        assert "OSError: no queue" in answer["message"]
        assert isinstance(await server.end(), OSError)
        assert happened == ["ours opens", "ours closes"]

    async def test_mount_that_fails_to_stop_lets_the_others_stop(
        self, make: Make, ours: Any, happened: list[str]
    ) -> None:
        @asynccontextmanager
        async def fails(app: Any) -> AsyncIterator[None]:
            yield
            raise OSError("queue is stuck")

        mounts = {"/bad": FastAPI(lifespan=fails), "/api": make("api")}
        server = ServerSide(get_asgi_application(mounts=mounts))
        assert await server.startup() == STARTED

        answer = await server.shutdown()

        assert answer["type"] == "lifespan.shutdown.failed"
        assert "mounts[/bad]" in answer["message"]
        assert happened[-2:] == ["api closes", "ours closes"]
        assert isinstance(await server.end(), OSError | ExceptionGroup)

    async def test_lifespan_that_ends_while_serving_is_seen(
        self, ours: Any, lifespan: Lifespan
    ) -> None:
        broke = asyncio.Event()

        async def breaks(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await broke.wait()
            raise OSError("lost")

        server = ServerSide(get_asgi_application(mounts={"/api": breaks}))
        assert await server.startup() == STARTED
        broke.set()
        while not any(s.outcome is Outcome.CRASHED for s in report_of(lifespan).steps):
            await asyncio.sleep(0)

        assert not report_of(lifespan).ready
        await server.shutdown()
        await server.end()


class TestTheState:
    async def test_requests_of_a_mount_have_its_state_and_our_resources(self, ours: Any) -> None:
        @asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
            yield {"pool": "their pool"}

        api = FastAPI(lifespan=lifespan)

        @api.get("/")
        async def read(request: Request) -> list[str]:
            return [request.state.pool, request.state.client, ours(request), ours.current()]

        application = get_asgi_application(mounts={"/api": api})
        async with started(application) as server:
            answer = await ask(application, "/api/", state=dict(server.state))
            without = await ask(application, "/api/")

        assert answer.text == '["their pool","our client","our client","our client"]'
        assert without.text == answer.text

    async def test_lifespan_of_a_mount_reads_our_resources(self, ours: Any) -> None:
        @asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
            yield {"pool": f"a pool with {ours.current()}"}

        api = FastAPI(lifespan=lifespan)

        @api.get("/")
        async def read(request: Request) -> Any:
            return request.state.pool

        application = get_asgi_application(mounts={"/api": api})
        async with started(application):
            assert (await ask(application, "/api/")).text == '"a pool with our client"'

    async def test_task_of_a_mounts_lifespan_reads_our_resources(self, ours: Any) -> None:
        """MCP's servers answer in tasks of their own."""
        questions: asyncio.Queue[asyncio.Future[str]] = asyncio.Queue()

        async def work() -> None:
            while True:
                (await questions.get()).set_result(ours.current())

        @asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[None]:
            working = asyncio.create_task(work())
            yield
            working.cancel()

        api = FastAPI(lifespan=lifespan)

        @api.get("/")
        async def read(request: Request) -> str:
            question: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            questions.put_nowait(question)
            return await question

        application = get_asgi_application(mounts={"/api": api})
        async with started(application):
            assert (await ask(application, "/api/")).text == '"our client"'

    async def test_mounts_may_have_values_of_one_name(self, make: Make, ours: Any) -> None:
        mounts = {"/a": make("a", pool=1), "/b": make("b", pool=2, client="b's own")}
        for app in mounts.values():

            @app.get("/")
            async def read(request: Request) -> list[Any]:
                return [request.state.pool, request.state.client]

        application = get_asgi_application(mounts=mounts)
        async with started(application) as server:
            texts = [
                (await ask(application, path, state=dict(server.state))).text
                for path in ("/a/", "/b/")
            ]

        assert texts == ['[1,"our client"]', '[2,"b\'s own"]']

    async def test_state_of_a_mount_is_not_djangos(
        self, make: Make, mount: MountViews, ours: Any
    ) -> None:
        def view(request: Any) -> HttpResponse:
            return HttpResponse(f"{request.state.client}, {'pool' in request.state}")

        mount(view=view)
        application = get_asgi_application(mounts={"/api": make("api", pool=1)})
        async with started(application) as server:
            answer = await ask(application, "/view/", state=dict(server.state))

        assert answer.text == "our client, False"

    async def test_values_that_a_request_writes_stay_in_it(self, make: Make, ours: Any) -> None:
        api = make("api", pool=1)

        @api.get("/")
        async def read(request: Request) -> Any:
            before = request.state.pool
            request.state.pool = 2
            return before

        application = get_asgi_application(mounts={"/api": api})
        async with started(application) as server:
            texts = [
                (await ask(application, "/api/", state=dict(server.state))).text for _ in range(2)
            ]

        assert texts == ["1", "1"]


class TestThePath:
    @pytest.mark.parametrize(
        ("at", "answered_by"),
        [
            ("/mcp", "mounted"),
            ("/mcp/", "mounted"),
            ("/mcp/tools/1", "mounted"),
            ("/mcp/inner/x", "inner"),
            ("/mcp/inner", "inner"),
            ("/mcp/innermost", "mounted"),
            ("/über/x", "ü"),
        ],
    )
    async def test_longest_prefix_answers(self, at: str, answered_by: str, ours: Any) -> None:
        mounts = {"/mcp": site(), "/mcp/inner": site("inner"), "/über": site("ü")}

        answer = await ask(get_asgi_application(mounts=mounts), at)

        assert answer.text == bytes(JSONResponse(answered_by).body).decode()

    @pytest.mark.parametrize("at", ["/mcpx/", "/", "/x/mcp", "//mcp", "/MCP"])
    async def test_other_paths_are_djangos(self, at: str, ours: Any, mount: MountViews) -> None:
        mount()

        answer = await ask(get_asgi_application(mounts={"/mcp": site()}), at)

        assert "The requested resource was not found on this server" in answer.text

    @pytest.mark.parametrize("at", ["/root/mcp/a%20b", "/mcp/a%20b"])
    async def test_root_path_may_be_in_the_path_or_missing_from_it(
        self, at: str, ours: Any
    ) -> None:
        """uvicorn passes the whole path with --root-path, hypercorn and granian the rest."""
        application = get_asgi_application(
            mounts={"/mcp": Starlette(routes=[Route("/{rest:path}", where)])}
        )

        answer = await ask(
            application, at.replace("%20", " "), raw_path=at.encode(), root_path="/root"
        )

        assert answer.text == ('["/root/mcp","/root/mcp/a b","/root/mcp/a%20b","/root/mcp/a b"]')

    async def test_force_script_name_is_a_root_path_too(self, ours: Any, settings: Any) -> None:
        settings.FORCE_SCRIPT_NAME = "/root/"
        application = get_asgi_application(
            mounts={"/mcp": Starlette(routes=[Route("/{rest:path}", where)])}
        )

        answer = await ask(application, "/root/mcp/x")

        assert answer.text == '["/root/mcp","/root/mcp/x","/root/mcp/x","/root/mcp/x"]'

    async def test_scope_without_a_raw_path_is_fine(self, ours: Any) -> None:
        application = get_asgi_application(
            mounts={"/mcp": Starlette(routes=[Route("/{rest:path}", where)])}
        )

        answer = await ask(application, "/mcp/x", raw_path=None, root_path="/root")

        assert answer.text == '["/root/mcp","/root/mcp/x","","/root/mcp/x"]'

    async def test_urls_that_frameworks_make_have_the_prefix(
        self, ours: Any, mount: MountViews
    ) -> None:
        async def link(request: Any) -> JSONResponse:
            return JSONResponse([str(request.url_for("inner:deep")), str(request.url)])

        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse(reverse(view))

        inner = Mount("/inner", routes=[Route("/deep", link, name="deep")], name="inner")
        mount(view=view)
        application = get_asgi_application(mounts={"/mcp": Starlette(routes=[inner])})

        made = await ask(application, "/root/mcp/inner/deep", root_path="/root")
        django_made = await ask(application, "/root/view/", root_path="/root")

        address = "http://testserver/root/mcp/inner/deep"
        assert made.text == f'["{address}","{address}"]'
        assert django_made.text == "/root/view/"

    async def test_litestar_finds_its_routes(self, ours: Any) -> None:
        @get("/books/7")
        async def book() -> int:
            return 7

        application = get_asgi_application(mounts={"/api": Litestar([book], openapi_config=None)})
        async with started(application) as server:
            answer = await ask(application, "/api/books/7", state=dict(server.state))

        assert answer.text == "7"

    @pytest.mark.django_db(transaction=True)
    async def test_wsgi_application_is_mounted_with_asgirefs_adapter(
        self, ours: Any, mount: MountViews
    ) -> None:
        def inner(request: HttpRequest) -> HttpResponse:
            return HttpResponse(f"{request.META['SCRIPT_NAME']} {request.path_info}")

        mount(inner=inner)
        application = get_asgi_application(mounts={"/old": WsgiToAsgi(get_wsgi_application())})

        assert (await ask(application, "/old/inner/")).text == "/old /inner/"


class TestWebSockets:
    async def test_websocket_reaches_the_mount_of_its_path(self, ours: Any) -> None:
        async def chat(websocket: WebSocket) -> None:
            await websocket.accept()
            await websocket.send_text(f"{websocket.scope['root_path']} {ours(websocket)}")
            await websocket.receive()

        app = Starlette(routes=[WebSocketRoute("/room", chat)])
        application = get_asgi_application(mounts={"/chat": app})
        async with started(application):
            text = await tell_websocket(application, "/chat/room", root_path="/root")

        assert text == "/root/chat our client"

    @pytest.mark.django_db(transaction=True)
    async def test_channels_router_may_be_mounted(self, ours: Any) -> None:
        class Chat(AsyncWebsocketConsumer):  # type: ignore[misc]
            async def connect(self) -> None:
                await self.accept()
                await self.send(ours(self.scope))

        application = get_asgi_application(
            mounts={"/ws": URLRouter([path("chat/", Chat.as_asgi())])}
        )
        async with started(application):
            text = await tell_websocket(application, "/ws/chat/")

        assert text == "our client"

    async def test_other_websocket_gets_djangos_own_error(self, ours: Any) -> None:
        application = get_asgi_application(mounts={"/chat": site()})
        communicator = ApplicationCommunicator(application, websocket_scope("/other"))
        with pytest.raises(ValueError, match="Django can only handle ASGI/HTTP connections"):
            await communicator.wait(LIMIT)


class TestInsideAnotherApplication:
    async def test_mounts_open_inside_our_middleware(
        self, make: Make, ours: Any, happened: list[str]
    ) -> None:
        api = make("api", pool=1)

        @api.get("/")
        async def read(request: Request) -> list[Any]:
            return [request.state.pool, ours(request)]

        application = LifespanMiddleware(get_asgi_application(mounts={"/api": api}))
        async with started(application) as server:
            answer = await ask(application, "/api/", state=dict(server.state))

        assert answer.text == '[1,"our client"]'
        assert happened == ["ours opens", "api opens", "api closes", "ours closes"]

    async def test_failing_mount_inside_our_middleware_fails_the_start(
        self, ours: Any, happened: list[str]
    ) -> None:
        @asynccontextmanager
        async def fails(app: Any) -> AsyncIterator[None]:
            raise OSError("no queue")
            yield

        inside = get_asgi_application(mounts={"/api": FastAPI(lifespan=fails)})
        server = ServerSide(LifespanMiddleware(inside))

        answer = await server.startup()

        assert answer["type"] == "lifespan.startup.failed"
        assert "OSError: no queue" in answer["message"]
        assert happened == ["ours opens", "ours closes"]
        await server.end()

    async def test_django_in_a_mount_joins_the_run(
        self, ours: Any, happened: list[str], lifespan: Lifespan
    ) -> None:
        inner = get_asgi_application()
        inner.on_shutdown.append(lambda: happened.append("function"))

        async with started(get_asgi_application(mounts={"/inner": inner})):
            assert len(lifespan.runs) == 1

        assert happened == ["ours opens", "function", "ours closes"]


class TestWithoutALifespan:
    async def test_first_request_of_a_mount_that_is_not_open_is_warned_of_once(
        self, ours: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        application = get_asgi_application(mounts={"/mcp": site()})

        with caplog.at_level(logging.WARNING, "lifespan_app"):
            for _ in range(2):
                assert (await ask(application, "/mcp/")).status == 200

        (record,) = caplog.records
        assert "mounts[/mcp] (" in record.getMessage()
        assert "its own lifespan is not open" in record.getMessage()

    async def test_mount_that_is_open_is_not_warned_of(
        self, ours: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        application = get_asgi_application(mounts={"/mcp": site()})

        async with started(application):
            with caplog.at_level(logging.WARNING, "lifespan_app"):
                await ask(application, "/mcp/")

        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


class TestApplicationsWithoutALifespan:
    @pytest.mark.parametrize("catches", [False, True])
    async def test_application_that_ignores_the_type_of_its_scope_has_none(
        self, catches: bool, ours: Any, happened: list[str]
    ) -> None:
        """It takes lifespan.startup for the connection of a client."""

        async def accepts(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            try:
                await send({"type": "websocket.accept"})
            except Exception:
                if not catches:
                    raise
                return
            await receive()

        async with started(get_asgi_application(mounts={"/chat": accepts})):
            happened.append("serves")

        assert happened == ["ours opens", "serves", "ours closes"]


class TestWithoutMounts:
    @pytest.mark.parametrize("mounts", [None, {}])
    def test_handler_is_the_plain_one(self, mounts: Any, ours: Any) -> None:
        assert type(get_asgi_application(mounts=mounts)) is LifespanASGIHandler


def old_style(scope: Any) -> Any:
    """Be an application of ASGI 2."""


def make_application(path: str = "/", debug: bool = False, options: Any = None) -> Starlette:
    """Return an application, as FastMCP's http_app() does."""
    return Starlette()


class McpServer:
    """As MCP's servers, which are no applications."""

    def http_app(self) -> Starlette:
        """Return the application."""
        return Starlette()


class TestWhatIsRefused:
    @pytest.mark.parametrize("given", [[("/a", site())], site(), "/mcp", {"/mcp"}])
    def test_mounts_is_a_dictionary(self, given: Any, ours: Any) -> None:
        with pytest.raises(TypeError, match="mounts= takes a dictionary"):
            get_asgi_application(mounts=given)

    @pytest.mark.parametrize(
        ("key", "text"),
        [
            ("mcp", r"mounts\['mcp'\]: a prefix begins with a slash: '/mcp'"),
            ("", r"mounts\[''\]: a prefix begins with a slash: '/mcp'"),
            ("/mcp/", r"mounts\['/mcp/'\]: a prefix has no slash at its end. '/mcp' is"),
            ("/", r"mounts\['/'\] would leave no path to Django"),
        ],
    )
    def test_wrong_prefix_is_named(self, key: str, text: str, ours: Any) -> None:
        with pytest.raises(ValueError, match=text):
            get_asgi_application(mounts={"/good": site(), key: site()})

    def test_prefix_is_a_string(self, ours: Any) -> None:
        with pytest.raises(TypeError, match=r"mounts\[1\]: a prefix is a string"):
            get_asgi_application(mounts={1: site()})  # type: ignore[dict-item]

    def test_prefix_that_is_the_same_when_decoded_is_there_twice(self, ours: Any) -> None:
        with pytest.raises(
            ValueError, match=r"mounts\['/%6Dcp'\] is the same prefix as mounts\['/mcp'\]"
        ):
            get_asgi_application(mounts={"/mcp": site(), "/%6Dcp": site()})

    @pytest.mark.parametrize(
        ("app", "text"),
        [
            (None, "it is a NoneType, which can't be called"),
            ("shop.asgi:application", "it is a str"),
            (FastAPI, "it is the class FastAPI. Pass an instance of it"),
            (McpServer(), r"it is a McpServer, .* Pass what its method http_app\(\) returns"),
            (McpServer().http_app, r"Call it, if it returns one: McpServer.http_app\(\)"),
            (make_application, r"Call it, if it returns one: make_application\(\)"),
            (get_wsgi_application(), r"takes 2 arguments, as WSGI .* asgiref.wsgi.WsgiToAsgi"),
            (old_style, "old_style can't be called with scope, receive and send"),
        ],
        ids=lambda value: value if isinstance(value, str) else type(value).__name__,
    )
    def test_object_that_is_no_application_is_named_with_its_key(
        self, app: Any, text: str, ours: Any
    ) -> None:
        with pytest.raises(TypeError, match=rf"mounts\['/mcp'\] is no ASGI application: .*{text}"):
            get_asgi_application(mounts={"/mcp": app})

    @pytest.mark.parametrize(
        "app",
        [
            site(),
            partial(site()),
            lambda *messages: site()(*messages),
            lambda scope, receive, send: site()(scope, receive, send),
            site().__call__,
        ],
        ids=["instance", "partial", "any arguments", "lambda", "method"],
    )
    async def test_callable_with_three_arguments_is_taken(self, app: Any, ours: Any) -> None:
        application = get_asgi_application(mounts={"/mcp": app})

        assert (await ask(application, "/mcp/")).status == 200


async def test_server_that_starts_the_application_twice_has_two_runs(
    make: Make, ours: Any, happened: list[str]
) -> None:
    application = get_asgi_application(mounts={"/api": make("api")})
    first = ServerSide(application)
    assert await first.startup() == STARTED
    assert await first.shutdown() == STOPPED
    async with started(application):
        pass

    assert happened.count("api opens") == happened.count("api closes") == 2
