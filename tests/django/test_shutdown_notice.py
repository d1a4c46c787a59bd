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

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.once]

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
def test_open_stream_is_ended_before_the_lifespan_is_shut_down(
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
def test_server_gets_the_signal_after_the_drain_and_serves_until_then(
    project: Project, kind: Kind
) -> None:
    streaming(project, DRAIN_SECONDS=600).settings(LOGGING=DEBUG)
    project.app(
        "hasty",
        lifespan="from lifespan_app.engine.running import shutdown_event\n\nshutdown_event.ECHO = 0.0\n",
    )
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


# Ctrl+C: the terminal signals every process of the server, and its main process the workers again.


@SERVERS
def test_ctrl_c_ends_an_open_stream_before_the_lifespan_too(project: Project, kind: Kind) -> None:
    with Server(streaming(project), kind) as server, ThreadPoolExecutor(1) as client:
        client.submit(server.get, "/events/")
        server.wait_for_event("stream begins")
        server.interrupt()
        server.wait()
    events = project.events()[2:]
    assert sorted(events[:2]) == ["drain", "stream ends"]
    assert events[2:] == ["registration closes"]
    assert "Traceback" not in server.output


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "two workers"])
@pytest.mark.parametrize("kind", [UVICORN, GRANIAN], ids=lambda kind: str(kind.name))
def test_after_ctrl_c_the_server_gets_one_signal_at_the_end_of_the_drain(
    project: Project, kind: Kind, options: tuple[str, ...]
) -> None:
    streaming(project, DRAIN_SECONDS=0.5).settings(LOGGING=DEBUG)
    with Server(project, kind, options=options) as server, ThreadPoolExecutor(1) as client:
        workers = 2 if options else 1
        server.wait_for_output("Signals are held back from the server for 0.5 s", count=workers)
        stream = client.submit(server.get, "/events/")
        server.wait_for_event("stream begins")
        server.interrupt()
        assert stream.result().text == "data: tick\n\n"
        server.wait()
    assert project.events().count("registration closes") == workers
    assert project.events().count("drain") == workers
    assert "Traceback" not in server.output


@pytest.mark.parametrize("kind", [UVICORN, GRANIAN], ids=lambda kind: str(kind.name))
def test_after_ctrl_c_requests_are_answered_while_the_drain_lasts(
    project: Project, kind: Kind
) -> None:
    streaming(project, DRAIN_SECONDS=600).settings(LOGGING=DEBUG)
    with Server(project, kind) as server:
        server.wait_for_output("Signals are held back from the server for 600 s")
        server.interrupt()
        server.wait_for_event("drain")
        answer = server.get("/readyz")
        assert (answer.status, answer.text) == (503, "stopping\n")
        assert "registration closes" not in project.events()


def test_gunicorn_keeps_no_drain_after_ctrl_c(project: Project) -> None:
    """Its main process tells the worker to quit at once, by SIGQUIT."""
    streaming(project, DRAIN_SECONDS=600).settings(LOGGING=DEBUG)
    with Server(project, GUNICORN) as server:
        server.wait_for_output("Signals are held back from the server for 600 s")
        server.interrupt()
        server.wait()
    assert project.events()[-2:] == ["drain", "registration closes"]


TWO_SERVERS = """
import asyncio
import sys

import uvicorn


async def main():
    configs = [uvicorn.Config("asgi:application", port=int(port)) for port in sys.argv[1:]]
    await asyncio.gather(*(uvicorn.Server(config).serve() for config in configs))


asyncio.run(main())
"""
TWO = replace(UVICORN, name="two of uvicorn", command=("two.py", "{port}"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("seconds", [0, 1])
def test_two_servers_in_one_process_both_end(
    project: Project, number: signal.Signals, seconds: int
) -> None:
    project.file("two.py", TWO_SERVERS)
    with Server(streaming(project, DRAIN_SECONDS=seconds), TWO, options=["0"]) as server:
        server.until(lambda: len(project.events()) == 2, "There are no two runs")
        server.signal(number)
        server.wait()
        assert project.events()[2:4] == ["drain"] * 2, "both are told at once"
        assert project.events()[4:] == ["registration closes"] * 2
        assert "Bad file descriptor" not in server.output
