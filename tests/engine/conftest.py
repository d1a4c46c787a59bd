"""The loops that tests of the engine run on where time plays no part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol, TypeVar

import pytest
import uvloop

from lifespan_app import Lifespan, Resource
from tests.engine.apps import HostWithApps
from tests.engine.shelves import Shelf
from tests.engine.virtual_clock import run_virtually

T = TypeVar("T")

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}


class RunOnLoop(Protocol):
    """Run a coroutine function with a ``Lifespan`` of its own, and return what it returns."""

    def __call__(self, main: Callable[[Lifespan], Coroutine[Any, Any, T]]) -> T: ...


@pytest.fixture(params=["virtual", *LOOPS])
def run(request: pytest.FixtureRequest) -> RunOnLoop:
    """Return what runs a coroutine function on each kind of loop."""

    def run_to_end(main: Callable[[Lifespan], Coroutine[Any, Any, T]]) -> T:
        if request.param == "virtual":
            return run_virtually(lambda lifespan, loop: main(lifespan))
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(main(Lifespan(HostWithApps())))

    return run_to_end


@pytest.fixture
def lifespan() -> Lifespan:
    """Return a registry of the test's own, for what needs no loop."""
    return Lifespan(HostWithApps())


@pytest.fixture
def shelf(lifespan: Lifespan) -> Resource[Shelf]:
    """Declare a resource called `shelf`, and return its handle."""

    @lifespan.resource
    async def shelf() -> AsyncIterator[Shelf]:
        yield Shelf()

    return shelf
