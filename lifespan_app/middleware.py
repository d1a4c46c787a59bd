"""Two middleware classes: one for an ASGI application, one for Django's ``MIDDLEWARE``.

``LifespanMiddleware`` wraps an ASGI application of any framework, in ``asgi.py``. It works without
Django. ``LifespanStateMiddleware`` goes into Django's ``MIDDLEWARE``.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .engine.errors import LifespanError
from .engine.running.current import SCOPE_KEY, Runs
from .integration.default import lifespan
from .serving.request_state import RequestState

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse, HttpResponseBase

    from .engine.context import LifespanContext
    from .serving.mounted import Forwarded
    from .serving.protocol import Receive, Scope, Send, ServedRun

__all__ = ["AsyncMiddleware", "LifespanMiddleware", "LifespanStateMiddleware"]


class LifespanMiddleware:
    """Add our lifespan to any ASGI application, which may have one of its own.

    ::

        application = LifespanMiddleware(get_asgi_application())

    Args:
        app: the application: Django's, Starlette's, FastAPI's ...
        context: the hooks' context, or the service type; None: from the settings.
        forward: applications mounted inside that one, to which it passes no lifespan:
            opened after its own, side by side, and closed before it.

    Raises:
        TypeError: ``forward`` is no list of applications, or holds ``app`` itself.
    """

    # Django refuses it in MIDDLEWARE at the server's start, and not with a TypeError in each request.
    sync_capable = False
    async_capable = False

    was_made = False
    """True if this process has one."""

    def __init__(
        self,
        app: Callable[[Any, Any, Any], Awaitable[None]],
        context: LifespanContext | str | None = None,
        forward: Iterable[Callable[[Any, Any, Any], Awaitable[None]]] = (),
    ) -> None:
        LifespanMiddleware.was_made = True
        self.app = app
        self.context = context
        self._runs: Runs[ServedRun] = Runs()
        caller = sys._getframe(1)
        self._place = (
            str(caller.f_globals.get("__name__")),
            caller.f_code.co_filename,
            caller.f_lineno,
        )
        names = {**caller.f_globals, **caller.f_locals}
        kind = app if hasattr(app, "__qualname__") else type(app)
        self._inside = (variable_of(app, names) or kind.__qualname__, app)
        self._forward = forwarded(forward, app, names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope."""
        if scope["type"] == "lifespan":
            from .serving.protocol import run_around

            run = run_around(lifespan, scope)
            if run is None:
                await self._serve(scope, receive, send)
                return
            self._runs.begin(run)
            if self._forward:
                await receive()  # an error before that would mean "no lifespan"
                raise LifespanError(
                    "This LifespanMiddleware has forward=, and stands inside another application "
                    "of ours, which drives the lifespan. Give forward= to the outermost "
                    "LifespanMiddleware."
                )
        elif SCOPE_KEY not in scope:
            run = self._runs.of_this_loop()
            if run is not None:
                scope[SCOPE_KEY] = run
                if not scope.get("state"):
                    # A server without lifespan state, which is optional:
                    # https://asgi.readthedocs.io/en/latest/specs/lifespan.html#scope
                    scope["state"] = dict(run.handed_out)
            elif is_django_around():
                from .serving.forwarding import was_forwarded

                if await was_forwarded(self.app, scope, receive, send):
                    return
        await self.app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        from .serving import mounted
        from .serving.protocol import serve_lifespan

        put_django_around()
        await serve_lifespan(
            lifespan,
            scope,
            receive,
            send,
            context=self.context,
            inner=mounted.stage_of(
                self._inside, scope, mounted.MountLocation(*self._place), self._forward
            ),
            begins=self._runs.begin,
        )


def forwarded(given: object, around: object, names: Mapping[str, object]) -> list[Forwarded]:
    """Return applications, each with the name of the variable that holds it.

    Args:
        given: the applications.
        around: the application that they are mounted in.
        names: the variables.

    Raises:
        TypeError: as for ``LifespanMiddleware``.
    """
    if not isinstance(given, Iterable) or isinstance(given, (str, Mapping)):
        raise TypeError(f"forward= takes a list of ASGI applications, not {given!r}.")
    found: list[Forwarded] = []
    for position, app in enumerate(given):
        if not callable(app):
            raise TypeError(f"forward= takes a list of ASGI applications; {app!r} is none.")
        if app is around:
            raise TypeError(
                "forward= holds the application that LifespanMiddleware stands around, whose "
                "lifespan it drives already: list only what is mounted inside."
            )
        if any(app is other for _, other in found):
            raise TypeError(f"forward= holds {app!r} twice.")
        found.append((variable_of(app, names) or f"forward_{position}", app))
    return found


def variable_of(app: object, names: Mapping[str, object]) -> str | None:
    """Return the name of the variable that holds an application; None if none does."""
    return next((name for name, value in names.items() if value is app), None)


def is_django_around() -> bool:
    """Return True in a process that has Django set up."""
    conf = sys.modules.get("django.conf")
    return conf is not None and conf.settings.configured


def put_django_around() -> None:
    """Give the default ``Lifespan`` Django's adapter, if Django is set up in this process."""
    if is_django_around():
        from .apps import install

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
            scope = getattr(request, "scope", None)
            request.state = RequestState(
                getattr(request, "environ", {}) if scope is None else scope
            )
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer 503 to a view that reads a resource before it is up."""
        from .serving.responses import answer_to

        return answer_to(request, error)


AsyncMiddleware = LifespanStateMiddleware
"""The name that ``LifespanStateMiddleware`` had before."""
