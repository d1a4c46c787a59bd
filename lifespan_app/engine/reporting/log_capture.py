"""Keep the log lines of a hook with its step."""

# Without "from __future__ import annotations": a named tuple compiles each annotation that is a
# string, which takes most of the time that its class does.

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from lifespan_app.engine.error_text import one_line

MOST_LINES = 50
"""The number of lines that a sink keeps: the last ones."""

MOST_BYTES = 16 * 1024
"""The bytes, in UTF-8, of all logger names and texts in a sink together, at most."""


class LogLine(NamedTuple):
    """Hold one line of the log as plain data."""

    offset_ms: float
    """Milliseconds from the sink's begin, to the microsecond."""
    level: str
    logger: str
    text: str
    """The message; an exception follows it in one line, without its traceback."""


class LogSink:
    """Collect the last lines that are logged during one step. Any thread may add to it.

    Args:
        begin: when the step began, by ``clock``.
        clock: seconds of a clock that never goes back.
    """

    __slots__ = ("_begin", "_clock", "_kept", "_written")

    def __init__(self, begin: float, clock: Callable[[], float]) -> None:
        self._begin = begin
        self._clock = clock
        # Each line with the total of bytes before it and with it. Two threads may read the same
        # total, so the exact size is computed only when the lines are read.
        self._kept: deque[tuple[int, int, LogLine]] = deque(maxlen=MOST_LINES)
        self._written = 0

    def add(self, record: logging.LogRecord) -> None:
        """Keep a record as text now: the objects in its arguments may change."""
        offset_ms = round((self._clock() - self._begin) * 1000, 3)
        name = cut(str(record.name), MOST_BYTES // 2)
        text = cut(text_of(record), MOST_BYTES - size(name))
        before = self._written
        self._written = after = before + size(name) + size(text)
        kept = self._kept
        kept.append((before, after, LogLine(offset_ms, record.levelname, name, text)))
        with suppress(IndexError):  # another thread may be faster
            while after - kept[0][0] > MOST_BYTES:
                kept.popleft()

    def lines(self) -> tuple[LogLine, ...]:
        """Return the lines that are kept, oldest first."""
        lines: list[LogLine] = []
        room = MOST_BYTES
        for before, after, line in reversed(self._kept.copy()):
            room -= after - before
            if room < 0:
                break
            lines.append(line)
        return tuple(reversed(lines))


class LogCapture:
    """A handler that passes the records of the project's logging to the sink of their step.

    While it captures, a handler stands above the root logger, where every record arrives that
    propagates so far, after the project's own handlers. It is not one of the root logger's own
    handlers, so ``logging.basicConfig()`` in a hook still configures, ``dictConfig`` does not
    remove it, and what no handler takes still goes to ``logging.lastResort``. No level is
    changed. Loggers with ``propagate=False`` and those below them are not reached.

    Threads that a hook starts by itself, and ``run_in_executor``, have no context of the hook;
    tasks, ``to_thread``, ``sync_to_async`` and ``call_later`` have.

    Args:
        find_sink: returns the sink of the step that the running code belongs to, or None; a
            context variable's ``get``, or a function that makes the sink when the first line
            comes.
    """

    def __init__(self, find_sink: Callable[[], LogSink | None]) -> None:
        self._handler = _Handler(find_sink)
        self._wanted_by: set[object] = set()

    def capture(self, owner: object) -> None:
        """Capture until ``release`` is called with the same owner."""
        with _changing:
            if not self._wanted_by:
                _put_above_root(self._handler)
            self._wanted_by.add(owner)

    def release(self, owner: object) -> None:
        """Stop to capture for an owner, if it does; the last one removes everything."""
        with _changing:
            if self._wanted_by == {owner}:
                _take_away(self._handler)
            self._wanted_by.discard(owner)


class _Handler(logging.Handler):
    def __init__(self, find_sink: Callable[[], LogSink | None]) -> None:
        super().__init__()
        self._find_sink = find_sink

    def handle(self, record: logging.LogRecord) -> bool:
        # Without the handler's lock: a sink needs none, and log calls must not wait for one another.
        try:
            sink = self._find_sink()
            if sink is not None:
                sink.add(record)
        except Exception:
            # A log call must not fail because its line can't be stored.
            self.handleError(record)
        return True


class _LastResort(logging.Handler):
    """The job of ``logging.lastResort``, for records that only our own handler has taken."""

    def handle(self, record: logging.LogRecord) -> bool:
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and not _is_taken(record):
            last.handle(record)
        return True


# Above the root logger, and not below it.
_above = logging.Logger(f"{__name__}.above_root")  # noqa: LOG001
_last_resort = _LastResort()
_changing = threading.Lock()
_formatting = threading.local()


def _put_above_root(handler: logging.Handler) -> None:
    if not _above.handlers:
        _above.parent, logging.root.parent = logging.root.parent, _above
        _above.propagate = _above.parent is not None
    # A new list each time, as another thread may iterate over the old one.
    _above.handlers = [*(_above.handlers or [_last_resort]), handler]


def _take_away(handler: logging.Handler) -> None:
    others = [other for other in _above.handlers if other is not handler]
    _above.handlers = others if others != [_last_resort] else []
    if not _above.handlers and logging.root.parent is _above:
        logging.root.parent = _above.parent


def _is_taken(record: logging.LogRecord) -> bool:
    """Return True if a record at the root logger has met a handler on its way."""
    if logging.root.handlers:
        return True
    logger = logging.root.manager.loggerDict.get(record.name)
    while isinstance(logger, logging.Logger) and logger is not logging.root:
        if logger.handlers:
            return True
        logger = logger.parent
    return False


def text_of(record: logging.LogRecord) -> str:
    """Return a record's message in text, with its exception in one line. Raises nothing."""
    if getattr(_formatting, "now", False):
        # The argument logs while it is formatted; formatting that line too may never end.
        return record.msg if isinstance(record.msg, str) else f"<{type(record.msg).__name__}>"
    _formatting.now = True
    try:
        text = _message_of(record)
        error = record.exc_info[1] if record.exc_info else None
        return text if error is None else f"{text} | {one_line(error)}"
    finally:
        _formatting.now = False


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:
        template = record.msg if isinstance(record.msg, str) else f"<{type(record.msg).__name__}>"
        return f"{template} (not formatted: {type(error).__name__})"


def size(text: str) -> int:
    """Return a text's length in UTF-8, in bytes."""
    return len(text) if text.isascii() else len(text.encode())


def cut(text: str, limit: int) -> str:
    """Return a text of at most so many bytes of UTF-8; a cut one ends in "..."."""
    if text.isascii() and len(text) <= limit:
        return text
    # A lone surrogate, as in an undecodable file name (PEP 383), can't be stored.
    encoded = text.encode(errors="backslashreplace")
    if len(encoded) > limit:
        return encoded[: limit - 3].decode(errors="ignore") + "..."
    return encoded.decode()
