"""The lifespan protocol as a server speaks it, with nothing but a loop around it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from lifespan_app import Lifespan
from lifespan_app.serving.protocol import serve_lifespan

STARTUP = {"type": "lifespan.startup"}
SHUTDOWN = {"type": "lifespan.shutdown"}


class Server:
    """A server that opens one lifespan scope.

    Args:
        lifespan: what the application opens.
        scope: the lifespan scope; None: one with an empty state.
    """

    def __init__(self, lifespan: Lifespan, scope: dict[str, Any] | None = None) -> None:
        self.scope: dict[str, Any] = scope or {"type": "lifespan", "state": {}}
        self.sent: list[dict[str, Any]] = []
        self._to_application: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.task = asyncio.ensure_future(
            serve_lifespan(lifespan, self.scope, self._receive, self._send)
        )

    async def _receive(self) -> Mapping[str, Any]:
        return await self._to_application.get()

    async def _send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(dict(message))
        self._answers.put_nowait(dict(message))

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a message and return the answer to it."""
        self._to_application.put_nowait(message)
        return await self._answers.get()

    async def startup(self) -> dict[str, Any]:
        """Send ``lifespan.startup`` and return the answer."""
        return await self.ask(STARTUP)

    async def shutdown(self) -> dict[str, Any]:
        """Send ``lifespan.shutdown`` and return the answer."""
        return await self.ask(SHUTDOWN)

    async def raised(self) -> BaseException | None:
        """Wait until the application has returned, and return what it raised."""
        await asyncio.wait([self.task])
        try:
            return self.task.exception()
        except asyncio.CancelledError as cancelled:
            return cancelled
