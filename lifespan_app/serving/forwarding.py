"""Requests of ASGI servers without a lifespan, answered on the loop of the plan.

daphne has a loop of its own, where what was opened in a background thread can't be awaited. So the
whole call goes over to the loop of that thread, and its messages come and go between the two.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.handlers.asgi import get_script_prefix
from django.urls import Resolver404, resolve

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

T = TypeVar("T")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]


async def was_forwarded(
    application: Application, scope: Scope, receive: Receive, send: Send
) -> bool:
    """Call an application on the loop of the run that is meant, if that is another one than this.

    Args:
        application: what is called.
        scope: what it is called with, as the server gave it.
        receive: likewise.
        send: likewise.

    Returns:
        True if it was called; False if it is to be called here.
    """
    run = await run_elsewhere(scope)
    if run is None:
        return False
    scope = {**scope, SCOPE_KEY: run}
    await on_loop_of(run, application, scope, back_here(receive), back_here(send))
    return True


async def run_elsewhere(scope: Scope) -> Run | None:
    """Return the run that is meant, opened now if need be; None without one, or if it is here."""
    loop = asyncio.get_running_loop()
    if any(run.loop is loop for run in lifespan.runs) or is_left_to_django():
        return None
    if nothing_is_up(lifespan) and not may_open(scope):
        return None
    try:
        run: Run = await run_to_acall(lifespan, "A view")
    except LifespanError:
        # The view may do without. If not, what it reads raises the error.
        return None
    return run


def may_open(scope: Scope) -> bool:
    """Return True if a request may have the plan opened in a background thread."""
    host = lifespan.adapter
    return (
        isinstance(host, DjangoAdapter) and host.background.may_open() and not asks_if_alive(scope)
    )


def asks_if_alive(scope: Scope) -> bool:
    """Return True for a request to ``livez``, which must not wait for the plan."""
    if scope["type"] != "http":
        return False
    path = scope["path"].removeprefix(get_script_prefix(scope))
    try:
        return resolve(path).func is livez
    except Resolver404:
        return False


async def on_loop_of(
    run: Run, application: Application, scope: Scope, receive: Receive, send: Send
) -> None:
    """Call an application on the loop of a run. If this task is cancelled, so is the call."""

    async def call() -> None:
        if not scope.get("state"):
            # These servers hand no state to requests.
            scope["state"] = dict(run.state)
        await application(scope, receive, send)

    await asyncio.wrap_future(send_to(call(), run.loop, carried(run.loop_thread)))


def back_here(function: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """Return what calls a function on the loop that runs now, from another one."""
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()

    async def call(*args: Any) -> T:
        async def called() -> T:
            return await function(*args)

        return await asyncio.wrap_future(send_to(called(), loop, context.copy()))

    return call
