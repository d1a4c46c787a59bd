"""The announcement of a shutdown, by a signal handler before the server acts on the signal.

Servers wait for open connections before they send ``lifespan.shutdown`` (such as uvicorn,
https://github.com/Kludex/uvicorn/blob/main/uvicorn/server.py, ``Server.shutdown``), so only a signal
can end an endless stream. The server's own handler is called after this one.
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
from typing import TYPE_CHECKING, Any, TypeVar

from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.report import IN_SERVICE, Phase
from lifespan_app.engine.signal_handlers import Handler, give_back, place

from .current import run_or_last

if TYPE_CHECKING:
    from typing import Protocol

    from .current import OpensRuns

    # A protocol is expensive to create, and only type checkers read it.
    class Serves(Protocol):
        """The receiver of the announcement: a run."""

        loop: asyncio.AbstractEventLoop
        adapter: Any

        @property
        def phase(self) -> Phase:
            """The phase that it is in."""

        @property
        def over(self) -> bool:
            """True once it has ended."""

        def notice(self, by: str) -> None:
            """Receive the announcement of the shutdown."""


T = TypeVar("T")

ENDING = (Signals.SIGINT, Signals.SIGTERM)
"""The signals that ask a server to stop: by Ctrl+C, and by a platform."""

FIRST_LOOK = 0.1
"""Seconds until the loop's wakeup is checked for the first time, then doubled each time."""

ECHO = 1.0
"""Seconds in which a second signal counts as the same: a platform, or Ctrl+C, signals every process of
a server, and the server's main process its workers again (https://github.com/Kludex/uvicorn/pull/1069)."""


class Echo:
    """The signals that come directly after another one, and count as the same."""

    def __init__(self) -> None:
        self._until = 0.0

    def is_one(self) -> bool:
        """Return True if the signal that has come now is an echo of the last one."""
        now = time.monotonic()
        if now < self._until:
            return True
        self._until = now + ECHO
        return False

    def end(self) -> None:
        """Count the next signal as another one."""
        self._until = 0.0


class ShutdownEvent:
    """The event of one run's shutdown, for tasks of any loop and for threads."""

    def __init__(self) -> None:
        self._given = False
        self._lock = threading.Lock()
        self._waiting: dict[object, tuple[asyncio.AbstractEventLoop, Callable[[], object]]] = {}

    def is_set(self) -> bool:
        """Return True if the shutdown was announced."""
        return self._given

    def set(self) -> None:
        """Wake all waiting tasks and threads."""
        with self._lock:
            self._given = True
            waiting = list(self._waiting.values())
            self._waiting.clear()
        for loop, tell in waiting:
            # The loop may be closed by now.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(tell)

    def tell(self, call: Callable[[], object]) -> Callable[[], None]:
        """Call a function on the running loop when the event is set, or at once if it is.

        Returns:
            A function that cancels it.
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
    """The event of this process's shutdown: ``lifespan.stopping``.

    It belongs to the run of the running loop, else to the process's. Without any run it is not set.

    Args:
        lifespan: the ``Lifespan`` of the run.
    """

    __slots__ = ("_lifespan",)

    def __init__(self, lifespan: OpensRuns) -> None:
        self._lifespan = lifespan

    def is_set(self) -> bool:
        """Return True if the shutdown was announced. Any thread may call this."""
        run = run_or_last(self._lifespan)
        return run is not None and run.stopping.is_set()

    async def wait(self) -> None:
        """Wait for the announcement of the shutdown, on any event loop of this process."""
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
    """Yield from a source, until it or the process ends, and close it."""
    run = run_or_last(lifespan)
    try:
        while run is None or not run.stopping.is_set():
            # The source has to run in the calling task, for its context variables and cancel scopes.
            # A timeout distinguishes its own cancellation from others:
            # https://docs.python.org/3/library/asyncio-task.html#asyncio.Task.uncancel
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
    """Return a function that makes a timeout pass now, unless its block has ended."""

    def end() -> None:
        with suppress(RuntimeError):
            limit.reschedule(asyncio.get_running_loop().time())

    return end


def iterator_of(source: AsyncIterable[T]) -> AsyncIterator[T]:
    """Return the iterator of a source. Raises ``TypeError`` if it has none."""
    if not isinstance(source, AsyncIterable):
        raise TypeError(
            f"lifespan.until_stopping() takes an async iterable, not {source!r}. Call an async "
            "generator function, and pass on what it returns."
        )
    return aiter(source)


class InFront:
    """A signal handler before those of one server.

    Args:
        signals: receives the signals.
    """

    def __init__(self, signals: ShutdownSignals) -> None:
        self._signals = signals
        self.behind: dict[Signals, Handler] = {}
        """The server's handlers."""
        self.echo = Echo()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Receive a signal."""
        self._signals.hear(self, Signals(number), frame)


class ShutdownSignals:
    """Signal handlers that announce the shutdown to runs, and pass the signal on to the server.

    There is one per process, in which several servers may run side by side.
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
        """Announce the shutdown to a run from now on; log a warning if that is impossible.

        Args:
            run: a run that serves, and whose loop runs in the main thread.
            delay: seconds until the server gets the signal. A second signal, later than ``ECHO``,
                ends the delay.
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
            # If it is ignored or left to the system, no server is going to stop.
            if callable(behind) and not isinstance(behind, InFront):
                in_front.behind[number] = behind
                place(number, in_front)
        if in_front.behind:
            self._in_front.append(in_front)
        if self._in_front and delay and os.name == "posix":
            self._look_later(FIRST_LOOK)

    def remove(self, run: Serves) -> None:
        """Remove a run; after the last one, restore the handlers."""
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
            # A handler's error, such as KeyboardInterrupt, must not interrupt the end of the run.
            run.loop.call_soon(in_front.behind[number], number, None)

    def hear(self, in_front: InFront, number: Signals, frame: FrameType | None) -> None:
        """Announce the shutdown to every run, and pass the signal on to the server, now or later."""
        runs = [run for run in self._delays if not (run.over or run.loop.is_closed())]
        if not runs:
            in_front.behind[number](number, frame)
            return
        for run in runs:
            with suppress(RuntimeError):
                run.loop.call_soon_threadsafe(run.notice, number.name)
        # One is enough, and a second SIGINT makes uvicorn exit without waiting for requests:
        # https://github.com/Kludex/uvicorn/issues/158 (server.py, Server.handle_exit).
        if in_front.echo.is_one():
            return
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
        # Two at once block granian's worker for ever (granian/_signals.py, set_loop_signals).
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
        """Delay the loop's wakeup; check again, as a loop that starts again sets its own.

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
    """A delay of the loop's wakeup: asyncio and uvloop read the signal's number from it.

    A handler of ``loop.add_signal_handler`` is called when the signal's number is read from the file
    descriptor of ``signal.set_wakeup_fd``, even if another handler has received the signal. Sources:
    https://github.com/python/asyncio/issues/192, https://github.com/MagicStack/uvloop/pull/296.

    Args:
        loop: the loop, which runs in the main thread.
        held: the signals to delay.
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
        """Return True if no other code has set the wakeup since."""
        now = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(now)
        return now == self._writer.fileno()

    def hand_on(self, numbers: bytes) -> None:
        """Wake the loop as if the signals arrived now."""
        if numbers and self._before != -1 and self.holds():
            with suppress(OSError):
                os.write(self._before, numbers)

    def end(self) -> None:
        """Restore the loop's own wakeup."""
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
