"""hypercorn alone: why ``make torture`` counts some lost requests as cut off by the server.

An idle connection has a task that waits for the stop, and then closes the connection
(``TCPServer._idle_timeout``). It does not look whether a request has been read, and it closes under
``asyncio.shield``, so a request that is just being handled can't stop it. The application is called
then, and its connection is closed. If the second test fails, a newer hypercorn has mended this, and
``Seen.cut`` can go.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from typing import Any

import pytest
from hypercorn.asyncio import serve
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
ANSWERED, REFUSED, CUT = "answered", "never begun", "begun and cut off"
STEPS = range(14)
"""How many turns of the event loop come between the stop and the request."""

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


async def stopped(steps: int) -> str:
    """Stop hypercorn while it has an idle connection, and send a request a few steps later."""
    stop, begun = asyncio.Event(), asyncio.Event()

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        begun.set()
        await asyncio.sleep(0.01)
        head = {"status": 200, "headers": [(b"content-length", b"2")]}
        await send({"type": "http.response.start", **head})
        await send({"type": "http.response.body", "body": b"ok"})

    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = None
    answer = b""
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(application, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
        with closing(socket.create_connection(address)) as client:
            client.setblocking(False)
            while not any("_idle_timeout" in repr(task) for task in asyncio.all_tasks()):
                await asyncio.sleep(0)
            stop.set()
            for _ in range(steps):
                await asyncio.sleep(0)
            with suppress(OSError):
                client.sendall(REQUEST)
                answer = await asyncio.get_running_loop().sock_recv(client, 1000)
    if answer.endswith(b"ok"):
        return ANSWERED
    return CUT if begun.is_set() else REFUSED


def test_request_before_the_stop_is_answered_and_one_long_after_is_never_begun() -> None:
    assert asyncio.run(stopped(0)) == ANSWERED
    assert asyncio.run(stopped(STEPS[-1])) == REFUSED


def test_request_in_the_moment_of_the_stop_is_begun_and_cut_off() -> None:
    assert CUT in [asyncio.run(stopped(steps)) for steps in STEPS]


def test_connection_that_looks_for_a_request_before_it_closes_cuts_nothing_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def _idle_timeout(connection: TCPServer) -> None:
        await connection.context.terminated.wait()
        if not connection.reader._buffer:  # type: ignore[attr-defined]
            await connection._initiate_server_close()

    monkeypatch.setattr(TCPServer, "_idle_timeout", _idle_timeout)

    assert CUT not in [asyncio.run(stopped(steps)) for steps in STEPS]
