"""A request that only Django's own code sees, so that this code is imported and has run before.

Nobody has sent it, so none of the project's code may see it: it passes Django's own middleware and context
processors only, without the cache, which would keep the answer. No signal is sent, no error is logged, and
no database is used.
"""

from __future__ import annotations

import types
from io import BytesIO
from types import ModuleType
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from django.conf import UserSettingsHolder, settings
from django.core.handlers import base
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.template import Context
from django.urls import path

from lifespan_app.engine.error_text import one_line
from lifespan_app.engine.logger import logger

from .warm_django import template_engines

TIMES = 8
"""Python adapts code to what it has seen in its first calls: https://peps.python.org/pep-0659/"""

LEFT_OUT = ("django.middleware.cache", "django.contrib.sites")
"""The cache would keep the answer, and the site of a request is read from the database."""

WORDS = '{% load i18n %}{% translate "Home" %}{{ user }}'
LINKS = '{% for n in numbers %}{% url "p" n %}{% endfor %}'
"""The parts of a small template, as pages have them."""


def is_djangos(name: str) -> bool:
    """Return True if a dotted name is Django's own."""
    return name.startswith("django.")


def page(request: HttpRequest, number: int) -> HttpResponse:
    """Render a template with each engine of Django's."""
    made = HttpResponse()
    for engine in template_engines():
        context = Context({"numbers": range(3)})
        for processor in engine.template_context_processors:
            if is_djangos(processor.__module__):
                context.update(processor(request))
        made.write(engine.from_string(WORDS + LINKS).render(context))
    return made


page.login_required = False  # type: ignore[attr-defined]  # as @login_not_required does

URLS = ModuleType("urls_of_a_warm_up")
URLS.urlpatterns = [path("<int:number>/", page, name="p")]  # type: ignore[attr-defined]


class Handler(ASGIHandler):
    """Django's handler with nothing but Django's own middleware."""

    def load_middleware(self, is_async: bool = False) -> None:
        """Load it, by Django's own method, which reads the names from the settings."""
        names = [
            name
            for name in settings.MIDDLEWARE
            if is_djangos(name) and not name.startswith(LEFT_OUT)
        ]
        loads = base.BaseHandler.load_middleware
        changed = UserSettingsHolder(settings)
        changed.MIDDLEWARE = names
        seen = {
            **vars(base),
            "settings": changed,
            # It would log an error, and mail it.
            "convert_exception_to_response": lambda get_response: get_response,
        }
        types.FunctionType(loads.__code__, seen, argdefs=loads.__defaults__)(self, is_async)


class Request(ASGIRequest):
    """A request for the page above."""

    urlconf = URLS  # type: ignore[assignment]  # a module will do, too


def host() -> str:
    """Return a host that requests may come for."""
    for allowed in settings.ALLOWED_HOSTS:
        if allowed != "*":
            return str(allowed).removeprefix(".")
    return "localhost"


def scope() -> dict[str, Any]:
    """Return the scope of a request."""
    headers = {"host": host()}
    if settings.SECURE_PROXY_SSL_HEADER:
        name, value = settings.SECURE_PROXY_SSL_HEADER
        headers[name.removeprefix("HTTP_").replace("_", "-").lower()] = value
    return {
        "type": "http",
        "http_version": "1.1",
        "scheme": "https",
        "method": "GET",
        "path": "/1/",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


async def answer() -> None:
    """Answer the request a few times, as far as the project's middleware allows that."""
    # As @non_atomic_requests does: ATOMIC_REQUESTS would open a connection.
    page._non_atomic_requests = set(connections.settings)  # type: ignore[attr-defined]
    try:
        handler = Handler()
        for _ in range(TIMES):
            async with ThreadSensitiveContext():
                await handler.get_response_async(Request(scope(), BytesIO()))
    except Exception as error:
        # Such as AuthenticationMiddleware behind a session middleware of the project's own.
        logger.debug("Django's middleware can't be warmed up: %s", one_line(error), error=error)
