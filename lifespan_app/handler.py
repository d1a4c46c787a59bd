"""Django's ASGI handler, with a lifespan."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from django.core.handlers.asgi import ASGIHandler, ASGIRequest

from .default import lifespan
from .engine.current import SCOPE_KEY
from .engine.runner import Run
from .protocol import Receive, Scope, Send, serve_lifespan
from .state import RequestState


class LifespanRequest(ASGIRequest):
    """Django's ASGI request, with ``state``."""

    @cached_property
    def state(self) -> RequestState:
        """What the process has open. A middleware that assigns ``request.state`` wins."""
        return RequestState(self.scope)


class LifespanASGIHandler(ASGIHandler):
    """Answer HTTP exactly as Django's handler does, and the lifespan protocol too."""

    request_class = LifespanRequest

    def __init__(self) -> None:
        super().__init__()
        self.on_shutdown: list[Callable[[], Any]] = []
        """Functions, sync or async, that are called at shutdown, last appended first."""
        self._runs: list[Run] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope."""
        if scope["type"] == "lifespan":
            await serve_lifespan(lifespan, scope, receive, send, begins=self._begins)
            return
        if self._runs and SCOPE_KEY not in scope:
            scope[SCOPE_KEY] = self._runs[-1] if len(self._runs) == 1 else self._run_here()
        await super().__call__(scope, receive, send)

    def _begins(self, run: Run) -> None:
        # A run that is over stays until the next one begins: what is read then can be explained.
        self._runs = [*(other for other in self._runs if not other.over), run]

    def _run_here(self) -> Run | None:
        import asyncio

        loop = asyncio.get_running_loop()
        return next((run for run in self._runs if run.loop is loop), None)
