"""A blocked event loop is reported from outside, with the line that blocks it."""

from __future__ import annotations

import asyncio
import linecache
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest

from lifespan_app.engine.stacks.stacks import Location
from lifespan_app.engine.stacks.watchdog import Watchdog, wait_for_end
from tests.engine.conftest import LOOPS

LOOKS = (5.0, 10.0, 20.0, 40.0)
"""When a phase is looked at, in seconds from its begin."""

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(params=LOOPS)
def loop_factory(request: pytest.FixtureRequest) -> LoopFactory:
    return LOOPS[request.param]


@pytest.fixture
def runner(loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch) -> asyncio.Runner:
    """Return what runs a loop; the watchdog's threads are such as pytest and coverage can see."""

    def start(watch: Callable[..., None], args: tuple[Any, ...]) -> None:
        threading.Thread(target=watch, args=args, daemon=True).start()

    monkeypatch.setattr("lifespan_app.engine.stacks.watchdog.start_new_thread", start)
    return asyncio.Runner(loop_factory=loop_factory)


class Time:
    """The watchdog's time: the test lets it go on, from one wait to the next.

    ``wait`` and ``clock`` are given to the watchdog; everything else is called by the test.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._waits: queue.Queue[float | None] = queue.Queue()
        self._go_on: queue.Queue[None] = queue.Queue()

    def clock(self) -> float:
        return self.now

    def wait(self, ended: threading.Lock, seconds: float) -> bool:
        self._waits.put(seconds)
        self._go_on.get(timeout=10)
        is_over = wait_for_end(ended, 0)
        if is_over:
            self._waits.put(None)
        return is_over

    def next_wait(self) -> float | None:
        """Return how long the watchdog is about to wait; None when it has ended."""
        return self._waits.get(timeout=10)

    def pass_by(self, seconds: float) -> None:
        """Let the watchdog's wait end after so many seconds."""
        self.now += seconds
        self._go_on.put(None)


def test_blocked_loop_is_reported_with_the_line_that_blocks_it(
    loop_factory: LoopFactory,
) -> None:
    reports: list[tuple[Location | None, float]] = []
    free = threading.Event()

    def report(place: Location | None, seconds: float) -> None:
        reports.append((place, seconds))
        free.set()

    async def hook() -> None:
        watchdog = Watchdog(asyncio.get_running_loop(), report, after=[0], grace=0.01)
        watchdog.begin()
        free.wait(10)
        watchdog.end()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(hook())

    [(place, seconds)] = reports
    assert place is not None
    assert place.user is not None
    assert linecache.getline(__file__, place.user.line).strip() == "free.wait(10)"
    assert place.library is not None
    assert place.library.file == "threading.py"
    assert seconds >= 0.01


def test_loop_that_stays_blocked_is_reported_at_each_look(runner: asyncio.Runner) -> None:
    time = Time()
    reports: queue.Queue[float] = queue.Queue()

    async def hook() -> None:
        watchdog = Watchdog(
            asyncio.get_running_loop(),
            lambda place, seconds: reports.put(seconds),
            after=LOOKS,
            clock=time.clock,
            wait=time.wait,
        )
        watchdog.begin()
        # The loop is blocked by this test, which looks on.
        waits = []
        for _ in range(5):
            waits.append(seconds := time.next_wait())
            assert seconds is not None
            time.pass_by(seconds)
        assert waits == [5, 1, 4, 10, 20]
        assert [reports.get(timeout=10) for _ in range(4)] == [1, 5, 15, 35]
        watchdog.end()

    with runner:
        runner.run(hook())
    assert reports.empty()


def test_loop_that_answers_is_not_reported_however_long_the_phase(runner: asyncio.Runner) -> None:
    time = Time()
    reports: list[object] = []

    async def hook() -> None:
        watchdog = Watchdog(
            asyncio.get_running_loop(),
            lambda *report: reports.append(report),
            after=[2, 3],
            clock=time.clock,
            wait=time.wait,
        )
        watchdog.begin()
        waits = []
        for _ in range(4):
            waits.append(seconds := await asyncio.to_thread(time.next_wait))
            assert seconds is not None
            time.pass_by(seconds)
        # The second look comes when the loop has been given its time to answer the first.
        assert waits == [2, 1, 0, 1]

    with runner:
        runner.run(hook())
    assert reports == []


def test_loop_that_is_blocked_again_is_reported_from_its_second_block_on(
    runner: asyncio.Runner,
) -> None:
    time = Time()
    reports: queue.Queue[float] = queue.Queue()

    async def hook() -> None:
        watchdog = Watchdog(
            asyncio.get_running_loop(),
            lambda place, seconds: reports.put(seconds),
            after=[5, 10],
            clock=time.clock,
            wait=time.wait,
        )
        watchdog.begin()
        assert time.next_wait() == 5
        time.pass_by(5)
        assert time.next_wait() == 1
        time.pass_by(1)
        assert reports.get(timeout=10) == 1
        assert time.next_wait() == 4
        await asyncio.sleep(0.001)  # the loop answers
        time.pass_by(4)
        assert time.next_wait() == 1
        time.pass_by(1)
        assert reports.get(timeout=10) == 1

    with runner:
        runner.run(hook())


def test_phase_that_ends_before_the_first_look_ends_the_thread(runner: asyncio.Runner) -> None:
    ended: queue.Queue[bool] = queue.Queue()
    reports: list[object] = []

    def wait(lock: threading.Lock, seconds: float) -> bool:
        ended.put(is_over := wait_for_end(lock, seconds))
        return is_over

    async def hook() -> None:
        watchdog = Watchdog(
            asyncio.get_running_loop(),
            lambda *report: reports.append(report),
            after=LOOKS,
            wait=wait,
        )
        watchdog.begin()
        watchdog.end()
        watchdog.end()
        assert ended.get(timeout=10) is True

    with runner:
        runner.run(hook())
    assert ended.empty()
    assert reports == []


def test_phase_that_ends_while_the_loop_is_asked_is_not_reported(runner: asyncio.Runner) -> None:
    time = Time()
    reports: list[object] = []

    async def hook() -> None:
        watchdog = Watchdog(
            asyncio.get_running_loop(),
            lambda *report: reports.append(report),
            after=LOOKS,
            clock=time.clock,
            wait=time.wait,
        )
        watchdog.begin()
        assert time.next_wait() == 5
        time.pass_by(5)
        assert time.next_wait() == 1
        watchdog.end()
        time.pass_by(1)
        assert time.next_wait() is None

    with runner:
        runner.run(hook())
    assert reports == []


def test_next_phase_ends_the_watch_over_the_last_one(runner: asyncio.Runner) -> None:
    ended: queue.Queue[threading.Lock] = queue.Queue()

    def wait(lock: threading.Lock, seconds: float) -> bool:
        assert wait_for_end(lock, 10)
        ended.put(lock)
        return True

    async def hook() -> None:
        watchdog = Watchdog(asyncio.get_running_loop(), print, after=[5], wait=wait)
        watchdog.begin()
        watchdog.begin()
        first = ended.get(timeout=10)
        assert ended.empty()
        watchdog.end()
        assert ended.get(timeout=10) is not first

    with runner:
        runner.run(hook())


def test_closed_loop_ends_the_watch(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In this thread, so that the watch has ended when it returns.
    monkeypatch.setattr(
        "lifespan_app.engine.stacks.watchdog.start_new_thread", lambda watch, args: watch(*args)
    )
    waits: list[float] = []
    reports: list[object] = []

    def wait(lock: threading.Lock, seconds: float) -> bool:
        waits.append(seconds)
        return False

    with runner:
        loop = runner.get_loop()
    watchdog = Watchdog(
        loop, lambda *report: reports.append(report), after=[5], clock=lambda: 0.0, wait=wait
    )
    watchdog.begin()

    assert waits == [5]
    assert reports == []


def test_report_that_fails_is_logged_and_the_watch_goes_on(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    time = Time()

    def report(place: Location | None, seconds: float) -> None:
        raise ZeroDivisionError(f"after {seconds:g} s")

    async def hook() -> None:
        watchdog = Watchdog(
            asyncio.get_running_loop(),
            report,
            after=[5, 10, 20],
            clock=time.clock,
            wait=time.wait,
        )
        watchdog.begin()
        for expected in (5, 1, 4, 10):
            assert time.next_wait() == expected
            if expected != 10:
                time.pass_by(expected)
        watchdog.end()
        time.pass_by(0)
        assert time.next_wait() is None

    with caplog.at_level(logging.ERROR, "lifespan_app"), runner:
        runner.run(hook())

    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        "after 1 s",
        "after 5 s",
    ]


def test_wait_without_time_left_looks_at_once() -> None:
    lock = threading.Lock()
    with lock:
        assert wait_for_end(lock, -3) is False
    assert wait_for_end(lock, -3) is True
