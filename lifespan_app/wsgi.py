"""``get_wsgi_application``, as in ``django.core.wsgi``, with the lifespan in a background thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, wraps
from typing import Any

import django
from asgiref.sync import iscoroutinefunction
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest

from .default import lifespan
from .engine.errors import NotRunning
from .handler import unready
from .state import RequestState


class LifespanWSGIRequest(WSGIRequest):
    """Django's WSGI request, with ``state``."""

    @cached_property
    def state(self) -> RequestState:
        """What the process has open. A middleware that assigns ``request.state`` wins."""
        return RequestState({})


class LifespanWSGIHandler(WSGIHandler):
    """Answer HTTP as Django's handler does; async views run on the loop of the lifespan."""

    request_class = LifespanWSGIRequest

    def load_middleware(self, is_async: bool = False) -> None:
        """Load the project's middleware, and behind it what answers for what is not up yet."""
        super().load_middleware(is_async)
        self._exception_middleware.append(unready)  # type: ignore[attr-defined]

    def make_view_atomic(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """Return a view as Django wants it; an async one as one that a sync handler can call."""
        view = super().make_view_atomic(view)
        if not iscoroutinefunction(view) or not has_loop_for(view):
            return view

        # Not what marks it as async.
        @wraps(view, updated=())
        def on_its_loop(*args: Any, **kwargs: Any) -> Any:
            async def call() -> Any:
                return await view(*args, **kwargs)

            return lifespan.call(call)

        return on_its_loop


def has_loop_for(view: Callable[..., Any]) -> bool:
    """Tell whether a lifespan has a loop for an async view; Django gives it one of its own else."""
    from .health import livez

    if view is livez:
        # Who asks whether a process is alive must not wait for the plan.
        return False
    try:
        return lifespan.host.without_run(lifespan, "An async view can't be called") is not None
    except NotRunning:
        # It may do without; what it reads raises the error.
        return False


def get_wsgi_application() -> LifespanWSGIHandler:
    """Return the project's WSGI application, which opens the plan in a background thread.

    It is opened at its first use in each process, and closed when that ends. The setting
    ``WITHOUT_SERVER_LIFESPAN`` wins, where a project has it.

    Raises:
        PlanError: the plan can't be made; the error of a broken ``lifespan.py`` is its cause.
    """
    django.setup(set_prefix=False)
    from .host import DjangoHost, install
    from .uninstalled import warn_of_it

    install(lifespan)
    warn_of_it()
    lifespan.plan()
    if isinstance(lifespan.host, DjangoHost):
        lifespan.host.unserved.asked_for = True
    return LifespanWSGIHandler()
