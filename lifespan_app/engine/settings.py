"""What the engine can be told, and its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Settings(NamedTuple):
    """What the engine can be told; times are in seconds."""

    service_type: str = "app"
    environment: str = "development"
    release: str = ""
    config: Mapping[str, Any] = {}
    startup_deadline: float | None = None
    """None: by what serves (``Host.startup_deadline``)."""
    shutdown_timeout: float = 5.0
    shutdown_deadline: float = 8.0
    shutdown_notice: bool = False
    """Whether a signal tells of the shutdown before the server does."""
    drain_seconds: float = 0.0
    """How long the server's handler of that signal is held back."""
    hooks: Mapping[str, Mapping[str, Any]] = {}
