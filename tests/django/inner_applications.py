"""Lifespans of applications that stand inside ours, and what they tell of their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

InnerLifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def lifespan_that_tells(happened: list[str], name: str = "theirs", **state: Any) -> InnerLifespan:
    """Return the lifespan of a Starlette or FastAPI application that yields this state."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        happened.append(f"{name} opens")
        yield state
        happened.append(f"{name} closes")

    return lifespan


def lifespan_of_two() -> InnerLifespan:
    """Return the lifespan of two applications: each waits for the other, at startup and shutdown."""
    doors = [asyncio.Barrier(2), asyncio.Barrier(2)]

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        await doors[0].wait()
        yield
        await doors[1].wait()

    return lifespan
