"""What the report says of background jobs: ``report.jobs``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.report import JobReport, Observer, Report
from tests.engine.apps import written_in
from tests.engine.leases import Board
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually

LOST = "the connection was lost"
MIDNIGHT = 1_800_000_000.0
"""The time of day at which the virtual clock, and so the run, begins."""


def job_of(lifespan: Lifespan) -> JobReport:
    [job] = report_of(lifespan).jobs
    return job


def seconds(job: JobReport) -> tuple[float | None, ...]:
    """Return when the job crashed, succeeded and begins next, in seconds from the run's begin."""
    times = (job.last_crash_at, job.last_success_at, job.next_at)
    return tuple(at and round(at - MIDNIGHT, 3) for at in times)


def play(main: Callable[[Lifespan, VirtualLoop], Any]) -> None:
    """Run a test on the virtual clock, with a time of day that goes with it."""

    async def with_time_of_day(lifespan: Lifespan, loop: VirtualLoop) -> None:
        now = lambda: MIDNIGHT + loop.now - 1000  # noqa: E731
        lifespan.adapter.time = now  # type: ignore[method-assign]
        await main(lifespan, loop)

    run_virtually(with_time_of_day)


def declare(lifespan: Lifespan, work: Callable[[], Any], **options: Any) -> None:
    @lifespan.background(**options)
    @written_in("shop.lifespan")
    async def refresh() -> None:
        await work()


async def crash() -> None:
    raise ConnectionError(LOST)


async def for_ever() -> None:
    await asyncio.Event().wait()


def test_job_waits_until_the_process_serves_then_runs_and_has_stopped_in_the_end() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        states = []

        class Follower(Observer):
            def run_changed(self, report: Report) -> None:
                states.append((str(report.status), str(report.jobs[0].state)))

        lifespan.observe(Follower())
        declare(lifespan, for_ever)
        async with lifespan.run("app"):
            assert job_of(lifespan) == JobReport("shop.refresh", "running", rounds=1)  # type: ignore[arg-type]
        assert states == [
            ("starting", "waiting"),
            ("serving", "running"),
            ("stopping", "running"),
            ("stopped", "stopped"),
        ]

    play(main)


def test_periodic_job_waits_between_rounds_and_says_when_the_next_one_is_due() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        declare(lifespan, lambda: asyncio.sleep(10), every=60, first=5, jitter=0)
        async with lifespan.run("app"):
            job = job_of(lifespan)
            assert (job.state, job.every, job.rounds) == ("waiting", 60, 0)
            assert seconds(job) == (None, None, 5)
            await asyncio.sleep(6)
            assert (job_of(lifespan).state, job_of(lifespan).rounds) == ("running", 1)
            assert seconds(job_of(lifespan)) == (None, None, None)
            await asyncio.sleep(10)
            assert (job_of(lifespan).state, job_of(lifespan).rounds) == ("waiting", 1)
            assert seconds(job_of(lifespan)) == (None, 15, 65)
        assert job_of(lifespan).state == "stopped"
        assert seconds(job_of(lifespan)) == (None, 15, None)

    play(main)


def test_round_that_crashes_is_counted_and_the_job_is_crashed_until_one_succeeds() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        works: list[Callable[[], Any]] = [crash, crash, lambda: asyncio.sleep(1)]
        declare(lifespan, lambda: works.pop(0)(), every=60, jitter=0)
        async with lifespan.run("app"):
            await asyncio.sleep(61)
            job = job_of(lifespan)
            assert (job.state, job.rounds, job.crashes) == ("crashed", 2, 2)
            assert job.last_crash == f"ConnectionError: {LOST}"
            assert seconds(job) == (60, None, 120)
            await asyncio.sleep(59.5)
            # The third round runs, and may crash as well.
            assert job_of(lifespan).state == "crashed"
            await asyncio.sleep(1)
            job = job_of(lifespan)
            assert (job.state, job.crashes, job.last_crash) == (
                "waiting",
                2,
                f"ConnectionError: {LOST}",
            )
            assert seconds(job) == (60, 121, 180)

    play(main)


def test_job_that_restarts_says_when_and_runs_then() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        works = [crash, for_ever]
        declare(lifespan, lambda: works.pop(0)(), on_crash="restart")
        async with lifespan.run("app"):
            await asyncio.sleep(0.5)
            assert job_of(lifespan).state == "crashed"
            assert seconds(job_of(lifespan)) == (0, None, 1)
            await asyncio.sleep(1)
            job = job_of(lifespan)
            assert (job.state, job.rounds, job.crashes) == ("running", 2, 1)
            assert seconds(job) == (0, None, None)

    play(main)


def test_job_that_crashes_once_and_for_all_begins_no_more() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        declare(lifespan, crash)
        async with lifespan.run("app"):
            await asyncio.sleep(100)
            assert job_of(lifespan).state == "crashed"
            assert seconds(job_of(lifespan)) == (0, None, None)
        assert job_of(lifespan).state == "crashed"

    play(main)


def test_job_that_crashes_too_often_is_given_up_and_says_why() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        declare(lifespan, crash, on_crash="restart", give_up=(3, 300))
        async with lifespan.run("app"):
            await asyncio.sleep(100)
            job = job_of(lifespan)
            assert (job.state, job.crashes) == ("given_up", 3)
            assert job.reason == "it is given up: 3 crashes within 300 s"
            assert seconds(job) == (3, None, None)

    play(main)


def test_job_without_a_sign_of_life_is_stalled_until_it_gives_one() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        async def work() -> None:
            await asyncio.sleep(100)
            lifespan.beat()
            await asyncio.sleep(100)

        declare(lifespan, work, stall_after=60)
        async with lifespan.run("app"):
            await asyncio.sleep(61)
            job = job_of(lifespan)
            assert (job.state, job.reason) == ("stalled", "no beat() has come for 60 s")
            await asyncio.sleep(40)
            assert (job_of(lifespan).state, job_of(lifespan).reason) == ("running", "")

    play(main)


def test_job_that_returns_is_finished_and_has_succeeded_then() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        declare(lifespan, lambda: asyncio.sleep(7))
        async with lifespan.run("app"):
            await asyncio.sleep(10)
        assert job_of(lifespan).state == "finished"
        assert seconds(job_of(lifespan)) == (None, 7, None)

    play(main)


def test_job_whose_resource_is_missing_is_skipped_and_says_why() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource(required=False)
        @written_in("shop.lifespan")
        async def feed() -> AsyncIterator[str]:
            await crash()
            yield "never"

        @lifespan.background
        @written_in("shop.lifespan")
        async def follow(feed: str) -> None: ...

        async with lifespan.run("app"):
            job = job_of(lifespan)
            assert job.state == "skipped"
            assert "it needs 'shop.feed'" in job.reason

    play(main)


def test_times_are_right_after_the_time_of_day_was_set() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        declare(lifespan, crash, every=60, jitter=0)
        async with lifespan.run("app"):
            await asyncio.sleep(30)
            before = job_of(lifespan)
            was = lifespan.adapter.time
            lifespan.adapter.time = lambda: was() + 3_600  # type: ignore[method-assign]
            after = job_of(lifespan)
        assert seconds(before) == (0, None, 60)
        assert seconds(after) == (3_600, None, 3_660)

    play(main)


def test_reports_of_one_moment_are_equal_though_clocks_are_not_read_at_once() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        declare(lifespan, crash, every=60)
        was = lifespan.adapter.time
        reads = iter(range(1_000))
        lifespan.adapter.time = lambda: was() + next(reads) / 1e6  # type: ignore[method-assign]
        async with lifespan.run("app"):
            await asyncio.sleep(1)
            assert report_of(lifespan) == report_of(lifespan)

    play(main)


def test_report_keeps_the_jobs_as_they_were() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        declare(lifespan, lambda: asyncio.sleep(7))
        async with lifespan.run("app"):
            report = report_of(lifespan)
            await asyncio.sleep(10)
        assert report.jobs[0].state == "running"

    play(main)


def test_led_job_says_whether_it_leads_or_stands_by_and_its_observers_are_told() -> None:
    told: list[tuple[str, bool, str]] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        class Follower(Observer):
            def run_changed(self, report: Report) -> None:
                [job] = report.jobs
                if (one := (str(job.state), job.leads, job.reason)) not in told:
                    told.append(one)

        board = Board()
        lifespan.adapter.leases = board
        lifespan.observe(Follower())
        declare(lifespan, for_ever, once="cluster")
        async with lifespan.run("app"):
            await asyncio.sleep(1)
            board.last.claimant.waits_behind("process 5 on host web-1")
            await asyncio.sleep(1)
            board.grant()
            await asyncio.sleep(1)
            board.last.claimant.loses_lease("has ended")
            await asyncio.sleep(1)
            assert job_of(lifespan).rounds == 1

    play(main)
    states = [(state, leads) for state, leads, _ in told]
    assert states[0] == ("waiting", False)
    assert ("standing_by", False) in states
    assert "process 5 on host web-1" in " ".join(reason for *_, reason in told)
    assert states.index(("running", True)) > states.index(("standing_by", False))
    assert states[-2:] == [("standing_by", False), ("stopped", False)]


@pytest.mark.parametrize("seconds", [0.0, 20.0])
def test_observer_is_called_as_regularly_as_it_wants(seconds: float) -> None:
    beats: list[tuple[float, str]] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        class Follower(Observer):
            @property
            def every(self) -> float:
                return seconds

            def beat(self, report: Report) -> None:
                beats.append((loop.now - 1000, str(report.status)))

        lifespan.observe(Follower())

        @lifespan.on_start
        async def load() -> None:
            await asyncio.sleep(30)

        async with lifespan.run("app"):
            await asyncio.sleep(45)
        await asyncio.sleep(100)

    play(main)
    expected = [(20.0, "starting"), (40.0, "serving"), (60.0, "serving")]
    assert beats == (expected if seconds else [])


def test_checks_are_asked_when_an_observer_is_called_regularly() -> None:
    asked: list[float] = []
    told: list[str] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        class Follower(Observer):
            every = 20.0

            def run_changed(self, report: Report) -> None:
                told.append(str(report.readiness))

        lifespan.observe(Follower())

        @lifespan.resource
        @written_in("shop.lifespan")
        async def pool() -> AsyncIterator[str]:
            yield "a pool"

        @pool.check
        async def is_there(pool: str) -> bool:
            asked.append(loop.now - 1000)
            return loop.now < 1030

        async with lifespan.run("app"):
            await asyncio.sleep(50)
            [failing] = report_of(lifespan).failing
            assert (failing.hook, failing.what) == ("shop.pool", "check_failed")

    play(main)
    assert asked == [20, 40]
    assert told == ["starting", "ok", "check_failed", "stopping", "stopped"]


def test_observer_gets_the_steps_so_far_of_a_startup_that_takes_long() -> None:
    seen: list[tuple[float, list[tuple[str, str | None]], str]] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        class Follower(Observer):
            def is_slow(self, report: Report) -> None:
                steps = [(step.key, step.outcome and str(step.outcome)) for step in report.steps]
                at = report.steps[-1].waiting_at
                seen.append((loop.now - 1000, steps, at))

        lifespan.observe(Follower())

        @lifespan.on_start
        @written_in("shop.lifespan")
        async def load() -> None: ...

        @lifespan.on_start
        @written_in("shop.lifespan")
        async def connect() -> None:
            await asyncio.sleep(12)

        async with lifespan.run("app"):
            pass

    play(main)
    steps = [("shop.load", "ok"), ("shop.connect", None)]
    assert [(second, found) for second, found, _ in seen] == [(5, steps), (10, steps)]
    assert all("tests/engine/test_job_reports.py" in at for _, _, at in seen)
