"""Startup and shutdown (lifespan) hooks for Django."""

from __future__ import annotations

from time import time

_boot = {"imported": time()}
"""The times, since the epoch, of the steps of a start before any run: see ``history/recording/boot.py``."""

# To import ``typing`` would take a probe, which only reads a file, as long as all the rest.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from .engine.context import LifespanContext as LifespanContext
    from .engine.context import ServiceType as ServiceType
    from .engine.hooks.retry import Retry as Retry
    from .engine.lifespan import Lifespan as Lifespan
    from .engine.running.handle import Resource as Resource
    from .integration.default import get_lifespan as get_lifespan
    from .middleware import LifespanMiddleware as LifespanMiddleware
    from .types import ShutdownHook as ShutdownHook
    from .types import StartupHook as StartupHook

    lifespan: Lifespan

__version__ = "0.2.0"

__all__ = [
    "Lifespan",
    "LifespanContext",
    "LifespanMiddleware",
    "Resource",
    "Retry",
    "ServiceType",
    "ShutdownHook",
    "StartupHook",
    "get_lifespan",
    "lifespan",
]

_HOMES = {
    "Lifespan": "engine.lifespan",
    "LifespanContext": "engine.context",
    "LifespanMiddleware": "middleware",
    "Resource": "engine.running.handle",
    "Retry": "engine.hooks.retry",
    "ServiceType": "engine.context",
    "ShutdownHook": "types",
    "StartupHook": "types",
    "get_lifespan": "integration.default",
    "lifespan": "integration.default",
}


def __getattr__(name: str) -> Any:
    # Resolved when they are asked for: a probe that only reads a file must not import asyncio.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
