"""Watch an event loop while the process serves: how long it is blocked, and where."""

from __future__ import annotations

import asyncio
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable
from typing import TYPE_CHECKING

from lifespan_app.engine.logger import logger

from .watchdog import wait_for_end

if TYPE_CHECKING:
    from .stacks import Location

TICKS = 10
"""Times that the loop ticks within the limit: a block is measured to a tenth of it."""


class LoopWatch:
    """Watch a loop by a timer on it, and by a thread that sees when the timer is late.

    While the loop is not blocked, the thread sleeps, and the timer only notes when it is due next.

    Args:
        loop: the loop that is watched.
        limit: seconds from which the loop counts as blocked.
        located: called in the thread while the loop is blocked, with the place (None when it is
            unknown) and the seconds so far. Its own errors are logged.
        freed: called on the loop after that, with the seconds in all.
        clock: seconds of a clock that never goes back.
        cpu: seconds of computing time of the thread that asks.
        wait: waits in the thread for the end; a test may pass its own.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limit: float,
        located: Callable[[Location | None, float], object],
        freed: Callable[[float], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
        wait: Callable[[threading.Lock, float], bool] = wait_for_end,
    ) -> None:
        self._loop = loop
        self._limit = limit
        self._period = limit / TICKS
        self._located = located
        self._freed = freed
        self._clock = clock
        self._cpu = cpu
        self._wait = wait
        self._due = 0.0
        """When the timer is due next."""
        self._computed = 0.0
        self._was_seen = False
        """True if the thread has seen that the loop is blocked now."""
        self._timer: asyncio.TimerHandle | None = None
        self._ended: threading.Lock | None = None

    def begin(self) -> None:
        """Watch from now on. Call it in the loop's thread."""
        self._ended = ended = threading.Lock()
        ended.acquire()
        self._next_tick()
        try:
            start_new_thread(self._watch, (threading.get_ident(), ended))
        except RuntimeError:
            # Since Python 3.12 a process that ends can't start threads.
            self.end()

    def end(self) -> None:
        """Stop watching. Does nothing when nothing is watched."""
        if self._ended is not None:
            self._ended.release()
            self._ended = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        late = self._clock() - self._due
        # A process that was paused has computed nothing meanwhile. Code that keeps the GIL, such as a
        # slow regular expression, has, and the thread could not see it.
        computed = self._cpu() - self._computed
        if late >= self._limit and (self._was_seen or computed > self._period):
            self._freed(late)
        self._next_tick()

    def _next_tick(self) -> None:
        self._was_seen = False
        self._computed = self._cpu()
        self._due = self._clock() + self._period
        self._timer = self._loop.call_later(self._period, self._tick)

    def _watch(self, ident: int, ended: threading.Lock) -> None:
        while True:
            due = self._due
            look_at = due + self._limit
            if self._wait(ended, look_at - self._clock()):
                return
            if self._due == due and self._clock() > look_at + self._period:
                # This thread is late as well: the process was paused, and the loop may be free.
                if self._wait(ended, self._period):
                    return
            if self._due != due:
                continue
            self._was_seen = True
            try:
                from .stacks import where_loop  # needed only for slow hooks

                self._located(where_loop(ident), self._clock() - due)
            except Exception as error:
                logger.error("It could not be reported what blocks the event loop.", error=error)
            while self._due == due:
                if self._wait(ended, self._period):
                    return
