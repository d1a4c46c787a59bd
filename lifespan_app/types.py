"""Types for annotations, as earlier packages have them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from .engine.context import LifespanContext

State: TypeAlias = MutableMapping[str, Any]
"""What a lifespan manager yields: names, and what they are worth."""

LifespanManager: TypeAlias = AsyncGenerator[State, None]
"""What the function below ``@asynccontextmanager`` returns that is a lifespan manager."""

StartupHook: TypeAlias = (
    Callable[[], None]
    | Callable[[], Awaitable[None]]
    | Callable[[LifespanContext], None]
    | Callable[[LifespanContext], Awaitable[None]]
)
"""A function for ``on_start``: sync or async, with the context or without."""

ShutdownHook: TypeAlias = StartupHook
"""A function for ``on_shutdown``, likewise."""

__all__ = ["LifespanManager", "ShutdownHook", "StartupHook", "State"]
