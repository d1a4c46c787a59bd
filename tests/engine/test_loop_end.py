"""The event loop ends under an open lifespan: all tasks are cancelled at once, yet in order."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting import log_capture
from lifespan_app.engine.reporting.report import Report
from lifespan_app.engine.running import log_sink
from tests.engine.apps import HostWithApps
from tests.engine.conftest import LOOPS
from tests.engine.journal import Journal
from tests.engine.virtual_clock import VirtualHost, VirtualLoop

Main = Callable[[Lifespan], Coroutine[Any, Any, None]]


def run_until_the_end(main: Main, kind: str = "virtual") -> Report:
    """Run a coroutine function as ``asyncio.run`` does: what is left then is cancelled at once."""
    if kind == "virtual":
        loop = VirtualLoop()
        lifespan = Lifespan(VirtualHost(loop))
        runner = asyncio.Runner(loop_factory=lambda: loop)
    else:
        lifespan = Lifespan(HostWithApps())
        runner = asyncio.Runner(loop_factory=LOOPS[kind])
    with runner:
        runner.run(main(lifespan))
    report = lifespan.report()
    assert report is not None
    return report


@pytest.fixture(autouse=True)
def _logging_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave later tests no capture of log lines: a run whose loop is thrown away never ends its own."""
    monkeypatch.setattr(log_capture._above, "handlers", log_capture._above.handlers)
    monkeypatch.setattr(logging.root, "parent", logging.root.parent)
    monkeypatch.setattr(log_sink.log_capture, "_captures", log_sink.log_capture._captures)


@pytest.mark.parametrize("kind", ["virtual", *LOOPS])
def test_loop_s_end_stops_open_hooks_in_reverse(kind: str) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        base = journal.resource(lifespan, "base", closes=0.01)
        client = journal.resource(lifespan, "client", closes=0.01, depends_on=[base])
        journal.resource(lifespan, "top", closes=0.01, depends_on=[client])
        await lifespan.startup()

    report = run_until_the_end(main, kind)
    assert journal.events[-6:] == [
        "close top",
        "close top: done",
        "close client",
        "close client: done",
        "close base",
        "close base: done",
    ]
    assert (report.status, report.ended_by) == ("stopped", "the event loop ended")


def test_jobs_and_sync_hooks_stop_at_the_loop_s_end_too() -> None:
    journal: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        def connection() -> Iterator[str]:
            yield "a connection"
            journal.append("disconnected")

        @lifespan.background
        async def refresh(connection: str) -> None:
            try:
                await asyncio.sleep(1_000)
            finally:
                await asyncio.sleep(0.1)
                journal.append(f"stopped with {connection}")

        @lifespan.on_shutdown
        async def farewell(connection: str) -> None:
            await asyncio.sleep(0.1)
            journal.append(f"farewell to {connection}")

        await lifespan.startup()
        await asyncio.sleep(1)

    report = run_until_the_end(main)
    assert journal == [
        "stopped with a connection",
        "farewell to a connection",
        "disconnected",
    ]
    assert {step.outcome for step in report.steps} == {"ok"}


def test_loop_s_end_is_quick() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        base = journal.resource(lifespan, "base")
        journal.resource(lifespan, "slow", closes=60, depends_on=[base])
        await lifespan.startup()

    run_until_the_end(main)
    assert journal.when("close slow: cancelled") == journal.when("close base: done") == 1


@pytest.mark.parametrize("attempt", range(10))
def test_startup_at_the_loop_s_end_is_cancelled_and_no_hook_is_blamed(attempt: int) -> None:
    """All tasks are cancelled in the order of a set: ten attempts see more than one order."""
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        base = journal.resource(lifespan, "base")
        for number in range(5):
            journal.resource(lifespan, f"slow_{number}", opens=60, depends_on=[base])
        starting = asyncio.ensure_future(lifespan.startup())
        await asyncio.sleep(1)
        assert not starting.done()

    report = run_until_the_end(main)
    assert journal.entries[-1] == (1, "close base: done")
    assert report.status == "stopped"
    assert report.ended_by in ("the event loop ended", "cancelled")
    assert report.error == ""
    outcomes = {step.outcome for step in report.steps if step.key.startswith("shop.slow")}
    assert outcomes == {"cancelled"}


@pytest.mark.parametrize("attempt", range(5))
def test_shutdown_at_the_loop_s_end_is_finished(attempt: int) -> None:
    """The one that is closing loses what it awaits; those that stand under it still close."""
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        base = journal.resource(lifespan, "base", closes=0.2)
        client = journal.resource(lifespan, "client", closes=0.2, depends_on=[base])
        journal.resource(lifespan, "slow", closes=3, depends_on=[client])
        await lifespan.startup()
        stopping = asyncio.ensure_future(lifespan.shutdown())
        await asyncio.sleep(1)
        assert not stopping.done()

    report = run_until_the_end(main)
    assert journal.entries[-5:] == [
        (1, "close slow: cancelled"),
        (1, "close client"),
        (1.2, "close client: done"),
        (1.2, "close base"),
        (1.4, "close base: done"),
    ]
    assert report.step("shop.slow", "shutdown").outcome == "cancelled"
    assert report.status == "stopped"


def test_ctrl_c_in_a_program_stops_open_hooks() -> None:
    """``asyncio.run`` cancels its main task on Ctrl+C, and raises KeyboardInterrupt itself."""
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "client", closes=0.5)
        async with lifespan.run("app"):
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_later(10, task.cancel)
            await asyncio.sleep(1_000)

    with pytest.raises(asyncio.CancelledError):
        run_until_the_end(main)
    assert journal.entries[-1] == (10.5, "close client: done")


@pytest.mark.parametrize("kind", LOOPS)
def test_nothing_is_blamed_on_hooks_when_their_loop_is_thrown_away(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop that is closed without cancelling its tasks leaves them to the garbage collector.

    What closes a coroutine then is no error of the hook, and nothing can be awaited any more.
    """
    closed: list[str] = []

    async def start(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def client() -> AsyncIterator[str]:
            try:
                yield "a client"
            finally:
                closed.append("client")

        @lifespan.background
        async def refresh() -> None:
            await asyncio.sleep(1_000)

        await lifespan.startup()
        await asyncio.sleep(0)

    def open_and_forget() -> None:
        lifespan = Lifespan()
        loop = LOOPS[kind]()
        loop.set_exception_handler(lambda loop, context: None)
        loop.run_until_complete(start(lifespan))
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()

    open_and_forget()
    gc.collect()

    assert [
        record.getMessage()
        for record in caplog.records
        if record.name == "lifespan_app" and record.levelno > logging.INFO
    ] == []
