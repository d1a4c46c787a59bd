"""A hook ignores its cancellation: once more, then it is left; what it enters late is left at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.report import Report
from lifespan_app.errors import HookError
from tests.engine.apps import written_in
from tests.engine.journal import Journal
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually


async def ignore(journal: Journal, times: int) -> None:
    """Ignore a number of cancellations, and write each of them down."""
    while times:
        try:
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            journal.write("cancelled")
            times -= 1


def lines(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


# At startup.


def test_hook_that_ignores_two_cancellations_is_abandoned_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        @lifespan.resource(timeout=3)
        @written_in("shop.lifespan")
        async def stubborn() -> AsyncIterator[None]:
            await ignore(journal, 10)
            yield

        journal.resource(lifespan, "client")
        with pytest.raises(HookError, match=r"'shop\.stubborn' .* its limit of 3 s"):
            await lifespan.startup()
        journal.write("raised")
        return report_of(lifespan)

    report = run_virtually(main)
    cancelled = [second for second, event in journal.entries if event == "cancelled"]
    assert cancelled[:2] == [3, 4]
    assert journal.when("raised") == 5
    assert report.step("shop.stubborn").outcome == "abandoned"
    [line] = lines(caplog, "abandoned")
    assert "'shop.stubborn' (tests/engine/" in line
    assert "ignores its cancellation" in line


def test_hook_that_gives_in_the_second_time_is_waited_for() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        base = journal.resource(lifespan, "base")

        @lifespan.resource(timeout=3, depends_on=[base])
        @written_in("shop.lifespan")
        async def stubborn() -> AsyncIterator[None]:
            await ignore(journal, 1)
            try:
                await asyncio.sleep(1_000)
            finally:
                journal.write("gave in")
            yield

        with pytest.raises(HookError, match="its limit of 3 s"):
            await lifespan.startup()
        journal.write("raised")
        return report_of(lifespan)

    report = run_virtually(main)
    assert journal.when("gave in") == journal.when("close base") == journal.when("raised") == 4
    assert report.step("shop.stubborn").outcome == "timed_out"


def test_abandoned_hook_exits_in_its_own_task() -> None:
    """Abandoned at 5, it is up at 60: it closes at once, and nobody is told that it is up."""
    journal = Journal()
    tasks: list[asyncio.Task[object] | None] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource(timeout=3, required=False)
        @written_in("shop.lifespan")
        async def stubborn() -> AsyncIterator[str]:
            end = loop.now + 60
            while loop.now < end:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(end - loop.now)
            tasks.append(asyncio.current_task())
            journal.write("entered")
            yield "late"
            tasks.append(asyncio.current_task())
            journal.write("left")

        async with lifespan.run("app") as state:
            await asyncio.sleep(100)
            assert "stubborn" not in state
            assert report_of(lifespan).step("shop.stubborn").outcome == "abandoned"

    run_virtually(main)

    assert journal.entries == [(60, "entered"), (60, "left")]
    assert tasks[0] is tasks[1]


def test_optional_hook_that_ignores_its_cancellation_holds_nothing_up() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource(required=False, timeout=2)
        async def stubborn() -> AsyncIterator[None]:
            await ignore(journal, 10)
            yield

        async with lifespan.run("app"):
            journal.write("serving")
            await asyncio.sleep(10)

    run_virtually(main)

    assert journal.when("serving") == 2


# At shutdown.


def test_stop_that_ignores_its_cancellation_is_abandoned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        base = journal.resource(lifespan, "base")

        @lifespan.resource(shutdown_timeout=2, depends_on=[base])
        @written_in("shop.lifespan")
        async def stubborn() -> AsyncIterator[None]:
            yield
            await ignore(journal, 10)

        await lifespan.startup()
        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.shutdown()
        [error] = caught.value.exceptions
        assert "within its limit of 2 s" in str(error)
        return report_of(lifespan)

    report = run_virtually(main)
    cancelled = [second for second, event in journal.entries if event == "cancelled"]
    assert cancelled[:2] == [2, 3]
    assert journal.when("close base") == 4
    assert report.step("shop.stubborn", "shutdown").outcome == "abandoned"
    [line] = lines(caplog, "It is abandoned")
    assert "'shop.stubborn' (" in line


def test_job_that_ignores_its_cancellation_is_abandoned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        journal.resource(lifespan, "client")

        @lifespan.background(shutdown_timeout=1)
        @written_in("shop.lifespan")
        async def stubborn() -> None:
            await ignore(journal, 10)

        await lifespan.startup()
        await asyncio.sleep(1)
        with pytest.raises(ExceptionGroup):
            await lifespan.shutdown()
        return report_of(lifespan)

    report = run_virtually(main)
    cancelled = [second for second, event in journal.entries if event == "cancelled"]
    # The stop's own cancellation at 1, then the limit's at 2 and once more at 3.
    assert cancelled[:3] == [1, 2, 3]
    assert journal.when("close client") == 4
    assert report.step("shop.stubborn", "serving").outcome == "abandoned"
    assert lines(caplog, "It is abandoned")


# Threads.


def test_thread_that_hangs_at_startup_is_abandoned_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        journal.resource(lifespan, "client")

        @lifespan.resource(timeout=3)
        @written_in("shop.lifespan")
        def stuck() -> Iterator[None]:
            loop.hang_in_thread()
            yield

        with pytest.raises(HookError, match=r"'shop\.stuck' .* its limit of 3 s"):
            await lifespan.startup()
        journal.write("raised")
        return report_of(lifespan)

    report = run_virtually(main)
    assert journal.when("close client") == journal.when("raised") == 3
    assert report.step("shop.stuck").outcome == "abandoned"
    [line] = lines(caplog, "It is abandoned")
    assert "'shop.stuck' (tests/engine/" in line
    assert "hangs in its thread, which can't be cancelled" in line


def test_thread_that_hangs_at_shutdown_is_abandoned_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        client = journal.resource(lifespan, "client")

        @lifespan.on_shutdown(timeout=3, depends_on=[client])
        @written_in("shop.lifespan")
        def stuck() -> None:
            loop.hang_in_thread()

        await lifespan.startup()
        with pytest.raises(ExceptionGroup):
            await lifespan.shutdown()
        return report_of(lifespan)

    report = run_virtually(main)
    assert journal.when("close client") == 3
    assert report.step("shop.stuck", "shutdown").outcome == "abandoned"
    [line] = lines(caplog, "It is abandoned")
    assert "'shop.stuck' (" in line


def test_thread_that_comes_up_too_late_exits_itself() -> None:
    journal: list[tuple[str, int]] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource(timeout=3, required=False)
        @written_in("shop.lifespan")
        def late() -> Iterator[str]:
            loop.sleep_in_thread(60)
            journal.append(("entered", threading.get_ident()))
            yield "late"
            journal.append(("left", threading.get_ident()))

        async with lifespan.run("app") as state:
            await asyncio.sleep(100)
            assert "late" not in state
            assert report_of(lifespan).step("shop.late").outcome == "abandoned"

    run_virtually(main)

    assert [what for what, _ in journal] == ["entered", "left"]
    assert journal[0][1] == journal[1][1]


def test_thread_about_to_return_has_a_second_when_startup_is_given_up() -> None:
    """It can't be cancelled: it is left in the order of the rollback, if it is up in time."""
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        base = journal.resource(lifespan, "base")

        @lifespan.resource(depends_on=[base])
        @written_in("shop.lifespan")
        def soon() -> Iterator[None]:
            loop.sleep_in_thread(3.5)
            yield

        @lifespan.resource(depends_on=[base])
        @written_in("shop.lifespan")
        def too_late() -> Iterator[None]:
            loop.sleep_in_thread(60)
            yield

        journal.start(lifespan, "fails", 3, OSError("nobody there"))
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()
        return report_of(lifespan)

    report = run_virtually(main)
    assert report.step("shop.soon", "shutdown").outcome == "ok"
    assert report.step("shop.too_late").outcome == "abandoned"
    assert journal.when("close base") == 4


def test_hooks_that_stop_in_time_are_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "slow", opens=60, timeout=1)
        with pytest.raises(HookError):
            await lifespan.startup()

    run_virtually(main)

    assert lines(caplog, "abandoned") == []
    assert sum(record.levelno >= logging.ERROR for record in caplog.records) == 1
