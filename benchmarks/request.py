"""Measure a request that reads a resource, in comparison with plain Django and a global.

All contestants serve the same path with the same view, but for the line that gets the object. Each
has a handler, and classes, of its own: Python adapts its bytecode to the classes that it meets, so
where one class serves for several contestants, the others pay. They take turns in blocks of a few
requests, in another order each round, and each block is compared with the block of plain Django in
the same round. Plain Django runs twice: what lies between it and itself is noise. There are several
heats, each with new handlers, since each has its luck with where its memory lies. Time is the
processor's, of all threads: what else the machine does counts for nobody.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import random
import statistics
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from types import ModuleType
from typing import Any

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path, set_script_prefix

from benchmarks.figures import Figure, show

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"], SECRET_KEY="for benchmarks only", MIDDLEWARE=[], USE_TZ=True
    )
    django.setup()

from lifespan_app import lifespan
from lifespan_app.handler import LifespanASGIHandler

CORE_AT_LEAST = 0.995
HEATS = 18
WARM_UP = 50
CORE_ROUNDS, CORE_BLOCK = 300, 4
WHOLE_ROUNDS, WHOLE_BLOCK = 30, 5
GROUPS = 9

PLAIN, AGAIN = "plain Django, module global", "plain Django against itself"
BY_HANDLE = "ours, handle(request)"


class Client:
    """The object that views use."""

    answer = b"a book"


CLIENT = Client()


@lifespan.resource
async def http_client() -> AsyncIterator[Client]:
    """Provide the object as a resource."""
    yield CLIENT


async def by_global(request: HttpRequest) -> HttpResponse:
    """Answer with the module's global."""
    client = CLIENT
    return HttpResponse(client.answer)


async def by_handle(request: HttpRequest) -> HttpResponse:
    """Answer with the resource, by its handle."""
    client = http_client(request)
    return HttpResponse(client.answer)


async def by_item(request: HttpRequest) -> HttpResponse:
    """Answer with the resource, by item of the request's state."""
    client = request.state["http_client"]  # type: ignore[attr-defined]
    return HttpResponse(client.answer)


async def by_attribute(request: HttpRequest) -> HttpResponse:
    """Answer with the resource, by attribute of the request's state."""
    client = request.state.http_client  # type: ignore[attr-defined]
    return HttpResponse(client.answer)


View = Callable[[HttpRequest], Coroutine[Any, Any, HttpResponse]]


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way to serve the view."""

    name: str
    handler: ASGIHandler
    view: View
    urls: ModuleType
    ours: bool = False


class Core(ASGIHandler):
    """A handler without the common parts of a request: body, signals and threads."""

    async def handle(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Create the request, call the view, and send the response."""
        set_script_prefix(get_script_prefix(scope))
        request, _ = self.create_request(scope, BytesIO())
        assert request is not None
        response = await self.run_get_response(request)
        await self.send_response(response, send)


def contestants(*, core: bool) -> list[Contestant]:
    """Return plain Django twice, the ways to read a resource, and the other package if installed."""

    def handler(handler_class: type[ASGIHandler]) -> ASGIHandler:
        parents = (Core, handler_class) if core else (handler_class,)
        request_class = type("RequestOfItsOwn", (handler_class.request_class,), {})
        made: ASGIHandler = type("HandlerOfItsOwn", parents, {"request_class": request_class})()
        return made

    def ours(name: str, view: View) -> Contestant:
        return _contestant(name, handler(LifespanASGIHandler), view, ours=True)

    found = [
        _contestant(PLAIN, handler(ASGIHandler), by_global),
        _contestant(AGAIN, handler(ASGIHandler), by_global),
        ours(BY_HANDLE, by_handle),
        ours('ours, request.state["name"]', by_item),
        ours("ours, request.state.name", by_attribute),
    ]
    if importlib.util.find_spec("django_asgi_lifespan"):
        from django_asgi_lifespan.handler import LifespanASGIHandler as PeersHandler

        with override_settings(
            MIDDLEWARE=["django_asgi_lifespan.middleware.LifespanStateMiddleware"]
        ):
            peer = handler(PeersHandler)
        found.append(_contestant("django-asgi-lifespan, its middleware", peer, by_item))
    return found


def _contestant(name: str, handler: ASGIHandler, view: View, *, ours: bool = False) -> Contestant:
    # URLs of its own for each: a longer way through a list of patterns would count.
    urls = ModuleType("urls_of_a_contestant")
    vars(urls)["urlpatterns"] = [path("book/", view)]
    return Contestant(name=name, handler=handler, view=view, urls=urls, ours=ours)


def scope_of_a_request() -> dict[str, Any]:
    """Return a scope like that of uvicorn, with the headers of a browser."""
    headers = {
        "host": "localhost:8000",
        "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "accept-language": "en,de;q=0.7",
        "accept-encoding": "gzip, deflate, br, zstd",
        "connection": "keep-alive",
    }
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": "/book/",
        "raw_path": b"/book/",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


async def _send(message: Mapping[str, Any]) -> None:
    pass


def _client_that_stays() -> Callable[[], Awaitable[dict[str, Any]]]:
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in messages:
            return message
        await asyncio.Event().wait()
        raise AssertionError("never reached")

    return receive


async def block(contestant: Contestant, requests: int, state: dict[str, Any]) -> float:
    """Serve requests one after the other. Return the seconds."""
    settings.ROOT_URLCONF = contestant.urls
    handler = contestant.handler
    scope = scope_of_a_request()
    began = time.process_time()
    for _ in range(requests):
        # As servers do: a copy of the lifespan's state for each request.
        await handler({**scope, "state": state.copy()}, _client_that_stays(), _send)
    return time.process_time() - began


@asynccontextmanager
async def running(application: ASGIHandler) -> AsyncIterator[dict[str, Any]]:
    """Start an application's lifespan, yield its state, and stop it."""
    to_application: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_application: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
    life = asyncio.create_task(application(scope, to_application.get, from_application.put))
    await to_application.put({"type": "lifespan.startup"})
    answer = await from_application.get()
    if answer["type"] != "lifespan.startup.complete":
        raise RuntimeError(answer)
    yield state
    await to_application.put({"type": "lifespan.shutdown"})
    await life


async def race(*, core: bool, rounds: int, requests: int) -> dict[str, list[float]]:
    """Run all applications alternately. Return the ratios to plain Django by round."""
    ratios: dict[str, list[float]] = {one.name: [] for one in contestants(core=core)}
    order = random.Random(1)
    for _ in range(HEATS):
        entered = contestants(core=core)
        order.shuffle(entered)
        async with AsyncExitStack() as stack:
            state = {"http_client": CLIENT}  # for the peer, whose state is the scope's
            for one in entered:
                if one.ours:
                    state = await stack.enter_async_context(running(one.handler))
            for one in entered:
                await block(one, WARM_UP, state)
            gc.collect()
            gc.freeze()
            for _ in range(rounds):
                order.shuffle(entered)
                seconds = {one.name: await block(one, requests, state) for one in entered}
                for name, taken in seconds.items():
                    ratios[name].append(seconds[PLAIN] / taken)
            gc.unfreeze()
    del ratios[PLAIN]
    return ratios


def range_of_noise(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the lowest and highest median of plain Django against itself, over equal parts."""
    size = len(ratios) // GROUPS
    parts = [statistics.median(ratios[at * size : (at + 1) * size]) for at in range(GROUPS)]
    return min(parts), max(parts)


def measure() -> Sequence[Figure]:
    """Measure twice: the core of a request, and whole requests."""
    return [*_core(), *_whole()]


def _core() -> Iterator[Figure]:
    ratios = asyncio.run(race(core=True, rounds=CORE_ROUNDS, requests=CORE_BLOCK))
    yield from _figures("core of a request", ratios, {BY_HANDLE: CORE_AT_LEAST})


def _whole() -> Iterator[Figure]:
    ratios = asyncio.run(race(core=False, rounds=WHOLE_ROUNDS, requests=WHOLE_BLOCK))
    lowest, _ = range_of_noise(ratios[AGAIN])
    ours = (name for name in ratios if name.startswith("ours"))
    yield from _figures("whole request", ratios, dict.fromkeys(ours, lowest))


def _figures(
    part: str, ratios: dict[str, list[float]], at_least: dict[str, float]
) -> Iterator[Figure]:
    for name, taken in ratios.items():
        lowest, highest = range_of_noise(taken)
        yield Figure(
            benchmark="request",
            what=f"{part}: {name}",
            value=statistics.median(taken),
            unit="ratio",
            at_least=at_least.get(name),
            note=f"median of {len(taken)}; medians of {GROUPS} parts {lowest:.4f} to {highest:.4f}",
        )


if __name__ == "__main__":
    show(measure, "Requests, as rates to plain Django's")
