"""An error in one line: its class always, and of a group what is inside."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.error_text import one_line
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
            f"ExceptionGroup: 3 of 5 shards: {REFUSED} (and 1 more)",
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
