"""The hook whose code is running: a context variable that its task or thread carries."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol


class Inside(Protocol):
    """What code may be part of: a hook, or the body of ``lifespan.run()``."""

    @property
    def run(self) -> Any:
        """The run."""

    def sink(self) -> Any:
        """Return where the log lines of the step go that is running; None where none is."""


current_hook: ContextVar[Inside | None] = ContextVar("lifespan_app_here", default=None)
"""The hook, or the body of ``lifespan.run()``, that this code is part of."""
