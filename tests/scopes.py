"""A lifespan scope, with the server's side of it in the hands of a test.

    server = ServerSide(application)
    assert await server.startup() == {"type": "lifespan.startup.complete"}
    assert await server.shutdown() == {"type": "lifespan.shutdown.complete"}

`lifespan_of` in tests/exchanges.py is shorter where everything goes well.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.exchanges import LIMIT, Message

STARTED: Message = {"type": "lifespan.startup.complete"}
STOPPED: Message = {"type": "lifespan.shutdown.complete"}
MISSING: Any = object()


class ServerSide:
    """
    Call an application with a lifespan scope, as a server does.

    `state=MISSING` leaves the scope's state out; other keys are laid over the scope.
    """

    def __init__(self, application: Any, **scope: Any) -> None:
        self.scope: dict[str, Any] = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": {},
            **scope,
        }
        if self.scope["state"] is MISSING:
            del self.scope["state"]
        self.error: BaseException | None = None
        """What the application has raised."""
        self._told: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self.task = asyncio.get_running_loop().create_task(self._run(application))

    async def _run(self, application: Any) -> None:
        # A task that ended with SystemExit would end the test's loop.
        try:
            await application(self.scope, self._told.get, self._answers.put)
        except BaseException as error:
            self.error = error

    @property
    def state(self) -> dict[str, Any]:
        """The dictionary that a server copies into each request's scope."""
        state: dict[str, Any] = self.scope["state"]
        return state

    async def startup(self) -> Message:
        """Tell it to start; return its answer."""
        return await self.tell("lifespan.startup")

    async def shutdown(self) -> Message:
        """Tell it to stop; return its answer."""
        return await self.tell("lifespan.shutdown")

    async def tell(self, what: str) -> Message:
        """Send a message; return the answer. Raises AssertionError when there is none."""
        await self._told.put({"type": what})
        answer: asyncio.Task[Message] = asyncio.ensure_future(self._answers.get())
        either: set[asyncio.Future[Any]] = {answer, self.task}
        await asyncio.wait(either, timeout=LIMIT, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() and self.answered_nothing:
            answer.cancel()
            raise AssertionError(f"no answer to {what}: {self.error!r}") from self.error
        return await answer

    @property
    def answered_nothing(self) -> bool:
        """Whether no answer of the application waits to be taken."""
        return self._answers.empty()

    async def end(self) -> BaseException | None:
        """Wait until the application has returned; return what it raised."""
        await asyncio.wait({self.task}, timeout=LIMIT)
        assert self.task.done(), "the application did not return"
        assert self.answered_nothing, f"it also said {self._answers.get_nowait()}"
        return self.error


@asynccontextmanager
async def started(application: Any, **scope: Any) -> AsyncIterator[ServerSide]:
    """Start an application, and stop it at the end; both have to go well."""
    server = ServerSide(application, **scope)
    assert await server.startup() == STARTED
    try:
        yield server
    finally:
        stopped = await server.shutdown()
        error = await server.end()
    assert (stopped, error) == (STOPPED, None)
