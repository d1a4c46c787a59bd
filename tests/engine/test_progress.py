"""`lifespan.progress(0.6, "loading shard 3 of 5")`: how far a hook is, as it says itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.report import Observer, Pending, Report
from lifespan_app.errors import ResourceNotReady
from tests.engine.apps import written_in
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually


class Follower(Observer):
    """Write down what is pending whenever a hook says how far it is."""

    def __init__(self) -> None:
        self.told: list[tuple[Pending, ...]] = []

    def progressed(self, report: Report) -> None:
        self.told.append(report.pending)


def test_progress_is_shown_with_the_pending_hook() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        follower = Follower()
        lifespan.adapter.observers.append(follower)

        @lifespan.resource(wait=False)
        @written_in("shop.lifespan")
        async def model() -> AsyncIterator[str]:
            for shard in range(1, 6):
                await asyncio.sleep(1)
                lifespan.progress(shard / 5, f"loading shard {shard} of 5")
            yield "model"

        async with lifespan.run("app"):
            await asyncio.sleep(3.5)
            [pending] = report_of(lifespan).pending
            assert pending == ("shop.model", 3.5, 0.6, "loading shard 3 of 5")
            with pytest.raises(ResourceNotReady, match=r"\(60 %, loading shard 3 of 5\): it can"):
                model.current()
            await asyncio.sleep(2)
            assert report_of(lifespan).pending == ()
        assert [told[0].progress for told in follower.told] == [0.2, 0.4, 0.6, 0.8, 1.0]

    run_virtually(main)


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_progress_is_in_the_steps_log_at_any_level(
    level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(level, "lifespan_app")

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.on_start
        @written_in("shop.lifespan")
        async def load() -> None:
            lifespan.progress(0.6, "half")
            lifespan.progress(1)

        async with lifespan.run("app"):
            lines = report_of(lifespan).step("shop.load").log
            assert [line.text.partition("): ")[2] for line in lines] == ["60 %, half.", "100 %."]

    run_virtually(main)
    logged = [record for record in caplog.records if "60 %" in record.getMessage()]
    assert len(logged) == (1 if level == logging.INFO else 0)


@pytest.mark.once
def test_repeated_progress_is_reported_once() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        follower = Follower()
        lifespan.adapter.observers.append(follower)

        @lifespan.on_start
        @written_in("shop.lifespan")
        async def load() -> None:
            for row in range(100_000):
                lifespan.progress(row / 100_000, "rows")

        async with lifespan.run("app"):
            assert len(follower.told) == 100

    run_virtually(main)


def test_progress_may_be_reported_from_threads_and_tasks() -> None:
    async def main() -> None:
        lifespan = Lifespan()
        follower = Follower()
        lifespan.adapter.observers.append(follower)

        @lifespan.resource
        def model() -> Iterator[str]:
            lifespan.progress(0.25, "sync")
            yield "model"

        @lifespan.on_start
        async def load() -> None:
            await asyncio.to_thread(lifespan.progress, 0.5, "thread")
            await asyncio.create_task(say(0.75))

        async def say(fraction: float) -> None:
            lifespan.progress(fraction, "task")

        async with lifespan.run("app"):
            said = {one.doing for told in follower.told for one in told}
            assert said >= {"thread", "task"}
            lines = [
                line.text
                for name in ("model", "load")
                for line in report_of(lifespan).step(f"{__name__}.{name}").log
            ]
            assert [line.rpartition(", ")[2] for line in lines] == ["sync.", "thread.", "task."]

    asyncio.run(main())


def test_progress_outside_of_hooks_has_no_effect() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        follower = Follower()
        lifespan.adapter.observers.append(follower)
        lifespan.progress(0.5, "before")
        async with lifespan.run("app"):
            lifespan.progress(0.5, "meanwhile")
        assert follower.told == []

    run_virtually(main)


@pytest.mark.parametrize("fraction", [60, -0.1, float("nan"), "0.6", None, True])
def test_progress_that_is_no_fraction_is_refused(lifespan: Lifespan, fraction: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"a number from 0 to 1, such as 0\.6, not "):
        lifespan.progress(fraction)
