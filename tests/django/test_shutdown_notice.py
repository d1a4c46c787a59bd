"""`SHUTDOWN_NOTICE`: streams end, and readiness with them, before the server waits for connections."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.projects import Project
from tests.servers import (
    GRANIAN,
    GUNICORN,
    GUNICORN_UVICORN,
    HYPERCORN,
    UVICORN,
    Kind,
    Server,
)

pytestmark = [pytest.mark.server, pytest.mark.slow]

LIFESPAN = """
import os
from journal import write
from lifespan_app import lifespan


@lifespan.resource
async def registration():
    write("worker", os.getpid())
    yield "registration"
    write("registration closes")


@lifespan.on_drain
async def deregister(registration):
    write("drain")
"""

# Without an end of its own, and without a pause that would: the client would read on for ever.
VIEWS = """
import asyncio

from django.http import StreamingHttpResponse
from journal import write
from lifespan_app import lifespan


async def ticks():
    write("stream begins")
    try:
        yield b"data: tick\\n\\n"
        await asyncio.Event().wait()
    finally:
        write("stream ends")


async def events(request):
    source = lifespan.until_stopping(ticks())
    return StreamingHttpResponse(source, content_type="text/event-stream")
"""

URLS = """
from django.urls import include, path

from . import views

urlpatterns = [path("", include("lifespan_app.urls")), path("events/", views.events)]
"""

DEBUG = {
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"lifespan_app": {"level": "DEBUG", "handlers": ["console"]}},
}

HYPERCORN_ALONE = replace(
    HYPERCORN, name="hypercorn --workers 0", command=(*HYPERCORN.command, "--workers", "0")
)
SERVERS = pytest.mark.parametrize(
    "kind", [UVICORN, GRANIAN, GUNICORN], ids=lambda kind: str(kind.name)
)


def streaming(project: Project, **settings: object) -> Project:
    """Write an application with a stream that has no end."""
    project.app("shop", lifespan=LIFESPAN, views=VIEWS, urls=URLS)
    return project.settings(LIFESPAN={"SHUTDOWN_NOTICE": True, "HISTORY": False, **settings})


def worker_of(project: Project) -> int:
    """Return the number of the process that serves."""
    [line] = [line for line in project.events() if line.startswith("worker")]
    return int(line.split()[1])


@pytest.mark.parametrize(
    "kind",
    [UVICORN, GRANIAN, GUNICORN, GUNICORN_UVICORN, HYPERCORN_ALONE],
    ids=lambda kind: str(kind.name),
)
def test_an_open_stream_is_ended_before_the_lifespan_is_shut_down(
    project: Project, kind: Kind
) -> None:
    with Server(streaming(project), kind) as server, ThreadPoolExecutor(1) as client:
        stream = client.submit(server.get, "/events/")
        server.wait_for_event("stream begins")
        server.signal(signal.SIGTERM)
        # A body that breaks off would raise.
        assert stream.result().text == "data: tick\n\n"
        server.wait()
    events = project.events()[2:]
    assert sorted(events[:2]) == ["drain", "stream ends"]
    assert events[2:] == ["registration closes"]
    assert "Traceback" not in server.output


@SERVERS
def test_the_server_is_told_after_the_drain_and_serves_until_then(
    project: Project, kind: Kind
) -> None:
    streaming(project, DRAIN_SECONDS=600).settings(LOGGING=DEBUG)
    project.app("hasty", lifespan="from lifespan_app.engine import notice\n\nnotice.ECHO = 0.0\n")
    with Server(project, kind) as server, ThreadPoolExecutor(1) as client:
        server.wait_for_output("Signals are held back from the server for 600 s")
        assert server.get("/readyz").status == 200
        stream = client.submit(server.get, "/events/")
        server.wait_for_event("stream begins")
        server.signal(signal.SIGTERM)
        assert stream.result().text == "data: tick\n\n"
        server.wait_for_event("drain")
        answer = server.get("/readyz")
        assert (answer.status, answer.text) == (503, "stopping\n")
        assert server.get("/livez").status == 200
        assert "registration closes" not in project.events()

        # Whoever does not want to wait says so once more.
        os.kill(worker_of(project), signal.SIGTERM)
        server.wait()
    assert project.events()[-1] == "registration closes"
    assert project.events().count("drain") == 1
    assert "Traceback" not in server.output
