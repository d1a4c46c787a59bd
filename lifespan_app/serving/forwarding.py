"""Requests of ASGI servers without a lifespan, answered on the loop of the plan.

daphne has no lifespan (https://github.com/django/daphne/issues/264), and its loop can't await resources
of a background thread's loop. So the whole call runs on the loop of that thread, and its messages are
passed between the two.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.handlers.asgi import get_script_prefix
from django.urls import resolve

from lifespan_app.engine.errors import LifespanError
from lifespan_app.engine.running.current import SCOPE_KEY
from lifespan_app.engine.running.portal import carried, nothing_is_up, run_to_acall
from lifespan_app.engine.running.portal import send as send_to
from lifespan_app.health.views import livez
from lifespan_app.integration.adapter import DjangoAdapter
from lifespan_app.integration.background import is_left_to_django
from lifespan_app.integration.default import lifespan

if TYPE_CHECKING:
    from lifespan_app.engine.running.run import Run

    from .protocol import Receive, Scope, Send

T = TypeVar("T")

Application = Callable[[Any, Any, Any], Awaitable[None]]


async def was_forwarded(
    application: Application, scope: Scope, receive: Receive, send: Send
) -> bool:
    """Call an application on the loop of its run, if that is another loop than the running one.

    Args:
        application: the application to call.
        scope: the server's scope.
        receive: the server's ``receive``.
        send: the server's ``send``.

    Returns:
        True if it was called; False if the caller has to call it.
    """
    run = await run_elsewhere(scope)
    if run is None:
        return False
    scope = {**scope, SCOPE_KEY: run}
    await on_loop_of(run, application, scope, back_here(receive), back_here(send))
    return True


async def run_elsewhere(scope: Scope) -> Run | None:
    """Return the run of a request, opened now if necessary; None if it is on this loop."""
    loop = asyncio.get_running_loop()
    if any(run.loop is loop for run in lifespan.runs) or is_left_to_django():
        return None
    if nothing_is_up(lifespan) and not may_open(scope):
        return None
    try:
        run: Run = await run_to_acall(lifespan, "A view")
    except LifespanError:
        # The view may not need the run. If it does, reading a resource raises the error.
        return None
    return run


def may_open(scope: Scope) -> bool:
    """Return True if a request may open the plan in a background thread."""
    adapter = lifespan.adapter
    return (
        isinstance(adapter, DjangoAdapter)
        and adapter.background.may_open()
        and not asks_if_alive(scope)
    )


def asks_if_alive(scope: Scope) -> bool:
    """Return True for a request to ``livez``, which must not wait for the plan."""
    if scope["type"] != "http":
        return False
    path = scope["path"].removeprefix(get_script_prefix(scope))
    try:
        return resolve(path).func is livez
    except Exception:
        # No such path, or a URLconf that can't be imported: that is for Django and the middleware to answer.
        return False


async def on_loop_of(
    run: Run, application: Application, scope: Scope, receive: Receive, send: Send
) -> None:
    """Call an application on the loop of a run. If this task is cancelled, so is the call."""

    async def call() -> None:
        if not scope.get("state"):
            # Servers without a lifespan pass no state to requests: https://github.com/django/daphne/issues/264
            scope["state"] = dict(run.state)
        await application(scope, receive, send)

    await asyncio.wrap_future(send_to(call(), run.loop, carried(run.loop_thread)))


def back_here(function: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """Wrap a function, for code on another loop: it is called on the loop that runs now."""
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()

    async def call(*args: Any) -> T:
        async def called() -> T:
            return await function(*args)

        return await asyncio.wrap_future(send_to(called(), loop, context.copy()))

    return call
