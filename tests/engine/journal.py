"""Hooks that write down what becomes of them, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from lifespan_app import Lifespan, Resource
from tests.engine.apps import written_in

BEGIN = 1000.0
"""When a virtual clock begins."""


class Journal:
    """What hooks did, in order, each with its second on the loop's clock.

    The hooks are written in ``shop/lifespan.py``, as far as the engine can tell. One called ``client``
    writes ``open client`` and ``close client`` as a resource, ``start client``, ``shutdown client`` or
    ``run client`` as another; ``: done``, ``: cancelled`` is added at the end of each.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[float, str]] = []

    def write(self, event: str) -> None:
        """Write an event down, now."""
        now = asyncio.get_running_loop().time() - BEGIN
        self.entries.append((round(now, 3), event))

    @property
    def events(self) -> list[str]:
        """The events in their order."""
        return [event for _, event in self.entries]

    def when(self, event: str) -> float:
        """Return the second of the first such event."""
        return next(second for second, other in self.entries if other == event)

    def is_before(self, one: str, two: str) -> bool:
        """Tell whether one event came before another; both have to be there."""
        return self.events.index(one) < self.events.index(two)

    async def take(self, what: str, seconds: float, error: BaseException | None = None) -> None:
        """Write down what is done, take as long as it takes, and fail with ``error``."""
        self.write(what)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.write(f"{what}: cancelled")
            raise
        if error is not None:
            raise error
        self.write(f"{what}: done")

    def resource(
        self,
        lifespan: Lifespan,
        name: str,
        *,
        opens: float = 0.0,
        closes: float = 0.0,
        open_error: BaseException | None = None,
        close_error: BaseException | None = None,
        **options: Any,
    ) -> Resource[str]:
        """Declare a resource whose value is its name."""

        @written_in("shop.lifespan")
        async def hook() -> AsyncIterator[str]:
            await self.take(f"open {name}", opens, open_error)
            try:
                yield name
            finally:
                await self.take(f"close {name}", closes, close_error)

        handle: Resource[str] = lifespan.resource(name=name, **options)(hook)
        return handle

    def start(
        self,
        lifespan: Lifespan,
        name: str,
        takes: float = 0.0,
        error: BaseException | None = None,
        **options: Any,
    ) -> Callable[..., Any]:
        """Declare a start function that no written order ties to another one."""

        @written_in(f"{name}.lifespan")
        async def hook() -> None:
            await self.take(f"start {name}", takes, error)

        lifespan.on_start(name=name, **options)(hook)
        return hook

    def shutdown(
        self,
        lifespan: Lifespan,
        name: str,
        takes: float = 0.0,
        error: BaseException | None = None,
        **options: Any,
    ) -> Callable[..., Any]:
        """Declare a shutdown function that no written order ties to another one."""

        @written_in(f"{name}.lifespan")
        async def hook() -> None:
            await self.take(f"shutdown {name}", takes, error)

        lifespan.on_shutdown(name=name, **options)(hook)
        return hook

    def job(
        self,
        lifespan: Lifespan,
        name: str,
        takes: float = 1_000_000.0,
        error: BaseException | None = None,
        **options: Any,
    ) -> Callable[..., Any]:
        """Declare a background job."""

        @written_in("shop.lifespan")
        async def hook() -> None:
            await self.take(f"run {name}", takes, error)

        lifespan.background(name=name, **options)(hook)
        return hook
