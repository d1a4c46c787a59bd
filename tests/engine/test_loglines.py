"""The log lines of a hook stay with its step, and the project's logging stays as it is."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import io
import logging
import logging.config
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lifespan_app.engine.reporting import log_capture
from lifespan_app.engine.reporting.log_capture import (
    MOST_BYTES,
    MOST_LINES,
    LogCapture,
    LogLine,
    LogSink,
    size,
)

sink_var: contextvars.ContextVar[LogSink | None] = contextvars.ContextVar("sink", default=None)
logger = logging.getLogger("library.prices")


@pytest.fixture(autouse=True)
def _nothing_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without the capture of a run whose loop an earlier test has thrown away: it stays."""
    monkeypatch.setattr(log_capture._above, "handlers", [])
    monkeypatch.setattr(logging.root, "parent", None)


@pytest.fixture
def sink() -> Iterator[LogSink]:
    """Return a sink that began at 10 s of a clock that stands at 10.25 s, in its context."""
    sink = LogSink(10.0, lambda: 10.25)
    token = sink_var.set(sink)
    yield sink
    sink_var.reset(token)


@pytest.fixture
def capture(sink: LogSink) -> Iterator[LogCapture]:
    capture = LogCapture(sink_var.get)
    with capturing(capture):
        yield capture


@contextlib.contextmanager
def capturing(capture: LogCapture) -> Iterator[None]:
    """Capture inside a block, as a run does while it needs its lines."""
    owner = object()
    capture.capture(owner)
    try:
        yield
    finally:
        capture.release(owner)


@contextlib.contextmanager
def root_logger_with(*handlers: logging.Handler) -> Iterator[None]:
    """Give the root logger these handlers only: pytest has put some of its own there."""
    before = logging.root.handlers
    logging.root.handlers = list(handlers)
    try:
        yield
    finally:
        logging.root.handlers = before


def texts(sink: LogSink) -> list[str]:
    return [line.text for line in sink.lines()]


# What is kept.


@pytest.mark.usefixtures("capture")
def test_line_is_kept_with_time_level_and_logger(sink: LogSink) -> None:
    logger.warning("%d prices are %s", 3, "old")

    assert sink.lines() == (LogLine(250.0, "WARNING", "library.prices", "3 prices are old"),)


@pytest.mark.usefixtures("capture")
def test_line_is_formatted_at_once(sink: LogSink) -> None:
    prices = [1]
    logger.warning("prices: %s", prices)
    prices.append(2)

    assert texts(sink) == ["prices: [1]"]


@pytest.mark.usefixtures("capture")
def test_exception_is_one_line_without_traceback(sink: LogSink) -> None:
    try:
        raise ValueError("first\n  second")
    except ValueError:
        logger.exception("no prices")
    logger.error("again", exc_info=KeyError())
    logger.error("none", exc_info=(None, None, None))

    assert texts(sink) == ["no prices | ValueError: first second", "again | KeyError", "none"]


@pytest.mark.usefixtures("capture")
def test_line_that_a_logger_level_holds_back_is_not_kept(
    sink: LogSink, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger.name)
    logger.info("held back")
    logger.warning("let through")

    assert texts(sink) == ["let through"]


@pytest.mark.usefixtures("capture")
def test_line_that_a_filter_masks_is_kept_masked(sink: LogSink) -> None:
    def mask(record: logging.LogRecord) -> bool:
        record.msg, record.args = record.getMessage().replace("s3cret", "***"), None
        return True

    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(mask)
    with root_logger_with(handler):
        logger.warning("password %s", "s3cret")

    assert texts(sink) == ["password ***"]


@pytest.mark.usefixtures("capture")
def test_logger_that_does_not_propagate_is_not_reached(
    sink: LogSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", False)
    logger.warning("unheard")

    assert sink.lines() == ()


def test_last_fifty_lines_are_kept(sink: LogSink, capture: LogCapture) -> None:
    for number in range(MOST_LINES + 7):
        logger.warning("line %d", number)

    assert texts(sink) == [f"line {number}" for number in range(7, MOST_LINES + 7)]


@pytest.mark.usefixtures("capture")
@pytest.mark.parametrize("letter", ["x", "ü", "€", "\N{GRINNING FACE}"])
def test_last_sixteen_kilobytes_are_kept(sink: LogSink, letter: str) -> None:
    for number in range(30):
        logger.warning("%02d %s", number, letter * 1_000)
    kept = sink.lines()

    assert [int(line.text[:2]) for line in kept] == list(range(30 - len(kept), 30))
    one = size(kept[0].text) + size(kept[0].logger)
    assert len(kept) == MOST_BYTES // one
    assert len(kept) == len(sink._kept)


@pytest.mark.usefixtures("capture")
@pytest.mark.parametrize("letter", ["x", "ü", "€", "\N{GRINNING FACE}"])
def test_line_that_is_too_long_is_cut(sink: LogSink, letter: str) -> None:
    logger.warning("before")
    logger.warning(letter * MOST_BYTES)

    [line] = sink.lines()
    assert line.text.endswith("...")
    assert set(line.text[:-3]) == {letter}
    assert size(line.text) <= MOST_BYTES - size(line.logger)


@pytest.mark.usefixtures("capture")
def test_text_that_can_not_be_encoded_is_kept_so_that_it_can(sink: LogSink) -> None:
    # Not for the eyes of pytest's own handlers: its workers can't tell each other of it.
    with root_logger_with(logging.NullHandler()):
        logger.warning("no such file: %s", b"caf\xe9".decode(errors="surrogateescape"))

    assert texts(sink) == [r"no such file: caf\udce9"]


def test_logger_with_an_endless_name_leaves_room_for_the_text(sink: LogSink) -> None:
    record = logging.makeLogRecord({"name": "n" * 2 * MOST_BYTES, "msg": "m" * 2 * MOST_BYTES})
    sink.add(record)

    [line] = sink.lines()
    assert size(line.logger) + size(line.text) <= MOST_BYTES
    assert line.text.startswith("mmm")


def test_threads_that_log_at_once_keep_the_limits(sink: LogSink) -> None:
    record = logging.makeLogRecord({"name": "n", "msg": "m" * 700})
    start = threading.Barrier(4)

    def log() -> None:
        start.wait(10)
        for _ in range(300):
            sink.add(record)
            assert sum(size(line.text) for line in sink.lines()) <= MOST_BYTES

    threads = [threading.Thread(target=log) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(sink.lines()) == MOST_BYTES // 701


def test_count_that_threads_have_lost_does_not_lift_the_limit(sink: LogSink) -> None:
    record = logging.makeLogRecord({"name": "n", "msg": "m" * 700})
    for _ in range(MOST_LINES):
        sink.add(record)
        sink._written = 0

    assert len(sink._kept) == MOST_LINES
    assert len(sink.lines()) == MOST_BYTES // 701


# Whose step a line belongs to.


@pytest.mark.usefixtures("capture")
def test_line_goes_only_to_the_step_of_its_task(sink: LogSink) -> None:
    sinks = {name: LogSink(0.0, time.perf_counter) for name in ("one", "other")}

    async def hook(name: str) -> None:
        sink_var.set(sinks[name])
        await asyncio.sleep(0)
        logger.warning("%s itself", name)
        await asyncio.create_task(child(name))
        await asyncio.to_thread(logger.warning, "%s in a thread", name)

    async def child(name: str) -> None:
        await asyncio.sleep(0)
        logger.warning("%s child", name)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for name in sinks:
                group.create_task(hook(name))

    asyncio.run(main())

    for name, its in sinks.items():
        assert texts(its) == [f"{name} itself", f"{name} child", f"{name} in a thread"]
    assert sink.lines() == ()


def test_line_outside_of_any_step_is_left_alone() -> None:
    seen: list[str] = []

    def find_sink() -> None:
        seen.append("asked")

    with capturing(LogCapture(find_sink)):
        logger.warning("outside")

    assert seen == ["asked"]


# Formatting that goes wrong.


@pytest.mark.usefixtures("capture")
def test_record_that_can_not_be_formatted_is_kept_with_a_note(sink: LogSink) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    for record in (
        {"msg": "%d prices", "args": ("three",)},
        {"msg": Unprintable()},
        {"msg": "broken", "exc_info": (Unprintable, Unprintable(), None)},
    ):
        sink.add(logging.makeLogRecord(record))

    assert texts(sink) == [
        "%d prices (not formatted: TypeError)",
        "<Unprintable> (not formatted: ZeroDivisionError)",
        "broken | Unprintable: <unprintable Unprintable object>",
    ]


@pytest.mark.usefixtures("capture")
def test_argument_that_logs_itself_does_not_log_for_ever(sink: LogSink) -> None:
    class Chatty:
        def __str__(self) -> str:
            logger.warning("asked for %s", self)
            logger.warning(self)
            return "chatty"

    # Handlers of the project would format it too, and have no end.
    with root_logger_with(logging.NullHandler()):
        logger.warning("hello %s", Chatty())

    assert texts(sink) == ["asked for %s", "<Chatty>", "hello chatty"]


def test_step_that_can_not_be_found_does_not_break_the_log_call(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def find_sink() -> LogSink:
        raise ZeroDivisionError

    with capturing(LogCapture(find_sink)):
        logger.warning("still logged")

    assert "ZeroDivisionError" in capsys.readouterr().err


def test_log_call_does_not_wait_for_another_thread(sink: LogSink, capture: LogCapture) -> None:
    handler = capture._handler
    handler.acquire()
    try:
        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(logger.warning, "not held up")
        )
        thread.start()
        thread.join(10)
    finally:
        handler.release()

    assert texts(sink) == ["not held up"]


# The project's logging stays as it is.


def test_nothing_is_captured_before_and_after_a_run(sink: LogSink) -> None:
    parent = logging.root.parent
    capture = LogCapture(sink_var.get)
    logger.warning("before")
    with capturing(capture):
        logger.warning("inside")
    logger.warning("after")

    assert texts(sink) == ["inside"]
    assert logging.root.parent is parent


def test_two_runs_capture_once_until_the_last_one_ends(sink: LogSink) -> None:
    capture = LogCapture(sink_var.get)
    capture.capture("first")
    capture.capture("second")
    logger.warning("both")
    capture.release("first")
    logger.warning("one")
    capture.release("second")
    logger.warning("none")

    assert texts(sink) == ["both", "one"]
    assert logging.root.parent is None


def test_two_captures_have_their_own_lines(sink: LogSink) -> None:
    other = LogSink(0.0, time.perf_counter)
    first, second = LogCapture(sink_var.get), LogCapture(lambda: other)
    with capturing(first):
        with capturing(second):
            logger.warning("both")
        logger.warning("first")

    assert texts(sink) == ["both", "first"]
    assert texts(other) == ["both"]


def test_parent_of_the_root_logger_is_kept(sink: LogSink, monkeypatch: pytest.MonkeyPatch) -> None:
    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    heard: list[str] = []
    somebody = logging.Logger("somebody")
    somebody.addHandler(Heard())
    monkeypatch.setattr(logging.root, "parent", somebody)
    with capturing(LogCapture(sink_var.get)):
        logger.warning("for both")

    assert texts(sink) == heard == ["for both"]
    assert logging.root.parent is somebody


@pytest.mark.usefixtures("capture")
def test_hook_that_configures_logging_does_so(sink: LogSink) -> None:
    with root_logger_with():
        written = io.StringIO()
        logging.basicConfig(stream=written, format="mine: %(message)s")
        logger.warning("first")

    assert written.getvalue() == "mine: first\n"
    assert texts(sink) == ["first"]


@pytest.mark.usefixtures("capture")
def test_new_configuration_does_not_end_the_capture(sink: LogSink) -> None:
    with root_logger_with():
        logging.config.dictConfig(
            {"version": 1, "disable_existing_loggers": False, "root": {"handlers": []}}
        )
        logger.warning("second")

    assert texts(sink) == ["second"]


@pytest.mark.usefixtures("capture")
@pytest.mark.parametrize("captures", [1, 2])
def test_line_that_no_handler_takes_is_still_printed_once(
    monkeypatch: pytest.MonkeyPatch, captures: int
) -> None:
    printed = last_resort(monkeypatch)
    with contextlib.ExitStack() as stack:
        stack.enter_context(root_logger_with())
        for _ in range(captures - 1):
            stack.enter_context(capturing(LogCapture(lambda: None)))
        logger.warning("nobody listens")
        logger.info("too low")

    assert printed == ["nobody listens"]


@pytest.mark.usefixtures("capture")
def test_line_that_a_handler_takes_is_not_printed_again(
    sink: LogSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = last_resort(monkeypatch)
    monkeypatch.setattr(logging.getLogger("library"), "handlers", [logging.NullHandler()])
    elsewhere = logging.getLogger("elsewhere")
    with root_logger_with():
        logger.warning("library listens")
        elsewhere.warning("nobody listens")
        logging.root.warning("nor at the root")
        with root_logger_with(logging.NullHandler()):
            elsewhere.warning("root listens")
        monkeypatch.setattr(logging, "lastResort", None)
        elsewhere.warning("nobody wants to know")

    assert printed == ["nobody listens", "nor at the root"]
    assert len(sink.lines()) == 5


def last_resort(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the messages that logging's last resort is given from now on."""

    class Printer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            printed.append(record.getMessage())

    printed: list[str] = []
    printer: Any = Printer(logging.WARNING)
    monkeypatch.setattr(logging, "lastResort", printer)
    return printed
