"""A shutdown while one runs joins it: server, caller and the loop's end do meet."""

from __future__ import annotations

import asyncio

import pytest

from lifespan_app import Lifespan
from tests.engine.exchange import Server
from tests.engine.journal import Journal
from tests.engine.virtual_clock import VirtualLoop, run_virtually


def test_second_shutdown_joins_the_first() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "client", closes=3)
        await lifespan.startup()

        async def shutdown(name: str) -> None:
            await lifespan.shutdown()
            journal.write(f"{name} returns")

        first = asyncio.ensure_future(shutdown("first"))
        await asyncio.sleep(1)
        second = asyncio.ensure_future(shutdown("second"))
        await asyncio.wait([first, second])

    run_virtually(main)

    assert journal.events.count("close client") == 1
    assert journal.when("first returns") == journal.when("second returns") == 3


def test_everyone_who_joined_a_shutdown_gets_its_errors() -> None:
    error = OSError("won't close")

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "client", closes=3, close_error=error)
        await lifespan.startup()
        results = await asyncio.gather(
            lifespan.shutdown(), lifespan.shutdown(), return_exceptions=True
        )
        for result in results:
            assert isinstance(result, ExceptionGroup)
            assert result.exceptions == (error,)

    run_virtually(main)


def test_server_s_shutdown_joins_one_by_hand() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "client", closes=3)
        server = Server(lifespan)
        await server.startup()
        by_hand = asyncio.ensure_future(lifespan.shutdown())
        await asyncio.sleep(1)
        assert await server.shutdown() == {"type": "lifespan.shutdown.complete"}
        journal.write("told")
        await by_hand

    run_virtually(main)

    assert journal.events.count("close client") == 1
    assert journal.when("told") == 3


def test_body_that_ends_joins_a_shutdown_by_hand() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "client", closes=3)
        async with lifespan.run("app"):
            by_hand = asyncio.ensure_future(lifespan.shutdown())
            await asyncio.sleep(1)
        journal.write("body left")
        await by_hand

    run_virtually(main)

    assert journal.when("body left") == 3


def test_shutdown_during_the_startup_gives_the_startup_up() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "client", closes=1)
        journal.resource(lifespan, "slow", opens=60)
        starting = asyncio.ensure_future(lifespan.startup())
        await asyncio.sleep(2)
        await lifespan.shutdown()
        journal.write("shutdown returns")
        with pytest.raises(Exception, match="startup was given up"):
            await starting
        assert not lifespan.is_initialized()

    run_virtually(main)

    assert journal.when("open slow: cancelled") == 2
    assert journal.when("shutdown returns") == 3


def test_cancellation_while_another_one_shuts_down_waits_for_the_end_too() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "client", closes=0.8)

        async def body() -> None:
            async with lifespan.run("app"):
                await asyncio.sleep(1_000)

        task = asyncio.ensure_future(body())
        await asyncio.sleep(1)
        by_hand = asyncio.ensure_future(lifespan.shutdown())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        journal.write("body left")
        await by_hand

    run_virtually(main)

    assert journal.when("body left") == journal.when("close client: done") == 1.8
