"""Observers: told plain data of every change, and unable to break or to slow a run."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.report import Observer, Phase, Report, Step
from lifespan_app.engine.settings import Settings
from tests.engine.conftest import RunOnLoop
from tests.engine.journal import Journal
from tests.engine.virtual_clock import VirtualLoop, run_virtually


class Witness(Observer):
    """Write down all that is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.statuses: list[str] = []
        self.steps: list[tuple[str, str, str | None]] = []
        self.failures: list[tuple[str, BaseException]] = []
        self.ended: list[tuple[Report, float]] = []

    def run_changed(self, report: Report) -> None:
        self.statuses.append(report.status)

    def step_changed(self, report: Report, step: Step) -> None:
        self.steps.append((step.name, step.phase, step.outcome))

    def hook_failed(self, report: Report, step: Step, error: BaseException) -> None:
        self.failures.append((step.name, error))

    def run_ended(self, report: Report, seconds_left: float) -> Awaitable[None] | None:
        self.ended.append((report, seconds_left))
        return None


def watched(lifespan: Lifespan) -> Witness:
    witness = Witness()
    lifespan.adapter.observers.append(witness)
    return witness


# What they are told.


def test_observer_receives_every_status_and_every_step(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> Witness:
        witness = watched(lifespan)
        journal = Journal()
        client = journal.resource(lifespan, "client")
        journal.start(lifespan, "warm_up", depends_on=[client])
        journal.job(lifespan, "refresh")
        async with lifespan.run("app"):
            await asyncio.sleep(0)
        return witness

    witness = run(main)
    assert witness.statuses == ["starting", "serving", "stopping", "stopped"]
    assert witness.steps == [
        ("client", "startup", None),
        ("client", "startup", "ok"),
        ("warm_up", "startup", None),
        ("warm_up", "startup", "ok"),
        ("refresh", "serving", None),
        ("refresh", "serving", "ok"),
        ("client", "shutdown", None),
        ("client", "shutdown", "ok"),
    ]
    [(report, _)] = witness.ended
    assert report.status == "stopped"
    assert len(report.steps) == 4


def test_observer_receives_failures_with_the_error_itself(run: RunOnLoop) -> None:
    errors = [OSError("nobody there"), LookupError("nothing to close"), ValueError("crash")]

    async def main(lifespan: Lifespan) -> Witness:
        witness = watched(lifespan)
        journal = Journal()
        journal.resource(lifespan, "feed", open_error=errors[0], required=False)
        journal.resource(lifespan, "client", close_error=errors[1])
        journal.job(lifespan, "refresh", 0, errors[2])
        await lifespan.startup()
        for _ in range(3):
            await asyncio.sleep(0)
        with pytest.raises(ExceptionGroup):
            await lifespan.shutdown()
        return witness

    witness = run(main)
    assert witness.failures == [
        ("feed", errors[0]),
        ("refresh", errors[2]),
        ("client", errors[1]),
    ]
    # Degraded twice: first it is ready all the same, then not any more.
    degraded = ["degraded", "degraded"]
    assert witness.statuses == ["starting", *degraded, "stopping", "shutdown_failed"]


def test_observer_receives_a_failed_startup(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> Witness:
        witness = watched(lifespan)
        Journal().start(lifespan, "fails", error=OSError("nobody there"))
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()
        return witness

    witness = run(main)
    assert witness.statuses[0] == "starting"
    assert set(witness.statuses[1:]) == {"startup_failed"}
    assert len(witness.ended) == 1


def test_observer_that_does_not_watch_steps_receives_none(run: RunOnLoop) -> None:
    class Incurious(Witness):
        def watches_steps(self, phase: Phase) -> bool:
            return False

    async def main(lifespan: Lifespan) -> Witness:
        witness = Incurious()
        lifespan.adapter.observers.append(witness)
        Journal().start(lifespan, "fails", error=OSError("nobody there"), required=False)
        async with lifespan.run("app"):
            pass
        return witness

    witness = run(main)
    assert witness.steps == []
    assert len(witness.failures) == 1
    assert witness.statuses[0] == "starting"


def test_report_does_not_change_after_it_was_passed_on(run: RunOnLoop) -> None:
    """A report is a value: it does not change with the run, once its steps were read."""

    class Collects(Observer):
        def __init__(self) -> None:
            self.reports: list[Report] = []

        def run_changed(self, report: Report) -> None:
            _ = report.steps
            self.reports.append(report)

    async def main(lifespan: Lifespan) -> list[Report]:
        collects = Collects()
        lifespan.adapter.observers.append(collects)
        Journal().resource(lifespan, "client")
        async with lifespan.run("app"):
            pass
        return collects.reports

    reports = run(main)
    assert [len(report.steps) for report in reports] == [0, 1, 1, 2]
    assert [report.status for report in reports] == ["starting", "serving", "stopping", "stopped"]


# Broken ones.


@pytest.mark.parametrize(
    "method", ["watches_steps", "run_changed", "step_changed", "hook_failed", "run_ended"]
)
def test_broken_observer_is_dropped_and_changes_nothing(
    run: RunOnLoop, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    class Broken(Observer):
        calls = 0

    def fail(self: Broken, *args: object) -> None:
        self.calls += 1
        raise RuntimeError("the observer's own fault")

    setattr(Broken, method, fail)
    journal = Journal()

    async def main(lifespan: Lifespan) -> tuple[Broken, Witness]:
        broken = Broken()
        lifespan.adapter.observers.append(broken)
        witness = watched(lifespan)
        journal.resource(lifespan, "client")
        journal.start(lifespan, "fails", error=OSError("nobody there"), required=False)
        async with lifespan.run("app") as state:
            assert state["client"] == "client"
            journal.write("serving")
        return broken, witness

    broken, witness = run(main)
    assert broken.calls == 1
    assert journal.events[-3:] == ["serving", "close client", "close client: done"]
    assert witness.statuses == ["starting", "degraded", "stopping", "stopped"]
    assert len(witness.ended) == 1
    [record] = [
        record for record in caplog.records if "It is not called again" in record.getMessage()
    ]
    assert record.name == "lifespan_app"
    assert record.exc_info is not None


def test_broken_observer_is_asked_again_in_the_next_run(run: RunOnLoop) -> None:
    class Broken(Observer):
        calls = 0

        def run_changed(self, report: Report) -> None:
            self.calls += 1
            raise RuntimeError("the observer's own fault")

    async def main(lifespan: Lifespan) -> Broken:
        broken = Broken()
        lifespan.adapter.observers.append(broken)
        for _ in range(2):
            async with lifespan.run("app"):
                pass
        return broken

    assert run(main).calls == 2


@dataclass
class Beaten(Observer):
    """An observer that equals others, and that no dictionary takes as a key."""

    every: Any = 1.0
    fails: bool = field(default=False, compare=False)
    beats: int = field(default=0, compare=False)

    def beat(self, report: Report) -> None:
        self.beats += 1
        if self.fails:
            raise RuntimeError("the observer's own fault")


def beats_in_two_and_a_half_seconds(*observers: Beaten) -> list[int]:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.adapter.observers += observers
        async with lifespan.run("app"):
            await asyncio.sleep(2.5)

    run_virtually(main)
    return [observer.beats for observer in observers]


def test_dataclasses_may_be_observers() -> None:
    assert beats_in_two_and_a_half_seconds(Beaten(), Beaten()) == [2, 2]


def test_observer_that_has_failed_is_dropped_and_not_one_that_equals_it() -> None:
    assert beats_in_two_and_a_half_seconds(Beaten(fails=True), Beaten()) == [1, 2]


def test_observer_is_never_called_regularly_with_an_infinite_time() -> None:
    assert beats_in_two_and_a_half_seconds(Beaten(math.inf)) == [0]


def test_observer_with_a_time_that_is_no_number_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert beats_in_two_and_a_half_seconds(Beaten("often"), Beaten()) == [0, 2]
    assert "Observer tests.engine.test_observers.Beaten failed." in caplog.text


# The last write.


class Writer(Observer):
    """Write for a while when the run is over."""

    def __init__(self, journal: Journal, seconds: float, error: Exception | None = None) -> None:
        self.journal, self.seconds, self.error = journal, seconds, error
        self.seconds_left = 0.0

    def run_ended(self, report: Report, seconds_left: float) -> Awaitable[None] | None:
        self.seconds_left = seconds_left
        return self.journal.take("write", self.seconds, self.error)


def shut_down_with(
    writer: Callable[[Journal], Writer],
    *,
    closes: float = 0.0,
    settings: Settings | None = None,
) -> tuple[Journal, Writer]:
    journal = Journal()
    observer = writer(journal)

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.adapter.observers.append(observer)
        journal.resource(lifespan, "client", closes=closes)
        await lifespan.startup()
        try:
            await lifespan.shutdown()
        except ExceptionGroup:
            journal.write("failed")
        journal.write("over")

    run_virtually(main, settings=settings)
    return journal, observer


def test_end_of_a_run_waits_for_the_last_write() -> None:
    journal, _ = shut_down_with(lambda journal: Writer(journal, 3))

    assert journal.entries[-3:] == [(0, "write"), (3, "write: done"), (3, "over")]


@pytest.mark.parametrize(
    ("closes", "deadline", "left"),
    [
        (0.0, 8.0, 9.5),
        (3.0, 8.0, 6.5),
        (60.0, 8.0, 4.5),
        (0.0, 20.0, 21.5),
    ],
    ids=["at once", "3 s of 8", "a limit of 5 s passed", "another deadline"],
)
def test_last_write_gets_the_rest_of_the_deadline_and_1_5_seconds(
    closes: float, deadline: float, left: float
) -> None:
    _, writer = shut_down_with(
        lambda journal: Writer(journal, 0),
        closes=closes,
        settings=Settings(shutdown_deadline=deadline),
    )

    assert writer.seconds_left == pytest.approx(left)


def test_last_write_gets_1_5_seconds_after_the_whole_deadline() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> float:
        writer = Writer(Journal(), 0)
        lifespan.adapter.observers.append(writer)

        async def stubborn() -> object:
            return None

        @lifespan.on_shutdown(timeout=100)
        async def ignores_everything() -> None:
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    continue

        await lifespan.startup()
        with pytest.raises(ExceptionGroup):
            await lifespan.shutdown()
        return writer.seconds_left

    assert run_virtually(main) == pytest.approx(1.5)


def test_last_write_gets_half_a_second_at_least() -> None:
    """The loop was blocked for longer than there was time."""

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> float:
        writer = Writer(Journal(), 0)
        lifespan.adapter.observers.append(writer)

        @lifespan.on_shutdown
        async def blocks() -> None:
            loop.now += 100

        await lifespan.startup()
        with pytest.raises(ExceptionGroup):
            await lifespan.shutdown()
        return writer.seconds_left

    assert run_virtually(main) == 0.5


def test_last_write_that_takes_too_long_is_given_up_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal, _ = shut_down_with(lambda journal: Writer(journal, 60))

    assert set(journal.entries[-2:]) == {(9.5, "write: cancelled"), (9.5, "over")}
    assert any("last write took more than 9.500 s" in text for text in caplog.messages)


def test_last_write_that_fails_is_logged_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = OSError("disk full")
    journal, _ = shut_down_with(lambda journal: Writer(journal, 0, error))

    assert journal.events[-1] == "over"
    assert "failed" not in journal.events
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_last_write_is_waited_for_after_a_startup_that_failed_too() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.adapter.observers.append(Writer(journal, 2))
        journal.start(lifespan, "fails", error=OSError("nobody there"))
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()
        journal.write("raised")

    run_virtually(main)

    assert journal.entries[-2:] == [(2, "write: done"), (2, "raised")]


def test_observer_s_last_write_does_not_hold_the_next_run_up() -> None:
    """The run is over for its Lifespan before its report is written."""

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.adapter.observers.append(Writer(Journal(), 3))
        await lifespan.startup()
        stopping = asyncio.ensure_future(lifespan.shutdown())
        await asyncio.sleep(1)
        assert not stopping.done()
        assert not lifespan.is_initialized()
        await lifespan.startup()
        await stopping
        await lifespan.shutdown()

    run_virtually(main)


def test_observers_receive_the_change_of_a_degraded_process_to_not_ready() -> None:
    told: list[tuple[str, str]] = []

    class Following(Observer):
        def run_changed(self, report: Report) -> None:
            told.append((report.status, report.readiness))

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.adapter.observers.append(Following())

        @lifespan.background(required=False)
        async def first() -> None:
            raise ConnectionError("lost")

        @lifespan.background
        async def second() -> None:
            await asyncio.sleep(1)
            raise ConnectionError("lost")

        async with lifespan.run("app"):
            await asyncio.sleep(2)

    run_virtually(main)
    assert told[1:4] == [("serving", "ok"), ("degraded", "degraded"), ("degraded", "crashed")]
