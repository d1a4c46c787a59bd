"""Mounted applications under real servers, behind a root path, which servers pass in two ways."""

from __future__ import annotations

import signal

import pytest
from websockets.sync.client import connect

from tests.projects import Project
from tests.servers import DAPHNE, GRANIAN, GUNICORN, HOST, HYPERCORN, UVICORN, Kind, Server

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.once]

LIFESPAN = """
from journal import write
from lifespan_app import lifespan


@lifespan.resource
async def shelf():
    yield "Emma"
    write("shelf closes")
"""

ASGI = """
from contextlib import asynccontextmanager

import django

django.setup()

from journal import write
from lifespan_app.asgi import get_asgi_application
from shop.lifespan import shelf
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute


@asynccontextmanager
async def lifespan(app):
    yield {"pool": "their pool"}
    write("mount closes")


async def book(request):
    pool = getattr(request.state, "pool", None)
    scope = request.scope
    return JSONResponse(
        [str(request.url_for("book", title="a b")), scope["raw_path"].decode(), shelf(request), pool]
    )


async def chat(websocket):
    await websocket.accept()
    await websocket.send_json([websocket.scope["root_path"], shelf(websocket), websocket.state.pool])
    await websocket.close()


routes = [Route("/book/{title}", book, name="book"), WebSocketRoute("/chat", chat)]
application = get_asgi_application(mounts={"/api": Starlette(routes=routes, lifespan=lifespan)})
"""

OPTIONS = {GRANIAN.name: "--url-path-prefix"}


@pytest.mark.parametrize(
    "kind", [UVICORN, HYPERCORN, GRANIAN, GUNICORN], ids=lambda kind: str(kind.name)
)
def test_mount_has_its_paths_behind_a_root_path(project: Project, kind: Kind) -> None:
    project.app("shop", lifespan=LIFESPAN).asgi(ASGI).settings(LIFESPAN={"HISTORY": False})
    options = [OPTIONS.get(kind.name, "--root-path"), "/root"]
    # uvicorn puts the root path in front of what the client sends.
    before = "" if kind is UVICORN else "/root"

    with Server(project, kind, options=options) as server:
        answer = server.get(f"{before}/api/book/a%20b")
        address = f"ws://{HOST}:{server.port}{before}/api/chat"
        with connect(address, proxy=None) as socket:
            told = socket.recv(timeout=server.limit)
        server.signal(signal.SIGTERM)
        server.wait()

    url = f"http://{HOST}:{server.port}/root/api/book/a b"
    assert answer.json() == [url, "/root/api/book/a%20b", "Emma", "their pool"], server.output
    assert told == '["/root/api","Emma","their pool"]'
    assert project.events() == ["mount closes", "shelf closes"]


def test_mount_under_daphne_has_our_resources_and_is_warned_of(project: Project) -> None:
    """daphne has no lifespan, so a background thread opens the plan, without the mount's own."""
    project.app("shop", lifespan=LIFESPAN).asgi(ASGI).settings(
        LIFESPAN={"HISTORY": False, "WITHOUT_SERVER_LIFESPAN": "thread"}
    )

    with Server(project, DAPHNE) as server:
        answer = server.get("/api/book/a")
        server.wait_for_output("its own lifespan is not open")

    assert answer.json()[2:] == ["Emma", None]
