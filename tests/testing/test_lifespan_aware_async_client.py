"""`LifespanAwareAsyncClient`, as django-asgi-lifespan has it, and opening the lifespan itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.http import HttpResponse

from lifespan_app import Lifespan
from lifespan_app.errors import LifespanError
from lifespan_app.handler import LifespanASGIHandler
from lifespan_app.register import register_lifespan_manager
from lifespan_app.signals import asgi_lifespan
from lifespan_app.testing import LifespanAwareAsyncClient
from tests.django.conftest import MountViews
from tests.exchanges import lifespan_of


@pytest.fixture
def opened(lifespan: Lifespan) -> list[str]:
    """Declare a resource `shelf`; return what was opened."""
    opened: list[str] = []

    @lifespan.resource
    async def shelf() -> AsyncIterator[str]:
        opened.append("shelf")
        yield "shelf"
        opened.remove("shelf")

    return opened


@pytest.fixture(autouse=True)
def views(mount: MountViews) -> None:
    """Mount a sync and an async view that show what they find."""

    def show(request: Any) -> HttpResponse:
        return HttpResponse(f"{request.state['shelf']} {request.headers.get('state', '-')}")

    async def ashow(request: Any) -> HttpResponse:
        return show(request)

    mount(show=show, ashow=ashow)


async def test_requests_carry_the_state_that_it_is_given() -> None:
    client = LifespanAwareAsyncClient(state={"shelf": "given"})
    for path in ("/show/", "/ashow/"):
        assert (await client.get(path)).content == b"given -"


async def test_given_state_wins_over_a_run_that_is_open(opened: list[str]) -> None:
    async with lifespan_of(LifespanASGIHandler()) as state:
        client = LifespanAwareAsyncClient(state=state)
        assert (await client.get("/show/")).content == b"shelf -"


async def test_middleware_hands_out_the_given_state_itself(
    mount: MountViews, settings: Any
) -> None:
    settings.MIDDLEWARE = ["lifespan_app.middleware.LifespanStateMiddleware"]
    client = LifespanAwareAsyncClient(state={"shelf": "given"})
    assert (await client.get("/ashow/")).content == b"given -"


async def test_client_opens_the_lifespan_once_for_all_requests(opened: list[str]) -> None:
    async with LifespanAwareAsyncClient() as client:
        for path in ("/show/", "/ashow/"):
            assert (await client.get(path)).content == b"shelf -"
        assert client.state["shelf"] == "shelf"
        assert opened == ["shelf"]
    assert opened == []


async def test_client_enters_managers_too() -> None:
    @asynccontextmanager
    async def manager() -> AsyncIterator[dict[str, str]]:
        yield {"shelf": "managed"}

    register_lifespan_manager(context_manager=manager)
    try:
        async with LifespanAwareAsyncClient() as client:
            assert (await client.get("/ashow/")).content == b"managed -"
            assert client.state["shelf"] == "managed"
    finally:
        asgi_lifespan.receivers = []


async def test_client_takes_the_arguments_of_djangos_client() -> None:
    client = LifespanAwareAsyncClient(state={"shelf": "given"}, raise_request_exception=False)
    response = await client.get("/show/", headers={"state": "a header"})
    assert response.content == b"given a header"
    assert client.raise_request_exception is False


async def test_client_without_state_raises_an_error_with_a_remedy() -> None:
    with pytest.raises(LifespanError, match="async with LifespanAwareAsyncClient"):
        await LifespanAwareAsyncClient().get("/show/")
