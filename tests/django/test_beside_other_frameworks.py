"""Django beside Starlette, FastAPI and Channels, in one process of a real server."""

from __future__ import annotations

import signal

import pytest
from websockets.sync.client import connect

from tests.projects import Project
from tests.servers import HOST, UVICORN, Server

pytestmark = [pytest.mark.server, pytest.mark.slow]

LIFESPAN = """
from journal import write
from lifespan_app import lifespan


@lifespan.resource
async def shelf():
    write("ours opens")
    yield "our shelf"
    write("ours closes")
"""

VIEWS = """
from django.http import JsonResponse

from .lifespan import shelf


async def in_async(request):
    return JsonResponse([shelf(request), request.state["shelf"]], safe=False)


def in_sync(request):
    return JsonResponse([shelf(request), request.state["shelf"]], safe=False)
"""

OTHERS = """
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from journal import write
from lifespan_app import LifespanMiddleware
from lifespan_app.asgi import get_asgi_application
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


def lifespan_of(name):
    @asynccontextmanager
    async def lifespan(app):
        write(name, "opens")
        yield {name: f"the {name}"}
        write(name, "closes")

    return lifespan


django_application = get_asgi_application()

from shop.lifespan import shelf

prices = FastAPI(lifespan=lifespan_of("prices"))


@prices.get("/")
def read_prices(request: Request):
    return [shelf(request), request.state.prices]


async def read_orders(request):
    return JSONResponse([shelf(request), request.state.orders])


orders = Starlette(routes=[Route("/", read_orders)], lifespan=lifespan_of("orders"))
"""

DJANGO_OUTERMOST = (
    OTHERS
    + """

async def by_path(scope, receive, send):
    for path, app in {"/prices": prices, "/orders": orders}.items():
        if scope["type"] == "http" and scope["path"].startswith(path):
            return await app({**scope, "root_path": path}, receive, send)
    await django_application(scope, receive, send)


application = LifespanMiddleware(by_path, forward=[prices, orders])
"""
)

FASTAPI_OUTERMOST = (
    OTHERS
    + """
app = FastAPI(lifespan=lifespan_of("app"))
app.mount("/prices", prices)
app.mount("/orders", orders)
app.mount("/", django_application)
application = LifespanMiddleware(app, forward=[prices, orders, django_application])
"""
)

STARLETTE_OUTERMOST = FASTAPI_OUTERMOST.replace(
    'FastAPI(lifespan=lifespan_of("app"))', "Starlette()"
)


@pytest.mark.parametrize(
    "asgi",
    [DJANGO_OUTERMOST, FASTAPI_OUTERMOST, STARLETTE_OUTERMOST],
    ids=["Django", "FastAPI", "Starlette"],
)
def test_one_plan_whichever_is_outermost(project: Project, asgi: str) -> None:
    project.app("shop", lifespan=LIFESPAN, views=VIEWS).asgi(asgi)
    with Server(project, options=["--lifespan", "on"]) as server:
        assert server.get("/in_async/").json() == ["our shelf", "our shelf"]
        assert server.get("/in_sync/").json() == ["our shelf", "our shelf"]
        assert server.get("/prices/").json() == ["our shelf", "the prices"]
        assert server.get("/orders/").json() == ["our shelf", "the orders"]
        server.signal(signal.SIGTERM)
        server.wait()

    events = [event for event in project.events() if not event.startswith("app")]
    assert events[0] == "ours opens"
    assert set(events[1:3]) == {"prices opens", "orders opens"}
    assert set(events[3:5]) == {"prices closes", "orders closes"}
    assert events[5:] == ["ours closes"]
    assert "Traceback" not in server.output


CONSUMERS = """
import asyncio

from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer

from .lifespan import shelf


class InAsync(AsyncWebsocketConsumer):
    async def receive(self, text_data):
        await self.send(f"{text_data}: {shelf(self.scope)} {self.scope['state']['shelf']}")


class InSync(WebsocketConsumer):
    def receive(self, text_data):
        self.send(f"{text_data}: {shelf(self.scope)} {self.scope['state']['shelf']}")
"""

CHANNELS = """
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path
from lifespan_app import LifespanMiddleware
from lifespan_app.asgi import get_asgi_application

django_application = get_asgi_application()

from shop.consumers import InAsync, InSync

sockets = URLRouter([path("async/", InAsync.as_asgi()), path("sync/", InSync.as_asgi())])
"""

ROUTERS = {
    "around the router": """
        application = LifespanMiddleware(
            ProtocolTypeRouter({"http": django_application, "websocket": sockets})
        )
        """,
    "in the router": """
        application = ProtocolTypeRouter(
            {"http": django_application, "websocket": sockets, "lifespan": django_application}
        )
        """,
}


@pytest.mark.parametrize("router", ROUTERS)
def test_consumers_of_channels_read_through_their_scope(project: Project, router: str) -> None:
    project.app("shop", lifespan=LIFESPAN, views=VIEWS, consumers=CONSUMERS)
    project.file("routers.py", ROUTERS[router])
    source = (project.folder / "routers.py").read_text()
    project.settings(INSTALLED_APPS=["lifespan_app", "channels", "shop"]).asgi(CHANNELS + source)
    with Server(project, UVICORN, options=["--lifespan", "on"]) as server:
        assert server.get("/in_async/").json() == ["our shelf", "our shelf"]
        for way in ("async", "sync"):
            with connect(f"ws://{HOST}:{server.port}/{way}/", proxy=None) as socket:
                socket.send(way)
                assert socket.recv(timeout=10) == f"{way}: our shelf our shelf"
        server.signal(signal.SIGTERM)
        server.wait()

    assert project.events() == ["ours opens", "ours closes"]
