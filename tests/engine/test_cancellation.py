"""Cancelled during startup, or while serving: what is up stops in reverse, quickly."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from asgiref.sync import async_to_sync

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.report import Report
from lifespan_app.engine.settings import Settings
from lifespan_app.errors import HookError, ResourceClosed
from tests.engine.apps import written_in
from tests.engine.conftest import RunOnLoop
from tests.engine.exchange import Server
from tests.engine.journal import Journal
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually


async def serve_by_hand(lifespan: Lifespan) -> None:
    """Open a lifespan by hand, and wait to be cancelled."""
    await lifespan.startup()
    try:
        await asyncio.sleep(1_000_000)
    finally:
        await lifespan.shutdown()


async def serve_in_a_body(lifespan: Lifespan) -> None:
    """Open a lifespan around a body that waits to be cancelled."""
    async with lifespan.run("app"):
        await asyncio.sleep(1_000_000)


async def serve_a_scope(lifespan: Lifespan) -> None:
    """Be the application of a server that cancels it, as gunicorn's own worker does on Ctrl+C."""
    server = Server(lifespan)
    try:
        await server.startup()
        await asyncio.sleep(1_000_000)
    except asyncio.CancelledError:
        server.task.cancel()
        error = await server.raised()
        assert error is None or isinstance(error, asyncio.CancelledError)
        assert server.task.cancelled()
        raise


# During startup.


@pytest.mark.parametrize("serve", [serve_by_hand, serve_in_a_body, serve_a_scope])
def test_cancelled_startup_stops_open_hooks_in_reverse(
    serve: Callable[[Lifespan], Awaitable[None]],
) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        base = journal.resource(lifespan, "base", closes=0.5)
        client = journal.resource(lifespan, "client", closes=0.5, depends_on=[base])
        slow = journal.resource(lifespan, "slow", opens=60, depends_on=[client])
        journal.resource(lifespan, "never", depends_on=[slow])
        task = asyncio.ensure_future(serve(lifespan))
        await asyncio.sleep(3)
        task.cancel()
        await asyncio.wait([task])
        journal.write("cancelled" if task.cancelled() else f"{task.exception()!r}")
        assert lifespan.runs == []
        return report_of(lifespan)

    report = run_virtually(main)
    assert journal.entries[-6:] == [
        (3, "open slow: cancelled"),
        (3, "close client"),
        (3.5, "close client: done"),
        (3.5, "close base"),
        (4, "close base: done"),
        (4, "cancelled"),
    ]
    assert "open never" not in journal.events
    assert report.ended_by == "cancelled"
    assert report.status == "stopped"
    assert report.step("shop.slow").outcome == "cancelled"
    assert report.step("shop.never").outcome == "skipped"


def test_cancelled_startup_sends_no_answer() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "slow", opens=60)
        server = Server(lifespan)
        starting = asyncio.ensure_future(server.startup())
        await asyncio.sleep(3)
        server.task.cancel()
        assert isinstance(await server.raised(), asyncio.CancelledError)
        assert server.sent == []
        starting.cancel()

    run_virtually(main)


def test_timeout_around_a_startup_rolls_it_back_and_is_a_timeout() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        base = journal.resource(lifespan, "base")
        journal.resource(lifespan, "slow", opens=60, depends_on=[base])

        async def startup_in_time() -> None:
            async with asyncio.timeout(3):
                await lifespan.startup()

        with pytest.raises(TimeoutError):
            await startup_in_time()

    run_virtually(main)

    assert journal.entries[-1] == (3, "close base: done")


# While serving.


@pytest.mark.parametrize("serve", [serve_in_a_body, serve_a_scope])
def test_cancelled_run_stops_open_hooks_in_reverse(
    serve: Callable[[Lifespan], Awaitable[None]],
) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        base = journal.resource(lifespan, "base", closes=0.5)
        journal.resource(lifespan, "client", closes=0.5, depends_on=[base])
        journal.job(lifespan, "refresh")
        task = asyncio.ensure_future(serve(lifespan))
        await asyncio.sleep(60)
        task.cancel()
        await asyncio.wait([task])
        journal.write("cancelled" if task.cancelled() else f"{task.exception()!r}")
        return report_of(lifespan)

    report = run_virtually(main)
    assert journal.entries[-6:] == [
        (60, "run refresh: cancelled"),
        (60, "close client"),
        (60.5, "close client: done"),
        (60.5, "close base"),
        (61, "close base: done"),
        (61, "cancelled"),
    ]
    assert (report.ended_by, report.status) == ("cancelled", "stopped")


def test_run_is_cancelled_on_real_loops_too(run: RunOnLoop) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "client")
        task = asyncio.ensure_future(serve_in_a_body(lifespan))
        while "open client: done" not in journal.events:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)

    assert journal.events[-1] == "close client: done"


# Quickly.


def test_hook_has_one_second_to_stop_when_the_run_is_cancelled() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        base = journal.resource(lifespan, "base")
        journal.resource(lifespan, "just", closes=0.9)
        journal.resource(lifespan, "slow", closes=60, shutdown_timeout=30, depends_on=[base])
        task = asyncio.ensure_future(serve_in_a_body(lifespan))
        await asyncio.sleep(60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return report_of(lifespan)

    report = run_virtually(main)
    assert journal.when("close just: done") == 60.9
    assert journal.when("close slow: cancelled") == journal.when("close base") == 61
    assert report.step("shop.slow", "shutdown").outcome == "timed_out"
    assert "within its limit of 1 s" in report.step("shop.slow", "shutdown").error


@pytest.mark.parametrize("while_starting", [True, False])
def test_hooks_of_a_cancelled_run_have_three_seconds_together(
    while_starting: bool,
) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        before: list[object] = []
        for number in range(10):
            before = [journal.resource(lifespan, f"r{number}", closes=0.9, depends_on=before)]
        if while_starting:
            journal.resource(lifespan, "slow", opens=1_000)
        task = asyncio.ensure_future(serve_in_a_body(lifespan))
        await asyncio.sleep(60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 1062 <= loop.now <= 1063

    run_virtually(main)

    assert all(f"close r{number}" in journal.events for number in range(10))


def test_quick_stop_is_no_longer_than_the_deadline_that_is_set() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        before: list[object] = []
        for number in range(10):
            before = [Journal().resource(lifespan, f"r{number}", closes=0.9, depends_on=before)]
        task = asyncio.ensure_future(serve_in_a_body(lifespan))
        await asyncio.sleep(60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert loop.now <= 1062

    run_virtually(main, settings=Settings(shutdown_deadline=2))


# A second cancellation.


@pytest.mark.parametrize("serve", ["a body", "a scope"])
def test_second_cancellation_does_not_cut_the_stop_short(serve: str) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        base = journal.resource(lifespan, "base", closes=0.8)
        journal.resource(lifespan, "client", closes=0.8, depends_on=[base])
        if serve == "a body":
            task = asyncio.ensure_future(serve_in_a_body(lifespan))
        else:
            server = Server(lifespan)
            await server.startup()
            task = server.task
        await asyncio.sleep(60)
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0.1)
            task.cancel()
        await asyncio.wait([task])
        journal.write("cancelled" if task.cancelled() else f"{task.exception()!r}")

    run_virtually(main)

    assert journal.entries[-4:] == [
        (60.8, "close client: done"),
        (60.8, "close base"),
        (61.6, "close base: done"),
        (61.6, "cancelled"),
    ]


def test_shutdown_that_is_cancelled_is_finished_first_and_hurries() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        base = journal.resource(lifespan, "base", closes=0.5)
        journal.resource(lifespan, "slow", closes=4, depends_on=[base])
        await lifespan.startup()
        task = asyncio.ensure_future(lifespan.shutdown())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        journal.write("cancelled" if task.cancelled() else f"{task.exception()!r}")

    run_virtually(main)

    assert journal.entries[-4:] == [
        (2, "close slow: cancelled"),
        (2, "close base"),
        (2.5, "close base: done"),
        (2.5, "cancelled"),
    ]


def test_shutdown_that_is_cancelled_has_three_seconds_left_in_all() -> None:
    """Ten resources in a row, each closing for 0.9 s: the order is given up two seconds later."""
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        before: list[object] = []
        for number in range(10):
            before = [journal.resource(lifespan, f"r{number}", closes=0.9, depends_on=before)]
        await lifespan.startup()
        task = asyncio.ensure_future(lifespan.shutdown())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert 1003 <= loop.now <= 1004

    run_virtually(main, settings=Settings(shutdown_deadline=60))

    assert all(f"close r{number}" in journal.events for number in range(10))


def test_errors_of_the_stop_are_noted_on_the_cancellation() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "client", close_error=OSError("won't close"))
        task = asyncio.ensure_future(serve_in_a_body(lifespan))
        await asyncio.sleep(1)
        task.cancel("stop, please")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert "Then, at shutdown: OSError: won't close" in caught.value.__notes__

    run_virtually(main)


def test_cancellation_while_a_startup_is_rolled_back_waits_for_its_end() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "client", closes=0.8)
        journal.start(lifespan, "fails", 3, OSError("nobody there"))
        task = asyncio.ensure_future(lifespan.startup())
        await asyncio.sleep(3.5)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        journal.write("cancelled")
        assert report_of(lifespan).status == "startup_failed"

    run_virtually(main)

    assert journal.entries[-2:] == [(3.8, "close client: done"), (3.8, "cancelled")]


def test_resource_cancelled_while_it_started_has_the_reason_when_read() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        slow = Journal().resource(lifespan, "slow", opens=60)
        task = asyncio.ensure_future(lifespan.startup())
        await asyncio.sleep(3)
        task.cancel()
        await asyncio.wait([task])
        with pytest.raises(ResourceClosed, match=r"did not come up, .* the startup was given up"):
            slow.current()

    run_virtually(main)


# A hook's own CancelledError.


@pytest.mark.parametrize("required", [True, False])
def test_hook_s_own_cancelled_error_at_startup_is_that_hook_s_failure(
    run: RunOnLoop, required: bool
) -> None:
    async def main(lifespan: Lifespan) -> None:
        @lifespan.on_start(required=required)
        @written_in("shop.lifespan")
        async def cancels_itself() -> None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.cancel()
            await future

        if required:
            with pytest.raises(HookError, match="was cancelled by its own code") as caught:
                await lifespan.startup()
            assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        else:
            async with lifespan.run("app"):
                assert report_of(lifespan).status == "degraded"
        assert report_of(lifespan).step("shop.cancels_itself").outcome == "failed"

    run(main)


def test_hook_s_own_cancelled_error_at_shutdown_is_that_hook_s_failure(run: RunOnLoop) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        client = journal.resource(lifespan, "client")

        @lifespan.resource(depends_on=[client])
        @written_in("shop.lifespan")
        async def cancels_itself() -> AsyncIterator[None]:
            yield
            raise asyncio.CancelledError

        await lifespan.startup()
        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.shutdown()
        [error] = caught.value.exceptions
        assert isinstance(error, HookError)
        assert "was cancelled by its own code" in str(error)
        assert report_of(lifespan).step("shop.cancels_itself", "shutdown").outcome == "failed"

    run(main)

    assert journal.events[-1] == "close client: done"


def test_sync_hook_s_own_cancelled_error_is_its_failure_too(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        @lifespan.on_start
        def cancels_itself() -> None:
            raise asyncio.CancelledError

        with pytest.raises(HookError, match="was cancelled by its own code"):
            await lifespan.startup()

    run(main)


def test_ignored_cancellation_does_not_come_back_in_a_task_group() -> None:
    """The hook ignores its first cancellation and comes up; at its stop a task group's child fails.

    Since Python 3.13 a group whose child fails cancels its task anew, if the task's count says that
    it is being cancelled: the next await would raise.
    """
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        async def fail() -> None:
            raise OSError("from the group")

        @lifespan.resource
        async def headstrong() -> AsyncIterator[None]:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            yield
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail())
            except* OSError:
                journal.write("the group failed")
            await asyncio.sleep(0)
            journal.write("left")

        journal.start(lifespan, "fails", 3, OSError("nobody there"))
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()

    run_virtually(main)

    assert journal.events[-2:] == ["the group failed", "left"]


def test_shutdown_that_is_cancelled_ends_the_loop_thread_of_its_startup() -> None:
    """Below ``async_to_sync`` the plan is opened on a loop thread of its own."""
    lifespan, closes = Lifespan(), threading.Event()
    ended: list[str] = []

    @lifespan.resource
    async def slow() -> AsyncIterator[threading.Thread]:
        yield threading.current_thread()
        closes.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("slow")

    async def stop() -> None:
        stopping = asyncio.create_task(lifespan.shutdown())
        await asyncio.to_thread(closes.wait, 10)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping

    thread = async_to_sync(lifespan.startup)()["slow"]
    asyncio.run(stop())
    assert ended == ["slow"]
    assert not thread.is_alive()
