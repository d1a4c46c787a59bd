"""Tell, from outside, that the event loop itself is blocked, and where."""

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
"""How long a loop may take to answer before it counts as blocked, in seconds."""

Report = Callable[["Location | None", float], object]


def wait_for_end(ended: threading.Lock, seconds: float) -> bool:
    """Wait until a lock is released, at most so many seconds; tell whether it was."""
    return ended.acquire(timeout=max(seconds, 0))


class Watchdog:
    """Watch a loop while a phase takes longer than it should.

    A thread sleeps beside the phase and looks up only at the times given: then it asks the loop
    for a sign, and where none comes it reports what the loop's thread is doing. A phase that ends
    before the first look pays for starting that thread and for nothing else; without a phase
    there is no thread.

    Args:
        loop: the loop that is watched.
        report: called in the watchdog's thread with the place where the loop is blocked (None when
            it can't be told) and for how many seconds at least. What it raises is logged.
        after: when to look, in seconds from the phase's begin, rising.
        grace: how long the loop may take to answer, in seconds.
        clock: seconds of a clock that never goes back.
        wait: how the thread waits for the phase's end; a test may give its own.
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
        # threading.Thread waits for its thread to have begun, which costs four times as much.
        try:
            start_new_thread(self._watch, (threading.get_ident(), self._clock(), ended))
        except RuntimeError:
            # Python 3.12 gives no new thread to a process that ends.
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
            from .stacks import where_loop  # not paid for where nothing is slow

            # A question that is still open is not asked again: the loop has been blocked since.
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
