"""Two that stand around something: an ASGI application, and a Django view.

``LifespanMiddleware`` goes around an ASGI application, of whatever framework, in ``asgi.py``. It
works where Django is not installed. ``LifespanStateMiddleware`` goes into Django's ``MIDDLEWARE``.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from .default import lifespan
from .engine.current import SCOPE_KEY, Runs
from .state import RequestState

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponseBase

    from .engine.context import LifespanContext
    from .protocol import Receive, Scope, Send, ServedRun

__all__ = ["AsyncMiddleware", "LifespanMiddleware", "LifespanStateMiddleware"]


class LifespanMiddleware:
    """Give any ASGI application our lifespan, around the one that it may have itself.

    ::

        application = LifespanMiddleware(get_asgi_application())

    Args:
        app: the application: Django's, Starlette's, FastAPI's ...
        context: what hooks are told, or the service type; None: as the settings say.
    """

    # Listed in Django's MIDDLEWARE by mistake, it is refused when the server starts, not by a
    # TypeError in each request.
    sync_capable = False
    async_capable = False

    def __init__(
        self,
        app: Callable[[Any, Any, Any], Awaitable[None]],
        context: LifespanContext | str | None = None,
    ) -> None:
        self.app = app
        self.context = context
        self._runs: Runs[ServedRun] = Runs()
        code, line = sys._getframe(1).f_code, sys._getframe(1).f_lineno
        self._place = (code.co_filename, line)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope."""
        if scope["type"] == "lifespan":
            from .protocol import run_around

            run = run_around(lifespan, scope)
            if run is None:
                await self._serve(scope, receive, send)
                return
            self._runs.begin(run)
        elif SCOPE_KEY not in scope and (run := self._runs.here()) is not None:
            scope[SCOPE_KEY] = run
            if not scope.get("state"):
                # This server hands no state to requests.
                scope["state"] = dict(run.handed_out)
        await self.app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        from . import inner
        from .protocol import serve_lifespan

        put_django_around()
        await serve_lifespan(
            lifespan,
            scope,
            receive,
            send,
            context=self.context,
            inner=inner.stage_of(self.app, scope, self._place),
            begins=self._runs.begin,
        )


def put_django_around() -> None:
    """Have Django's settings and connections used, in a process that has Django set up."""
    conf = sys.modules.get("django.conf")
    if conf is not None and conf.settings.configured:
        from .host import install

        install(lifespan)


class LifespanStateMiddleware:
    """Give requests ``request.state``, under any ASGI application class.

    Under ``lifespan_app.asgi.get_asgi_application()`` they have it already.

    Args:
        get_response: the next middleware or the view, sync or async.
    """

    sync_capable = True
    async_capable = True

    def __init__(
        self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]
    ) -> None:
        from asgiref.sync import iscoroutinefunction, markcoroutinefunction

        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Go on with a request that has its state."""
        if not isinstance(getattr(request, "state", None), RequestState):
            request.state = RequestState(getattr(request, "scope", {}))
        return self.get_response(request)


AsyncMiddleware = LifespanStateMiddleware
"""The name that ``LifespanStateMiddleware`` had before."""
