"""Periodic jobs: `@lifespan.background(every=60)`, whose function is one round."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.report import Observer, Readiness, Report, Step
from tests.engine.apps import written_in
from tests.engine.journal import Journal
from tests.engine.lookups import report_of, run_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually

LOST = "the connection was lost"
PATIENCE = 10


def served(lifespan: Lifespan, key: str = "shop.refresh") -> Step:
    return report_of(lifespan).step(key, "serving")


def rounds(
    lifespan: Lifespan, *takes: float | BaseException, **options: Any
) -> list[tuple[float, str]]:
    """Declare a periodic job; return what its rounds do, with the second.

    Args:
        lifespan: where it is declared.
        takes: the seconds that a round takes, or the error that it raises; the last one goes on.
        options: those of the job.
    """
    done: list[tuple[float, str]] = []
    script = itertools.chain(takes, itertools.repeat(takes[-1] if takes else 0.0))

    def write(event: str) -> None:
        done.append((round(asyncio.get_running_loop().time() - 1000, 3), event))

    @lifespan.background(**{"every": 60, **options})
    @written_in("shop.lifespan")
    async def refresh() -> None:
        write("begins")
        what = next(script)
        if isinstance(what, BaseException):
            raise what
        try:
            await asyncio.sleep(what)
        except asyncio.CancelledError:
            write("cancelled")
            raise
        write("ends")

    return done


def begins(done: list[tuple[float, str]]) -> list[float]:
    """Return the seconds in which rounds have begun."""
    return [second for second, event in done if event == "begins"]


def play(
    declare: Callable[[Lifespan, VirtualLoop], Any],
    seconds: float = 200,
    then: Callable[[Lifespan, VirtualLoop], Any] = lambda lifespan, loop: None,
) -> Any:
    """Declare hooks, serve for some seconds, look, and stop; return what was declared."""

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Any:
        declared = declare(lifespan, loop)
        async with lifespan.run("app"):
            await asyncio.sleep(seconds)
            then(lifespan, loop)
        return declared

    return run_virtually(main)


# When rounds begin.


def test_round_begins_at_once_and_then_every_minute_from_the_begin_of_the_one_before() -> None:
    done = play(lambda lifespan, loop: rounds(lifespan, 10.0))
    assert begins(done) == [0, 60, 120, 180]


def test_first_round_can_begin_later() -> None:
    done = play(lambda lifespan, loop: rounds(lifespan, 10.0, first=30))
    assert begins(done) == [30, 90, 150]


@pytest.mark.parametrize(("chance", "apart"), [(0.0, 54.0), (1.0, 66.0)])
def test_rounds_are_up_to_a_tenth_closer_or_further_apart(chance: float, apart: float) -> None:
    def declare(lifespan: Lifespan, loop: VirtualLoop) -> Any:
        lifespan.adapter.random = lambda: chance  # type: ignore[method-assign]
        return rounds(lifespan)

    assert begins(play(declare, 150)) == [0, apart, 2 * apart]


@pytest.mark.parametrize(("jitter", "apart"), [(0, 60.0), (1, 120.0)])
def test_jitter_is_a_share_of_the_time_between_rounds(jitter: float, apart: float) -> None:
    def declare(lifespan: Lifespan, loop: VirtualLoop) -> Any:
        lifespan.adapter.random = lambda: 1.0  # type: ignore[method-assign]
        return rounds(lifespan, jitter=jitter)

    assert begins(play(declare, 130))[:2] == [0, apart]


def test_rounds_never_overlap_and_one_that_is_late_begins_when_the_one_before_has_ended() -> None:
    done = play(lambda lifespan, loop: rounds(lifespan, 150.0, 5.0), 250)
    assert done[:5] == [
        (0, "begins"),
        (150, "ends"),
        (150, "begins"),
        (155, "ends"),
        (210, "begins"),
    ]


def test_rounds_go_on_for_as_long_as_the_process_serves() -> None:
    done = play(lambda lifespan, loop: rounds(lifespan, every=1), 5_000.5)
    assert len(begins(done)) == 5_001


def test_week_of_rounds_leaves_nothing_behind_in_the_journal() -> None:
    def then(lifespan: Lifespan, loop: VirtualLoop) -> None:
        assert len(run_of(lifespan).journal._entries) == 0
        assert served(lifespan).attempt == 10_081

    play(lambda lifespan, loop: rounds(lifespan), 7 * 24 * 3600 + 1, then)


# What is said of them.


def test_step_is_that_of_the_last_round() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        rounds(lifespan, 10.0)
        async with lifespan.run("app"):
            await asyncio.sleep(65)
            step = served(lifespan)
            assert (step.outcome, step.attempt, step.offset, step.duration) == (None, 2, 60, 5)
            await asyncio.sleep(10)
            step = served(lifespan)
            assert (step.outcome, step.attempt, step.offset, step.duration) == ("ok", 2, 60, 10)
        step = served(lifespan)
        assert (step.outcome, step.attempt) == ("ok", 2)

    run_virtually(main)


def test_rounds_that_go_well_are_no_news() -> None:
    class Follower(Observer):
        def __init__(self) -> None:
            self.told: list[tuple[int, str | None]] = []

        def step_changed(self, report: Report, step: Step) -> None:
            self.told.append((step.attempt, step.outcome))

    follower = Follower()

    def declare(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.observe(follower)
        rounds(lifespan, 1.0, 1.0, ConnectionError(LOST), 1.0)

    play(declare, 400)
    assert follower.told == [(1, None), (3, "crashed"), (4, "ok")]


def test_step_holds_the_log_lines_of_its_own_round() -> None:
    def declare(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.background(every=60)
        @written_in("shop.lifespan")
        async def refresh() -> None:
            await asyncio.sleep(1)
            logging.getLogger("shop").warning("second %d", loop.now - 1000)

    def then(lifespan: Lifespan, loop: VirtualLoop) -> None:
        [line] = served(lifespan).log
        assert (line.text, line.offset_ms) == ("second 61", 1000.0)

    play(declare, 100, then)


# A round that raises.


@pytest.mark.parametrize("required", [True, False])
def test_round_that_raises_marks_the_job_crashed_until_one_succeeds(
    required: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        error = ConnectionError(LOST)
        done = rounds(lifespan, 1.0, error, error, 10.0, required=required)
        async with lifespan.run("app"):
            await asyncio.sleep(59)
            assert report_of(lifespan).ready
            for second in (61, 119, 121, 181, 189):
                await asyncio.sleep(second - (loop.now - 1000))
                report = report_of(lifespan)
                assert (report.status, report.ready) == ("degraded", not required), second
                step = served(lifespan)
                assert (step.outcome, step.error) == ("crashed", LOST), second
            await asyncio.sleep(2)
            assert (report_of(lifespan).status, report_of(lifespan).ready) == ("serving", True)
            assert begins(done) == [0, 60, 120, 180]

    run_virtually(main)

    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert all(record.exc_info for record in errors)


def test_crashed_round_comes_again_sooner_where_crashes_restart_it() -> None:
    error = ConnectionError(LOST)
    done = play(
        lambda lifespan, loop: rounds(
            lifespan, 1.0, error, error, error, 1.0, error, 1.0, on_crash="restart"
        )
    )
    # From the second one on: pauses of 1, 2 and 4 s; after a round that succeeds, 1 s again.
    assert begins(done) == [0, 60, 61, 63, 67, 127, 128, 188]


def test_pause_is_never_longer_than_the_time_between_rounds() -> None:
    done = play(
        lambda lifespan, loop: rounds(lifespan, ConnectionError(LOST), every=5, on_crash="restart"),
        30,
    )
    assert begins(done) == [0, 1, 3, 7, 12, 17, 22, 27]


@pytest.mark.parametrize("on_crash", ["log", "restart"])
def test_rounds_that_crash_too_often_end_the_job(on_crash: str) -> None:
    def then(lifespan: Lifespan, loop: VirtualLoop) -> None:
        assert served(lifespan).reason == "it is given up: 3 crashes within 300 s"
        assert not report_of(lifespan).ready

    done = play(
        lambda lifespan, loop: rounds(
            lifespan, ConnectionError(LOST), give_up=(3, 300), on_crash=on_crash
        ),
        5_000,
        then,
    )
    assert len(begins(done)) == 3


def test_round_that_cancels_itself_has_crashed() -> None:
    def then(lifespan: Lifespan, loop: VirtualLoop) -> None:
        assert served(lifespan).outcome == "crashed"
        assert "was cancelled by its own code" in served(lifespan).error

    done = play(lambda lifespan, loop: rounds(lifespan, asyncio.CancelledError()), 100, then)
    assert begins(done) == [0, 60]


def test_round_can_have_the_server_asked_to_stop() -> None:
    asked: list[float] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.adapter.stop_server = lambda server: asked.append(  # type: ignore[method-assign]
            loop.now - 1000
        )
        rounds(lifespan, 1.0, ConnectionError(LOST), on_crash="stop")
        run = lifespan.prepare("app", server="uvicorn 0.54.0")
        await run.start()
        await asyncio.sleep(70)
        await run.stop()

    run_virtually(main)

    assert asked == [60]


def test_rounds_end_with_the_resource_that_they_need() -> None:
    calls: list[float] = []

    def declare(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource
        @written_in("shop.lifespan")
        async def feed() -> Any:
            async def listen() -> None:
                await asyncio.sleep(90)
                raise ConnectionError(LOST)

            async with asyncio.TaskGroup() as group:
                group.create_task(listen())
                yield "a feed"

        @lifespan.background(every=60)
        @written_in("shop.lifespan")
        async def refresh(feed: str) -> None:
            calls.append(loop.now - 1000)

    def then(lifespan: Lifespan, loop: VirtualLoop) -> None:
        step = served(lifespan)
        assert step.outcome == "skipped"
        assert "it needs 'shop.feed'" in step.reason

    play(declare, 500, then)
    assert calls == [0, 60]


# A limit for each round.


def test_round_that_passes_its_limit_is_cancelled_and_has_crashed() -> None:
    def then(lifespan: Lifespan, loop: VirtualLoop) -> None:
        step = served(lifespan)
        assert (step.outcome, step.duration) == ("crashed", 5)
        assert "did not end its round within its limit of 5 s. It waits at " in step.error
        assert "tests/engine/test_rounds.py" in step.waiting_at

    done = play(lambda lifespan, loop: rounds(lifespan, 1_000.0, timeout=5), 70, then)
    assert done == [(0, "begins"), (5, "cancelled"), (60, "begins"), (65, "cancelled")]


def test_round_that_ignores_its_cancellation_holds_up_the_next_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun: list[float] = []

    def declare(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.background(every=10, timeout=2)
        @written_in("shop.lifespan")
        async def refresh() -> None:
            begun.append(loop.now - 1000)
            until = loop.now + 100
            while loop.now < until and len(begun) == 1:
                try:
                    await asyncio.sleep(until - loop.now)
                except asyncio.CancelledError:
                    continue

    def then(lifespan: Lifespan, loop: VirtualLoop) -> None:
        assert report_of(lifespan).ready

    play(declare, 115, then)
    assert begun == [0, 100, 110]
    assert len([text for text in caplog.messages if "did not end its round" in text]) == 1
    assert len([text for text in caplog.messages if "ignores its cancellation" in text]) == 1


def test_round_that_succeeds_too_late_has_crashed() -> None:
    """It has blocked the loop, so that nobody could look."""

    def declare(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.background(every=60, timeout=5)
        @written_in("shop.lifespan")
        async def refresh() -> None:
            loop.now += 20

    def then(lifespan: Lifespan, loop: VirtualLoop) -> None:
        assert served(lifespan).outcome == "crashed"

    play(declare, 10, then)


def test_limit_from_outside_is_that_of_a_round() -> None:
    from lifespan_app.engine.settings import Settings

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[tuple[float, str]]:
        done = rounds(lifespan, 1_000.0)
        async with lifespan.run("app"):
            await asyncio.sleep(10)
        return done

    settings = Settings(hooks={"shop.refresh": {"timeout": 3}})
    assert run_virtually(main, settings=settings)[1] == (3, "cancelled")


# Rounds in a thread.


def test_sync_function_is_a_round_in_a_thread() -> None:
    threads: list[int] = []

    def declare(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.background(every=60)
        @written_in("shop.lifespan")
        def refresh() -> None:
            loop.sleep_in_thread(1 if threads[1:] else 70)
            threads.append(threading.get_ident())

    def then(lifespan: Lifespan, loop: VirtualLoop) -> None:
        assert len(threads) == 3
        assert threading.get_ident() not in threads
        assert served(lifespan).attempt == 3

    play(declare, 145, then)


def test_thread_that_passes_its_limit_is_left_and_no_round_begins_before_it_returns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun: list[float] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.background(every=10, timeout=2)
        @written_in("shop.lifespan")
        def refresh() -> None:
            begun.append(loop.now - 1000)
            if len(begun) == 1:
                loop.sleep_in_thread(95)

        async with lifespan.run("app"):
            await asyncio.sleep(50)
            assert begun == [0]
            step = served(lifespan)
            assert (step.outcome, step.duration) == ("crashed", 2)
            assert "the next round begins when this one has returned" in step.error
            await asyncio.sleep(50)
            assert begun == [0, 95]
            assert report_of(lifespan).ready

    run_virtually(main)
    assert len([text for text in caplog.messages if "did not end its round" in text]) == 1


def test_thread_that_never_returns_is_abandoned_at_the_shutdown() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "client")

        @lifespan.background(every=10, timeout=2, shutdown_timeout=3)
        @written_in("shop.lifespan")
        def refresh() -> None:
            loop.hang_in_thread()

        run = lifespan.prepare("app")
        await run.start()
        await asyncio.sleep(20)
        await run.stop()
        assert loop.now == 1023
        [error] = run.stop_errors
        assert "A thread can't be cancelled" in str(error)

    run_virtually(main)
    assert journal.when("close client: done") == 23


def test_thread_that_returns_in_time_is_waited_for_at_the_shutdown() -> None:
    ended: list[float] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.background(every=10)
        @written_in("shop.lifespan")
        def refresh() -> None:
            loop.sleep_in_thread(4)
            ended.append(loop.now - 1000)

        async with lifespan.run("app"):
            await asyncio.sleep(1)
        assert served(lifespan).outcome == "ok"

    run_virtually(main)
    assert ended == [4]


def test_round_in_a_thread_that_returns_a_coroutine_is_told_so() -> None:
    async def work() -> None: ...

    def declare(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.background(every=60, name="refresh")(written_in("shop.lifespan")(lambda: work()))

    def then(lifespan: Lifespan, loop: VirtualLoop) -> None:
        assert "returns a coroutine" in served(lifespan).error

    play(declare, 1, then)


def test_round_in_a_thread_raises_anything() -> None:
    def declare(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.background(every=60)
        @written_in("shop.lifespan")
        def refresh() -> None:
            raise SystemExit(3)

    def then(lifespan: Lifespan, loop: VirtualLoop) -> None:
        assert (served(lifespan).outcome, served(lifespan).attempt) == ("crashed", 2)

    play(declare, 100, then)


# The end.


def test_round_that_runs_at_the_shutdown_is_cancelled_before_the_first_hook_stops() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[tuple[float, str]]:
        journal.resource(lifespan, "client")
        done = rounds(lifespan, 50.0)
        async with lifespan.run("app"):
            await asyncio.sleep(70)
        assert served(lifespan).outcome == "ok"
        return done

    assert run_virtually(main)[-1] == (70, "cancelled")
    assert journal.when("close client") == 70


def test_job_that_waits_for_its_next_round_holds_up_nothing() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[tuple[float, str]]:
        done = rounds(lifespan, 1.0)
        async with lifespan.run("app"):
            await asyncio.sleep(30)
        assert loop.now == 1030
        await asyncio.sleep(1_000)
        return done

    assert run_virtually(main) == [(0, "begins"), (1, "ends")]


def test_job_that_waits_for_its_first_round_holds_up_nothing() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[tuple[float, str]]:
        done = rounds(lifespan, first=60)
        async with lifespan.run("app"):
            await asyncio.sleep(30)
        assert loop.now == 1030
        assert report_of(lifespan).steps == ()
        return done

    assert run_virtually(main) == []


def test_no_round_begins_while_the_process_stops() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[tuple[float, str]]:
        @lifespan.background(1)
        async def high() -> None:
            try:
                await asyncio.sleep(1_000)
            finally:
                await asyncio.sleep(4)

        done = rounds(lifespan, every=1)
        await lifespan.startup()
        await asyncio.sleep(2.5)
        await lifespan.shutdown()
        return done

    assert begins(run_virtually(main)) == [0, 1, 2]


# Stalled.


@pytest.mark.parametrize("required", [True, False])
def test_job_without_a_finished_round_for_too_long_is_stalled(
    required: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        rounds(lifespan, 1.0, 400.0, 1.0, stall_after=300, required=required)
        async with lifespan.run("app"):
            await asyncio.sleep(300)
            assert report_of(lifespan).ready
            await asyncio.sleep(2)
            report = report_of(lifespan)
            assert (report.status, report.ready) == ("degraded", not required)
            assert report.readiness is (Readiness.CRASHED if required else Readiness.DEGRADED)
            assert report.hooks_failed == 1
            step = served(lifespan)
            assert (step.outcome, step.reason) == ("stalled", "no round has ended for 300 s")
            assert "tests/engine/test_rounds.py" in step.waiting_at
            await asyncio.sleep(160)
            assert (report_of(lifespan).status, report_of(lifespan).ready) == ("serving", True)
            assert (served(lifespan).outcome, served(lifespan).reason) == ("ok", "")

    run_virtually(main)

    [line] = [text for text in caplog.messages if "is stalled" in text]
    assert (
        "is stalled: no round has ended for 300 s. It waits at tests/engine/test_rounds.py" in line
    )


def job_that_beats(lifespan: Lifespan, *pauses: float) -> None:
    """Declare a job that gives a sign of life after each of some pauses."""

    @lifespan.background(stall_after=30)
    @written_in("shop.lifespan")
    async def refresh() -> None:
        for pause in pauses:
            await asyncio.sleep(pause)
            lifespan.beat()
        await asyncio.sleep(10_000)


def test_job_that_gives_no_sign_of_life_is_stalled_until_it_gives_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        job_that_beats(lifespan, 20, 20, 20, 50)
        async with lifespan.run("app"):
            await asyncio.sleep(89)
            assert report_of(lifespan).ready
            await asyncio.sleep(2)
            assert not report_of(lifespan).ready
            assert served(lifespan).reason == "no beat() has come for 30 s"
            await asyncio.sleep(20)
            assert report_of(lifespan).ready
            step = served(lifespan)
            assert (step.outcome, step.reason, step.attempt) == (None, "", 1)
            await asyncio.sleep(30)
            assert not report_of(lifespan).ready
        assert served(lifespan).outcome == "stalled"

    run_virtually(main)
    assert len([text for text in caplog.messages if "is stalled" in text]) == 2


def test_threads_of_a_job_may_give_its_signs_of_life() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.background(stall_after=30)
        @written_in("shop.lifespan")
        async def refresh() -> None:
            await asyncio.sleep(40)
            await asyncio.to_thread(lifespan.beat)
            await asyncio.sleep(1_000)

        async with lifespan.run("app"):
            await asyncio.sleep(35)
            assert not report_of(lifespan).ready
            await asyncio.sleep(6)
            assert report_of(lifespan).ready

    run_virtually(main)


def test_job_that_has_ended_or_waits_for_its_restart_does_not_stall() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.background(stall_after=30, name="once")(written_in("shop.lifespan")(nothing))
        Journal().job(lifespan, "crashes", 1, OSError(LOST), stall_after=30, required=False)
        async with lifespan.run("app"):
            await asyncio.sleep(1_000)
            assert served(lifespan, "shop.once").outcome == "finished"
            assert served(lifespan, "shop.crashes").outcome == "crashed"

    run_virtually(main)


async def nothing() -> None: ...


def test_sign_of_life_outside_of_jobs_does_nothing() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.beat()

        @lifespan.on_start
        async def start() -> None:
            lifespan.beat()

        async with lifespan.run("app"):
            lifespan.beat()

    run_virtually(main)


def test_job_that_is_stopped_does_not_stall_afterwards() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "client", closes=4)
        journal.job(lifespan, "refresh", stall_after=2)
        async with lifespan.run("app"):
            await asyncio.sleep(1)
        assert served(lifespan).outcome == "ok"

    run_virtually(main)
