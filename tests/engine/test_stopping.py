"""`lifespan.stopping` and `lifespan.until_stopping()`: what has no end of its own ends in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from lifespan_app import Lifespan
from tests.engine.conftest import RunOnLoop


def give_notice(lifespan: Lifespan) -> None:
    [run] = lifespan.runs
    run.notice("SIGTERM")


def test_stopping_is_set_when_the_shutdown_begins(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        seen = []

        @lifespan.on_shutdown
        def look() -> None:
            seen.append(lifespan.stopping.is_set())

        assert not lifespan.stopping.is_set()
        for _ in range(2):
            async with lifespan.run("app"):
                seen.append(lifespan.stopping.is_set())
            assert lifespan.stopping.is_set()
        assert seen == [False, True, False, True]

    run(main)


def test_stopping_wakes_waiters_on_any_loop(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        async def elsewhere() -> str:
            loop.call_soon_threadsafe(begun.set)
            await lifespan.stopping.wait()
            return "told"

        begun, loop = asyncio.Event(), asyncio.get_running_loop()
        async with lifespan.run("app"):
            here = asyncio.create_task(lifespan.stopping.wait())
            there = loop.run_in_executor(None, lambda: asyncio.run(elsewhere()))
            await begun.wait()
            give_notice(lifespan)
            await here
            assert await there == "told"
            await lifespan.stopping.wait()

    run(main)


def test_cancelled_wait_for_stopping_leaves_nothing_behind(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        async with lifespan.run("app"):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await lifespan.stopping.wait()
            [opened] = lifespan.runs
            assert not opened.stopping._waiting

    run(main)


def test_source_without_a_run_ends_by_itself(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        assert [number async for number in lifespan.until_stopping(numbers(3))] == [0, 1, 2]

    run(main)


def test_source_is_cancelled_where_it_waits_and_its_loop_ends(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> list[object]:
        seen: list[object] = []

        async def ticks() -> AsyncIterator[str]:
            try:
                yield "tick"
                await asyncio.Event().wait()
            finally:
                seen.append("source ends")

        async with lifespan.run("app"):
            async for tick in lifespan.until_stopping(ticks()):
                seen.append(tick)
                asyncio.get_running_loop().call_soon(give_notice, lifespan)
            seen.append("goes on")
            await asyncio.sleep(0)
        return seen

    assert run(main) == ["tick", "source ends", "goes on"]


def test_source_that_is_at_a_yield_is_closed(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> list[object]:
        seen: list[object] = []
        async with lifespan.run("app"):
            async for number in lifespan.until_stopping(numbers(5, seen)):
                seen.append(number)
                give_notice(lifespan)
            return seen

    assert run(main) == [0, "closed"]


def test_source_runs_in_the_task_that_asks(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        async def tasks() -> AsyncIterator[object]:
            # A scope around a yield needs one task from its begin to its end.
            async with asyncio.timeout(60):
                yield asyncio.current_task()
                yield asyncio.current_task()

        async with lifespan.run("app"):
            seen = [task async for task in lifespan.until_stopping(tasks())]
            assert seen == [asyncio.current_task()] * 2

    run(main)


def test_sources_own_errors_and_the_callers_cancellation_come_through(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        async def slow() -> AsyncIterator[int]:
            yield 1
            raise TimeoutError("its own")

        async def endless() -> AsyncIterator[int]:
            yield 1
            await asyncio.Event().wait()

        async def read(source: AsyncIterator[int]) -> None:
            async for _ in lifespan.until_stopping(source):
                pass

        async with lifespan.run("app"):
            with pytest.raises(TimeoutError, match="its own"):
                await read(slow())
            with pytest.raises(TimeoutError, match=r"^$"):
                async with asyncio.timeout(0.001):
                    await read(endless())
            task = asyncio.create_task(read(endless()))
            await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main)


def test_source_that_is_no_async_iterable_is_refused(lifespan: Lifespan) -> None:
    with pytest.raises(TypeError, match=r"takes an async iterable, not \[1\]"):
        lifespan.until_stopping([1])  # type: ignore[arg-type]


async def numbers(count: int, seen: list[object] | None = None) -> AsyncIterator[int]:
    try:
        for number in range(count):
            yield number
    finally:
        if seen is not None:
            seen.append("closed")
