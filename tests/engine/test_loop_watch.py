"""While a process serves, a loop that is blocked is counted, measured, and located."""

from __future__ import annotations

import asyncio
import linecache
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from lifespan_app.engine.running.slow_loop import SlowLoop
from lifespan_app.engine.stacks.loop_watch import LoopWatch
from lifespan_app.engine.stacks.stacks import Frame, Location
from tests.engine.conftest import LOOPS

LIMIT = 0.2


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    def go(main: Any) -> Any:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(main)

    return go


class Seen:
    def __init__(self) -> None:
        self.places: list[Location | None] = []
        self.seconds: list[float] = []
        self.located = threading.Event()
        self.freed = asyncio.Event()

    def locate(self, place: Location | None, seconds: float) -> None:
        self.places.append(place)
        self.located.set()

    def free(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.freed.set()


def test_blocked_loop_is_located_while_it_is_blocked_and_measured_after(
    run: Callable[[Any], Any],
) -> None:
    seen = Seen()

    async def main() -> None:
        watch = LoopWatch(asyncio.get_running_loop(), LIMIT, seen.locate, seen.free)
        watch.begin()
        seen.located.wait(30)  # here it is blocked
        await seen.freed.wait()
        watch.end()

    run(main())
    [place] = seen.places
    assert place is not None
    assert place.user is not None
    assert linecache.getline(__file__, place.user.line).strip().endswith("# here it is blocked")
    [seconds] = seen.seconds
    assert seconds >= LIMIT


def test_code_that_keeps_the_interpreter_to_itself_is_counted(run: Callable[[Any], Any]) -> None:
    """The watching thread can't run then, and the place can't be seen."""
    seen = Seen()

    async def main() -> None:
        watch = LoopWatch(asyncio.get_running_loop(), LIMIT, seen.locate, seen.free)
        watch.begin()
        length = 18
        while not seen.seconds:
            re.match(r"(a+)+$", "a" * length + "b")
            length += 1
            await asyncio.sleep(2 * LIMIT / 10)
        watch.end()

    run(main())
    assert seen.seconds[0] >= LIMIT


def test_process_that_was_paused_is_not_called_blocked() -> None:
    seen = Seen()
    now = 0.0

    async def main() -> None:
        nonlocal now
        loop = asyncio.get_running_loop()
        watch = LoopWatch(
            loop, 1.0, seen.locate, seen.free, clock=lambda: now, cpu=lambda: 0.0, wait=wait
        )
        watch.begin()
        now = 100.0  # of a clock that went on, while nothing here did
        watch._tick()
        watch.end()

    def wait(ended: threading.Lock, seconds: float) -> bool:
        return ended.acquire(timeout=60)

    asyncio.run(main())
    assert (seen.places, seen.seconds) == ([], [])


def test_free_loop_is_left_alone(run: Callable[[Any], Any]) -> None:
    seen = Seen()

    async def main() -> None:
        watch = LoopWatch(asyncio.get_running_loop(), LIMIT, seen.locate, seen.free)
        watch.begin()
        for _ in range(30):
            await asyncio.sleep(LIMIT / 10)
        watch.end()

    run(main())
    assert seen.places == []


def test_thread_ends_with_the_watch(
    run: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def start(watch: Callable[..., None], args: tuple[Any, ...]) -> None:
        threads.append(threading.Thread(target=watch, args=args))
        threads[0].start()

    monkeypatch.setattr("lifespan_app.engine.stacks.loop_watch.start_new_thread", start)

    async def main() -> None:
        watch = LoopWatch(asyncio.get_running_loop(), 60, print, print)
        watch.begin()
        watch.end()
        watch.end()

    run(main())
    threads[0].join(10)
    assert not threads[0].is_alive()


class TestTheLog:
    def blocks(self, now: list[float]) -> SlowLoop:
        return SlowLoop(1.0, lambda: now[0], dict, lambda: None)

    def test_place_is_logged_once_a_minute(self, caplog: pytest.LogCaptureFixture) -> None:
        now = [0.0]
        slow = self.blocks(now)
        here, there = (Location(Frame("views.py", line, "view"), None) for line in (5, 9))

        for at, place in [(0, here), (30, here), (31, there), (59, here), (60, here)]:
            now[0] = at
            slow._located(place, 1.2)

        assert [re.search(r"views.py:\d", line)[0] for line in caplog.messages] == [  # type: ignore[index]
            "views.py:5",
            "views.py:9",
            "views.py:5",
        ]
        assert caplog.messages[0].startswith(
            "The event loop has been blocked for 1.200 s while serving, and answers no request: "
        )

    def test_changes_are_told_once_a_minute_and_all_are_counted(self) -> None:
        now, told = [0.0], list[float]()
        slow = SlowLoop(1.0, lambda: now[0], dict, lambda: told.append(now[0]))

        for at, seconds in [(0, 2.0), (30, 5.0), (61, 3.0)]:
            now[0] = at
            slow._freed(seconds)

        assert (slow.count, slow.longest) == (3, 5.0)
        assert told == [0, 61]


def test_time_that_a_tick_takes_is_not_measurable() -> None:
    """It takes less than one per mille of the loop's time, at ten ticks a second."""

    async def main() -> float:
        watch = LoopWatch(asyncio.get_running_loop(), 1.0, print, print)
        watch.begin()
        begun = time.thread_time()
        for _ in range(1_000):
            assert watch._timer is not None
            watch._timer.cancel()
            watch._tick()
        took = time.thread_time() - begun
        watch.end()
        return took / 1_000

    assert asyncio.run(main()) * 10 < 0.001
