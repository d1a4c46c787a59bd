"""The lifespan's loop for the async code of WSGI requests, and their ``request.state``.

Under WSGI, Django calls each async view with ``async_to_sync``, on a loop for this call only
(https://docs.djangoproject.com/en/stable/topics/async/#async-views), where a resource of another loop
can't be awaited. While a request is answered, ``async_to_sync`` uses the lifespan's loop instead. View,
middleware and stream run there, and their sync calls still run in the thread of the request.
"""

from __future__ import annotations

import asyncio
import threading
from functools import cache
from typing import Any

from django.core.signals import request_finished, request_started

from lifespan_app.engine.errors import LifespanError
from lifespan_app.engine.running.patched_threads import patched_threads
from lifespan_app.integration.advice import in_test
from lifespan_app.integration.asgiref_compat import (
    DeferredLoop,
    MainLoop,
    main_loop,
    restore_main_loop,
    serves_async_code,
    set_main_loop,
)
from lifespan_app.integration.background import is_left_to_django
from lifespan_app.integration.default import lifespan

PATIENCE = 5.0
"""Seconds that the loop of a test has to show that it is not blocked."""

UID = "lifespan_app.wsgi_requests"


def connect() -> None:
    """Connect to the signals of requests."""
    request_started.connect(request_begins, dispatch_uid=UID)
    request_finished.connect(request_ends, dispatch_uid=UID)


def disconnect() -> None:
    """Leave requests alone."""
    request_started.disconnect(dispatch_uid=UID)
    request_finished.disconnect(dispatch_uid=UID)


class Requests(threading.local):
    """The requests that this thread is answering: several if one view makes another request."""

    def __init__(self) -> None:
        self.main_loops: list[MainLoop | None] = []
        """The thread's main loop before each request; None if it was not changed."""


requests = Requests()


def request_begins(*, environ: dict[str, Any] | None = None, **kwargs: Any) -> None:
    """Lend the thread of a WSGI request the loop of the lifespan."""
    if environ is None:
        if "scope" in kwargs and not in_test():
            # The server is an ASGI server, whose requests don't need this.
            disconnect()
        return
    give_requests_state()
    before = set_main_loop(LOOP_OF_LIFESPAN) if may_lend() else None
    requests.main_loops.append(before)


def request_ends(**kwargs: Any) -> None:
    """Take back the loop that was lent: a thread serves other requests, and others' code, too."""
    if requests.main_loops:
        before = requests.main_loops.pop()
        if before is not None:
            restore_main_loop(before)


def may_lend() -> bool:
    """Return True if the async code of this thread has no place of its own to run."""
    if asyncio._get_running_loop() is not None or serves_async_code() or patched_threads():
        return False
    loop = main_loop()
    if loop is not None and loop is not LOOP_OF_LIFESPAN and loop.is_running():
        return False
    return not is_left_to_django()


def find_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop of the lifespan, opened now if necessary, or None."""
    from lifespan_app.engine.running.portal import run_to_call

    try:
        open_run = run_to_call if lifespan.runs else lifespan.adapter.fallback_run
        run = open_run(lifespan, "An async view")
    except LifespanError:
        # The code may not need the run. If it does, reading a resource raises the error.
        return None
    return run.loop if run is not None and (not in_test() or responds(run.loop)) else None


def responds(loop: asyncio.AbstractEventLoop) -> bool:
    """Return False for the loop of an async test that is blocked by waiting for this answer."""
    turned = threading.Event()
    loop.call_soon_threadsafe(turned.set)
    return turned.wait(PATIENCE)


LOOP_OF_LIFESPAN = DeferredLoop(find_loop)  # type: ignore[abstract]  # it needs no more methods


@cache
def give_requests_state() -> None:
    """Give WSGI requests ``request.state``, unless the project has a request class of its own."""
    from django.core.handlers.wsgi import WSGIHandler, WSGIRequest

    if WSGIHandler.request_class is WSGIRequest:
        from .wsgi_handler import LifespanWSGIRequest

        WSGIHandler.request_class = LifespanWSGIRequest
