"""An event loop whose time passes only when nothing can happen: limits tested without waiting.

Coroutines sleep with ``asyncio.sleep`` as ever. Sync hooks run in real threads and sleep with
``loop.sleep_in_thread``; the clock stands still while any of them is at work.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

from lifespan_app import Lifespan
from lifespan_app.engine.settings import Settings
from tests.engine.apps import HostWithApps

T = TypeVar("T")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class Deadlock(RuntimeError):
    """Nothing is scheduled, and nothing can wake the loop."""


class Released(BaseException):
    """Ends a thread that hangs, when its test is over."""


class VirtualSelector(selectors.DefaultSelector):
    """Move the clock instead of waiting."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        """Return what is ready; when nothing is, and no thread works, let the time pass."""
        if self.loop.threads_at_work:
            # Only a thread can end this, and its result wakes the loop.
            if timeout is not None and timeout <= 0:
                return super().select(0)
            if not (events := super().select(60)):
                raise Deadlock(f"{self.loop.threads_at_work} threads at work never came back.")
            return events
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if timeout is None:
            raise Deadlock("Nothing is scheduled, and nothing can wake the loop.")
        self.loop.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a virtual clock that begins at 1000 seconds."""

    def __init__(self) -> None:
        selector = VirtualSelector()
        selector.loop = self
        self.now = 1000.0
        self.threads_at_work = 0
        self._hanging: list[threading.Event] = []
        self._released = False
        super().__init__(selector)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self.now

    @property
    def timers(self) -> int:
        """The number of calls that are scheduled for a later time."""
        return sum(not handle.cancelled() for handle in self._scheduled)  # type: ignore[attr-defined]

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], R], *args: *Ts
    ) -> asyncio.Future[R]:
        """Run a function in a thread, as ``asyncio.to_thread`` does; the clock stands still."""
        future = super().run_in_executor(executor, func, *args)
        self._count(1)
        future.add_done_callback(lambda _: self._count(-1))
        return future

    def sleep_in_thread(self, seconds: float) -> None:
        """Sleep in a sync hook's own thread, by the virtual clock."""
        woken = threading.Event()
        self._wait_in_thread(woken, self._sleep, seconds, woken)
        if self._released:
            raise Released

    def hang_in_thread(self) -> None:
        """Never come back, until the test is over."""
        self._wait_in_thread(threading.Event(), self._count, -1)
        raise Released

    def _wait_in_thread(self, woken: threading.Event, call: Any, *args: Any) -> None:
        # Noted here and not on the loop, which may have ended before it hears of it.
        self._hanging.append(woken)
        if not self._released:
            try:
                self.call_soon_threadsafe(call, *args)
            except RuntimeError as error:  # the loop is closed
                raise Released from error
            woken.wait()

    def _sleep(self, seconds: float, woken: threading.Event) -> None:
        self._count(-1)
        self.call_later(seconds, self._wake, woken)

    def _wake(self, woken: threading.Event) -> None:
        self._count(1)
        self._hanging.remove(woken)
        woken.set()

    def _count(self, change: int) -> None:
        self.threads_at_work += change

    def release_threads(self) -> None:
        """Let the threads end that hang or sleep."""
        self._released = True
        for woken in self._hanging:
            woken.set()


class VirtualHost(HostWithApps):
    """The engine's surroundings, on a virtual clock."""

    thread_patience = 0.0

    def __init__(self, loop: VirtualLoop, settings: Settings | None = None) -> None:
        super().__init__()
        self.loop = loop
        # A thread watches the loop by the wall clock, and a timer of it never lets the loop be idle.
        self.given = (settings or Settings())._replace(slow_loop=0.0)

    def settings(self) -> Settings:
        """Return the settings of the test."""
        return self.given

    def clock(self) -> float:
        """Return the virtual time in seconds."""
        return self.loop.now

    def time(self) -> float:
        """Return the virtual time of day."""
        return 1_700_000_000 + self.loop.now

    def random(self) -> float:
        """Return the middle of what may come: pauses are as long as they are said to be."""
        return 0.5

    def work_handed_over(self) -> None:
        """Let the clock stand still."""
        self.loop.threads_at_work += 1

    def work_returned(self) -> None:
        """Let the clock go on, when no other thread works."""
        self.loop.threads_at_work -= 1


def run_virtually(
    main: Callable[[Lifespan, VirtualLoop], Coroutine[Any, Any, T]],
    *,
    settings: Settings | None = None,
) -> T:
    """Run a coroutine function on a virtual clock, with a ``Lifespan`` of its own.

    Args:
        main: what to run; it is given a Lifespan and the loop.
        settings: what the engine is told.
    """
    loop = VirtualLoop()
    lifespan = Lifespan(VirtualHost(loop, settings))
    loop.set_exception_handler(lambda loop, context: None)
    try:
        return loop.run_until_complete(main(lifespan, loop))
    finally:
        loop.release_threads()
        # What ignores every cancellation can't be waited for: it is thrown away with its loop.
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()
