"""One warning at the first request of a process whose lifespan has not begun."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.core.signals import request_started

from lifespan_app.engine.errors import PlanError
from lifespan_app.engine.lifespan import Lifespan
from lifespan_app.engine.logger import logger
from lifespan_app.engine.wording import count

from .advice import cure_for_asgi, cure_for_wsgi, in_test

UID = "lifespan_app.integration.first_request"


class FirstRequest:
    """A check, made once, that a lifespan has begun when the first request arrives.

    Args:
        lifespan: the declared hooks.
        opened_later: returns True if a background thread opens the plan at its first use.
    """

    def __init__(self, lifespan: Lifespan, opened_later: Callable[[], bool]) -> None:
        self._lifespan = lifespan
        self._opened_later = opened_later
        self._first = threading.Lock()

    def listen(self) -> None:
        """Connect to ``request_started``."""
        request_started.connect(self.came, weak=False, dispatch_uid=UID)

    def came(self, **given: Any) -> None:
        """Receive the first request: disconnect, and log a warning if no lifespan has begun."""
        request_started.disconnect(dispatch_uid=UID)
        # Requests may arrive at the same time, and a test opens its lifespan itself.
        if not self._first.acquire(blocking=False) or in_test():
            return
        not_run = self._not_run()
        if not_run:
            logger.warning(
                "Requests are served without a lifespan: %s declared, none has run. %s",
                count(not_run, "hook"),
                cure_for_wsgi() if "environ" in given else cure_for_asgi(given.get("scope")),
            )

    def _not_run(self) -> int:
        """Return the number of hooks that should have run by now."""
        runs = self._lifespan.runs
        if any(not run.inherited for run in runs) or self._opened_later():
            return 0
        try:
            return len(self._lifespan.plan().hooks)
        except PlanError:
            # A broken plan fails a server's startup, and the checks report it.
            return 0
