"""An error in one line: its class always, of a group what is inside, and of a chain its cause."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, cast

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.error_text import one_line, traceback_of
from lifespan_app.engine.reporting.report import Report
from tests.engine.apps import written_in
from tests.engine.exchange import Server
from tests.engine.journal import Journal
from tests.engine.virtual_clock import VirtualLoop, run_virtually

REFUSED = "ConnectionError: refused"


def task_group(*errors: Exception) -> ExceptionGroup[Exception]:
    """Return what asyncio's and anyio's task groups raise."""
    return ExceptionGroup("unhandled errors in a TaskGroup", errors)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError("nobody there"), "OSError: nobody there"),
        (TimeoutError(), "TimeoutError"),
        (KeyError("missing key"), "KeyError: 'missing key'"),
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (task_group(ConnectionError("refused")), REFUSED),
        (task_group(task_group(ConnectionError("refused"))), REFUSED),
        (task_group(TimeoutError()), "TimeoutError"),
        (
            task_group(ConnectionError("refused"), OSError("no"), OSError("no")),
            f"{REFUSED} (and 2 more)",
        ),
        (
            ExceptionGroup("3 of 5 shards", [ConnectionError("refused"), OSError("no")]),
            f"{REFUSED} (and 1 more, raised as ExceptionGroup: 3 of 5 shards)",
        ),
        (
            BaseExceptionGroup("unhandled errors in a TaskGroup", [SystemExit(3)]),
            "SystemExit: 3",
        ),
    ],
    ids=repr,
)
def test_error_as_one_line(error: BaseException, line: str) -> None:
    assert one_line(error) == line


def test_long_text_is_cut() -> None:
    assert len(one_line(ValueError("x" * 10_000))) < 600


EMPTY: dict[str, str] = {}


def raised_by(function: Callable[[], object]) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    except SystemExit as error:
        return cast("Exception", error)
    raise AssertionError("nothing raised")


def ask() -> NoReturn:
    raise ConnectionError("refused")


def translated() -> None:
    try:
        ask()
    except ConnectionError as error:
        raise RuntimeError("no notices") from error


def replaced() -> None:
    try:
        EMPTY["DB"]
    except KeyError:
        raise ValueError("set DB")  # noqa: B904


def hidden() -> None:
    try:
        EMPTY["DB"]
    except KeyError:
        raise ValueError("set DB") from None


def exits() -> None:
    try:
        EMPTY["DB"]
    except KeyError:
        sys.exit(3)


def fails_while_handling() -> None:
    try:
        EMPTY["in the cache"]
    except KeyError:
        ask()


def in_a_group() -> None:
    raise ExceptionGroup("unhandled errors in a TaskGroup", [raised_by(translated), OSError("no")])


async def passes_its_time() -> None:
    async with asyncio.timeout(0):
        await asyncio.sleep(1)


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (translated, f"{REFUSED} (raised as RuntimeError: no notices)"),
        (replaced, "KeyError: 'DB' (raised as ValueError: set DB)"),
        (hidden, "ValueError: set DB"),
        (exits, "KeyError: 'DB' (raised as SystemExit: 3)"),
        (fails_while_handling, REFUSED),
        (in_a_group, f"{REFUSED} (and 1 more, raised as RuntimeError: no notices)"),
        (lambda: asyncio.run(passes_its_time()), "TimeoutError"),
    ],
    ids=[
        "from",
        "in except",
        "from None",
        "sys.exit",
        "failure of a handler",
        "group",
        "time limit",
    ],
)
def test_line_names_the_cause(function: Callable[[], object], line: str) -> None:
    assert one_line(raised_by(function)) == line


def library(folder: Path, code: str) -> Any:
    """Return a module that lies where packages are installed."""
    file = folder / "site-packages/client.py"
    file.parent.mkdir()
    module = ModuleType("client")
    exec(compile(code, str(file), "exec"), vars(module))
    return module


def test_cause_that_only_a_library_has_seen_is_left_out(tmp_path: Path) -> None:
    client = library(
        tmp_path,
        "def get():\n"
        "    try:\n"
        "        raise OSError(111)\n"
        "    except OSError as error:\n"
        "        raise ConnectionError('no notices') from error\n",
    )
    assert one_line(raised_by(lambda: client.get())) == "ConnectionError: no notices"


def test_users_error_inside_of_a_librarys_is_the_cause(tmp_path: Path) -> None:
    client = library(
        tmp_path,
        "def call(function):\n"
        "    try:\n"
        "        function()\n"
        "    except Exception as error:\n"
        "        raise ValueError('callback failed') from error\n",
    )
    error = raised_by(lambda: client.call(ask))
    assert one_line(error) == f"{REFUSED} (raised as ValueError: callback failed)"


def test_causes_in_a_circle_come_to_an_end() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    assert one_line(first) == "ValueError: first"


def test_long_chain_has_one_line() -> None:
    error: BaseException = ValueError(0)
    for number in range(1, 5_000):
        outer = ValueError(number)
        outer.__cause__ = error
        error = outer
    assert one_line(error) == "ValueError: 4999"


def even(number: int) -> bool:
    return number == 0 or odd(number - 1)


def odd(number: int) -> bool:
    return number != 0 and even(number - 1)


def test_functions_that_call_each_other_are_folded_in_a_traceback() -> None:
    text = traceback_of(raised_by(lambda: even(10**6)))
    assert text.count(", in odd") == 2
    assert "  [The last 2 frames repeated " in text
    assert text.splitlines()[-1].startswith("RecursionError")
    assert len(text.splitlines()) < 30


def test_different_frames_of_a_traceback_are_all_there() -> None:
    text = traceback_of(raised_by(lambda: even(3) or ask()))
    assert "repeated" not in text
    text = traceback_of(raised_by(lambda: [None for _ in range(5) if ask()]))
    assert "repeated" not in text


def test_recursion_in_a_group_is_folded_too() -> None:
    group = ExceptionGroup("two", [raised_by(lambda: even(10**6)), ValueError("no")])
    text = traceback_of(group)
    assert "[The last 2 frames repeated " in text
    assert len(text.splitlines()) < 60


def report_of(lifespan: Lifespan) -> Report:
    report = lifespan.report()
    assert report is not None
    return report


def feed_with_a_group(lifespan: Lifespan, error: Exception, *, at_once: bool) -> None:
    """Declare a resource whose task group fails at once, or while the process serves."""

    @lifespan.resource
    @written_in("shop.lifespan")
    async def feed() -> AsyncIterator[str]:
        async def listen() -> None:
            await asyncio.sleep(0 if at_once else 5)
            raise error

        async with asyncio.TaskGroup() as group:
            group.create_task(listen())
            if at_once:
                await asyncio.sleep(1)
            yield "a feed"


def test_failed_start_reports_the_errors_inside_the_group_everywhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        feed_with_a_group(lifespan, ConnectionError("refused"), at_once=True)
        answer = await Server(lifespan).startup()
        assert f"s: {REFUSED}\n" in answer["message"]
        report = report_of(lifespan)
        assert report.error == REFUSED
        step = report.step("shop.feed")
        assert (step.exception, step.error) == ("ConnectionError", "refused")
        assert "ExceptionGroup" in step.traceback

    run_virtually(main)
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage().endswith(f"s: {REFUSED}")


def test_crashed_resource_has_the_errors_inside_the_group() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        feed_with_a_group(lifespan, ConnectionError("refused"), at_once=False)
        async with lifespan.run("app") as state:
            await asyncio.sleep(6)
            with pytest.raises(KeyError, match=f"crashed at .*: {REFUSED}"):
                _ = state["feed"]

    run_virtually(main)


@pytest.mark.parametrize(
    ("error", "line"),
    [(TimeoutError(), "TimeoutError"), (KeyError("missing key"), "KeyError: 'missing key'")],
)
def test_line_of_a_failure_has_the_class(
    caplog: pytest.LogCaptureFixture, error: Exception, line: str
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().start(lifespan, "warm_up", error=error)
        answer = await Server(lifespan).startup()
        assert f"s: {line}\n" in answer["message"]

    run_virtually(main)
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage().endswith(f"s: {line}")
