"""A real terminal for tests: what is written to it is seen as somebody before it would see it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Self

import pyte

POLL_SECONDS = 0.01


class Terminal:
    """
    Open a pseudo-terminal of some columns and lines, as a context manager.

    `stream` writes to it, `lines` is what is to be seen of it, what has scrolled away included.
    """

    def __init__(self, *, columns: int = 80, lines: int = 24, limit: float = 30) -> None:
        self.limit = limit
        self._screen = pyte.HistoryScreen(columns, lines, history=10_000)
        self._parser = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._sent = b""
        self.master, self.slave = pty.openpty()
        self.resize(columns, lines)
        self.stream: IO[str] = os.fdopen(self.slave, "w", buffering=1, closefd=False)
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stream.close()
        os.close(self.slave)
        # With no writer left the reader comes to the end, unless a process of the test lives on.
        self._reader.join(self.limit)
        os.close(self.master)

    def resize(self, columns: int, lines: int) -> None:
        """Be of another size."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        with self._lock:
            self._screen.resize(lines, columns)

    def type(self, text: str) -> None:
        """Type a text; Ctrl+C is `"\\x03"`."""
        os.write(self.master, text.encode())

    @property
    def sent(self) -> bytes:
        """All bytes that were written."""
        with self._lock:
            return self._sent

    @property
    def lines(self) -> list[str]:
        """What is to be seen, line by line, without empty lines at the end."""
        with self._lock:
            gone = [
                "".join(row[column].data for column in range(self._screen.columns))
                for row in self._screen.history.top
            ]
            rows = [*gone, *self._screen.display]
        shown = [row.rstrip() for row in rows]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    @property
    def text(self) -> str:
        """What is to be seen, as one text."""
        return "\n".join(self.lines)

    def colour_of(self, text: str) -> str:
        """Return the colour of the first place on the screen that has a text."""
        with self._lock:
            for number, line in enumerate(self._screen.display):
                if text in line:
                    colour: str = self._screen.buffer[number][line.index(text)].fg
                    return colour
        raise LookupError(text)

    def wait_for(self, text: str) -> list[str]:
        """Wait until a text is to be seen; return the lines."""
        return self.until(lambda: text in self.text, f"{text!r} did not come")

    def until(self, look: Callable[[], bool], otherwise: str) -> list[str]:
        """Look again and again until something is so; return the lines."""
        give_up_at = time.monotonic() + self.limit
        while not look():
            if time.monotonic() > give_up_at:
                raise AssertionError(f"{otherwise}; the terminal shows:\n{self.text}")
            time.sleep(POLL_SECONDS)
        return self.lines

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            with self._lock:
                self._sent += data
                self._parser.feed(data)
