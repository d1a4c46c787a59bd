"""
A view that reads a resource, beside plain Django whose view reads a module global. All systems serve the same path, each
with a handler, a handler class and a request class of its own: Python adapts its bytecode to the classes that it meets.
asgi-lifecycle hands out no state, so its view reads the global. In each of the fresh processes all systems take turns in
blocks of a few requests, in another order each round, and each block is compared with plain Django's block of the same
round. A process gives one sample: the median of its blocks. Plain Django runs twice, so the table shows how far apart two equal
systems are. Time is the processor's, of all threads.

A *whole request* is what a server asks for. In the *core of a request* the reading of the body, signals and threads are left
out: they are the same for all and much larger. Starlette is no Django: it stands there as the outside reference.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from types import ModuleType
from typing import Any

from benchmarks.processes import answer
from benchmarks.results import AGAIN, Row, Table
from benchmarks.systems import AIODRF, LIFECYCLE, MANAGERS, OURS, PLAIN, STARLETTE, installed

TITLE = "Requests"
ROUNDS = 15
WARM_UP = 50
CORE_AT_MOST = 1.01
HANDLE, ITEM, ATTRIBUTE = (
    f"{OURS}, handle(request)",
    f'{OURS}, request.state["name"]',
    f"{OURS}, request.state.name",
)
KINDS = {"core": (240, 4), "async": (60, 5), "sync": (40, 5)}
"""The rounds in a process, and the requests of a block."""

Application = Callable[..., Awaitable[None]]


VIEW = """
{is_async}def view(request):
    client = {expression}
    return HttpResponse(client.answer)
"""


class Client:
    """The object that views use."""

    answer = b"a book"


CLIENT = Client()


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way to serve the view."""

    application: Application
    urls: ModuleType


def contestants(kind: str) -> dict[str, Contestant]:
    """Return the ways to serve the view, by name."""
    from django.core.handlers.asgi import ASGIHandler, get_script_prefix
    from django.http import HttpResponse
    from django.test import override_settings
    from django.urls import path, set_script_prefix

    from lifespan_app import lifespan
    from lifespan_app.handler import LifespanASGIHandler

    class Core(ASGIHandler):
        """A handler without the common parts of a request: body, signals and threads."""

        async def handle(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
            set_script_prefix(get_script_prefix(scope))
            request, _ = self.create_request(scope, BytesIO())
            assert request is not None
            response = await self.run_get_response(request)
            await self.send_response(response, send)

    def handler(handler_class: type[ASGIHandler]) -> Any:
        parents = (Core, handler_class) if kind == "core" else (handler_class,)
        request_class = type("RequestOfItsOwn", (handler_class.request_class,), {})
        return type("HandlerOfItsOwn", parents, {"request_class": request_class})()

    def contestant(application: Application, expression: str) -> Contestant:
        # Code of its own for each, as adapted bytecode belongs to code; and URLs of its own, as a longer
        # way through a list of patterns would count.
        names = {**read_by, "HttpResponse": HttpResponse, "__name__": __name__}
        is_async = "" if kind == "sync" else "async "
        exec(VIEW.format(is_async=is_async, expression=expression), names)
        urls = ModuleType("urls_of_a_contestant")
        vars(urls)["urlpatterns"] = [path("book/", names["view"])]
        return Contestant(application=application, urls=urls)

    @lifespan.resource
    async def http_client() -> AsyncIterator[Client]:
        yield CLIENT

    read_by: dict[str, Any] = {"CLIENT": CLIENT, "Client": Client, "http_client": http_client}
    found = {
        PLAIN: contestant(handler(ASGIHandler), "CLIENT"),
        PLAIN + AGAIN: contestant(handler(ASGIHandler), "CLIENT"),
        HANDLE: contestant(handler(LifespanASGIHandler), "http_client(request)"),
        ITEM: contestant(handler(LifespanASGIHandler), 'request.state["http_client"]'),
        ATTRIBUTE: contestant(handler(LifespanASGIHandler), "request.state.http_client"),
    }
    for name in installed([MANAGERS, LIFECYCLE, AIODRF]):
        if name == MANAGERS:
            from django_asgi_lifespan.handler import LifespanASGIHandler as PeersHandler
            from django_asgi_lifespan.register import register_lifespan_manager

            @contextlib.asynccontextmanager
            async def manager() -> AsyncIterator[dict[str, Client]]:
                yield {"http_client": CLIENT}

            register_lifespan_manager(context_manager=manager)
            middleware = "django_asgi_lifespan.middleware.LifespanStateMiddleware"
            with override_settings(MIDDLEWARE=[middleware]):
                found[name] = contestant(handler(PeersHandler), 'request.state["http_client"]')
        elif name == LIFECYCLE:
            from asgi_lifecycle.middleware import LifespanMiddleware

            found[name] = contestant(LifespanMiddleware(handler(ASGIHandler)), "CLIENT")
        else:
            from aiodrf_asgi_lifespan.asgi import LifespanApplication, get_lifespan_state

            @contextlib.asynccontextmanager
            async def resources() -> AsyncIterator[Client]:
                yield CLIENT

            read_by["get_lifespan_state"] = get_lifespan_state
            found[name] = contestant(
                LifespanApplication(handler(ASGIHandler), lifespan=resources),
                "get_lifespan_state(request, Client)",
            )
    if kind != "core" and installed([STARLETTE]):
        found[STARLETTE] = _starlette(kind)
    return found


def _starlette(kind: str) -> Contestant:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    @contextlib.asynccontextmanager
    async def resources(_: Starlette) -> AsyncIterator[dict[str, Client]]:
        yield {"http_client": CLIENT}

    async def view(request: Request) -> Response:
        return Response(request.state.http_client.answer)

    def sync_view(request: Request) -> Response:
        return Response(request.state.http_client.answer)

    routes = [Route("/book/", sync_view if kind == "sync" else view)]
    application = Starlette(routes=routes, lifespan=resources)
    return Contestant(application=application, urls=ModuleType("none"))


HEADERS = {
    "host": "localhost:8000",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language": "en,de;q=0.7",
    "accept-encoding": "gzip, deflate, br, zstd",
    "connection": "keep-alive",
}
SCOPE = {
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
    "headers": [(name.encode(), value.encode()) for name, value in HEADERS.items()],
}
"""A scope like that of uvicorn, with the headers of a browser."""


async def _send(message: Mapping[str, Any]) -> None:
    if message.get("status", 200) != 200:
        raise RuntimeError(message)


def _client_that_stays() -> Callable[[], Awaitable[dict[str, Any]]]:
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in messages:
            return message
        await asyncio.Event().wait()
        raise AssertionError("never reached")

    return receive


async def block(contestant: Contestant, requests: int, state: dict[str, Any]) -> float:
    """Serve requests one after the other. Return the processor's microseconds of one."""
    from django.conf import settings

    settings.ROOT_URLCONF = contestant.urls
    application = contestant.application
    begun = time.process_time()
    for _ in range(requests):
        # As servers do: a copy of the lifespan's state for each request.
        await application({**SCOPE, "state": state.copy()}, _client_that_stays(), _send)
    taken = (time.process_time() - begun) / requests * 1e6
    # A loop that never gets its turn counts as blocked, and is reported.
    await asyncio.sleep(0)
    return taken


@contextlib.asynccontextmanager
async def running(application: Application) -> AsyncIterator[dict[str, Any]]:
    """Start an application's lifespan, yield its state, and stop it."""
    to_application: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_application: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
    life = asyncio.ensure_future(application(scope, to_application.get, from_application.put))
    await to_application.put({"type": "lifespan.startup"})
    answered = await from_application.get()
    if answered["type"] != "lifespan.startup.complete":
        raise RuntimeError(answered)
    yield state
    await to_application.put({"type": "lifespan.shutdown"})
    await life


async def here(kind: str, seed: int) -> dict[str, tuple[float, float]]:
    """Return the microseconds of a request of each contestant, and the ratio to plain Django."""
    rounds, requests = KINDS[kind]
    entered = contestants(kind)
    order = random.Random(seed)
    names = list(entered)
    taken: dict[str, list[float]] = {name: [] for name in names}
    async with contextlib.AsyncExitStack() as stack:
        states = {
            name: {}
            if name.startswith(PLAIN)
            else await stack.enter_async_context(running(one.application))
            for name, one in entered.items()
        }
        for name in names:
            await block(entered[name], WARM_UP, states[name])
        gc.collect()
        gc.freeze()
        for _ in range(rounds):
            order.shuffle(names)
            for name in names:
                taken[name].append(await block(entered[name], requests, states[name]))
    return {
        name: (
            statistics.median(each),
            statistics.median(a / b for a, b in zip(each, taken[PLAIN], strict=True)),
        )
        for name, each in taken.items()
    }


def measure(rounds: int = ROUNDS) -> Sequence[Table]:
    """Measure in `rounds` processes for each kind."""
    processes: dict[str, list[dict[str, tuple[float, float]]]] = {kind: [] for kind in KINDS}
    for number in range(rounds):
        for kind, found in processes.items():
            found.append(answer(["-m", "benchmarks.request", kind, str(number)]))
    return [_table(kind, found) for kind, found in processes.items()]


def _table(kind: str, processes: list[dict[str, tuple[float, float]]]) -> Table:
    names = list(processes[0])
    ratios = {name: [found[name][1] for found in processes] for name in names}
    if kind == "core":
        peers = [statistics.median(ratios[name]) for name in (MANAGERS, AIODRF) if name in names]
        goal = f"at most {CORE_AT_MOST} of the slower of {MANAGERS} and {AIODRF}"
        at_most = max(peers) * CORE_AT_MOST if peers else None
        judged = {HANDLE} if peers else set()
    else:
        goal = f"within {PLAIN} against itself"
        # Which of two equal handlers is the second one is chance.
        at_most = max(max(ratio, 1 / ratio) for ratio in ratios[PLAIN + AGAIN])
        judged = {HANDLE, ITEM, ATTRIBUTE}
    rows = [
        Row(
            name=name,
            samples=[found[name][0] for found in processes],
            ratios=ratios[name],
            goal=f"{goal}: {at_most:.3f}" if name in judged else "",
            ratio_at_most=at_most,
            drawn=name != STARLETTE,
            why="a read looks whether the hook that reads has asked, and whether it is the right loop",
        )
        for name in names
    ]
    words = {
        "core": "Core of a request",
        "async": "Whole request, async view",
        "sync": "Whole request, sync view",
    }
    return Table(
        title=words[kind],
        unit="us",
        rows=rows,
        against=PLAIN,
        noise_at_most=0.02 if kind != "sync" else 0.04,
        plot="ratio",
    )


if __name__ == "__main__":
    import django
    from django.conf import settings

    settings.configure(
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="for benchmarks only",
        MIDDLEWARE=[],
        USE_TZ=True,
        DEBUG_PROPAGATE_EXCEPTIONS=True,
    )
    django.setup()
    print(json.dumps(asyncio.run(here(sys.argv[1], int(sys.argv[2])))))
