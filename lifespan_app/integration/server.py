"""The ASGI server of this process, recognised by its ``receive``, and its peculiarities."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from lifespan_app.engine.adapter import Adapter

if TYPE_CHECKING:
    from lifespan_app.engine.settings import Settings

KNOWN = ("uvicorn", "hypercorn", "granian", "gunicorn", "daphne")

IMPORTED = {
    "gunicorn": "gunicorn.arbiter",
    "daphne": "daphne.endpoints",
    "granian": "granian.server",
    "hypercorn": "hypercorn.run",
    "uvicorn": "uvicorn.server",
}
"""The modules that a server imports to serve, by its name. One may run inside one of those above."""

STARTUP_DEADLINES = {"gunicorn": 25.0, "hypercorn": 55.0}
"""Seconds; the server itself gives up a little later (gunicorn's ``timeout``, 30 s; hypercorn's
``startup_timeout``, 60 s)."""


class ServerAdapter(Adapter):
    """An adapter that recognises servers, with Django or without it."""

    def startup_deadline(self, settings: Settings, server: str | None) -> float:
        """Return the seconds that a startup may take."""
        by_server = STARTUP_DEADLINES.get((server or "").partition(" ")[0])
        if by_server is None or settings.startup_deadline is not None:
            return super().startup_deadline(settings, server)
        return by_server

    def stop_server(self, server: str | None) -> None:
        """Ask the server to stop.

        For hypercorn that is the parent: its workers have no handler for SIGTERM (hypercorn 0.18,
        asyncio/run.py, ``worker_serve``).
        """
        import multiprocessing

        is_child = multiprocessing.parent_process() is not None
        if is_child and server is not None and server.startswith("hypercorn"):
            os.kill(os.getppid(), signal.SIGTERM)
        else:
            super().stop_server(server)


def recognise(receive: Callable[..., Any]) -> str:
    """Return name and version of the server, such as ``uvicorn 0.54.0``, or "" if it is unknown.

    Args:
        receive: the callable that the server passed to the application. Where a middleware has
            wrapped it, the coroutine of the running task still is the server's own.
    """
    return recognised([*modules_of(receive), module_of_task()])


def recognised(modules: Iterable[str]) -> str:
    """Return name and version of the first server that one of these modules is of, or ""."""
    for module in modules:
        name = module.partition(".")[0].lstrip("_")
        if name in KNOWN:
            return with_version(name)
    return ""


def with_version(name: str) -> str:
    """Return the name of a server and its version, where that is known."""
    version = getattr(sys.modules.get(name), "__version__", None)
    if version is None:
        # Of hypercorn alone, whose package has no version: importing this takes 5 ms.
        from importlib import metadata

        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            return name
    return f"{name} {version}"


def reloads(receive: Callable[..., Any]) -> bool:
    """Return True if the server restarts this process after a change of a file.

    Args:
        receive: the callable that the server passed to the application. uvicorn and hypercorn hang
            their configuration on its object; other servers say it on the command line only.
    """
    config = getattr(getattr(receive, "__self__", None), "config", None)
    asked = (getattr(config, name, False) is True for name in ("should_reload", "use_reloader"))
    return any(asked) or "--reload" in sys.argv


def server_of_process() -> str | None:
    """Return name and version of this process's server, from its imported modules, or None."""
    for name, module in IMPORTED.items():
        if module in sys.modules:
            return with_version(name)
    return None


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
