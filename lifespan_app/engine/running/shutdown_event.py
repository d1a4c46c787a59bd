"""The notice of a shutdown: who waits for it is told, and signals bring it before the server hears.

Servers wait for open connections before they send ``lifespan.shutdown``, so a stream without an end
learns of the shutdown by a signal only. The server's own handler is called behind this one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from signal import Signals
from types import FrameType
from typing import Any, Protocol, TypeVar

from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.report import IN_SERVICE, Phase
from lifespan_app.engine.signal_handlers import Handler, give_back, place

from .current import OpensRuns, run_or_last

T = TypeVar("T")

ENDING = (Signals.SIGINT, Signals.SIGTERM)
"""What asks a server to stop: Ctrl+C, and a platform."""

FIRST_LOOK = 0.1
"""Seconds until what wakes the loop is looked at, then twice as long each time."""

ECHO = 1.0
"""Seconds within which a second signal is taken for the first one: a platform, or Ctrl+C, signals every
process of a server, and the server's own main process signals its workers once more."""


class Serves(Protocol):
    """What is given notice: a run."""

    loop: asyncio.AbstractEventLoop
    adapter: Any

    @property
    def phase(self) -> Phase:
        """The phase that it is in."""

    @property
    def over(self) -> bool:
        """Whether it is over."""

    def notice(self, by: str) -> None:
        """Hear that the process will be stopped."""


class ShutdownEvent:
    """Whether one run is known to stop, for tasks of any loop and for threads."""

    def __init__(self) -> None:
        self._given = False
        self._lock = threading.Lock()
        self._waiting: dict[object, tuple[asyncio.AbstractEventLoop, Callable[[], object]]] = {}

    def is_set(self) -> bool:
        """Tell whether the shutdown is known."""
        return self._given

    def set(self) -> None:
        """Tell everybody who waits."""
        with self._lock:
            self._given = True
            waiting = list(self._waiting.values())
            self._waiting.clear()
        for loop, tell in waiting:
            # A loop that is closed has nobody who waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(tell)

    def tell(self, call: Callable[[], object]) -> Callable[[], None]:
        """Have a function called on the running loop; at once where the shutdown is known.

        Returns:
            What takes that back.
        """
        key, loop = object(), asyncio.get_running_loop()
        with self._lock:
            if not self._given:
                self._waiting[key] = loop, call
        if self._given:
            call()

        def forget() -> None:
            with self._lock:
                self._waiting.pop(key, None)

        return forget


class Stopping:
    """Tell whether this process is about to stop: ``lifespan.stopping``.

    It means the run of the running loop, else the process's. Where none was ever open it is not set.

    Args:
        lifespan: whose run is meant.
    """

    __slots__ = ("_lifespan",)

    def __init__(self, lifespan: OpensRuns) -> None:
        self._lifespan = lifespan

    def is_set(self) -> bool:
        """Tell whether the shutdown is known, from any thread."""
        run = run_or_last(self._lifespan)
        return run is not None and run.stopping.is_set()

    async def wait(self) -> None:
        """Wait until the shutdown is known, on any event loop of this process."""
        run = run_or_last(self._lifespan)
        known = asyncio.get_running_loop().create_future()
        if run is None:
            await known
            return

        def tell() -> None:
            if not known.done():
                known.set_result(None)

        forget = run.stopping.tell(tell)
        try:
            await known
        finally:
            forget()


async def until_stopping(lifespan: OpensRuns, source: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yield what a source yields, until it or the process ends, and close it."""
    run = run_or_last(lifespan)
    try:
        while run is None or not run.stopping.is_set():
            # The source runs in the task that asks, as without this: no other one would have its
            # context variables and cancel scopes. A timeout tells its own cancellation from others'.
            limit = asyncio.timeout(None)
            try:
                async with limit:
                    forget = None if run is None else run.stopping.tell(ends(limit))
                    try:
                        item = await anext(source)
                    finally:
                        if forget is not None:
                            forget()
            except StopAsyncIteration:
                return
            except TimeoutError:
                if limit.expired():
                    return
                raise
            yield item
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()


def ends(limit: asyncio.Timeout) -> Callable[[], None]:
    """Return what makes a timeout pass now, unless what it is around has ended."""

    def end() -> None:
        with suppress(RuntimeError):
            limit.reschedule(asyncio.get_running_loop().time())

    return end


def iterator_of(source: AsyncIterable[T]) -> AsyncIterator[T]:
    """Return the iterator of a source. Raises ``TypeError`` for what has none."""
    if not isinstance(source, AsyncIterable):
        raise TypeError(
            f"lifespan.until_stopping() takes an async iterable, not {source!r}. Call an async "
            "generator function, and pass on what it returns."
        )
    return aiter(source)


class InFront:
    """A handler in front of those of one server.

    Args:
        signals: what hears by it.
    """

    def __init__(self, signals: ShutdownSignals) -> None:
        self._signals = signals
        self.behind: dict[Signals, Handler] = {}
        """The server's handlers."""
        self.echo_until = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Hear a signal."""
        self._signals.hear(self, Signals(number), frame)


class ShutdownSignals:
    """Give runs their notice when a signal comes, and hand the signal on to the server.

    They belong to the process, and so does this: several servers may run in one, side by side.
    """

    def __init__(self) -> None:
        self._is_new()
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self._forked)

    def _is_new(self) -> None:
        self._delays: dict[Serves, float] = {}
        self._in_front: list[InFront] = []
        self._held: list[tuple[Signals, InFront]] = []
        self._handed_on = False
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop of the main thread."""
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._wakeup: Wakeup | None = None

    def _forked(self) -> None:
        # A signal of the child's would wake the loop of its parent.
        if self._wakeup is not None and self._wakeup.holds():
            signal.set_wakeup_fd(-1)
        self._is_new()

    def add(self, run: Serves, delay: float) -> None:
        """Give a run notice from now on; say so where that can't be.

        Args:
            run: it serves, and its loop runs in the main thread.
            delay: seconds until the server is handed the signal. A second one, later than an echo of
                the first, ends them.
        """
        if threading.current_thread() is not threading.main_thread():
            logger.warning(
                "%s has no effect here: the event loop runs in thread '%s', and signals reach the "
                "main thread only.",
                run.adapter.advice.name_of("shutdown_notice"),
                threading.current_thread().name,
            )
            return
        if self._loop is not run.loop:
            self._leave_loop()
            self._loop = run.loop
        self._delays[run] = delay
        in_front = InFront(self)
        for number in ENDING:
            behind = signal.getsignal(number)
            # Ignored, or left to the system: there is no server behind it that would stop.
            if callable(behind) and not isinstance(behind, InFront):
                in_front.behind[number] = behind
                place(number, in_front)
        if in_front.behind:
            self._in_front.append(in_front)
        if self._in_front and delay and os.name == "posix":
            self._look_later(FIRST_LOOK)

    def remove(self, run: Serves) -> None:
        """Leave a run alone; after the last one, give back the handlers that there were."""
        if self._delays.pop(run, None) is None or self._delays:
            return
        for in_front in self._in_front:
            for number in in_front.behind:
                give_back(number, in_front)
        held = self._held[:1]
        if self._wakeup is not None:
            self._wakeup.hand_on(bytes(number for number, _ in held))
        self._leave_loop()
        self._in_front, self._held, self._handed_on, self._loop = [], [], False, None
        for number, in_front in held:
            # What a handler raises, as Ctrl+C does, must not break into the end of the run.
            run.loop.call_soon(in_front.behind[number], number, None)

    def hear(self, in_front: InFront, number: Signals, frame: FrameType | None) -> None:
        """Give every run notice, and hand the signal on to the server, now or later."""
        runs = [run for run in self._delays if not (run.over or run.loop.is_closed())]
        if not runs:
            in_front.behind[number](number, frame)
            return
        for run in runs:
            with suppress(RuntimeError):
                run.loop.call_soon_threadsafe(run.notice, number.name)
        # Each of them asks for the same; in two uvicorn sees somebody who will not wait.
        now = time.monotonic()
        if now < in_front.echo_until:
            return
        in_front.echo_until = now + ECHO
        if not self._delay:
            in_front.behind[number](number, frame)
            return
        self._held.append((number, in_front))
        runs[-1].loop.call_soon_threadsafe(self._hold)

    @property
    def _delay(self) -> float:
        return max(self._delays.values(), default=0.0)

    def _hold(self) -> None:
        again = len(self._held) > 1
        serves = any(run.phase is IN_SERVICE for run in self._delays)
        if self._handed_on or again or not serves:
            self._hand_on()
        elif self._held and self._loop is not None:
            self._timer = self._loop.call_later(self._delay, self._hand_on)

    def _hand_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # Handed two at once, granian's worker blocks for ever.
        held, self._held = self._held[:1], []
        self._handed_on = self._handed_on or bool(held)
        for number, in_front in held:
            if self._wakeup is not None:
                self._wakeup.hand_on(bytes([number]))
            in_front.behind[number](number, None)

    # The loop, which may be woken past every handler.

    def _look_later(self, seconds: float) -> None:
        if self._look is not None:
            self._look.cancel()
        if self._loop is not None:
            self._look = self._loop.call_later(seconds, self._hold_wakeup, seconds)

    def _hold_wakeup(self, seconds: float) -> None:
        """Hold what wakes the loop back; look again, as a loop that is run anew takes its own.

        granian runs its loop once for the startup and once more to serve.
        """
        assert self._loop is not None
        if self._wakeup is None or not self._wakeup.holds():
            if self._wakeup is not None:
                self._wakeup.end()
            numbers = {number for in_front in self._in_front for number in in_front.behind}
            self._wakeup = Wakeup(self._loop, numbers)
            logger.debug("Signals are held back from the server for %g s.", self._delay)
        self._look_later(2 * seconds)

    def _leave_loop(self) -> None:
        for handle in (self._timer, self._look):
            if handle is not None:
                handle.cancel()
        if self._wakeup is not None:
            self._wakeup.end()
        self._timer = self._look = self._wakeup = None


class Wakeup:
    """Hold back what wakes the loop for a signal: asyncio and uvloop take the signal itself from it.

    A handler that was added with ``loop.add_signal_handler`` is called when the number of the signal
    comes out of the file descriptor of ``signal.set_wakeup_fd``, whoever handles the signal.

    Args:
        loop: what is woken, in the main thread.
        held: the signals that are not handed on by themselves.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, held: set[Signals]) -> None:
        self._loop = loop
        self._held = held
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        loop.add_reader(self._reader, self._read)
        self._before = signal.set_wakeup_fd(self._writer.fileno())

    def holds(self) -> bool:
        """Tell whether nobody has taken the place since."""
        now = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(now)
        return now == self._writer.fileno()

    def hand_on(self, numbers: bytes) -> None:
        """Wake the loop as if the signals came now."""
        if numbers and self._before != -1 and self.holds():
            with suppress(OSError):
                os.write(self._before, numbers)

    def end(self) -> None:
        """Leave it to the loop again."""
        if self.holds():
            self._read()
            signal.set_wakeup_fd(self._before)
        self._loop.remove_reader(self._reader)
        self._reader.close()
        self._writer.close()

    def _read(self) -> None:
        with suppress(BlockingIOError):
            numbers = self._reader.recv(4096)
            self.hand_on(bytes(number for number in numbers if number not in self._held))


SIGNALS = ShutdownSignals()
