"""The settings of the engine, and their defaults."""

# Without "from __future__ import annotations": a named tuple compiles each annotation that is a
# string, which takes most of the time that its class does.

from collections.abc import Mapping
from typing import Any, NamedTuple


class Settings(NamedTuple):
    """The settings of the engine; times are in seconds."""

    service_type: str = "app"
    environment: str = "development"
    release: str = ""
    config: Mapping[str, Any] = {}
    startup_deadline: float | None = None
    """None: the server's (``Adapter.startup_deadline``)."""
    shutdown_timeout: float = 5.0
    shutdown_deadline: float = 8.0
    shutdown_notice: bool = False
    """True if a signal announces the shutdown before the server does."""
    drain_seconds: float = 0.0
    """The delay of the server's handler of that signal."""
    slow_loop: float = 1.0
    """The time from which the loop counts as blocked while the process serves; 0: it is not watched."""
    hooks: Mapping[str, Mapping[str, Any]] = {}
    spawn: Mapping[str, int] = {"running": 100, "waiting": 1000}
    """How many spawned functions run at once, and how many wait for a place."""
    skip: frozenset[str] = frozenset()
    """The keys of hooks to leave out, together with what depends on them."""
