"""Open WebSockets at a stop: the recipe of the page on streams, under each server that allows it."""

from __future__ import annotations

import signal

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.django.test_shutdown_notice import DEBUG, HYPERCORN_ALONE
from tests.documents import SETTINGS, append, example, paste
from tests.projects import Project
from tests.servers import GRANIAN, GUNICORN, GUNICORN_UVICORN, HOST, UVICORN, Kind, Server

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.once]

APPLICATION = "mysite.asgi:application"
PATHS = ("/channels/prices/", "/plain")

# A prompt stop that tells nobody, with a trace of the resource's end.
WITHOUT_NOTICE = 'LIFESPAN = {"SHUTDOWN_NOTICE": False}\n'


def to(server: Server, path: str) -> ClientConnection:
    """Open a WebSocket."""
    return connect(f"ws://{HOST}:{server.port}{path}", proxy=None)


@pytest.mark.parametrize(
    "kind",
    [UVICORN, GRANIAN, GUNICORN, GUNICORN_UVICORN, HYPERCORN_ALONE],
    ids=lambda kind: str(kind.name),
)
def test_open_websockets_are_told_before_their_resources_close(
    project: Project, kind: Kind
) -> None:
    paste(example("howto/streams", "WebSockets"), project)
    append(project, "mysite/settings.py", f"LOGGING = {DEBUG!r}\n")
    with (
        Server(project, kind, application=APPLICATION, environment=SETTINGS) as server,
        to(server, PATHS[0]) as consumer,
        to(server, PATHS[1]) as plain,
    ):
        sockets = [consumer, plain]
        for socket in sockets:
            socket.send("Emma")
            assert socket.recv(timeout=server.limit) == "9.99"
        server.wait_for_output("Signals are held back from the server for 1 s")
        server.signal(signal.SIGTERM)
        for socket in sockets:
            # It is read from the resource.
            assert socket.recv(timeout=server.limit) == "the last price is 9.99"
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=server.limit)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        server.wait()
    assert "prices are closed" in server.output
    assert "Traceback" not in server.output


def test_client_that_leaves_ends_both_kinds(project: Project) -> None:
    paste(example("howto/streams", "WebSockets"), project)
    with Server(project, application=APPLICATION, environment=SETTINGS) as server:
        for path in PATHS:
            with to(server, path) as socket:
                socket.send("Emma")
                assert socket.recv(timeout=server.limit) == "9.99"
        server.signal(signal.SIGTERM)
        server.wait()
    assert "prices are closed" in server.output
    assert "Traceback" not in server.output
    assert "Task was destroyed" not in server.output


def test_uvicorn_closes_websockets_by_itself_before_resources_close(project: Project) -> None:
    paste(example("howto/streams", "WebSockets"), project)
    append(project, "mysite/settings.py", WITHOUT_NOTICE)
    with (
        Server(project, application=APPLICATION, environment=SETTINGS) as server,
        to(server, "/plain") as socket,
    ):
        server.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=server.limit)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        server.wait()
    assert "prices are closed" in server.output


def test_gunicorns_own_worker_is_killed_with_websockets_that_nobody_closes(
    project: Project,
) -> None:
    paste(example("howto/streams", "WebSockets"), project)
    append(project, "mysite/settings.py", WITHOUT_NOTICE)
    with (
        Server(
            project,
            GUNICORN,
            application=APPLICATION,
            environment=SETTINGS,
            options=["--graceful-timeout", "1"],
        ) as server,
        to(server, "/plain"),
    ):
        server.signal(signal.SIGTERM)
        server.wait()
    assert "prices are closed" not in server.output
