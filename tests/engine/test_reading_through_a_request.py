"""``handle(request)``: the run that serves the request answers, as strictly as any other way."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from lifespan_app import Lifespan, Resource
from lifespan_app.engine.running.run import Run
from lifespan_app.errors import NotRunning, ResourceClosed, ResourceNotReady, WrongLoop
from tests.engine.conftest import LOOPS, RunOnLoop
from tests.engine.journal import Journal
from tests.engine.virtual_clock import VirtualLoop, run_virtually


class Request:
    """A request as frameworks have them: it knows its scope."""

    def __init__(self, run: Run | None) -> None:
        self.scope: dict[str, Any] = {"type": "http"}
        if run is not None:
            self.scope["lifespan_app.run"] = run


def served(read: Callable[[], object]) -> object:
    """Read where no context variable says anything, as a view does."""
    return contextvars.Context().run(read)


def test_request_reads_from_the_run_that_serves_it(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        client = Journal().resource(lifespan, "client")

        @lifespan.resource
        def connection() -> Iterator[str]:
            yield "a connection"

        one = lifespan.prepare("app")
        await one.start()
        assert served(lambda: client(Request(one))) == "client"
        assert served(lambda: connection(Request(one))) == "a connection"
        await one.stop()

    run(main)


def test_request_that_knows_no_run_reads_from_that_of_its_loop(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        client = Journal().resource(lifespan, "client")
        await lifespan.startup()
        for request in (Request(None), object(), None, {"type": "http"}):
            assert served(lambda request=request: client(request)) == "client"  # type: ignore[misc]
        await lifespan.shutdown()

    run(main)


def test_resource_that_has_no_value_is_none_all_the_same(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def nothing() -> None: ...

        one = lifespan.prepare("app")
        await one.start()
        assert served(lambda: nothing(Request(one))) is None
        await one.stop()

    run(main)


def test_request_during_the_startup_gets_resource_not_ready() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        client = journal.resource(lifespan, "client", opens=2)
        slow = journal.resource(lifespan, "slow", opens=5)
        one = lifespan.prepare("app")
        starting = asyncio.ensure_future(one.start())
        await asyncio.sleep(1)
        with pytest.raises(ResourceNotReady):
            served(lambda: client(Request(one)))
        await asyncio.sleep(2)
        assert served(lambda: client(Request(one))) == "client"
        with pytest.raises(ResourceNotReady):
            served(lambda: slow(Request(one)))
        await starting
        assert served(lambda: slow(Request(one))) == "slow"
        await one.stop()

    run_virtually(main)


def test_request_during_and_after_the_shutdown_gets_resource_closed() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        base = journal.resource(lifespan, "base", closes=2)
        client = journal.resource(lifespan, "client", closes=2, depends_on=[base])
        one = lifespan.prepare("app")
        await one.start()
        stopping = asyncio.ensure_future(one.stop())
        await asyncio.sleep(1)
        with pytest.raises(ResourceClosed, match="is closing since"):
            served(lambda: client(Request(one)))
        assert served(lambda: base(Request(one))) == "base"
        await stopping
        for handle in (base, client):
            with pytest.raises(ResourceClosed, match="is closed since"):
                served(lambda handle=handle: handle(Request(one)))  # type: ignore[misc]

    run_virtually(main)


def test_request_gets_the_error_of_a_crash() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource
        async def feed() -> AsyncIterator[str]:
            async with asyncio.timeout(5):
                yield "a feed"

        one = lifespan.prepare("app")
        await one.start()
        assert served(lambda: feed(Request(one))) == "a feed"
        await asyncio.sleep(10)
        with pytest.raises(ResourceClosed, match="crashed at"):
            served(lambda: feed(Request(one)))
        await one.stop()

    run_virtually(main)


@pytest.mark.parametrize("kind", LOOPS)
def test_request_on_another_loop_gets_wrong_loop(kind: str) -> None:
    lifespan = Lifespan()
    client = Journal().resource(lifespan, "client")
    index: Resource[str] = lifespan.resource(name="index")(lambda: "an index")

    async def read(handle: Resource[str], request: Request) -> object:
        return served(lambda: handle(request))

    async def start() -> Run:
        one = lifespan.prepare("app")
        await one.start()
        return one

    with asyncio.Runner(loop_factory=LOOPS[kind]) as home, asyncio.Runner() as elsewhere:
        one = home.run(start())
        request = Request(one)
        assert home.run(read(client, request)) == "client"
        with pytest.raises(WrongLoop):
            elsewhere.run(read(client, request))
        assert elsewhere.run(read(index, request)) == "an index"
        assert client(request) == "client"
        home.run(one.stop())


def test_handle_of_another_registry_is_not_read_from_the_request_s_run(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        Journal().resource(lifespan, "client")
        other = Lifespan()
        foreign = Journal().resource(other, "client")
        one = lifespan.prepare("app")
        await one.start()
        with pytest.raises(NotRunning, match="no lifespan is running here"):
            served(lambda: foreign(Request(one)))
        await one.stop()

    run(main)
