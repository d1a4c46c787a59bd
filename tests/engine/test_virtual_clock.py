"""The virtual clock that the other tests of the engine stand on."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.settings import Settings
from tests.engine.virtual_clock import (
    Deadlock,
    Released,
    VirtualHost,
    VirtualLoop,
    run_virtually,
)

A_WEEK = 7 * 24 * 3600.0


def hand_over(loop: VirtualLoop, work: Callable[[], object]) -> asyncio.Future[None]:
    """Have a thread do some work, as the engine does for a sync hook."""
    host = VirtualHost(loop)
    done: asyncio.Future[None] = loop.create_future()

    def come_back() -> None:
        host.work_returned()
        done.set_result(None)

    def do() -> None:
        try:
            work()
        except Released:
            return
        loop.call_soon_threadsafe(come_back)

    host.work_handed_over()
    threading.Thread(target=do, daemon=True).start()
    return done


def test_sleep_takes_virtual_time_and_no_real_time() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> float:
        begun = loop.time()
        await asyncio.sleep(A_WEEK)
        return loop.time() - begun

    begun = time.monotonic()
    assert run_virtually(main) == pytest.approx(A_WEEK)
    assert time.monotonic() - begun < 60


def test_timers_fire_in_their_order_each_at_its_own_time() -> None:
    fired: list[tuple[float, str]] = []

    async def sleeper(loop: VirtualLoop, seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        fired.append((loop.time() - 1000, name))

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        async with asyncio.TaskGroup() as group:
            for seconds, name in ((3, "c"), (1, "a"), (2, "b"), (3, "d")):
                group.create_task(sleeper(loop, seconds, name))

    run_virtually(main)

    assert fired == [(1, "a"), (2, "b"), (3, "c"), (3, "d")]


def test_time_limit_passes() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await loop.create_future()
        return loop.time()

    assert run_virtually(main) == pytest.approx(1030)


def test_deadlock_is_an_error_at_once() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        await loop.create_future()

    with pytest.raises(Deadlock):
        run_virtually(main)


def test_ready_socket_comes_before_the_time_passes() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> tuple[bytes, float]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.send(b"here")
            async with asyncio.timeout(1):
                received = await loop.sock_recv(ours, 10)
        return received, loop.time()

    assert run_virtually(main) == (b"here", 1000)


def test_clock_stops_while_a_thread_works() -> None:
    release = threading.Event()
    order: list[str] = []

    def work() -> None:
        release.wait(10)
        order.append("worked")

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> float:
        loop.call_later(1, order.append, "a second passed")
        done = hand_over(loop, work)
        # Only now, when the loop waits for the thread, or is about to.
        threading.Timer(0.05, release.set).start()
        await done
        returned_at = loop.time()
        await asyncio.sleep(2)
        return returned_at

    assert run_virtually(main) == 1000
    assert order == ["worked", "a second passed"]


def test_clock_stops_while_an_executor_works() -> None:
    release = threading.Event()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> float:
        async with asyncio.timeout(5):
            call = asyncio.create_task(asyncio.to_thread(release.wait, 10))
            await asyncio.sleep(0)
            threading.Timer(0.05, release.set).start()
            assert await call
        await asyncio.sleep(1)
        return loop.time()

    assert run_virtually(main) == 1001


def test_sleeping_threads_wake_by_the_virtual_clock() -> None:
    def journey() -> list[tuple[float, int]]:
        seen: list[tuple[float, int]] = []

        async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
            def work(number: int) -> None:
                for nap in range(1, 4):
                    loop.sleep_in_thread(nap + number / 10)
                    seen.append((round(loop.time() - 1000, 6), number))

            await asyncio.gather(*(hand_over(loop, partial(work, n)) for n in range(5)))

        run_virtually(main)
        return seen

    first = journey()

    assert first == journey()
    assert first == sorted(
        (round(sum(nap + number / 10 for nap in range(1, naps + 1)), 6), number)
        for number in range(5)
        for naps in (1, 2, 3)
    )


def test_coroutines_and_threads_share_one_time() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[float]:
        times: list[float] = []

        def work() -> None:
            loop.sleep_in_thread(1.5)
            times.append(loop.time() - 1000)

        async def sleeper(seconds: float) -> None:
            await asyncio.sleep(seconds)
            times.append(loop.time() - 1000)

        await asyncio.gather(sleeper(1), hand_over(loop, work), sleeper(2))
        return times

    assert run_virtually(main) == pytest.approx([1, 1.5, 2])


def test_thread_that_hangs_does_not_hold_the_clock_and_ends_with_its_test() -> None:
    ended = threading.Event()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> float:
        def work() -> None:
            try:
                loop.hang_in_thread()
            finally:
                ended.set()

        never = hand_over(loop, work)
        await asyncio.sleep(10)
        assert not never.done()
        return loop.time()

    assert run_virtually(main) == pytest.approx(1010)
    assert ended.wait(10)


def test_thread_that_sleeps_on_ends_with_its_test() -> None:
    ended = threading.Event()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        def work() -> None:
            try:
                loop.sleep_in_thread(1_000)
            finally:
                ended.set()

        never = hand_over(loop, work)
        await asyncio.sleep(1)
        assert not never.done()

    run_virtually(main)

    assert ended.wait(10)


def test_thread_that_wants_to_sleep_after_its_test_ends() -> None:
    loops: list[VirtualLoop] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        loops.append(loop)

    run_virtually(main)

    with pytest.raises(Released):
        loops[0].sleep_in_thread(1)
    with pytest.raises(Released):
        loops[0].hang_in_thread()


def test_tasks_that_ignore_everything_do_not_hold_up_the_end() -> None:
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(A_WEEK)
            except asyncio.CancelledError:
                continue

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> str:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        task.cancel()
        return "over"

    assert run_virtually(main) == "over"


def test_error_comes_out_and_the_loop_is_closed() -> None:
    loops: list[VirtualLoop] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        loops.append(loop)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_virtually(main)
    assert loops[0].is_closed()


def test_engine_goes_by_the_virtual_clock() -> None:
    settings = Settings(startup_deadline=77.0)

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> tuple[float, float]:
        @lifespan.resource
        async def slow() -> object:
            await asyncio.sleep(3)
            return "value"

        @lifespan.on_start
        def sync() -> None:
            loop.sleep_in_thread(5)

        async with lifespan.run("app"):
            await asyncio.sleep(A_WEEK)
        report = lifespan.report()
        assert report is not None
        assert report.stopping_at is not None
        return report.startup_duration or 0, report.stopping_at - report.started_at

    assert run_virtually(main, settings=settings) == pytest.approx((5, A_WEEK + 5))
