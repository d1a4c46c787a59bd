"""What the engine can be told, and its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

AUTO = "auto"
LATE_SERVERS = {"gunicorn": 25.0, "": 25.0, "hypercorn": 55.0}
"""Startup deadlines in seconds where a server gives up by itself ("": one that is not known)."""
PATIENT = 300.0


class Settings(NamedTuple):
    """What the engine can be told; times are in seconds."""

    service_type: str = "app"
    environment: str = "development"
    release: str = ""
    config: Mapping[str, Any] = {}
    startup_deadline: float | None = None
    """None: by the server that is recognised."""
    shutdown_timeout: float = 5.0
    shutdown_deadline: float = 8.0
    shutdown_notice: bool = False
    """Whether a signal tells of the shutdown before the server does."""
    drain_seconds: float = 0.0
    """How long the server's handler of that signal is held back."""
    hooks: Mapping[str, Mapping[str, Any]] = {}

    def deadline_under(self, server: str | None) -> float:
        """Return the startup deadline under a server, in seconds.

        Args:
            server: name and version of the ASGI server, "" for one that is not known, None
                where no server is.
        """
        if self.startup_deadline is not None:
            return self.startup_deadline
        if server is None:
            return PATIENT
        return LATE_SERVERS.get(server.partition(" ")[0], PATIENT)
