"""The response to a request that reads a resource before it is up."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse

from lifespan_app.engine.errors import ResourceNotReady

RETRY_AFTER = 5
"""Seconds that a client should wait before the next attempt."""


def answer_to(request: Any, error: Exception) -> HttpResponse | None:
    """Answer 503 with ``Retry-After`` to a view's ``ResourceNotReady``; leave all else to Django.

    The text has no details: anybody may read it. ``Retry-After`` is section 10.2.3 of RFC 9110.
    """
    if not isinstance(error, ResourceNotReady):
        return None
    return HttpResponse(
        f"Not ready yet. Try again in {RETRY_AFTER} seconds.\n",
        status=503,
        content_type="text/plain; charset=utf-8",
        headers={"Retry-After": str(RETRY_AFTER), "Cache-Control": "no-store"},
    )
