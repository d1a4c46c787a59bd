"""The project that is served: two resources and a view, in the style of several systems.

The second resource needs the first one, and does not behave. What it does is the same for each
system. How resources are declared, and how a view gets one, is what each system documents.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.projects import Project

GO_ON = "go-on"
"""The file for which a hook waits while the signal is sent."""

BEHAVIOUR = f"""
import asyncio
import time
from pathlib import Path

from journal import write

MOMENT, HOOKS = {{moment!r}}, {{hooks!r}}


class Store:
    def __init__(self):
        self.closed = False
        write("opens")

    def close(self):
        self.closed = True
        write("closes")


async def starts():
    if MOMENT == "starting":
        await held()
        await behave()


async def stops():
    write("stops")
    if MOMENT == "stopping":
        await held()
    if MOMENT != "starting":
        await behave()


async def held():
    write("holds")
    while not Path({GO_ON!r}).exists():
        await asyncio.sleep(0.01)


async def behave():
    if HOOKS == "raises":
        raise OSError("the till is empty")
    if HOOKS == "hangs":
        await asyncio.Event().wait()


# For a hook that blocks its thread.


def starts_blocking():
    if MOMENT == "starting":
        held_blocking()
        time.sleep(60)


def stops_blocking():
    write("stops")
    if MOMENT == "stopping":
        held_blocking()
    if MOMENT != "starting":
        time.sleep(60)


def held_blocking():
    write("holds")
    while not Path({GO_ON!r}).exists():
        time.sleep(0.01)
"""

VIEWS = """
import asyncio

from django.http import HttpResponse
from journal import write

{imports}


async def work(request):
    number = request.GET["number"]
    write("begins", number)
    try:
        await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        write("cut", number)
        raise
    if {store}.closed:
        write("reads closed", number)
    return HttpResponse(number)
"""

LIFESPAN_APP = """
from behaviour import HOOKS, Store, starts, starts_blocking, stops, stops_blocking
from lifespan_app import lifespan


@lifespan.resource
async def store():
    opened = Store()
    yield opened
    opened.close()


if HOOKS == "blocks":

    @lifespan.resource
    def till(store):
        starts_blocking()
        yield "till"
        stops_blocking()

else:

    @lifespan.resource
    async def till(store):
        await starts()
        yield "till"
        await stops()
"""

CONTEXT_MANAGERS = """
import asyncio
from contextlib import asynccontextmanager

from behaviour import HOOKS, Store, starts, starts_blocking, stops, stops_blocking


@asynccontextmanager
async def store():
    opened = Store()
    try:
        yield {"store": opened}
    finally:
        opened.close()


@asynccontextmanager
async def till():
    blocks = HOOKS == "blocks"
    await (asyncio.to_thread(starts_blocking) if blocks else starts())
    try:
        yield {"till": "till"}
    finally:
        await (asyncio.to_thread(stops_blocking) if blocks else stops())
"""

DJANGO_ASGI_LIFESPAN_APPS = """
from django.apps import AppConfig
from django_asgi_lifespan.register import register_lifespan_manager

from .context import store, till


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self):
        register_lifespan_manager(context_manager=store)
        register_lifespan_manager(context_manager=till)
"""

DJANGO_ASGI_LIFESPAN_ASGI = """
from django_asgi_lifespan.asgi import get_asgi_application

django_application = get_asgi_application()


async def application(scope, receive, send):
    if scope["type"] in {"http", "lifespan"}:
        await django_application(scope, receive, send)
    else:
        raise NotImplementedError(f"Unknown scope type {scope['type']}")
"""

# A sync function that takes the context fails there, so these take none.
ASGI_LIFECYCLE = """
from asgi_lifecycle import LifespanContext, lifespan
from behaviour import HOOKS, Store, starts, starts_blocking, stops, stops_blocking

opened = {}


@lifespan.on_start(priority=1)
async def open_store(context: LifespanContext):
    opened["store"] = Store()


@lifespan.on_shutdown(priority=1)
async def close_store(context: LifespanContext):
    opened["store"].close()


if HOOKS == "blocks":

    @lifespan.on_start(priority=2)
    def open_till():
        starts_blocking()

    @lifespan.on_shutdown(priority=2)
    def close_till():
        stops_blocking()

else:

    @lifespan.on_start(priority=2)
    async def open_till(context: LifespanContext):
        await starts()

    @lifespan.on_shutdown(priority=2)
    async def close_till(context: LifespanContext):
        await stops()
"""

ASGI_LIFECYCLE_ASGI = """
import django

django.setup()

from asgi_lifecycle.middleware import LifespanMiddleware
from django.core.asgi import get_asgi_application

application = LifespanMiddleware(get_asgi_application())
"""

STARLETTE_ASGI = """
from contextlib import asynccontextmanager

from django.core.asgi import get_asgi_application
from starlette.applications import Starlette
from starlette.routing import Mount

django_application = get_asgi_application()

from shop.context import store, till


@asynccontextmanager
async def lifespan(app):
    async with store() as opened, till() as also:
        yield {**opened, **also}


application = Starlette(routes=[Mount("/", django_application)], lifespan=lifespan)
"""

LIMITS = {"STARTUP_DEADLINE": 3, "SHUTDOWN_TIMEOUT": 1, "SHUTDOWN_DEADLINE": 3}


@dataclass(frozen=True)
class System:
    """What owns the resources of the project.

    Args:
        name: its distribution.
        write: adds what is the system's own to a project.
    """

    name: str
    write: Callable[[Project], Project]

    @property
    def version(self) -> str:
        """The version that is installed. Raises PackageNotFoundError."""
        return importlib.metadata.version(self.name)

    def project(self, folder: Path, moment: str, hooks: str) -> Project:
        """Write the project into a folder.

        Args:
            moment: when the second resource does not behave.
            hooks: how it behaves.
        """
        project = Project(folder)
        project.file("behaviour.py", BEHAVIOUR.format(moment=moment, hooks=hooks))
        return self.write(project)


def _lifespan_app(project: Project) -> Project:
    project.settings(LIFESPAN={**LIMITS, "SPOOL_DIR": str(project.folder / "spool")})
    views = VIEWS.format(imports="from .lifespan import store", store="store(request)")
    return project.app("shop", lifespan=LIFESPAN_APP, views=views)


def _django_asgi_lifespan(project: Project) -> Project:
    project.settings(
        INSTALLED_APPS=["shop"],
        MIDDLEWARE=["django_asgi_lifespan.middleware.LifespanStateMiddleware"],
    )
    project.asgi(DJANGO_ASGI_LIFESPAN_ASGI)
    views = VIEWS.format(imports="", store='request.state["store"]')
    return project.app(
        "shop", views=views, context=CONTEXT_MANAGERS, apps=DJANGO_ASGI_LIFESPAN_APPS
    )


def _asgi_lifecycle(project: Project) -> Project:
    project.settings("import shop.lifecycle", INSTALLED_APPS=["shop"])
    project.asgi(ASGI_LIFECYCLE_ASGI)
    views = VIEWS.format(imports="from .lifecycle import opened", store='opened["store"]')
    return project.app("shop", views=views, lifecycle=ASGI_LIFECYCLE)


def _starlette(project: Project) -> Project:
    project.settings(INSTALLED_APPS=["shop"])
    project.asgi(STARLETTE_ASGI)
    views = VIEWS.format(imports="", store='request.scope["state"]["store"]')
    return project.app("shop", views=views, context=CONTEXT_MANAGERS)


OURS = System("django-lifespan-app", _lifespan_app)
PEERS = {
    system.name: system
    for system in (
        System("django-asgi-lifespan", _django_asgi_lifespan),
        System("asgi-lifecycle", _asgi_lifecycle),
        System("starlette", _starlette),
    )
}
