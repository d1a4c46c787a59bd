"""Background jobs in the record: their state from the beginning, written seldom, and never too late."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from lifespan_app import Lifespan, Retry
from lifespan_app.engine.reporting.report import (
    Facts,
    JobReport,
    JobState,
    Readiness,
    Report,
    Status,
)
from lifespan_app.history.recording.record import Record
from lifespan_app.history.recording.rows import MOST_JOBS, Rows
from lifespan_app.history.recording.store import Writer
from lifespan_app.models import LifespanRun, LifespanStep
from tests.history.recording import has_status, there_is

if TYPE_CHECKING:
    from pytest_django import Settings

PAUSE = "lifespan_app.history.recording.record.LEAST_PAUSE"
SECRET = "postgres://shop:hunter2@db/shop"


async def job_with(**facts: Any) -> dict[str, Any]:
    """Wait until the recorded run has a job with these facts, and return it."""

    while True:
        run = await there_is(LifespanRun.objects.all())
        for job in run.jobs:
            if all(job[name] == value for name, value in facts.items()):
                return dict(job)
        await asyncio.sleep(0.01)


def test_job_is_recorded_from_its_beginning(lifespan: Lifespan) -> None:
    @lifespan.background
    async def work() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with lifespan.run():
            await has_status("serving")
            job = await job_with(state="running")
            assert (job["key"], job["rounds"], job["crashes"]) == (
                "tests.history.test_jobs.work",
                1,
                0,
            )
            # It can be found by its hook, too.
            steps = LifespanRun.objects.filter(steps__name="work", steps__phase="serving")
            await there_is(steps)

    asyncio.run(main())
    [run] = LifespanRun.objects.all()
    assert [job["state"] for job in run.jobs] == ["stopped"]
    assert [(one.phase, one.outcome) for one in run.steps.all()] == [("serving", "cancelled")] or [
        (one.phase, one.outcome) for one in run.steps.all()
    ] == [("serving", "ok")]


def test_crash_is_recorded_at_once_with_its_error_masked(lifespan: Lifespan) -> None:
    @lifespan.background
    async def work() -> None:
        raise ConnectionError(f"{SECRET}\0\N{CRAB}\udcff")

    async def main() -> None:
        async with lifespan.run():
            run = await has_status("not_ready")
            job = await job_with(state="crashed")
            assert run.readiness == "crashed"
            assert run.readiness_since is not None
            assert job["crashes"] == 1
            for text in (run.readiness_reason, job["last_crash"]):
                assert "ConnectionError: postgres://" in text
                assert "hunter2" not in text
            assert run.readiness_reason.startswith("tests.history.test_jobs.work: crashed: ")

    asyncio.run(main())


def test_crash_is_recorded_at_once_with_its_log_lines(on_sqlite: Lifespan) -> None:
    @on_sqlite.background
    async def work() -> None:
        logging.getLogger("shop").warning("about to fall")
        raise ConnectionError("refused")

    async def main() -> None:
        async with on_sqlite.run():
            await there_is(LifespanRun.objects.filter(steps__outcome="crashed"))
            step = await LifespanStep.objects.aget(outcome="crashed")
            assert [line[3] for line in step.log] == ["about to fall"]

    asyncio.run(main())


def test_given_up_job_is_recorded_at_once(on_sqlite: Lifespan) -> None:
    @on_sqlite.background(every=0.01, give_up=(2, 60), required=False)
    async def work() -> None:
        raise ConnectionError("refused")

    async def main() -> None:
        async with on_sqlite.run():
            job = await job_with(state="given_up")
            assert job["reason"] == "it is given up: 2 crashes within 60 s"
            run = await has_status("degraded")
            assert run.readiness == "degraded"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PAUSE, 0.05)
        asyncio.run(main())


def test_rounds_are_counted_with_the_heartbeat(on_sqlite: Lifespan, settings: Settings) -> None:
    settings.LIFESPAN = {**settings.LIFESPAN, "HEARTBEAT": 0.1}

    @on_sqlite.background(every=0.01)
    async def work() -> None: ...

    async def main() -> None:
        async with on_sqlite.run():
            first = await job_with(every=0.01)
            job = first
            while job["rounds"] < first["rounds"] + 5:
                job = await job_with(every=0.01)
            assert job["last_success_at"] is not None

    asyncio.run(main())


@pytest.mark.once
def test_process_that_is_ready_again_is_recorded_so(
    on_sqlite: Lifespan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PAUSE, 0.05)
    crashes = asyncio.Event()

    @on_sqlite.background(every=0.01)
    async def work() -> None:
        if crashes.is_set():
            raise ConnectionError("refused")

    async def main() -> None:
        async with on_sqlite.run():
            before = await has_status("serving")
            crashes.set()
            broken = await has_status("not_ready")
            crashes.clear()
            again = await has_status("serving")
            found = [(run.readiness, bool(run.readiness_reason)) for run in (before, broken, again)]
            assert found == [("ok", False), ("crashed", True), ("ok", False)]
            times = [run.readiness_since for run in (before, broken, again)]
            assert None not in times
            assert times == sorted(times, key=lambda at: at or timezone.now())

    asyncio.run(main())


def test_changes_of_a_process_that_serves_are_written_with_pauses_between(
    on_sqlite: Lifespan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that flaps a hundred times a second costs a write now and then; the last state wins."""
    pause = 0.4
    monkeypatch.setattr(PAUSE, pause)
    writes: list[float] = []
    write = Record._write_pending

    def noted(record: Record) -> None:
        writes.append(time.monotonic())
        write(record)

    rounds = 0
    flaps = asyncio.Event()

    @on_sqlite.background(every=0.01, jitter=0)
    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if flaps.is_set() and rounds % 2:
            raise ConnectionError("refused")

    async def main() -> None:
        async with on_sqlite.run():
            await has_status("serving")
            monkeypatch.setattr(Record, "_write_pending", noted)
            flaps.set()
            while len(writes) < 4:
                await asyncio.sleep(0.01)
            flaps.clear()
            await has_status("serving")
            await job_with(state="waiting")

    asyncio.run(main())
    *while_serving, _at_the_end = writes
    apart = [after - before for before, after in itertools.pairwise(while_serving)]
    assert len(apart) >= 3
    assert min(apart) >= pause


def test_last_state_is_written_though_it_came_in_the_pause(
    on_sqlite: Lifespan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PAUSE, 0.3)

    @on_sqlite.resource
    async def pool() -> str:
        return "a pool"

    answers: list[bool] = []

    @pool.check(cache=0.001)
    async def is_there(pool: str) -> bool:
        return answers[-1]

    async def main() -> None:
        async with on_sqlite.run():
            await has_status("serving")
            [run] = on_sqlite.runs
            for answer in (False, True, False, True, False):
                answers.append(answer)
                before = run.report().readiness
                while run.report().readiness == before:
                    await run.check()
                    await asyncio.sleep(0.005)
            assert run.report().readiness == Readiness.CHECK_FAILED
            await there_is(LifespanRun.objects.filter(status="not_ready"))

    asyncio.run(main())


def test_end_is_written_at_once_though_a_change_waits_for_the_pause(on_sqlite: Lifespan) -> None:
    begun = time.monotonic()

    @on_sqlite.background(every=0.01, required=False)
    async def work() -> None:
        raise ConnectionError("refused")

    async def main() -> None:
        async with on_sqlite.run():
            await has_status("degraded")

    asyncio.run(main())
    assert LifespanRun.objects.get().status == "stopped"
    # The pause is 5 s, and a write that is late is written to a file after 5 s.
    assert time.monotonic() - begun < 5


def test_attempts_of_a_start_are_recorded_with_their_errors_masked(on_sqlite: Lifespan) -> None:
    tries: list[int] = []

    @on_sqlite.resource(retry=Retry(60, first=0.01, longest=0.01))
    async def broker() -> str:
        tries.append(1)
        if len(tries) < 4:
            raise ConnectionError(f"attempt {len(tries)} at {SECRET}")
        return "a broker"

    async def main() -> None:
        async with on_sqlite.run():
            pass

    asyncio.run(main())
    step = LifespanStep.objects.get(phase="startup")
    assert (step.attempt, len(step.errors)) == (4, 3)
    assert [error.partition(" at ")[0] for error in step.errors] == [
        f"ConnectionError: attempt {number}" for number in (1, 2, 3)
    ]
    assert "hunter2" not in str(step.errors)


def report_with(jobs: list[JobReport]) -> Report:
    class Details:
        def __init__(self) -> None:
            self.jobs = tuple(jobs)

    facts = Facts("u", "app", "production", "", "server", 1, "", 0.0, (), status=Status.SERVING)
    return Report(facts, Details())  # type: ignore[arg-type]


def test_of_a_thousand_jobs_the_unwell_ones_are_kept() -> None:
    jobs = [JobReport(f"shop.job_{n}", JobState.RUNNING) for n in range(999)]
    unwell = JobReport("shop.last", JobState.GIVEN_UP, "x" * 10_000, last_crash="y" * 10_000)
    rows = Rows(30).jobs(report_with([*jobs, unwell]))

    assert len(rows) == MOST_JOBS
    assert rows[0]["key"] == "shop.last"
    assert len(rows[0]["reason"]) <= 500
    assert len(rows[0]["last_crash"]) <= 500


def test_jobs_cost_no_query(on_sqlite: Lifespan, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[list[str]] = []
    write = Writer.write

    def noted(writer: Writer, entry: Any) -> None:
        written.append(sorted(entry))
        write(writer, entry)

    monkeypatch.setattr(Writer, "write", noted)
    counts = []
    for number in (0, 1, 100):
        on_sqlite.clear()
        written.clear()
        for n in range(number):

            @on_sqlite.background(name=f"job_{n}")
            async def work() -> None:
                await asyncio.Event().wait()

        async def main() -> None:
            async with on_sqlite.run():
                await has_status("serving")

        asyncio.run(main())
        counts.append(len(written))
        LifespanStep.objects.all().delete()
        LifespanRun.objects.all().delete()
    assert max(counts) <= 5
