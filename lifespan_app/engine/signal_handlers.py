"""Signal handlers of ours: what they have taken the place of is there again at the end, and in a fork.

A fork inherits handlers as it does everything else. Ours tell a loop, which has stayed in the parent, so
a child that kept them could be ended by nothing but SIGKILL.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from signal import Signals
from types import FrameType
from typing import Any, NamedTuple

Handler = Callable[[int, FrameType | None], Any]


class Placed(NamedTuple):
    """A handler of ours, and what it has taken the place of."""

    number: Signals
    handler: Handler
    before: Any

    def give_back(self, before: Any) -> None:
        """Put another handler in its place, unless it has lost that since."""
        if signal.getsignal(self.number) == self.handler:
            signal.signal(self.number, before)


_placed: list[Placed] = []
"""The handlers of this process, in their order."""


def place(number: Signals, handler: Handler) -> None:
    """Put a handler in the place of the one that there is, in the main thread."""
    _placed.append(Placed(number, handler, signal.signal(number, handler)))


def give_back(number: Signals, handler: Handler) -> None:
    """Put back what was there before a handler of ours, unless that has lost its place since."""
    for placed in reversed(_placed):
        if (placed.number, placed.handler) == (number, handler):
            _placed.remove(placed)
            placed.give_back(placed.before)
            return


def _forked() -> None:
    for placed in reversed(_placed):
        placed.give_back(signal.default_int_handler if is_of_loop(placed.before) else placed.before)
    _placed.clear()


def is_of_loop(handler: Any) -> bool:
    """Return True for what ``asyncio.run()`` has put for Ctrl+C: it cancels a task of its loop."""
    function = getattr(handler, "func", None)
    return isinstance(getattr(function, "__self__", None), asyncio.Runner)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)
