"""Django's ASGI handler, with a lifespan."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asgiref.sync import ThreadSensitiveContext
from django.core.handlers.asgi import ASGIHandler, ASGIRequest

from lifespan_app.engine.running.current import SCOPE_KEY, Runs
from lifespan_app.integration.default import lifespan

from .request_state import RequestState

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from django.http import HttpResponse

    from lifespan_app.engine.running.stages import Stage

    from .protocol import Receive, Scope, Send, ServedRun


class StateOfRequest:
    """The descriptor of ``request.state``, which is made at its first use and kept on the request.

    Like ``functools.cached_property``, which takes a lock on Python 3.11:
    https://github.com/python/cpython/issues/87634
    """

    def __get__(self, request: ASGIRequest, owner: type | None = None) -> RequestState:
        state = request.__dict__["state"] = RequestState(request.scope)
        return state


class LifespanRequest(ASGIRequest):
    """Django's ASGI request, with ``state``."""

    state = StateOfRequest()
    """The open resources. A middleware that assigns ``request.state`` wins."""


def unready(request: ASGIRequest, error: Exception) -> HttpResponse | None:
    """Answer for a resource that was read before it is up."""
    from .responses import answer_to

    return answer_to(request, error)


class LifespanASGIHandler(ASGIHandler):
    """Answer HTTP exactly as Django's handler does, and the lifespan protocol too."""

    request_class = LifespanRequest

    was_made = False
    """True if this process has made a handler of this class."""

    def __init__(self) -> None:
        super().__init__()
        LifespanASGIHandler.was_made = True
        self.on_shutdown: list[Callable[[], Any]] = []
        """Functions, sync or async, that are called at shutdown, last appended first."""
        self._runs: Runs[ServedRun] = Runs()

    def load_middleware(self, is_async: bool = False) -> None:
        """Load the project's middleware, and add the answer to ``ResourceNotReady`` to it.

        It is one more ``process_exception``, which costs nothing if no view raises.
        """
        super().load_middleware(is_async)
        self._exception_middleware.append(unready)  # type: ignore[attr-defined]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._live(scope, receive, send)
            return
        run = self._runs.only
        if run is None or run.over:
            run = self._runs.of_this_loop()
        if run is not None:
            scope.setdefault(SCOPE_KEY, run)
        elif SCOPE_KEY not in scope and kind == "http":
            from .forwarding import was_forwarded

            if await was_forwarded(self, scope, receive, send):
                return
        if kind != "http":
            await super().__call__(scope, receive, send)  # type: ignore[arg-type]
            return
        # The same as ASGIHandler.__call__ for a request, without one more coroutine:
        # https://github.com/django/django/blob/stable/5.2.x/django/core/handlers/asgi.py
        async with ThreadSensitiveContext():
            await self.handle(scope, receive, send)  # type: ignore[arg-type]

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        from .protocol import join, run_around, serve_lifespan

        run = run_around(lifespan, scope)
        if run is not None:
            self._begins(run)
            await join(receive, send, self._inner_lifespans(scope))
        else:
            await serve_lifespan(
                lifespan,
                scope,
                receive,
                send,
                inner=self._inner_stage(scope),
                begins=self._begins,
            )

    def _inner_stage(self, scope: Scope) -> Stage | None:
        """Return the stage of a run for applications inside this one."""
        return None

    def _inner_lifespans(self, scope: Scope) -> AbstractAsyncContextManager[None] | None:
        """Return the lifespans of applications inside this one, for a run that another has begun."""
        return None

    def _begins(self, run: ServedRun) -> None:
        if run in self._runs:
            return
        self._runs.begin(run)
        run.on_shutdown.append(lambda: self.on_shutdown)
