"""The hook that is running, and its lease: context variables of its task or thread."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Protocol

    from .lease import Lease

    # A protocol is expensive to create, and only type checkers read it.
    class Inside(Protocol):
        """The owner of running code: a hook, or the body of ``lifespan.run()``."""

        @property
        def run(self) -> Any:
            """The run."""

        def sink(self) -> Any:
            """Return the sink for log lines of the running step, or None if no step is running."""


current_hook: ContextVar[Inside | None] = ContextVar("lifespan_app_here", default=None)
"""The hook, or the body of ``lifespan.run()``, that this code is part of."""

current_lease: ContextVar[Lease | None] = ContextVar("current_lease", default=None)
"""The lease of the hook that this code is part of."""
