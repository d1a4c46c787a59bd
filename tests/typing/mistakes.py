"""What type checkers have to refuse: every line marked as an error, and no other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
from django.http import HttpRequest

from lifespan_app import Resource, lifespan
from lifespan_app.asgi import get_asgi_application


@lifespan.resource
async def http_client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


@lifespan.on_start
async def warm(http_client: httpx.AsyncClient) -> None: ...


async def a_view(request: HttpRequest) -> None:
    http_client(request).fetch("/")  # error
    http_client().get("/")  # error
    http_client.get("/")  # error
    await http_client(request)  # error
    wrong: httpx.Client = http_client(request)  # error
    also_wrong: Resource[httpx.Client] = http_client  # error
    await warm("not a client")  # error
    await warm()  # error
    del wrong, also_wrong


@lifespan.resource(prioritee=1)  # error
async def misspelt() -> int:
    return 1


lifespan.background(on_crash="explode")  # error

get_asgi_application(mounts={"/api": "books.api:api"})  # error
get_asgi_application(mounts=[("/api", http_client)])  # error
