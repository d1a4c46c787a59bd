"""A log handler, a filter or an observer that raises holds no run up, and what it refused is told."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

import lifespan_app
from lifespan_app import Lifespan
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.report import Observer, Phase, Report, Step
from tests.engine.exchange import Server
from tests.engine.journal import Journal
from tests.engine.virtual_clock import VirtualLoop, run_virtually

FAILURES = [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError]
each_failure = pytest.mark.parametrize("failure", FAILURES)

OURS = logging.getLogger("lifespan_app")


class Raising(logging.Handler):
    """A handler that raises for each record, as one that calls Django's ORM does on a loop."""

    def __init__(self, failure: type[BaseException] = ValueError) -> None:
        super().__init__()
        self._failure = failure

    def emit(self, record: logging.LogRecord) -> NoReturn:
        raise self._failure("no room for it")


class Keeping(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def add() -> Iterator[Callable[[logging.Handler], logging.Handler]]:
    """Return what adds a handler to our logger, at level DEBUG; all are removed at the end."""
    added: list[logging.Handler] = []

    def add_handler(handler: logging.Handler) -> logging.Handler:
        added.append(handler)
        OURS.addHandler(handler)
        return handler

    level = OURS.level
    OURS.setLevel(logging.DEBUG)
    yield add_handler
    OURS.setLevel(level)
    for handler in added:
        OURS.removeHandler(handler)


Add = Callable[[logging.Handler], logging.Handler]


async def all_that_is_logged(lifespan: Lifespan, journal: Journal) -> None:
    """Start, serve and stop with something at each turn that is logged."""
    journal.resource(lifespan, "feed", open_error=OSError("nobody there"), required=False)
    journal.resource(lifespan, "slow", opens=6)
    journal.resource(lifespan, "client", close_error=OSError("not closed"))
    journal.job(lifespan, "refresh", 1, OSError("crash"), on_crash="restart")
    server = Server(lifespan)
    assert (await server.startup())["type"] == "lifespan.startup.complete"
    await asyncio.sleep(10)
    assert (await server.shutdown())["type"] == "lifespan.shutdown.failed"


@each_failure
def test_handler_that_raises_holds_no_run_up(add: Add, failure: type[BaseException]) -> None:
    add(Raising(failure))
    journal = Journal()
    run_virtually(lambda lifespan, loop: all_that_is_logged(lifespan, journal))
    assert journal.events.count("run refresh") > 2


@each_failure
def test_failed_startup_is_answered_though_a_handler_raises(
    add: Add, failure: type[BaseException]
) -> None:
    add(Raising(failure))
    error = OSError("nobody there")

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().start(lifespan, "warm_up", error=error)
        server = Server(lifespan)
        assert (await server.startup())["type"] == "lifespan.startup.failed"
        assert await server.raised() is error

    run_virtually(main)


def test_record_that_a_handler_did_not_take_is_on_standard_error(
    add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    add(Raising())
    logger.error("%s has failed", "warm_up", error=OSError("nobody there"))
    told = capsys.readouterr().err
    assert "Log handler tests.engine.test_log_handlers.Raising failed" in told
    assert "ValueError: no room for it" in told
    assert "warm_up has failed" in told
    assert "OSError: nobody there" in told


def test_handlers_behind_one_that_raises_get_the_record(add: Add) -> None:
    before, behind = Keeping(), Keeping()
    for handler in (before, Raising(), behind, Raising()):
        add(handler)
    logger.warning("seen by %s", "all")
    assert [record.getMessage() for record in before.records] == ["seen by all"]
    assert [record.getMessage() for record in behind.records] == ["seen by all"]


def test_record_has_the_line_that_logged_it(add: Add) -> None:
    keeping = Keeping()
    add(keeping)
    logger.info("here")
    [record] = keeping.records
    assert (record.filename, record.funcName) == (
        "test_log_handlers.py",
        "test_record_has_the_line_that_logged_it",
    )


class RefusingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> NoReturn:
        raise ValueError("no filter")


class RefusingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> NoReturn:
        raise ValueError("no format")


class Formatting(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        self.format(record)


def with_filter_of_logger(add: Add) -> None:
    OURS.addFilter(REFUSING)


def with_filter_of_handler(add: Add) -> None:
    add(logging.NullHandler()).addFilter(REFUSING)
    add(Keeping()).addFilter(REFUSING)


def with_formatter(add: Add) -> None:
    add(Formatting()).setFormatter(RefusingFormatter())


def with_record_factory(add: Add) -> None:
    def factory(*args: Any, **kwargs: Any) -> NoReturn:
        raise ValueError("no record")

    logging.setLogRecordFactory(factory)


REFUSING = RefusingFilter()


@pytest.fixture
def clean_logging() -> Iterator[None]:
    factory = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(factory)
    OURS.removeFilter(REFUSING)


@pytest.mark.usefixtures("clean_logging")
@pytest.mark.parametrize(
    "spoil", [with_filter_of_logger, with_filter_of_handler, with_formatter, with_record_factory]
)
def test_logging_that_raises_anywhere_holds_no_run_up(
    add: Add, spoil: Callable[[Add], None], capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(add)
    run_virtually(lambda lifespan, loop: all_that_is_logged(lifespan, Journal()))
    told = capsys.readouterr().err
    assert "'shop.feed'" in told
    assert "OSError: nobody there" in told


def test_silence_that_a_project_wants_is_kept_below_error(
    add: Add, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``logging.raiseExceptions`` off: nothing is said of handlers that fail, but of errors lost."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    add(Raising())
    logger.warning("a warning")
    assert capsys.readouterr().err == ""
    logger.error("an error")
    assert "an error" in capsys.readouterr().err


def test_standard_error_that_is_closed_or_missing_is_no_error(
    add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(Raising())
    monkeypatch.setattr("sys.stderr", None)
    logger.error("told to nobody")


def test_package_has_one_logger() -> None:
    """A logger that another module got for itself could raise into the engine."""
    package = Path(lifespan_app.__file__).parent
    getting = re.compile(r"""getLogger\((__name__|["']lifespan_app)""")
    assert [
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if getting.search(file.read_text())
    ] == []


# Observers.


class RaisingObserver(Observer):
    """Raise what a method of an observer must not."""

    def __init__(self, method: str, failure: type[BaseException]) -> None:
        self._method = method
        self._failure = failure

    def __repr__(self) -> str:
        raise ValueError("no repr")

    def _maybe(self, method: str) -> None:
        if method == self._method:
            raise self._failure("of an observer")

    def watches_steps(self, phase: Phase) -> bool:
        self._maybe("watches_steps")
        return True

    def run_changed(self, report: Report) -> None:
        self._maybe("run_changed")

    def step_changed(self, report: Report, step: Step) -> None:
        self._maybe("step_changed")

    def hook_failed(self, report: Report, step: Step, error: BaseException) -> None:
        self._maybe("hook_failed")

    def run_ended(self, report: Report, seconds_left: float) -> Any:
        self._maybe("run_ended")
        return 5 if self._method == "returns no awaitable" else None


METHODS = ["watches_steps", "run_changed", "step_changed", "hook_failed", "run_ended"]


@each_failure
@pytest.mark.parametrize("method", METHODS)
def test_observer_that_raises_holds_no_run_up(method: str, failure: type[BaseException]) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.adapter.observers.insert(0, RaisingObserver(method, failure))
        await all_that_is_logged(lifespan, Journal())

    run_virtually(main)


def test_observer_without_a_last_write_delays_no_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.adapter.observers.insert(0, RaisingObserver("returns no awaitable", ValueError))
        await all_that_is_logged(lifespan, Journal())
        assert lifespan.runs == []

    run_virtually(main)
    assert "An observer's last write failed." in caplog.text
