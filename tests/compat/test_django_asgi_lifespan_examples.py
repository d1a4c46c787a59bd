"""The examples that django-asgi-lifespan documents, imports renamed, under real uvicorn."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.projects import Project
from tests.servers import Server
from tests.torture.systems import DJANGO_ASGI_LIFESPAN_ASGI

pytestmark = pytest.mark.server

# The application is wrapped in a function, as in the quickstart.
ASGI = DJANGO_ASGI_LIFESPAN_ASGI.replace("django_asgi_lifespan", "lifespan_app")

HELLO = """
from django.http import HttpResponse


async def hello(request):
    return HttpResponse("hello")
"""

# The clients of all three examples say when they are closed.
CLIENT = """
import httpx
from journal import write


class AsyncClient(httpx.AsyncClient):
    name = ""

    async def aclose(self):
        await super().aclose()
        write(self.name, "closed" if self.is_closed else "open")
"""


def with_manager(project: Project) -> None:
    """The quickstart: an async context manager, registered in `apps.py`."""
    project.app(
        "managed",
        context="""
            from contextlib import asynccontextmanager

            from client import AsyncClient
            from lifespan_app.types import LifespanManager


            @asynccontextmanager
            async def httpx_lifespan_manager() -> LifespanManager:
                state = {"httpx_client": AsyncClient()}
                state["httpx_client"].name = "managed"
                try:
                    yield state
                finally:
                    await state["httpx_client"].aclose()
            """,
        apps="""
            from django.apps import AppConfig
            from lifespan_app.register import register_lifespan_manager

            from .context import httpx_lifespan_manager


            class ExampleAppConfig(AppConfig):
                name = "managed"

                def ready(self):
                    register_lifespan_manager(context_manager=httpx_lifespan_manager)
            """,
        views="""
            from django.http import HttpResponse
            from client import AsyncClient


            async def managed(request):
                httpx_client: AsyncClient = request.state["httpx_client"]
                response = await httpx_client.get(request.build_absolute_uri("/hello/"))
                return HttpResponse(response.text, content_type="text/plain; charset=utf-8")
            """,
    )


def with_handler_object(project: Project) -> None:
    """The low-level way: an object's methods are receivers, and its state is on the AppConfig."""
    project.app(
        "library",
        handlers="""
            from client import AsyncClient


            class ASGILifespanSignalHandler:
                def __init__(self, app_config):
                    self.app_config = app_config

                async def startup(self, **_):
                    self.app_config.httpx_client = AsyncClient()
                    self.app_config.httpx_client.name = "library"

                async def shutdown(self, **_):
                    await self.app_config.httpx_client.aclose()
            """,
        apps="""
            from django.apps import AppConfig
            from lifespan_app.signals import asgi_shutdown, asgi_startup

            from .handlers import ASGILifespanSignalHandler


            class ExampleAppConfig(AppConfig):
                name = "library"

                def ready(self):
                    handler = ASGILifespanSignalHandler(app_config=self)
                    asgi_startup.connect(handler.startup, weak=False)
                    asgi_shutdown.connect(handler.shutdown, weak=False)
            """,
        views="""
            from django.apps import apps
            from django.http import HttpResponse


            async def library(request):
                httpx_client = apps.get_app_config("library").httpx_client
                response = await httpx_client.get(request.build_absolute_uri("/hello/"))
                return HttpResponse(response.text, content_type="text/plain")
            """,
    )


def with_globals(project: Project) -> None:
    """The older README: functions without `**kwargs`, a global variable and a lock."""
    project.app(
        "shop",
        handlers_quickstart="""
            import asyncio

            from client import AsyncClient

            HTTPX_CLIENT = None
            _signal_lock = asyncio.Lock()


            async def create_httpx_client():
                global HTTPX_CLIENT

                async with _signal_lock:
                    if not HTTPX_CLIENT:
                        HTTPX_CLIENT = AsyncClient()
                        HTTPX_CLIENT.name = "shop"


            async def close_httpx_client():
                if isinstance(HTTPX_CLIENT, AsyncClient):
                    await asyncio.wait_for(asyncio.create_task(HTTPX_CLIENT.aclose()), timeout=5.0)
            """,
        apps="""
            from django.apps import AppConfig
            from lifespan_app.signals import asgi_shutdown, asgi_startup

            from .handlers_quickstart import close_httpx_client, create_httpx_client


            class ExampleAppConfig(AppConfig):
                name = "shop"

                def ready(self):
                    asgi_startup.connect(create_httpx_client)
                    asgi_shutdown.connect(close_httpx_client)
            """,
        views="""
            from django.http import HttpResponse

            from . import handlers_quickstart


            async def shop(request):
                client = handlers_quickstart.HTTPX_CLIENT
                response = await client.get(request.build_absolute_uri("/hello/"))
                return HttpResponse(response.text, content_type="text/plain")
            """,
    )


EXAMPLES = {"managed": with_manager, "library": with_handler_object, "shop": with_globals}


@pytest.fixture
def example_project(project: Project) -> Project:
    """Return a project with what all examples need."""
    project.asgi(ASGI).app("greeting", views=HELLO).file("client.py", CLIENT)
    return project.settings(MIDDLEWARE=["lifespan_app.middleware.LifespanStateMiddleware"])


def serve(project: Project, names: list[str]) -> None:
    """Ask each example's view, stop the server, and look whether its client was closed."""
    with Server(project, options=["--lifespan", "on"]) as server:
        for name in names:
            assert server.get(f"/{name}/").text == "hello"
        assert project.events() == []
        server.signal(signal.SIGTERM)
        assert server.wait() == -signal.SIGTERM
        assert sorted(project.events()) == sorted(f"{name} closed" for name in names)
        assert "Traceback" not in server.output


@pytest.mark.parametrize("debug", [True, False], ids=["debug", "production"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_of_the_package_runs(example_project: Project, name: str, debug: bool) -> None:
    write: Callable[[Project], None] = EXAMPLES[name]
    write(example_project)
    example_project.settings(DEBUG=debug)
    serve(example_project, [name])


@pytest.mark.parametrize("debug", [True, False], ids=["debug", "production"])
def test_examples_run_in_one_project_without_the_app_installed(
    example_project: Project, debug: bool
) -> None:
    for write in EXAMPLES.values():
        write(example_project)
    example_project.settings(DEBUG=debug, INSTALLED_APPS=["greeting", *EXAMPLES])
    serve(example_project, list(EXAMPLES))
