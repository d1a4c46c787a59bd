"""Django's test clients with the state of a run in their requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.test import AsyncClient, Client
from django.test.client import AsyncClientHandler, ClientHandler

from lifespan_app.serving.request_state import RequestState

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from .running import Running


class StateHandler(ClientHandler):
    """The handler of Django's test client; requests have the state.

    Args:
        running: the run with the state.
        enforce_csrf_checks: as for Django's handler.
    """

    def __init__(self, running: Running, enforce_csrf_checks: bool) -> None:
        super().__init__(enforce_csrf_checks)
        self._running = running

    def get_response(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a request."""
        scope = {"type": "http", **self._running.scope()}
        request.scope = scope  # type: ignore[attr-defined]
        request.state = RequestState(scope)  # type: ignore[attr-defined]
        return super().get_response(request)


class AsyncStateHandler(AsyncClientHandler):
    """The handler of Django's async test client; requests have the state of their scope."""

    async def get_response_async(self, request: Any) -> Any:
        """Answer a request."""
        request.state = RequestState(request.scope)
        return await super().get_response_async(request)


class ClientInRun(Client):
    """Django's test client for one run. It takes Django's arguments behind the run.

    Args:
        running: the run.
    """

    def __init__(
        self, running: Running, enforce_csrf_checks: bool = False, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(enforce_csrf_checks, *args, **kwargs)
        self.handler = StateHandler(running, enforce_csrf_checks)


class AsyncClientInRun(AsyncClient):
    """Django's async test client for one run. It takes Django's arguments behind the run.

    Args:
        running: the run.
    """

    def __init__(
        self, running: Running, enforce_csrf_checks: bool = False, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(enforce_csrf_checks, *args, **kwargs)
        self.handler = AsyncStateHandler(enforce_csrf_checks)
        self._running = running

    def _base_scope(self, **request: Any) -> dict[str, Any]:
        scope: dict[str, Any] = super()._base_scope(**request)  # type: ignore[misc]
        return scope | self._running.scope()
