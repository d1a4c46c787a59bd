"""Our signal handlers: the previous ones are restored at the end, and in a fork.

A fork inherits handlers. Ours notify a loop, which exists in the parent only, so a child that kept them
could only be ended with SIGKILL.
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
    """A handler of ours, and the previous one."""

    number: Signals
    handler: Handler
    before: Any

    def give_back(self, before: Any) -> None:
        """Set another handler, unless other code has replaced ours since."""
        if signal.getsignal(self.number) == self.handler:
            signal.signal(self.number, before)


_placed: list[Placed] = []
"""The handlers of this process, in their order."""


def place(number: Signals, handler: Handler) -> None:
    """Replace the current handler, in the main thread."""
    _placed.append(Placed(number, handler, signal.signal(number, handler)))


def give_back(number: Signals, handler: Handler) -> None:
    """Restore the previous handler, unless other code has replaced ours since."""
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
    """Return True for the SIGINT handler of ``asyncio.run()``, which cancels its task."""
    function = getattr(handler, "func", None)
    return isinstance(getattr(function, "__self__", None), asyncio.Runner)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)
