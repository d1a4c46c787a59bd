"""``get_wsgi_application``, as in ``django.core.wsgi``, with the lifespan in a background thread."""

from __future__ import annotations

from functools import cached_property

import django
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest

from .integration.default import lifespan
from .serving.handler import unready
from .serving.request_state import RequestState


class LifespanWSGIRequest(WSGIRequest):
    """Django's WSGI request, with ``state``."""

    @cached_property
    def state(self) -> RequestState:
        """What the process has open. A middleware that assigns ``request.state`` wins."""
        return RequestState(self.environ)


class LifespanWSGIHandler(WSGIHandler):
    """Answer HTTP as Django's handler does."""

    request_class = LifespanWSGIRequest

    def load_middleware(self, is_async: bool = False) -> None:
        """Load the project's middleware, and behind it what answers for what is not up yet."""
        super().load_middleware(is_async)
        self._exception_middleware.append(unready)  # type: ignore[attr-defined]


def get_wsgi_application() -> LifespanWSGIHandler:
    """Return the project's WSGI application, which opens the plan in a background thread.

    It is opened at its first use in each process, and closed when that ends. The setting
    ``WITHOUT_SERVER_LIFESPAN`` wins, where a project has it.

    Raises:
        PlanError: the plan can't be made; the error of a broken ``lifespan.py`` is its cause.
    """
    django.setup(set_prefix=False)
    from .integration.adapter import DjangoHost, install
    from .integration.not_installed import warn_of_it

    install(lifespan)
    warn_of_it()
    lifespan.plan()
    if isinstance(lifespan.host, DjangoHost):
        lifespan.host.unserved.asked_for = True
    return LifespanWSGIHandler()
