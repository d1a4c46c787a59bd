"""Startup twice, shutdown without a run, and two scopes beside each other."""

from __future__ import annotations

import asyncio

import pytest

from lifespan_app import Lifespan
from lifespan_app.errors import LifespanError
from tests.engine.conftest import RunOnLoop
from tests.engine.exchange import Server
from tests.engine.journal import Journal
from tests.engine.virtual_clock import VirtualLoop, run_virtually


def test_startup_twice_by_hand_is_an_error_and_nothing_changes(run: RunOnLoop) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        client = journal.resource(lifespan, "client")
        state = await lifespan.startup()
        with pytest.raises(LifespanError) as caught:
            await lifespan.startup()
        assert "startup() was called twice on one event loop: run " in str(caught.value)
        assert "nothing has changed" in str(caught.value)
        assert state["client"] == client.current() == "client"
        assert journal.events == ["open client", "open client: done"]
        await lifespan.shutdown()
        assert not lifespan.is_initialized()

    run(main)

    assert journal.events.count("close client") == 1


def test_startup_while_one_is_starting_is_an_error_too() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "client", opens=5)
        starting = asyncio.ensure_future(lifespan.startup())
        await asyncio.sleep(1)
        with pytest.raises(LifespanError, match=r"\(app, starting\) is open"):
            await lifespan.startup()
        await starting
        await lifespan.shutdown()

    run_virtually(main)

    assert journal.events.count("open client") == 1


def test_after_a_shutdown_a_startup_begins_anew(run: RunOnLoop) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        client = journal.resource(lifespan, "client")
        for _ in range(3):
            await lifespan.startup()
            assert client.current() == "client"
            await lifespan.shutdown()

    run(main)

    assert journal.events.count("close client: done") == 3


def test_after_a_startup_that_failed_a_startup_begins_anew(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        failures = [OSError("nobody there")]

        @lifespan.on_start
        async def connect() -> None:
            if failures:
                raise failures.pop()

        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()
        assert not lifespan.is_initialized()
        await lifespan.startup()
        assert lifespan.is_initialized()
        await lifespan.shutdown()

    run(main)


def test_startup_twice_in_one_scope_is_reported_and_closes_the_run_of_that_scope(
    run: RunOnLoop,
) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "client")
        server = Server(lifespan)
        await server.startup()
        answer = await server.startup()
        journal.write("told")
        assert answer["type"] == "lifespan.startup.failed"
        assert "lifespan.startup came twice in one scope" in answer["message"]
        assert isinstance(await server.raised(), LifespanError)
        assert lifespan.runs == []

    run(main)

    assert journal.events == [
        "open client",
        "open client: done",
        "close client",
        "close client: done",
        "told",
    ]


def test_two_scopes_have_a_run_each(run: RunOnLoop) -> None:
    """Two servers in one process and on one loop: neither closes what the other one has open."""
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "client")
        one, two = Server(lifespan), Server(lifespan)
        await one.startup()
        await two.startup()
        assert len(lifespan.runs) == 2
        await one.shutdown()
        assert journal.events.count("close client: done") == 1
        assert len(lifespan.runs) == 1
        await two.shutdown()
        assert journal.events.count("close client: done") == 2

    run(main)


def test_shutdown_without_a_run_is_a_warning_by_hand(
    run: RunOnLoop, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(lifespan: Lifespan) -> None:
        await lifespan.shutdown()

    run(main)

    [record] = [record for record in caplog.records if record.name == "lifespan_app"]
    assert record.levelname == "WARNING"
    assert "shutdown() was called without a startup()" in record.getMessage()


def test_shutdown_without_a_run_is_complete_in_a_scope(run: RunOnLoop) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "client")
        server = Server(lifespan)
        assert await server.shutdown() == {"type": "lifespan.shutdown.complete"}
        assert await server.raised() is None

    run(main)

    assert journal.events == []


def test_run_that_was_prepared_and_never_begun_can_be_stopped() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "client")
        prepared = lifespan.prepare("app")
        stopped, _ = await asyncio.wait([asyncio.ensure_future(prepared.stop())], timeout=60)
        assert stopped
        assert lifespan.runs == []
        await lifespan.startup()
        await lifespan.shutdown()

    run_virtually(main)
