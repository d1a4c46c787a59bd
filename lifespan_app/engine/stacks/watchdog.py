"""Detect, from another thread, that the event loop is blocked, and the location."""

from __future__ import annotations

import asyncio
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lifespan_app.engine.logger import logger

if TYPE_CHECKING:
    from .stacks import Location

GRACE = 1.0
"""Seconds that a loop may take to answer before it counts as blocked."""

Report = Callable[["Location | None", float], object]


def wait_for_end(ended: threading.Lock, seconds: float) -> bool:
    """Wait for a lock's release, at most so many seconds. Returns True if it was released."""
    return ended.acquire(timeout=max(seconds, 0))


class Watchdog:
    """Watch a loop while a phase takes longer than it should.

    A thread sleeps during the phase and wakes only at the given times: then it sends a call to the
    loop, and reports the location of the loop's thread if the call does not run. A phase that ends
    before the first time pays only for the start of that thread; without a phase there is none.

    Args:
        loop: the loop that is watched.
        report: called in the watchdog's thread with the place where the loop is blocked (None when
            it is unknown) and the least number of seconds. Its own errors are logged.
        after: times to look, in seconds from the phase's begin, rising.
        grace: seconds that the loop may take to answer.
        clock: seconds of a clock that never goes back.
        wait: waits in the thread for the phase's end; a test may pass its own.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        report: Report,
        *,
        after: Sequence[float],
        grace: float = GRACE,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Lock, float], bool] = wait_for_end,
    ) -> None:
        self._loop = loop
        self._report = report
        self._after = tuple(after)
        self._grace = grace
        self._clock = clock
        self._wait = wait
        self._ended: threading.Lock | None = None

    def begin(self) -> None:
        """Watch from now on. Call it in the loop's thread; a second call begins anew."""
        self.end()
        self._ended = ended = threading.Lock()
        ended.acquire()
        # Thread.start() waits until the thread runs, which costs four times as much.
        try:
            start_new_thread(self._watch, (threading.get_ident(), self._clock(), ended))
        except RuntimeError:
            # Since Python 3.12 a process that ends can't start threads:
            # https://github.com/python/cpython/issues/113964
            self._ended = None

    def end(self) -> None:
        """Stop watching. Does nothing when nothing is watched."""
        if self._ended is not None:
            self._ended.release()
            self._ended = None

    def _watch(self, ident: int, begin: float, ended: threading.Lock) -> None:
        asked, answers = begin, ["nothing has been asked yet"]
        for look in self._after:
            if self._wait(ended, begin + look - self._clock()):
                return
            from .stacks import where_loop  # needed only for slow hooks

            # One call at a time: while it is pending, the loop is blocked.
            if answers:
                asked, answers = self._clock(), []
                try:
                    self._loop.call_soon_threadsafe(answers.append, "free")
                except RuntimeError:  # the loop is closed
                    return
                if self._wait(ended, self._grace):
                    return
            if not answers:
                try:
                    self._report(where_loop(ident), self._clock() - asked)
                except Exception as error:
                    text = "It could not be reported what blocks the event loop."
                    logger.error(text, error=error)
