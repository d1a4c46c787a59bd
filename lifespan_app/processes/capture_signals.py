"""Signal handlers that call back on the event loop."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterable
from signal import Signals
from types import FrameType, TracebackType
from typing import Self

from lifespan_app.engine.signal_handlers import give_back, place


def signals_called(*names: str) -> tuple[Signals, ...]:
    """Return the signals of these names that exist on this platform."""
    return tuple(Signals[name] for name in names if name in Signals.__members__)


ENDING = signals_called("SIGINT", "SIGTERM", "SIGBREAK")
"""The signals to stop, from Ctrl+C, from a platform, and from Ctrl+Break on Windows."""
LEFT_IGNORED = frozenset({"SIGINT", "SIGHUP", "SIGQUIT"})
"""Signals that stay ignored if they were ignored at the start: shells ignore SIGINT and SIGQUIT in
background processes (POSIX, Shell Command Language, 2.12), and ``nohup`` ignores SIGHUP."""
BLOCKED_AFTER = 1.0
"""Seconds that a signal may wait for the loop before another Ctrl+C interrupts the blocking code."""
HANGUP = signals_called("SIGHUP")


class CapturedSignals:
    """Call a function on the event loop for each signal during a ``with`` block.

    Outside the main thread it does nothing, because Python handles signals only there:
    https://docs.python.org/3/library/signal.html#signals-and-threads

    Args:
        callback: called on the loop with the signal.
        further: signals beside SIGINT, SIGTERM and SIGHUP.
    """

    def __init__(
        self, callback: Callable[[Signals], None], further: Iterable[Signals] = ()
    ) -> None:
        self._callback = callback
        self._numbers = dict.fromkeys((*ENDING, *HANGUP, *further))
        self._captured: list[Signals] = []
        self._waiting = 0
        self._waiting_since = 0.0

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in self._numbers:
                ignored = signal.getsignal(number) is signal.SIG_IGN
                if not (ignored and number.name in LEFT_IGNORED):
                    self._captured.append(number)
                    place(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number in self._captured:
            give_back(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._waiting:
            self._waiting_since = now
        self._waiting += 1
        self._loop.call_soon_threadsafe(self._deliver, Signals(number))
        if number == Signals.SIGINT and now - self._waiting_since > BLOCKED_AFTER:
            # A hook blocks the loop, and only an exception in its code can end that. The cleanup after
            # it gets the same time.
            self._waiting_since = now
            raise KeyboardInterrupt

    def _deliver(self, number: Signals) -> None:
        self._waiting -= 1
        self._callback(number)
