"""A resource that works on one loop only, and views that use it: in this process, or in a project's.

Wherever they are served, they answer the same, or something runs on a loop that is not the lifespan's.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.http import HttpResponse, StreamingHttpResponse

from lifespan_app import Lifespan, Resource
from tests.django.conftest import MountViews

# In this process


class Shelf:
    """Something that works on one loop only."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    async def books(self) -> int:
        assert asyncio.get_running_loop() is self.loop
        return 3


@pytest.fixture
def shelf(lifespan: Lifespan) -> Resource[Shelf]:
    """Declare a resource called `shelf`, and return its handle."""

    @lifespan.resource
    async def shelf() -> AsyncIterator[Shelf]:
        yield Shelf()

    return shelf


@pytest.fixture
def views(shelf: Resource[Shelf], mount: MountViews) -> None:
    """Mount async views that use the shelf, and some that don't."""

    async def counted(request: Any) -> HttpResponse:
        return HttpResponse(await shelf(request).books())

    async def state(request: Any) -> HttpResponse:
        return HttpResponse(await request.state.shelf.books())

    async def state_of_scope(request: Any) -> HttpResponse:
        return HttpResponse(await request.scope["state"]["shelf"].books())

    async def streamed(request: Any) -> StreamingHttpResponse:
        async def books() -> AsyncIterator[str]:
            for _ in range(await shelf(request).books()):
                yield "book "

        return StreamingHttpResponse(books())

    async def stored(request: Any) -> HttpResponse:
        await shelf(request).books()
        return HttpResponse(await Group.objects.acount())

    async def sync_inside(request: Any) -> HttpResponse:
        # sync_to_async gives the thread of the request a loop, and never takes it back.
        return HttpResponse(await sync_to_async(int)(await shelf(request).books()))

    async def threads(request: Any) -> HttpResponse:
        return HttpResponse(threading.get_ident())

    async def free(request: Any) -> HttpResponse:
        return HttpResponse("free")

    served = [counted, state, state_of_scope, streamed, stored, sync_inside, threads, free]
    mount(**{view.__name__: view for view in served})


# In a project

LIFESPAN = """
import asyncio

from journal import write
from lifespan_app import lifespan


class Client:
    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.both = asyncio.Barrier(2)

    async def get(self, page):
        assert asyncio.get_running_loop() is self.loop
        return f"<{page}>"

    async def meet(self):
        async with asyncio.timeout(20):
            await self.both.wait()


@lifespan.resource
async def client():
    write("opens")
    yield Client()
    write("closes")
"""

FAILS = """
from lifespan_app import lifespan


@lifespan.resource
async def client():
    raise OSError("nobody is there")
"""

VIEWS = """
from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpResponse, StreamingHttpResponse
from lifespan_app import lifespan

from .lifespan import client


async def awaited(request):
    return HttpResponse(await client(request).get("emma"))


def called(request):
    return HttpResponse(lifespan.call(client(request).get, "emma"))


def converted(request):
    return HttpResponse(async_to_sync(client(request).get)("emma"))


async def state(request):
    request.state.note = "noted"
    known = "client" in request.state, request.state["client"] is client(request)
    return HttpResponse(f"{known} {request.state.note} {await request.state.client.get('emma')}")


async def streamed(request):
    async def pages():
        for page in "abc":
            yield await client(request).get(page)

    return StreamingHttpResponse(pages())


async def met(request):
    await client(request).meet()
    return HttpResponse("met")


async def broken(request):
    await client(request).get("emma")
    return 1 / 0


async def free(request):
    return HttpResponse("free")
"""
