"""Speaking ASGI to an application without a server, one message at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from asgiref.testing import ApplicationCommunicator

LIMIT = 10.0
"""Seconds that any one wait may take."""

Message = dict[str, Any]
Headers = Iterable[tuple[bytes, bytes]]


def http_scope(
    path: str = "/",
    *,
    method: str = "GET",
    query: bytes | str = b"",
    headers: Headers = (),
    **more: Any,
) -> dict[str, Any]:
    """Return the scope of a request as a server makes it, with `more` keys over it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"testserver"), *headers],
        "client": ("127.0.0.1", 40000),
        "server": ("testserver", 80),
        **more,
    }


@dataclass(frozen=True)
class Head:
    """The first message of an answer."""

    status: int
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str | None:
        """Return a header's value, None when it was not sent."""
        return dict(self.headers).get(name)


@dataclass(frozen=True)
class Answer(Head):
    """A whole answer, its parts put together."""

    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class Exchange:
    """
    One request, the client's and the server's side of it in the hands of a test.

    The arguments after the application are those of `http_scope`.
    """

    def __init__(self, application: Any, path: str = "/", **scope: Any) -> None:
        self._communicator = ApplicationCommunicator(application, http_scope(path, **scope))

    async def send(self, **message: Any) -> None:
        """Hand a message to the application."""
        await self._communicator.send_input(message)

    async def send_body(self, body: bytes = b"", *, more: bool = False) -> None:
        """Hand the request's body, or a part of it, to the application."""
        await self.send(type="http.request", body=body, more_body=more)

    async def disconnect(self) -> None:
        """Let the client go away."""
        await self.send(type="http.disconnect")

    async def message(self) -> Message:
        """Wait for what the application sends next; raises what it raises instead."""
        return await _next_message(self._communicator)

    async def head(self) -> Head:
        """Wait for status and headers."""
        message = await self.message()
        assert message["type"] == "http.response.start", message
        return Head(
            message["status"],
            tuple((name.decode(), value.decode()) for name, value in message["headers"]),
        )

    async def part(self) -> tuple[bytes, bool]:
        """Wait for a part of the body; return it, and whether more is announced."""
        message = await self.message()
        assert message["type"] == "http.response.body", message
        return message.get("body", b""), message.get("more_body", False)

    async def answer(self) -> Answer:
        """Wait for the whole answer and for the application to return."""
        head = await self.head()
        body, more = await self.part()
        while more:
            part, more = await self.part()
            body += part
        left = await self.end()
        assert left == [], left
        return Answer(head.status, head.headers, body)

    async def end(self) -> list[Message]:
        """
        Wait until the application returns; return the messages that nobody has taken.

        Raises what the application raises.
        """
        await self._communicator.wait(LIMIT)
        queue = self._communicator.output_queue
        return [queue.get_nowait() for _ in range(queue.qsize())]


async def ask(
    application: Any, path: str = "/", *, body: bytes | Sequence[bytes] = b"", **scope: Any
) -> Answer:
    """Send a request with this body, in one part or several, and return the answer."""
    exchange = Exchange(application, path, **scope)
    parts = [body] if isinstance(body, bytes) else list(body)
    for number, part in enumerate(parts, start=1):
        await exchange.send_body(part, more=number < len(parts))
    return await exchange.answer()


@asynccontextmanager
async def lifespan_of(application: Any, **scope: Any) -> AsyncIterator[dict[str, Any]]:
    """
    Start an application as a server does, and stop it at the end.

    Gives the dictionary that a server copies into each request's scope; `scope` is laid over the
    lifespan's own scope.
    """
    state: dict[str, Any] = {}
    lifespan_scope = {
        "type": "lifespan",
        "asgi": {"version": "3.0", "spec_version": "2.0"},
        "state": state,
        **scope,
    }
    communicator = ApplicationCommunicator(application, lifespan_scope)
    await communicator.send_input({"type": "lifespan.startup"})
    started = await _next_message(communicator)
    assert started["type"] == "lifespan.startup.complete", started
    try:
        yield state
    finally:
        await communicator.send_input({"type": "lifespan.shutdown"})
        stopped = await _next_message(communicator)
        await communicator.wait(LIMIT)
        assert stopped["type"] == "lifespan.shutdown.complete", stopped


async def _next_message(communicator: ApplicationCommunicator) -> Message:
    # The communicator's own receive_output() sits out its limit when the application has ended.
    sent = asyncio.ensure_future(communicator.output_queue.get())
    await asyncio.wait(
        {sent, communicator.future}, timeout=LIMIT, return_when=asyncio.FIRST_COMPLETED
    )
    if sent.done():
        message: Message = sent.result()
        return message
    sent.cancel()
    if communicator.future.done():
        await communicator.future
        raise AssertionError("the application returned without sending a message")
    communicator.stop()
    raise AssertionError(f"the application sent nothing within {LIMIT:g} s")
