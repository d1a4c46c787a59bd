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
from lifespan_app.engine.reporting.report import IN_SERVICE, Facts, Phase

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
    def facts(self) -> Facts:
        """What a report says of it, apart from the steps."""

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


class ShutdownSignals:
    """Give a run its notice when a signal comes, and hand the signal on to the server.

    Args:
        run: whose notice it is; it serves, and its loop runs in the main thread.
        delay: seconds until the server is handed the signal. A second one, later than an echo of the
            first, ends them.
    """

    def __init__(self, run: Serves, delay: float) -> None:
        self._run = run
        self._delay = delay
        self._before: dict[Signals, Callable[[int, FrameType | None], Any]] = {}
        self._held: list[Signals] = []
        self._echo_until = 0.0
        self._handed_on = False
        self._timer: asyncio.TimerHandle | None = None
        self._wakeup: Wakeup | None = None
        self._look: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Put the run in front of the handlers that there are; say so where that can't be."""
        if threading.current_thread() is not threading.main_thread():
            logger.warning(
                "%s has no effect here: the event loop runs in thread '%s', and signals reach the "
                "main thread only.",
                self._run.adapter.advice.name_of("shutdown_notice"),
                threading.current_thread().name,
            )
            return
        for number in ENDING:
            before = signal.getsignal(number)
            # Ignored, or left to the system: there is no server behind it that would stop.
            if callable(before):
                self._before[number] = before
                signal.signal(number, self._hear)
        if self._before and self._delay and os.name == "posix":
            self._look_later(FIRST_LOOK)

    def end(self) -> None:
        """Give the handlers back that were there; hand on what still waits."""
        for number, before in self._before.items():
            if signal.getsignal(number) == self._hear:
                signal.signal(number, before)
        # What a handler raises, as Ctrl+C does, must not break into the end of the run.
        self._run.loop.call_soon(self._hand_on)
        if self._timer is not None:
            self._timer.cancel()
        if self._look is not None:
            self._look.cancel()
        if self._wakeup is not None:
            self._wakeup.hand_on(bytes(self._held[:1]))
            self._wakeup.end()
            self._wakeup = None

    def _look_later(self, seconds: float) -> None:
        self._look = self._run.loop.call_later(seconds, self._hold_wakeup, seconds)

    def _hold_wakeup(self, seconds: float) -> None:
        """Hold what wakes the loop back; look again, as a loop that is run anew takes its own.

        granian runs its loop once for the startup and once more to serve.
        """
        if self._wakeup is None or not self._wakeup.holds():
            if self._wakeup is not None:
                self._wakeup.end()
            self._wakeup = Wakeup(self._run.loop, set(self._before))
            logger.debug("Signals are held back from the server for %g s.", self._delay)
        self._look_later(2 * seconds)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        run = self._run
        if os.getpid() != run.facts.pid or run.over:
            self._before[Signals(number)](number, frame)
            return
        with suppress(RuntimeError):
            run.loop.call_soon_threadsafe(run.notice, Signals(number).name)
        # Each of them asks for the same; in two uvicorn sees somebody who will not wait.
        now = time.monotonic()
        if now < self._echo_until:
            return
        self._echo_until = now + ECHO
        if not self._delay:
            self._before[Signals(number)](number, frame)
            return
        self._held.append(Signals(number))
        run.loop.call_soon_threadsafe(self._hold)

    def _hold(self) -> None:
        again = len(self._held) > 1
        if self._handed_on or again or self._run.phase is not IN_SERVICE:
            self._hand_on()
        elif self._held:
            self._timer = self._run.loop.call_later(self._delay, self._hand_on)

    def _hand_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # Handed two at once, granian's worker blocks for ever.
        held, self._held = self._held[:1], []
        self._handed_on = self._handed_on or bool(held)
        for number in held:
            if self._wakeup is not None:
                self._wakeup.hand_on(bytes([number]))
            self._before[number](number, None)


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
