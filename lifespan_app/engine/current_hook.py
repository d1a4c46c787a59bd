"""The hook that is running: a context variable of its task or thread."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol


class Inside(Protocol):
    """The owner of running code: a hook, or the body of ``lifespan.run()``."""

    @property
    def run(self) -> Any:
        """The run."""

    def sink(self) -> Any:
        """Return the sink for log lines of the running step, or None if no step is running."""


current_hook: ContextVar[Inside | None] = ContextVar("lifespan_app_here", default=None)
"""The hook, or the body of ``lifespan.run()``, that this code is part of."""
