"""Applications of other frameworks that may be mounted: none of these lines is an error."""

from __future__ import annotations

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from django.core.handlers.asgi import ASGIHandler
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.types import ASGIApp

from lifespan_app import LifespanMiddleware
from lifespan_app.asgi import get_asgi_application


async def function(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None: ...


def framework_types(starlette: ASGIApp, asgiref: ASGI3Application) -> None:
    get_asgi_application(mounts={"/starlette": starlette, "/asgiref": asgiref})


application = get_asgi_application(
    mounts={
        "/api": FastAPI(),
        "/site": Starlette(),
        "/old": ASGIHandler(),
        "/function": function,
    }
)
get_asgi_application({"/inside": LifespanMiddleware(application)})
apis: dict[str, FastAPI] = {"/v1": FastAPI()}
get_asgi_application(apis)
