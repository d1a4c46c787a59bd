"""Django's WSGI handler, with ``request.state``."""

from __future__ import annotations

from functools import cached_property

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest

from .handler import unready
from .request_state import RequestState


class LifespanWSGIRequest(WSGIRequest):
    """Django's WSGI request, with ``state``."""

    @cached_property
    def state(self) -> RequestState:
        """The open resources. A middleware that assigns ``request.state`` wins."""
        return RequestState(self.environ)


class LifespanWSGIHandler(WSGIHandler):
    """Answer HTTP as Django's handler does."""

    request_class = LifespanWSGIRequest

    def load_middleware(self, is_async: bool = False) -> None:
        """Load the project's middleware, and add the answer to ``ResourceNotReady`` to it."""
        super().load_middleware(is_async)
        self._exception_middleware.append(unready)  # type: ignore[attr-defined]
