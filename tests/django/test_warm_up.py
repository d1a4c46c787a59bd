"""A project that serves before all is up: what its views answer meanwhile, and `readyz`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from django.core.asgi import get_asgi_application as get_djangos_application
from django.http import HttpRequest, HttpResponse

from lifespan_app import Lifespan, LifespanMiddleware
from tests.django.conftest import MountViews
from tests.exchanges import ask, lifespan_of
from tests.projects import Project
from tests.servers import GRANIAN, HYPERCORN, UVICORN, Kind, Server

if TYPE_CHECKING:
    from pytest_django import Settings


@pytest.fixture
def model(lifespan: Lifespan, mount: MountViews) -> asyncio.Event:
    """Declare a resource that comes up when the event is set, with views that read it."""
    loaded = asyncio.Event()

    @lifespan.resource(wait=False)
    async def model() -> AsyncIterator[str]:
        await loaded.wait()
        yield "the model"

    async def by_handle(request: HttpRequest) -> HttpResponse:
        return HttpResponse(model(request))

    def by_name(request: Any) -> HttpResponse:
        return HttpResponse(request.state["model"])

    mount(by_handle=by_handle, by_name=by_name)
    return loaded


async def until_ready(lifespan: Lifespan) -> None:
    while (report := lifespan.report()) is None or not report.ready:
        await asyncio.sleep(0)


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/by_handle/", "/by_name/"])
@pytest.mark.parametrize("application", ["ours", "Django's with our middleware"])
async def test_view_that_reads_too_early_is_answered_with_503_and_retry_after(
    lifespan: Lifespan, model: asyncio.Event, settings: Settings, path: str, application: str
) -> None:
    if application == "ours":
        from lifespan_app.asgi import get_asgi_application

        app: Any = get_asgi_application()
    else:
        settings.MIDDLEWARE = ["lifespan_app.middleware.LifespanStateMiddleware"]
        app = LifespanMiddleware(get_djangos_application())
    async with lifespan_of(app):
        answer = await ask(app, path)
        assert answer.status == 503
        assert answer.header("Retry-After") == "5"
        assert answer.text == "Not ready yet. Try again in 5 seconds.\n"

        model.set()
        await until_ready(lifespan)
        assert (await ask(app, path)).text == "the model"


@pytest.mark.asyncio
async def test_project_may_answer_for_a_resource_that_warms_up(
    lifespan: Lifespan, model: asyncio.Event, settings: Settings
) -> None:
    from lifespan_app.asgi import get_asgi_application

    settings.MIDDLEWARE = [f"{__name__}.please_wait"]
    app = get_asgi_application()
    async with lifespan_of(app):
        assert (await ask(app, "/by_handle/")).text == "Please wait."


def please_wait(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> Any:
        return get_response(request)

    middleware.process_exception = lambda request, error: HttpResponse("Please wait.")  # type: ignore[attr-defined]
    return middleware


@pytest.mark.asyncio
async def test_scopes_state_has_a_resource_once_it_is_up(
    lifespan: Lifespan, model: asyncio.Event
) -> None:
    from lifespan_app.asgi import get_asgi_application

    async with lifespan_of(get_asgi_application()) as state:
        assert "model" not in state
        model.set()
        await until_ready(lifespan)
        assert state["model"] == "the model"


# Under servers.

SLOW = """
from pathlib import Path
import asyncio
from lifespan_app import lifespan
from journal import write

@lifespan.resource
async def client():
    yield "client"
    write("client closes")

@lifespan.resource(wait=False)
async def model(client):
    write("model begins")
    try:
        while not Path("loaded").exists():
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        write("model is cancelled")
        raise
    yield "the model"
    write("model closes")
"""

VIEWS = """
from django.http import HttpResponse
from .lifespan import client, model

def read(request):
    return HttpResponse(model(request))

def plain(request):
    return HttpResponse(client(request))
"""

URLS = """
from django.urls import include, path
from . import views

urlpatterns = [
    path("", include("lifespan_app.urls")),
    path("read/", views.read),
    path("plain/", views.plain),
]
"""


@pytest.fixture
def slow(project: Project) -> Project:
    return project.app("shop", lifespan=SLOW, views=VIEWS, urls=URLS)


def said(server: Server, path: str) -> tuple[int, str]:
    answer = server.get(path)
    return answer.status, answer.text.strip()


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("kind", [UVICORN, HYPERCORN, GRANIAN], ids=lambda kind: kind.name)
def test_server_serves_behind_a_503_until_all_is_up(slow: Project, kind: Kind) -> None:
    with Server(slow, kind) as server:
        assert said(server, "/readyz") == (503, "warming_up")
        assert said(server, "/startupz") == (503, "warming_up")
        assert said(server, "/livez") == (200, "ok")
        assert said(server, "/plain/") == (200, "client")
        assert server.get("/read/").status == 503

        slow.file("loaded", "")
        server.until(lambda: said(server, "/readyz") == (200, "ok"), "it never became ready")
        assert said(server, "/read/") == (200, "the model")
        assert said(server, "/startupz") == (200, "ok")
        server.signal(signal.SIGTERM)
        server.wait()
    assert slow.events() == ["model begins", "model closes", "client closes"]


@pytest.mark.server
@pytest.mark.slow
def test_server_that_is_stopped_cancels_a_warm_up(slow: Project) -> None:
    with Server(slow) as server:
        assert said(server, "/readyz") == (503, "warming_up")
        server.signal(signal.SIGTERM)
        server.wait()
    assert slow.events() == ["model begins", "model is cancelled", "client closes"]
    assert "Application shutdown complete" in server.output


@pytest.mark.server
@pytest.mark.slow
def test_required_job_that_crashes_takes_a_server_out_and_leaves_it_alive(
    project: Project,
) -> None:
    project.app(
        "shop",
        lifespan="""
        import asyncio
        from pathlib import Path
        from lifespan_app import lifespan

        @lifespan.background
        async def feed():
            while not Path("cut").exists():
                await asyncio.sleep(0.01)
            raise ConnectionError("lost")
        """,
        urls="from lifespan_app.urls import urlpatterns",
    )
    with Server(project) as server:
        assert said(server, "/readyz") == (200, "ok")
        project.file("cut", "")
        server.until(lambda: said(server, "/readyz") == (503, "crashed"), "it stayed ready")
        assert said(server, "/livez") == (200, "ok")
