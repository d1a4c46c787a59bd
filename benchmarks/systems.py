"""The systems that are compared, each used as its documentation says.

The work is described once, as a list of `Work`. Each system declares it in its own way, and returns
a function that makes its ASGI application. Nothing is imported before a system needs it, as what an
import costs is measured too.

=====================  =========================================================================
ours                   a resource or start function for each work
django-asgi-lifespan   a context manager for each, registered in ``AppConfig.ready()``; functions
                       are receivers of ``asgi_startup``. ``in_one`` is a single manager, which
                       keeps the order
asgi-lifecycle         ``on_start`` and ``on_shutdown`` for each, with priorities in order
aiodrf-asgi-lifespan   one context manager with an ``AsyncExitStack``, as its README has it
Starlette              the same, given to ``Starlette(lifespan=...)``
=====================  =========================================================================
"""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

OURS, PLAIN = "lifespan_app", "plain Django"
MANAGERS, IN_ONE = "django-asgi-lifespan", "django-asgi-lifespan, one manager"
LIFECYCLE, AIODRF, STARLETTE = "asgi-lifecycle", "aiodrf-asgi-lifespan", "Starlette"
OTHERS = (MANAGERS, AIODRF, STARLETTE, LIFECYCLE)

MODULES = {
    MANAGERS: "django_asgi_lifespan",
    IN_ONE: "django_asgi_lifespan",
    LIFECYCLE: "asgi_lifecycle",
    AIODRF: "aiodrf_asgi_lifespan",
    STARLETTE: "starlette",
}

Application = Callable[..., Awaitable[object]]
Make = Callable[[], Application]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be done at startup and shutdown."""

    name: str
    enter: Callable[[], Any] | None = None
    """Called at startup; a coroutine function, or a function if `blocking`. None: nothing."""
    leave: Callable[[], Any] | None = None
    needs: Sequence[str] = ()
    blocking: bool = False
    only_start: bool = False
    """Declare a start function, instead of a resource."""
    module: str = "benchmarks"
    """Our start functions of one module run in the order in which they are written."""


def installed(names: Sequence[str]) -> list[str]:
    """Return the systems that can be imported here."""
    return [
        name for name in names if name not in MODULES or importlib.util.find_spec(MODULES[name])
    ]


# How each declares the work


def ours(works: Sequence[Work]) -> Make:
    """Declare a hook for each work."""
    from lifespan_app import lifespan
    from lifespan_app.asgi import get_asgi_application

    handles: dict[str, Any] = {}
    for work in works:
        needs = [handles[name] for name in work.needs]
        if work.only_start:
            lifespan.on_start(depends_on=needs)(_named(_function(work, work.enter), work))
        else:
            handles[work.name] = lifespan.resource(depends_on=needs)(_named(_generator(work), work))
    return get_asgi_application


def managers(works: Sequence[Work]) -> Make:
    """Register a context manager for each work; connect a receiver for each function."""
    from django_asgi_lifespan.asgi import get_asgi_application
    from django_asgi_lifespan.register import register_lifespan_manager
    from django_asgi_lifespan.signals import asgi_startup

    for work in works:
        if work.only_start:
            asgi_startup.connect(_receiver(work), weak=False)
        else:
            register_lifespan_manager(context_manager=_manager(work, {work.name: 1}))
    return get_asgi_application


def in_one(works: Sequence[Work]) -> Make:
    """Register one context manager that enters all, in order."""
    from django_asgi_lifespan.asgi import get_asgi_application
    from django_asgi_lifespan.register import register_lifespan_manager

    register_lifespan_manager(context_manager=_all_in_one(works))
    return get_asgi_application


def lifecycle(works: Sequence[Work]) -> Make:
    """Register a start function for each work, and a shutdown function for each that has an end."""
    from asgi_lifecycle import lifespan
    from asgi_lifecycle.middleware import LifespanMiddleware
    from django.core.asgi import get_asgi_application

    for number, work in enumerate(works):
        lifespan.on_start(number, name=work.name)(_function(work, work.enter))
        if not work.only_start:
            lifespan.on_shutdown(number, name=work.name)(_function(work, work.leave))
    return lambda: LifespanMiddleware(get_asgi_application())


def aiodrf(works: Sequence[Work]) -> Make:
    """Name one context manager that enters all, in order."""
    from aiodrf_asgi_lifespan.asgi import get_asgi_application

    return lambda: get_asgi_application(lifespan=_all_in_one(works))


def starlette(works: Sequence[Work]) -> Make:
    """Give Starlette one context manager that enters all, in order."""
    from starlette.applications import Starlette

    context = _all_in_one(works)
    return lambda: Starlette(lifespan=lambda _: context())


DECLARE: Mapping[str, Callable[[Sequence[Work]], Make]] = {
    OURS: ours,
    MANAGERS: managers,
    IN_ONE: in_one,
    LIFECYCLE: lifecycle,
    AIODRF: aiodrf,
    STARLETTE: starlette,
}


# The functions that a user would write


def _named(function: Any, work: Work) -> Any:
    # The registry tells functions apart by module and name, as they are written in files.
    function.__name__ = function.__qualname__ = work.name
    function.__module__ = work.module
    return function


def _function(work: Work, do: Callable[[], Any] | None) -> Callable[[], Any]:
    if work.blocking:

        def blocking() -> None:
            if do:
                do()

        return blocking

    async def function() -> None:
        if do:
            await do()

    return function


def _generator(work: Work) -> Callable[[], Any]:
    enter, leave = work.enter, work.leave
    if work.blocking:

        def blocking() -> Iterator[int]:
            if enter:
                enter()
            yield 1
            if leave:
                leave()

        return blocking

    async def resource() -> AsyncIterator[int]:
        if enter:
            await enter()
        yield 1
        if leave:
            await leave()

    return resource


def _manager(work: Work, value: Any) -> Callable[[], Any]:
    @asynccontextmanager
    async def manager() -> AsyncIterator[Any]:
        if work.enter:
            await work.enter()
        yield value
        if work.leave:
            await work.leave()

    return manager


def _receiver(work: Work) -> Callable[..., Awaitable[None]]:
    async def receiver(**_: Any) -> None:
        if work.enter:
            await work.enter()

    return receiver


def _all_in_one(works: Sequence[Work]) -> Callable[[], Any]:
    functions = [_function(work, work.enter) for work in works if work.only_start]
    entered = [_manager(work, 1) for work in works if not work.only_start]

    @asynccontextmanager
    async def context() -> AsyncIterator[dict[str, int]]:
        for function in functions:
            await function()
        async with AsyncExitStack() as stack:
            for manager in entered:
                await stack.enter_async_context(manager())
            yield {"value": 1}

    return context


# Driving an application


@dataclass(frozen=True)
class Moments:
    """When an application answered, by the clock that was used."""

    complete: float
    """`lifespan.startup.complete` was sent."""
    stopped: float
    """`lifespan.shutdown.complete` was sent."""


async def serve(application: Application, clock: Callable[[], float]) -> Moments:
    """Start an application as a server does, and stop it at once."""
    messages = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))
    sent: dict[str, float] = {}

    async def receive() -> dict[str, str]:
        return next(messages)

    async def send(message: dict[str, Any]) -> None:
        sent[message["type"]] = clock()
        if message["type"].endswith("failed"):
            raise RuntimeError(message)

    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    await application(scope, receive, send)
    return Moments(sent["lifespan.startup.complete"], sent["lifespan.shutdown.complete"])
