"""``scope["state"]`` missing, no dict, emptied, copied: the run keeps its own references."""

from __future__ import annotations

import asyncio
from collections import UserDict
from collections.abc import Coroutine
from types import MappingProxyType
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.errors import LifespanError
from lifespan_app.serving.protocol import serve_lifespan
from tests.engine.conftest import RunOnLoop
from tests.engine.exchange import STARTUP, Server
from tests.engine.journal import Journal


@pytest.mark.parametrize(
    "scope",
    [
        {"type": "lifespan"},
        {"type": "lifespan", "state": None},
        {"type": "lifespan", "state": []},
        {"type": "lifespan", "state": MappingProxyType({})},
        {"type": "lifespan", "asgi": {"version": "3.0"}},
    ],
    ids=["missing", "None", "a list", "read-only", "without state, with asgi"],
)
def test_scope_without_a_usable_state_is_served_all_the_same(
    run: RunOnLoop, scope: dict[str, Any]
) -> None:
    async def main(lifespan: Lifespan) -> None:
        client = Journal().resource(lifespan, "client")
        server = Server(lifespan, dict(scope))
        assert await server.startup() == {"type": "lifespan.startup.complete"}
        assert client.current() == "client"
        assert await server.shutdown() == {"type": "lifespan.shutdown.complete"}

    run(main)


@pytest.mark.parametrize("kind", [dict, UserDict])
def test_open_resources_are_put_into_the_scopes_state(run: RunOnLoop, kind: type) -> None:
    async def main(lifespan: Lifespan) -> None:
        journal = Journal()
        journal.resource(lifespan, "client")
        journal.resource(lifespan, "feed", open_error=OSError("nobody there"), required=False)

        @lifespan.on_start
        async def count(state: Any) -> None:
            state["books"] = 12

        given = kind(the_servers="own")
        server = Server(lifespan, {"type": "lifespan", "state": given})
        await server.startup()
        assert dict(given) == {"the_servers": "own", "client": "client", "books": 12}
        await server.shutdown()

    run(main)


@pytest.mark.parametrize("what", ["emptied", "overwritten", "taken away"])
def test_nothing_is_read_back_from_the_state_of_the_scope(run: RunOnLoop, what: str) -> None:
    """Granian empties it before the shutdown."""
    journal = Journal()
    given: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        client = journal.resource(lifespan, "client")

        @lifespan.on_shutdown(depends_on=[client])
        async def farewell(state: Any) -> None:
            given.append(state["client"])

        server = Server(lifespan)
        await server.startup()
        if what == "emptied":
            server.scope["state"].clear()
        elif what == "overwritten":
            server.scope["state"]["client"] = "something else"
        else:
            del server.scope["state"]
        assert client.current() == "client"
        assert client({"type": "http", "state": {}}) == "client"
        assert await server.shutdown() == {"type": "lifespan.shutdown.complete"}

    run(main)

    assert given == ["client"]
    assert "close client: done" in journal.events


def test_without_an_asyncio_loop_the_startup_fails_with_a_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What drives the coroutine here is no event loop of asyncio's: as little as trio's."""
    sent: list[dict[str, Any]] = []
    opened: list[str] = []
    lifespan = Lifespan()
    lifespan.on_start(name="open")(lambda: opened.append("open"))

    async def receive() -> dict[str, Any]:
        return dict(STARTUP)

    async def send(message: Any) -> None:
        sent.append(dict(message))

    def drive(coroutine: Coroutine[Any, Any, None]) -> None:
        coroutine.send(None)

    with pytest.raises(LifespanError, match="needs an asyncio event loop"):
        drive(serve_lifespan(lifespan, {"type": "lifespan"}, receive, send))

    [message] = sent
    assert message["type"] == "lifespan.startup.failed"
    assert "asyncio event loop (asyncio or uvloop)" in message["message"]
    assert "'hypercorn -k asyncio'" in message["message"]
    assert opened == []
    assert any("needs an asyncio event loop" in text for text in caplog.messages)


def test_server_that_ends_without_a_message_closes_open_resources(run: RunOnLoop) -> None:
    """``receive()`` raises where it should give the shutdown message."""
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "client")
        messages = [dict(STARTUP)]

        async def receive() -> dict[str, Any]:
            if not messages:
                raise ConnectionResetError("gone")
            return messages.pop()

        async def send(message: Any) -> None:
            journal.write(message["type"])

        with pytest.raises(ConnectionResetError, match="gone"):
            await serve_lifespan(lifespan, {"type": "lifespan"}, receive, send)
        await asyncio.sleep(0)

    run(main)

    assert journal.events[-3:] == [
        "lifespan.startup.complete",
        "close client",
        "close client: done",
    ]
