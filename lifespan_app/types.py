"""Types for annotations, as earlier packages have them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from .engine.context import LifespanContext
from .engine.lease import Lease

State: TypeAlias = MutableMapping[str, Any]
"""The values that a lifespan manager yields, by name."""

LifespanManager: TypeAlias = AsyncGenerator[State, None]
"""The return type of the function below ``@asynccontextmanager``."""

StartupHook: TypeAlias = (
    Callable[[], None]
    | Callable[[], Awaitable[None]]
    | Callable[[LifespanContext], None]
    | Callable[[LifespanContext], Awaitable[None]]
)
"""A function for ``on_start``: sync or async, with the context or without."""

ShutdownHook: TypeAlias = StartupHook
"""A function for ``on_shutdown``."""

__all__ = ["Lease", "LifespanManager", "ShutdownHook", "StartupHook", "State"]
