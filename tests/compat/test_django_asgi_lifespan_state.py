"""`LifespanStateMiddleware` of django-asgi-lifespan, and its test client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncClient, Client
from django.utils.decorators import async_only_middleware, sync_only_middleware

from lifespan_app import Lifespan, LifespanMiddleware
from lifespan_app.errors import NotRunning
from lifespan_app.handler import LifespanASGIHandler
from lifespan_app.middleware import AsyncMiddleware, LifespanStateMiddleware
from lifespan_app.register import register_lifespan_manager
from lifespan_app.testing import LifespanAwareAsyncClient
from lifespan_app.types import LifespanManager
from tests.django.conftest import MountViews
from tests.exchanges import ask
from tests.scopes import ServerSide, started

if TYPE_CHECKING:
    from pytest_django import Settings

STATE_MIDDLEWARE = "lifespan_app.middleware.LifespanStateMiddleware"
HERE = "tests.compat.test_django_asgi_lifespan_state"


@sync_only_middleware
def sync_middleware(get_response: Any) -> Any:
    """Be a middleware that only knows sync requests."""
    return lambda request: get_response(request)


@async_only_middleware
def async_middleware(get_response: Any) -> Any:
    """Be a middleware that only knows async requests."""

    async def middleware(request: HttpRequest) -> Any:
        return await get_response(request)

    return middleware


class OwnRequest(ASGIRequest):
    """A project's own class of requests, without a state."""


class OwnHandler(LifespanASGIHandler):
    """A project's own handler class, with its own class of requests."""

    request_class: Any = OwnRequest


def application_of(kind: str) -> Any:
    """Return an application of one class, with our lifespan."""
    if kind == "ours":
        return LifespanASGIHandler()
    if kind == "a subclass of ours":
        return OwnHandler()
    return LifespanMiddleware(ASGIHandler())


async def read_async(request: Any) -> HttpResponse:
    return read(request)


def read(request: Any) -> HttpResponse:
    same = request.state["client"] is request.state.client
    return JsonResponse([same, "client" in request.state, "nothing" in request.state], safe=False)


@pytest.fixture
def client_manager(lifespan: Lifespan) -> None:
    """Register a manager of a client."""

    @asynccontextmanager
    async def manager() -> LifespanManager:
        yield {"client": object()}

    register_lifespan_manager(context_manager=manager)


class TestTheStateMiddleware:
    @pytest.mark.parametrize("kind", ["ours", "a subclass of ours", "Django's, in a middleware"])
    @pytest.mark.parametrize("copied", [True, False], ids=["state in scope", "no state in scope"])
    @pytest.mark.parametrize(
        "middleware",
        [
            [STATE_MIDDLEWARE],
            ["lifespan_app.middleware.AsyncMiddleware"],
            [f"{HERE}.sync_middleware", STATE_MIDDLEWARE],
            [STATE_MIDDLEWARE, f"{HERE}.sync_middleware"],
            [f"{HERE}.async_middleware", STATE_MIDDLEWARE],
            [STATE_MIDDLEWARE, f"{HERE}.async_middleware"],
        ],
        ids=["alone", "old name", "in sync", "around sync", "in async", "around async"],
    )
    @pytest.mark.usefixtures("client_manager")
    async def test_state_middleware_gives_requests_their_state(
        self,
        mount: MountViews,
        settings: Settings,
        kind: str,
        copied: bool,
        middleware: list[str],
    ) -> None:
        settings.MIDDLEWARE = middleware
        mount(sync=read, asynchronous=read_async)
        application = application_of(kind)
        async with started(application) as server:
            for view in ("/sync/", "/asynchronous/"):
                scope: dict[str, Any] = {"state": dict(server.state)} if copied else {}
                answer = await ask(application, view, **scope)
                assert answer.text == "[true, true, false]"

    async def test_state_middleware_reads_the_state_of_another_lifespan(
        self, mount: MountViews, settings: Settings
    ) -> None:
        settings.MIDDLEWARE = [STATE_MIDDLEWARE]
        mount(view=read_async)
        answer = await ask(ASGIHandler(), "/view/", state={"client": object()})
        assert answer.text == "[true, true, false]"

    async def test_state_middleware_leaves_the_state_that_is_there_already(
        self, mount: MountViews, settings: Settings, lifespan: Lifespan
    ) -> None:
        @async_only_middleware
        def writes(get_response: Any) -> Any:
            async def middleware(request: Any) -> Any:
                request.state["written"] = "by a middleware"
                return await get_response(request)

            return middleware

        async def view(request: Any) -> HttpResponse:
            return HttpResponse(request.state["written"])

        globals()["writes"] = writes
        settings.MIDDLEWARE = [STATE_MIDDLEWARE, f"{HERE}.writes", STATE_MIDDLEWARE]
        mount(view=view)
        assert (await ask(ASGIHandler(), "/view/")).text == "by a middleware"

    @pytest.mark.parametrize("handler_class", [ASGIHandler, LifespanASGIHandler])
    async def test_state_middleware_without_lifespan_refuses_a_read_and_no_request(
        self, mount: MountViews, settings: Settings, lifespan: Lifespan, handler_class: Any
    ) -> None:
        errors: list[Exception] = []

        async def view(request: Any) -> HttpResponse:
            assert "client" not in request.state
            with pytest.raises(KeyError) as raised:
                request.state["client"]
            errors.append(raised.value)
            return HttpResponse("served")

        settings.MIDDLEWARE = [STATE_MIDDLEWARE]
        mount(view=view)
        # As under daphne: no lifespan, and no state in the scope.
        assert (await ask(handler_class(), "/view/")).text == "served"
        assert isinstance(errors[0], NotRunning)
        assert "no lifespan is running" in str(errors[0])

    def test_state_middleware_works_under_wsgi(
        self, mount: MountViews, settings: Settings, lifespan: Lifespan
    ) -> None:
        def view(request: Any) -> HttpResponse:
            return HttpResponse(request.state.get("client", "none is open"))

        settings.MIDDLEWARE = [STATE_MIDDLEWARE]
        mount(view=view)
        # Django's sync test client makes WSGI requests, which have no scope.
        assert Client().get("/view/").content == b"none is open"

    def test_state_middleware_has_the_name_that_it_had_before(self) -> None:
        assert AsyncMiddleware is LifespanStateMiddleware


class TestLifespanAwareAsyncClient:
    async def test_client_puts_a_state_into_the_scope_of_each_request(
        self, mount: MountViews, settings: Settings
    ) -> None:
        settings.MIDDLEWARE = [STATE_MIDDLEWARE]
        mount(view=read_async)
        client: AsyncClient = LifespanAwareAsyncClient(state={"client": object()})
        response = await client.get("/view/")
        assert response.content == b"[true, true, false]"

    async def test_client_with_a_scopes_state_reads_it_after_the_shutdown_too(
        self, mount: MountViews, settings: Settings, lifespan: Lifespan
    ) -> None:
        class HttpClient:
            is_closed = False

        @asynccontextmanager
        async def manager() -> AsyncIterator[dict[str, Any]]:
            client = HttpClient()
            yield {"client": client}
            client.is_closed = True

        async def view(request: Any) -> HttpResponse:
            return JsonResponse(request.state["client"].is_closed, safe=False)

        settings.MIDDLEWARE = [STATE_MIDDLEWARE]
        mount(view=view)
        register_lifespan_manager(context_manager=manager)
        state: dict[str, Any] = {}
        client = LifespanAwareAsyncClient(state=state)
        server = ServerSide(LifespanASGIHandler(), state=state)
        await server.startup()
        assert (await client.get("/view/")).content == b"false"
        await server.shutdown()
        assert (await client.get("/view/")).content == b"true"
