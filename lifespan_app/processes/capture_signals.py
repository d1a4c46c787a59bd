"""The signals that a process is sent, told on its event loop."""

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

ENDING = (Signals.SIGINT, Signals.SIGTERM)
"""What asks a process to end: Ctrl+C, and a platform."""
LEFT_IGNORED = frozenset({"SIGINT", "SIGHUP", "SIGQUIT"})
"""Signals that whoever started the process may have told it to ignore: a shell does with what it
runs in the background, and so does nohup."""
BLOCKED_AFTER = 1.0
"""Seconds that a signal may wait for the loop, until the next Ctrl+C breaks into what blocks it."""


def signals_called(*names: str) -> tuple[Signals, ...]:
    """Return the signals of those names that there are on this platform."""
    return tuple(Signals[name] for name in names if name in Signals.__members__)


HANGUP = signals_called("SIGHUP")


class CapturedSignals:
    """Tell of signals on the loop, for as long as a ``with`` block lasts.

    In another thread than the main one there are none to be told of.

    Args:
        tell: called on the loop, with the signal.
        further: signals beside SIGINT, SIGTERM and SIGHUP.
    """

    def __init__(self, tell: Callable[[Signals], None], further: Iterable[Signals] = ()) -> None:
        self._tell = tell
        self._numbers = dict.fromkeys((*ENDING, *HANGUP, *further))
        self._heard: list[Signals] = []
        self._unheard = 0
        self._unheard_since = 0.0

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in self._numbers:
                ignored = signal.getsignal(number) is signal.SIG_IGN
                if not (ignored and number.name in LEFT_IGNORED):
                    self._heard.append(number)
                    place(number, self._hear)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number in self._heard:
            give_back(number, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._unheard:
            self._unheard_since = now
        self._unheard += 1
        self._loop.call_soon_threadsafe(self._told, Signals(number))
        if number == Signals.SIGINT and now - self._unheard_since > BLOCKED_AFTER:
            # A hook blocks the loop: nothing but an exception in its own code can end it. What
            # that sets going has a second of its own.
            self._unheard_since = now
            raise KeyboardInterrupt

    def _told(self, number: Signals) -> None:
        self._unheard -= 1
        self._tell(number)
