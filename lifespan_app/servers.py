"""Which ASGI server runs this process, recognised by who hands out ``receive``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

KNOWN = ("uvicorn", "hypercorn", "granian", "gunicorn", "daphne")


def recognise(receive: Callable[..., Any]) -> str:
    """Return name and version of the server, such as ``uvicorn 0.54.0``; "" if it is not known.

    Args:
        receive: the callable that the server passed to the application. Where a middleware has
            wrapped it, the coroutine of the running task still is the server's own.
    """
    for module in (*modules_of(receive), module_of_task()):
        name = module.partition(".")[0].lstrip("_")
        if name in KNOWN:
            try:
                return f"{name} {version(name)}"
            except PackageNotFoundError:
                return name
    return ""


def modules_of(receive: Callable[..., Any]) -> list[str]:
    """Return the modules that a callable, or its object, comes from."""
    owner = getattr(receive, "__self__", receive)
    return [
        str(getattr(receive, "__module__", None) or ""),
        str(getattr(type(owner), "__module__", None) or ""),
    ]


def module_of_task() -> str:
    """Return the module of the coroutine that the running task was made for."""
    task = asyncio.current_task()
    frame = getattr(task.get_coro(), "cr_frame", None) if task is not None else None
    return str(frame.f_globals.get("__name__", "")) if frame is not None else ""
