"""django-asgi-lifespan's test client, by its name there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from django.test import AsyncClient

from lifespan_app.engine.errors import LifespanError

from .clients import AsyncStateHandler
from .running import Running, lifespan_running


class LifespanAwareAsyncClient(AsyncClient):
    """Django's async test client; its requests have the lifespan's state.

    With ``state`` they carry that. Without, ``async with LifespanAwareAsyncClient() as client`` opens
    the lifespan once, for all requests, and closes it.

    Args:
        state: the state of a lifespan; None: one is opened here.
        defaults: as for Django's client.
    """

    def __init__(self, *, state: Mapping[str, Any] | None = None, **defaults: Any) -> None:
        super().__init__(**defaults)
        self.handler = AsyncStateHandler(self.handler.enforce_csrf_checks)
        self._given = state
        self._opening = lifespan_running()
        self._running: Running | None = None

    @property
    def state(self) -> Mapping[str, Any]:
        """The state of each request.

        Raises:
            LifespanError: there is nothing yet.
        """
        if self._given is not None:
            return self._given
        if self._running is None:
            raise LifespanError(
                "LifespanAwareAsyncClient has no state. Pass it state=, or let it open the "
                "lifespan: 'async with LifespanAwareAsyncClient() as client'."
            )
        return self._running.state

    async def __aenter__(self) -> Self:
        """Open the lifespan."""
        self._running = await self._opening.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        """Close it."""
        await self._opening.__aexit__(*error)

    def _base_scope(self, **request: Any) -> dict[str, Any]:
        scope: dict[str, Any] = super()._base_scope(**request)  # type: ignore[misc]
        if self._running is not None:
            scope |= self._running.scope()
        if self._given is not None or self._running is None:
            scope["state"] = self.state
        return scope
