"""`lifespan.call()` in sync views: the thread that waits makes the ORM calls of what it waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpResponse
from django.utils import translation

from lifespan_app import Lifespan
from lifespan_app.handler import LifespanASGIHandler
from tests.django.conftest import MountViews
from tests.exchanges import ask, lifespan_of

HERE: Callable[[], int] = threading.get_ident


@pytest.fixture
def threads() -> list[int]:
    """Return the threads of a view, and of the calls that the function it calls makes."""
    return []


def look(threads: list[int], lifespan: Lifespan) -> Callable[[Any], HttpResponse]:
    """Return a sync view that calls an async function, which makes thread-sensitive calls."""

    async def nested() -> None:
        threads.append(await sync_to_async(HERE)())
        await asyncio.gather(note(), note())

    async def note() -> None:
        threads.append(await sync_to_async(HERE)())

    def view(request: Any) -> HttpResponse:
        threads.append(HERE())
        lifespan.call(nested, timeout=10)
        return HttpResponse("looked")

    return view


async def test_sync_view_under_asgi_that_waits_runs_the_calls_of_the_async_code(
    lifespan: Lifespan, mount: MountViews, threads: list[int]
) -> None:
    mount(look=look(threads, lifespan))
    application = LifespanASGIHandler()
    async with lifespan_of(application):
        answer = await ask(application, "/look/")
    assert answer.text == "looked"
    assert len(threads) == 4
    assert len(set(threads)) == 1
    assert HERE() not in threads


async def test_sync_hook_that_waits_runs_the_calls_of_the_async_code(
    lifespan: Lifespan, threads: list[int]
) -> None:
    @lifespan.on_start
    def work() -> None:
        look(threads, lifespan)(None)

    async with lifespan_of(LifespanASGIHandler()):
        assert len(threads) == 4
        assert len(set(threads)) == 1


def test_call_within_a_call_is_served_by_the_first_thread(
    lifespan: Lifespan, threads: list[int]
) -> None:
    async def outer() -> None:
        await sync_to_async(look(threads, lifespan))(None)

    with lifespan.run_sync():
        lifespan.call(outer, timeout=10)
    assert set(threads) == {HERE()}
    assert len(threads) == 4


def test_call_below_async_to_sync_is_served(lifespan: Lifespan, threads: list[int]) -> None:
    async def outer() -> None:
        await sync_to_async(look(threads, lifespan))(None)

    with lifespan.run_sync():
        async_to_sync(outer)()
    assert set(threads) == {HERE()}
    assert len(threads) == 4


def test_task_left_by_a_call_is_served_elsewhere(lifespan: Lifespan) -> None:
    go_on = threading.Event()
    found: list[int] = []
    tasks: list[asyncio.Task[None]] = []

    async def later() -> None:
        await asyncio.to_thread(go_on.wait)
        found.append(await sync_to_async(HERE)())

    async def begin() -> None:
        tasks.append(asyncio.create_task(later()))

    async def end() -> None:
        await tasks[0]

    with lifespan.run_sync():
        lifespan.call(begin)
        go_on.set()
        lifespan.call(end, timeout=10)
    assert len(found) == 1
    assert HERE() not in found


def test_active_language_goes_with_the_call(lifespan: Lifespan) -> None:
    async def language() -> str | None:
        return translation.get_language()

    with lifespan.run_sync(), translation.override("de"):
        assert lifespan.call(language) == "de"
        assert translation.get_language() == "de"
