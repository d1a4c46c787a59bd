"""Lines at the bottom of a terminal that rich updates. This module imports rich."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from typing import IO, Any, TextIO, cast

from rich.console import Console, Group
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.text import Text

from .terminal import USUAL, Output, size

REDRAWN_EVERY = 0.1
"""Seconds between two updates."""


class Drawing:
    """Draw lines, below all other output of the process to the same terminal.

    Args:
        stream: the terminal.
        lines: returns the lines to draw, for a maximum number; called from a thread.
    """

    def __init__(self, stream: IO[str], lines: Callable[[int], list[str]]) -> None:
        self._stream = stream
        self._lines = lines
        self._console = Terminal(stream)
        self._over = threading.Event()
        self._taken = ExitStack()
        # No auto_refresh: rich's refresh thread takes its locks in another order than a thread that
        # prints (rich 15, live.py, _RefreshThread.run), and both would deadlock.
        self._live = Live(
            get_renderable=self._picture,
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._live.start()
        self._take(sys.stdout, redirect_stdout)
        self._take(sys.stderr, redirect_stderr)
        threading.Thread(target=self._draw, name="lifespan live", daemon=True).start()

    def write(self, text: str) -> None:
        """Write lines that stay, which may have colours."""
        # Without its terminal, the run continues.
        with suppress(OSError):
            self._console.print(Text.from_ansi(text))

    def stop(self) -> None:
        """Erase the lines, and stop drawing."""
        # Without the lock: a thread that logs holds the lock of its handler, and waits for this one.
        self._taken.close()
        with self._console.lock, suppress(OSError):
            self._over.set()
            self._live.stop()

    def _draw(self) -> None:
        while not self._over.wait(REDRAWN_EVERY):
            with self._console.lock, suppress(OSError):
                if not self._over.is_set():
                    self._console.size = size(self._stream) or USUAL
                    self._live.refresh()

    def _picture(self) -> Group:
        lines = [] if self._over.is_set() else self._lines(self._console.height - 2)
        return Group(*map(Text.from_ansi, lines))

    def _take(self, stream: TextIO | None, redirect: Callable[[Any], Any]) -> None:
        """Redirect a stream, also in log handlers, so that its output appears above the lines."""
        if stream is None or size(stream) is None or isinstance(stream, FileProxy):
            return
        above = Above(self._console, stream)
        self._taken.enter_context(redirect(above))
        known = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
        for handler in {one for logger in known for one in getattr(logger, "handlers", ())}:
            if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
                handler.setStream(above)
                self._taken.callback(handler.setStream, stream)
        # Write an incomplete last line.
        self._taken.callback(FileProxy.flush, above)


class Terminal(Console):
    """A console to which one thread at a time writes.

    Args:
        stream: the terminal.
    """

    def __init__(self, stream: IO[str]) -> None:
        # The text has its colours already.
        super().__init__(
            file=cast("IO[str]", Output(stream)),
            force_terminal=True,
            color_system="truecolor",
            no_color=False,
            soft_wrap=True,
        )
        self.lock = threading.RLock()
        self.size = size(stream) or USUAL

    def print(self, *objects: Any, **options: Any) -> None:
        """Write something above the lines."""
        with self.lock:
            super().print(*objects, **options)

    def show_cursor(self, show: bool = True) -> bool:
        """Do nothing: a killed process could not show a hidden cursor again."""
        return False


class Above(FileProxy):
    """A stream whose output appears above the lines.

    A forked child writes to the stream itself: the threads that own the locks don't exist there.

    Args:
        console: the console with the lines.
        stream: the stream.
    """

    def __init__(self, console: Console, stream: IO[str]) -> None:
        super().__init__(console, stream)
        self._stream = stream
        self._pid = os.getpid()

    def write(self, text: str) -> int:
        """Write a text above the lines."""
        return super().write(text) if os.getpid() == self._pid else self._stream.write(text)

    def flush(self) -> None:
        """Keep an incomplete line: rich would end it."""
        if os.getpid() != self._pid:
            self._stream.flush()

    @property
    def rich_proxied_file(self) -> IO[str]:
        """The stream for other consoles of rich: this one, so that they write above the lines."""
        return cast("IO[str]", self)
