"""The shutdown nears SHUTDOWN_DEADLINE: the order is given up, and nothing takes longer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.report import Report
from lifespan_app.engine.settings import Settings
from lifespan_app.errors import HookError
from tests.engine.apps import written_in
from tests.engine.journal import Journal
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually


def outcomes(report: Report) -> dict[str, str]:
    return {
        step.key.partition(".")[2]: str(step.outcome)
        for step in report.steps
        if step.phase == "shutdown"
    }


def chain(lifespan: Lifespan, journal: Journal, *closes: float) -> None:
    """Declare resources that each stand on the one before; the last one closes first."""
    before: list[Any] = []
    for number, seconds in enumerate(closes):
        before = [journal.resource(lifespan, f"r{number}", closes=seconds, depends_on=before)]


def test_hooks_are_cancelled_or_stopped_a_second_before_the_deadline() -> None:
    """r3 (4 s), r2 (4 s), r1, r0 in this order: at 7 r2 is cancelled, and r1 and r0 close."""
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        chain(lifespan, journal, 0.25, 0.25, 4, 4)
        await lifespan.startup()
        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.shutdown()
        journal.write("over")
        [error] = caught.value.exceptions
        assert isinstance(error, HookError)
        assert "'shop.r2' (tests/engine/journal.py:" in str(error)
        assert "before the last second of the shutdown's deadline of 8 s" in str(error)
        assert "Raise Settings.shutdown_deadline" in str(error)
        return report_of(lifespan)

    report = run_virtually(main)
    assert journal.when("close r3: done") == journal.when("close r2") == 4
    assert journal.when("close r2: cancelled") == 7
    assert journal.when("close r1") == journal.when("close r0") == 7
    assert journal.when("over") == 7.25
    assert outcomes(report) == {"r0": "ok", "r1": "ok", "r2": "timed_out", "r3": "ok"}


def test_hook_that_is_stopped_late_has_the_last_second() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        chain(lifespan, journal, 0.9, 1.1, 4, 4)
        await lifespan.startup()
        with pytest.raises(ExceptionGroup):
            await lifespan.shutdown()
        journal.write("over")
        return report_of(lifespan)

    report = run_virtually(main)
    assert journal.when("close r0: done") == 7.9
    assert journal.when("over") == 8
    assert outcomes(report) == {"r0": "ok", "r1": "abandoned", "r2": "timed_out", "r3": "ok"}


def test_hook_that_ignores_its_cancellation_is_abandoned_at_the_deadline(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource(shutdown_timeout=100)
        @written_in("shop.lifespan")
        async def stubborn() -> AsyncIterator[None]:
            yield
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)

        Journal().resource(lifespan, "under_it")
        await lifespan.startup()
        with pytest.raises(ExceptionGroup):
            await lifespan.shutdown()
        assert loop.now == 1008
        report = report_of(lifespan)
        assert outcomes(report) == {"stubborn": "abandoned", "under_it": "ok"}
        assert report.status == "shutdown_failed"

    run_virtually(main)

    assert any(
        "'shop.stubborn' (" in record.getMessage() and "It is abandoned" in record.getMessage()
        for record in caplog.records
    )


@pytest.mark.parametrize("deadline", [3.0, 8.0, 20.0])
def test_no_shutdown_takes_longer_than_its_deadline(deadline: float) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        chain(lifespan, journal, *[1.5] * 30)
        await lifespan.startup()
        began = loop.now
        with pytest.raises(ExceptionGroup):
            await lifespan.shutdown()
        assert loop.now - began <= deadline

    run_virtually(main, settings=Settings(shutdown_deadline=deadline))

    assert all(f"close r{number}" in journal.events for number in range(30))


def test_rollback_with_less_than_a_second_ends_as_soon_as_everything_is_down() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        chain(lifespan, journal, 0.1, 0.1)
        slow = journal.resource(lifespan, "slow", opens=60, timeout=2)
        journal.resource(lifespan, "never", depends_on=[slow])
        with pytest.raises(HookError):
            await lifespan.startup()
        assert journal.when("close r1: done") == journal.when("close r0: done") == 2.1
        assert loop.now == pytest.approx(1002.1)

    run_virtually(main, settings=Settings(shutdown_deadline=0.5))


def test_shutdown_in_time_is_not_hurried() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        chain(lifespan, Journal(), 2, 2, 2.9)
        await lifespan.startup()
        await lifespan.shutdown()
        assert loop.now == pytest.approx(1006.9)
        return report_of(lifespan)

    assert set(outcomes(run_virtually(main)).values()) == {"ok"}


def test_jobs_are_stopped_with_the_rest_in_the_last_second() -> None:
    """The high job takes longer than there is time: the low one is cancelled at 7 all the same."""
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        journal.resource(lifespan, "client")

        @lifespan.background(1, shutdown_timeout=100)
        @written_in("shop.lifespan")
        async def high() -> None:
            try:
                await asyncio.sleep(1_000)
            finally:
                await journal.take("high ends", 60)

        @lifespan.background
        @written_in("shop.lifespan")
        async def low() -> None:
            try:
                await asyncio.sleep(1_000)
            finally:
                journal.write("low ends")

        await lifespan.startup()
        await asyncio.sleep(1)
        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.shutdown()
        assert any("'shop.high'" in str(error) for error in caught.value.exceptions)
        assert loop.now <= 1009
        return report_of(lifespan)

    report = run_virtually(main)
    assert journal.when("low ends") == 8
    assert journal.when("close client") == 8
    assert report.step("shop.low", "serving").outcome == "ok"


def test_everything_still_stops_when_the_loop_was_blocked_until_after_the_deadline() -> None:
    """No timer fires while a hook blocks the loop, so the last second begins after it."""
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        chain(lifespan, journal, 0.5, 0.5, 0.5)

        @lifespan.on_shutdown(priority=1)
        @written_in("shop.lifespan")
        async def blocks() -> None:
            loop.now += 20

        await lifespan.startup()
        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.shutdown()
        journal.write("over")
        [error] = caught.value.exceptions
        assert "'shop.blocks'" in str(error)
        return report_of(lifespan)

    report = run_virtually(main)
    assert [journal.when(f"close r{number}: done") for number in range(3)] == [20.5, 20.5, 20.5]
    assert journal.when("over") == 20.5
    assert outcomes(report) == {"r0": "ok", "r1": "ok", "r2": "ok", "blocks": "timed_out"}


def test_rollback_has_a_second_when_the_loop_was_blocked_until_after_the_deadline() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        chain(lifespan, journal, 0.5, 0.5)

        @lifespan.on_start(priority=1)
        @written_in("shop.lifespan")
        async def blocks() -> None:
            loop.now += 60

        with pytest.raises(HookError, match="within the startup's deadline of 25 s"):
            await lifespan.startup()
        return report_of(lifespan)

    report = run_virtually(main, settings=Settings(startup_deadline=25.0))
    assert journal.when("close r0: done") == journal.when("close r1: done") == 60.5
    assert outcomes(report) == {"r0": "ok", "r1": "ok"}


def test_thread_that_hangs_does_not_delay_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        @lifespan.resource(shutdown_timeout=100)
        @written_in("shop.lifespan")
        def stuck() -> Iterator[None]:
            yield
            loop.hang_in_thread()

        await lifespan.startup()
        with pytest.raises(ExceptionGroup):
            await lifespan.shutdown()
        assert 1007 <= loop.now <= 1008
        return report_of(lifespan)

    assert outcomes(run_virtually(main)) == {"stuck": "abandoned"}
    assert any("hangs in its thread" in record.getMessage() for record in caplog.records)


def test_shutdown_functions_that_were_not_reached_fire_in_the_last_second() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        client = journal.resource(lifespan, "client")

        @lifespan.on_shutdown
        @written_in("shop.lifespan")
        async def farewell(client: str) -> None:
            journal.write(f"farewell to {client}")

        before = journal.resource(lifespan, "slow", closes=4, depends_on=[client], priority=1)
        journal.resource(lifespan, "slow_too", closes=4, depends_on=[before], priority=1)
        await lifespan.startup()
        with pytest.raises(ExceptionGroup):
            await lifespan.shutdown()

    run_virtually(main)

    assert journal.when("farewell to client") == 7
