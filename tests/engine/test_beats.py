"""Observers that are called regularly: once an interval, and without a timer that outlives its use."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.report import Observer, Phase, Report
from tests.engine.virtual_clock import VirtualLoop, run_virtually


class Regular(Observer):
    """Count the calls of ``beat``."""

    every = 10.0

    def __init__(self) -> None:
        self.beats = 0

    def watches_steps(self, phase: Phase) -> bool:
        return False

    def beat(self, report: Report) -> None:
        self.beats += 1


class Broken(Regular):
    """Fail at the first call."""

    def beat(self, report: Report) -> None:
        super().beat(report)
        raise ValueError("broken")


def test_observer_is_called_once_an_interval() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> int:
        observer = Regular()
        async with lifespan.run("app"):
            lifespan.observe(observer)
            await asyncio.sleep(35)
        await asyncio.sleep(100)
        return observer.beats

    assert run_virtually(main) == 3


def test_observer_that_is_added_twice_is_called_once_an_interval() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> tuple[int, int]:
        observer = Regular()
        run = lifespan.prepare("app")
        lifespan.observe(observer)  # the start of the run adds it a second time
        await run.start()
        await asyncio.sleep(35)
        while_serving = observer.beats
        await run.stop()
        return while_serving, loop.timers

    assert run_virtually(main) == (3, 0)


def test_removed_observer_leaves_no_timer() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> tuple[int, int]:
        async with lifespan.run("app"):
            before = loop.timers
            remove = lifespan.observe(Regular())
            with_observer = loop.timers
            remove()
            return with_observer - before, loop.timers - before

    assert run_virtually(main) == (1, 0)


def test_observer_that_is_removed_after_it_was_added_twice_leaves_no_timer() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> int:
        async with lifespan.run("app"):
            before = loop.timers
            observer = Regular()
            lifespan.observe(observer)
            lifespan.observe(observer)()
            return loop.timers - before

    assert run_virtually(main) == 0


def test_broken_observer_leaves_no_timer(caplog: pytest.LogCaptureFixture) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> tuple[int, int]:
        observer = Broken()
        async with lifespan.run("app"):
            await asyncio.sleep(400)  # until no timer of the startup is left
            before = loop.timers
            lifespan.observe(observer)
            await asyncio.sleep(15)
            return observer.beats, loop.timers - before

    assert run_virtually(main) == (1, 0)
    assert "Broken failed" in caplog.text


def test_observer_that_a_thread_adds_at_the_end_of_a_run_leaves_no_timer() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> int:
        @lifespan.resource
        async def client() -> AsyncIterator[int]:
            yield 1
            # The loop is told by the thread, and hears of it behind the end of the run.
            thread = threading.Thread(target=lifespan.observe, args=[Regular()])
            thread.start()
            thread.join()

        async with lifespan.run("app"):
            pass
        await asyncio.sleep(0)
        return loop.timers

    assert run_virtually(main) == 0
