"""A background job or a resource's task group crashes while serving: seen at once, and no more."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.report import Report, Step
from lifespan_app.errors import ResourceClosed
from tests.engine.apps import written_in
from tests.engine.conftest import RunOnLoop
from tests.engine.exchange import Server
from tests.engine.journal import Journal
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually

LOST = "the connection was lost"


def served(lifespan: Lifespan, key: str) -> Step:
    return report_of(lifespan).step(key, "serving")


def feed_that_crashes(
    lifespan: Lifespan, after: float, error: Exception, *, required: bool = True
) -> None:
    """Declare a resource whose task group crashes some seconds after it is up."""

    @lifespan.resource(required=required)
    @written_in("shop.lifespan")
    async def feed() -> AsyncIterator[str]:
        async def listen() -> None:
            await asyncio.sleep(after)
            raise error

        async with asyncio.TaskGroup() as group:
            group.create_task(listen())
            yield "a feed"


# Seen at once.


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("what", ["job", "resource"])
def test_crash_is_seen_at_once_logged_and_recorded(
    caplog: pytest.LogCaptureFixture, what: str, required: bool
) -> None:
    error = ConnectionError(LOST)

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        if what == "job":
            journal.job(lifespan, "feed", 30, error, required=required)
        else:
            feed_that_crashes(lifespan, 30, error, required=required)
        journal.resource(lifespan, "client")
        async with lifespan.run("app") as state:
            await asyncio.sleep(29)
            assert (report_of(lifespan).status, report_of(lifespan).ready) == ("serving", True)
            await asyncio.sleep(1.001)

            report = report_of(lifespan)
            assert report.status == "degraded"
            assert report.ready is not required
            step = served(lifespan, "shop.feed")
            assert step.outcome == "crashed"
            assert LOST in step.traceback
            assert (step.offset, step.duration) == (0, 30)
            assert state["client"] == "client"
        assert report_of(lifespan).status == "stopped"

    run_virtually(main)

    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "'shop.feed' (tests/engine/" in record.getMessage()
    assert "crashed while serving after 30.000 s" in record.getMessage()
    assert record.exc_info is not None


def test_crash_is_reported_once_and_its_hook_is_not_stopped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        feed_that_crashes(lifespan, 1, ConnectionError(LOST))
        async with lifespan.run("app"):
            await asyncio.sleep(10)
        return report_of(lifespan)

    report = run_virtually(main)
    assert [(step.phase, step.outcome) for step in report.steps] == [
        ("startup", "ok"),
        ("serving", "crashed"),
    ]
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1


def test_dependents_of_a_crashed_resource_stop_before_its_dependencies() -> None:
    """base <- feed (crashed) <- index: index still closes before base."""
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "base")

        @lifespan.resource
        @written_in("shop.lifespan")
        async def feed(base: str) -> AsyncIterator[str]:
            async def listen() -> None:
                await asyncio.sleep(1)
                raise ConnectionError(LOST)

            async with asyncio.TaskGroup() as group:
                group.create_task(listen())
                yield "a feed"

        journal.resource(lifespan, "index", closes=2, depends_on=[feed])
        async with lifespan.run("app"):
            await asyncio.sleep(10)

    run_virtually(main)

    assert journal.when("close index: done") == journal.when("close base") == 12


def test_lifespan_coroutine_goes_on_waiting_for_the_server() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.job(lifespan, "refresh", 5, ConnectionError(LOST))
        feed_that_crashes(lifespan, 5, ConnectionError(LOST))
        server = Server(lifespan)
        await server.startup()
        await asyncio.sleep(60)
        assert not server.task.done()
        assert await server.shutdown() == {"type": "lifespan.shutdown.complete"}
        assert await server.raised() is None

    run_virtually(main)


def test_resource_that_ends_by_itself_has_crashed() -> None:
    """An ``asyncio.timeout`` of its own ends it, and it swallows what that raises."""

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource
        @written_in("shop.lifespan")
        async def lease() -> AsyncIterator[str]:
            try:
                async with asyncio.timeout(30):
                    yield "a lease"
            except TimeoutError:
                pass

        async with lifespan.run("app"):
            await asyncio.sleep(60)
            step = served(lifespan, "shop.lease")
            assert (step.outcome, step.duration) == ("crashed", 30)
            assert "ended by itself while the process was serving" in step.error
            with pytest.raises(ResourceClosed, match="crashed at"):
                lease.current()

    run_virtually(main)


def test_crash_on_a_real_loop_is_seen_at_once(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        go = asyncio.Event()

        @lifespan.background
        @written_in("shop.lifespan")
        async def refresh() -> None:
            await go.wait()
            raise ConnectionError(LOST)

        async with lifespan.run("app"):
            assert report_of(lifespan).ready
            go.set()
            while report_of(lifespan).ready:
                await asyncio.sleep(0)
            assert served(lifespan, "shop.refresh").outcome == "crashed"

    run(main)


# A job that returns.


def test_job_that_returns_is_finished_and_nothing_is_wrong() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().job(lifespan, "once", 5, on_crash="restart")
        async with lifespan.run("app"):
            await asyncio.sleep(100)
            report = report_of(lifespan)
            assert (report.status, report.ready) == ("serving", True)
            step = served(lifespan, "shop.once")
            assert (step.outcome, step.duration, step.attempt) == ("finished", 5, 1)
        assert served(lifespan, "shop.once").outcome == "finished"

    run_virtually(main)


# on_crash.


def test_crashed_job_stays_down_by_default() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.job(lifespan, "refresh", 5, ConnectionError(LOST))
        async with lifespan.run("app"):
            await asyncio.sleep(1_000)
            assert not report_of(lifespan).ready

    run_virtually(main)

    assert journal.entries == [(0, "run refresh")]


def test_on_crash_restart_begins_the_job_again_later_each_time() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.job(lifespan, "refresh", 0, ConnectionError(LOST), on_crash="restart")
        async with lifespan.run("app"):
            await asyncio.sleep(300)

    run_virtually(main)

    begun = [second for second, event in journal.entries if event == "run refresh"]
    pauses = [round(two - one) for one, two in itertools.pairwise(begun)]
    assert pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]


def failing_job(lifespan: Lifespan, *, serves: list[float] | None = None) -> list[float]:
    """Declare a job that crashes at once, or after so many seconds; return when it has begun."""
    begun: list[float] = []

    @lifespan.background(on_crash="restart")
    @written_in("shop.lifespan")
    async def refresh() -> None:
        begun.append(asyncio.get_running_loop().time())
        await asyncio.sleep(serves.pop(0) if serves else 0)
        raise ConnectionError(LOST)

    return begun


@pytest.mark.once
def test_job_is_begun_again_however_often_it_has_crashed() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[float]:
        begun = failing_job(lifespan)
        async with lifespan.run("app"):
            await asyncio.sleep(60 * 1_200)  # more often than a float can be doubled
            assert served(lifespan, "shop.refresh").attempt == len(begun)
        return begun

    begun = run_virtually(main)
    assert len(begun) > 1_100
    assert begun[-1] - begun[-2] == 60


def test_job_begins_again_soon_after_good_service() -> None:
    """One that served for longer than the longest pause is not held back for what was before."""

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[float]:
        begun = failing_job(lifespan, serves=[0, 0, 0, 61, 0, 59])
        async with lifespan.run("app"):
            await asyncio.sleep(300)
        return begun

    begun = run_virtually(main)
    assert [round(second - begun[0]) for second in begun[:8]] == [
        0,
        1,
        3,
        7,
        69,  # 61 s of service, then 1 s
        71,
        134,  # 59 s of service are too few, so 4 s
        142,
    ]


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 0.9), (0.5, 1.0), (1.0, 1.1)])
def test_pause_before_a_restart_differs_between_processes(chance: float, pause: float) -> None:
    """Jobs that lost the same database do not come back to it all at once."""

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[float]:
        lifespan.adapter.random = lambda: chance  # type: ignore[method-assign]
        begun = failing_job(lifespan)
        async with lifespan.run("app"):
            await asyncio.sleep(5)
        return begun

    first, second, *_ = run_virtually(main)
    assert second - first == pytest.approx(pause)


@pytest.mark.once
def test_crashes_leave_nothing_behind_in_memory() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> tuple[int, int]:
        failing_job(lifespan)
        async with lifespan.run("app"):
            counts = []
            for _ in range(2):
                await asyncio.sleep(60 * 500)
                gc.collect()
                counts.append(len(gc.get_objects()))
        before, after = counts
        return before, after

    # What is logged is kept by pytest.
    logging.disable(logging.CRITICAL)
    try:
        before, after = run_virtually(main)
    finally:
        logging.disable(logging.NOTSET)
    assert after - before < 100


def test_step_holds_the_log_lines_of_its_own_attempt() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Step:
        attempts: list[int] = []

        @lifespan.background(on_crash="restart")
        @written_in("shop.lifespan")
        async def refresh() -> None:
            attempts.append(1)
            await asyncio.sleep(1)
            logging.getLogger("shop").warning("attempt %d", len(attempts))
            raise ConnectionError(LOST)

        async with lifespan.run("app"):
            await asyncio.sleep(3.5)
            return served(lifespan, "shop.refresh")

    step = run_virtually(main)
    assert step.attempt == 2
    assert [(line.text, line.offset_ms) for line in step.log] == [("attempt 2", 1000.0)]


def test_job_that_was_restarted_makes_the_process_ready_again() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        attempts: list[int] = []

        @lifespan.background(on_crash="restart")
        @written_in("shop.lifespan")
        async def refresh() -> None:
            attempts.append(1)
            await asyncio.sleep(5)
            if len(attempts) == 1:
                raise ConnectionError(LOST)
            await asyncio.sleep(1_000)

        async with lifespan.run("app"):
            await asyncio.sleep(5.5)
            assert (report_of(lifespan).status, report_of(lifespan).ready) == ("degraded", False)
            assert served(lifespan, "shop.refresh").attempt == 1
            await asyncio.sleep(1)
            assert (report_of(lifespan).status, report_of(lifespan).ready) == ("serving", True)
            step = served(lifespan, "shop.refresh")
            assert (step.attempt, step.outcome) == (2, None)
        step = served(lifespan, "shop.refresh")
        assert (step.attempt, step.outcome) == (2, "ok")

    run_virtually(main)


def test_job_that_waits_for_its_restart_does_not_outlive_the_shutdown() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "client", closes=3)
        journal.job(lifespan, "refresh", 5, ConnectionError(LOST), on_crash="restart")
        async with lifespan.run("app"):
            await asyncio.sleep(5.5)
        await asyncio.sleep(100)

    run_virtually(main)

    assert journal.events.count("run refresh") == 1


@pytest.mark.parametrize("required", [True, False])
def test_job_that_is_given_up_is_logged_and_not_begun_again(
    caplog: pytest.LogCaptureFixture, required: bool
) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        error = ConnectionError(LOST)
        journal.job(
            lifespan,
            "refresh",
            0,
            error,
            on_crash="restart",
            give_up=(5, 300),
            required=required,
        )
        async with lifespan.run("app"):
            await asyncio.sleep(14)
            assert "given up" not in caplog.text
            await asyncio.sleep(10_000)
            step = served(lifespan, "shop.refresh")
            assert (step.outcome, step.attempt) == ("crashed", 5)
            assert step.reason == "it is given up: 5 crashes within 300 s"
            assert report_of(lifespan).ready is not required

    run_virtually(main)

    assert journal.entries == [(second, "run refresh") for second in (0, 1, 3, 7, 15)]
    [line] = [text for text in caplog.messages if "given up" in text]
    assert line.endswith("is given up: 5 crashes within 300 s. It does not begin again.")


def test_job_that_is_given_up_can_have_the_server_asked_to_stop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[float] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.adapter.stop_server = lambda server: asked.append(  # type: ignore[method-assign]
            loop.now - 1000
        )
        Journal().job(
            lifespan,
            "leader",
            0,
            ConnectionError(LOST),
            on_crash="restart",
            give_up=(2, 60),
            on_give_up="stop",
        )
        run = lifespan.prepare("app", server="uvicorn 0.54.0")
        await run.start()
        await asyncio.sleep(60)
        await run.stop()

    run_virtually(main)

    assert asked == [1]
    assert "crashed and has on_give_up='stop': the server is asked to stop." in caplog.text


def test_given_up_job_ends_the_body_where_no_server_is() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        error = ConnectionError(LOST)
        options = {"on_crash": "restart", "give_up": (1, 60), "on_give_up": "stop"}
        Journal().job(lifespan, "leader", 5, error, **options)

        async def program() -> None:
            async with lifespan.run("app"):
                await asyncio.sleep(1_000)

        with pytest.raises(asyncio.CancelledError):
            await asyncio.ensure_future(program())
        assert loop.now == 1005

    run_virtually(main)


@pytest.mark.parametrize("server", ["uvicorn 0.54.0", ""])
def test_on_crash_stop_asks_the_server_to_stop(
    caplog: pytest.LogCaptureFixture, server: str
) -> None:
    asked: list[tuple[float, str | None]] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.adapter.stop_server = lambda server: asked.append(  # type: ignore[method-assign]
            (loop.now - 1000, server)
        )
        Journal().job(lifespan, "leader", 5, ConnectionError(LOST), on_crash="stop")
        run = lifespan.prepare("app", server=server)
        await run.start()
        await asyncio.sleep(60)
        assert run.report().step("shop.leader", "serving").outcome == "crashed"
        await run.stop()

    run_virtually(main)

    assert asked == [(5, server)]
    [line] = [text for text in caplog.messages if "the server is asked to stop" in text]
    assert "'shop.leader' (tests/engine/journal.py:" in line


ASKED_TO_STOP = """
    import asyncio, os, signal, sys
    from lifespan_app import lifespan

    @lifespan.background(on_crash="stop")
    async def leader():
        raise ConnectionError("lost")

    async def main():
        asked = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
        run = lifespan.prepare("app", server="uvicorn 0.54.0")
        await run.start()
        await asyncio.wait_for(asked.wait(), 30)
        await run.stop()
        print("asked by SIGTERM")

    asyncio.run(main())
"""


def test_server_is_asked_to_stop_as_the_platform_asks_it() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ASKED_TO_STOP)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (0, "asked by SIGTERM\n"), ended.stderr


def test_server_that_stops_already_is_not_asked_again() -> None:
    """The job crashes at 7, while another one takes its time to end."""
    asked: list[str | None] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.adapter.stop_server = (  # type: ignore[method-assign]
            lambda server: asked.append(server)
        )

        @lifespan.background(1)
        async def high() -> None:
            try:
                await asyncio.sleep(1_000)
            finally:
                await asyncio.sleep(4)

        Journal().job(lifespan, "leader", 7, ConnectionError(LOST), on_crash="stop")
        run = lifespan.prepare("app", server="uvicorn 0.54.0")
        await run.start()
        await asyncio.sleep(5)
        await run.stop()
        assert run.report().step("shop.leader", "serving").outcome == "crashed"

    run_virtually(main)

    assert asked == []


def test_on_crash_stop_ends_the_body_where_no_server_is() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "client")
        journal.job(lifespan, "leader", 5, ConnectionError(LOST), on_crash="stop")

        async def program() -> None:
            async with lifespan.run("app"):
                await asyncio.sleep(1_000)

        with pytest.raises(asyncio.CancelledError):
            await asyncio.ensure_future(program())
        assert report_of(lifespan).ended_by == "the crash of 'shop.leader'"

    run_virtually(main)

    assert journal.entries[-1] == (5, "close client: done")


def test_crash_of_a_job_that_is_being_stopped_is_a_failed_stop() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.background(on_crash="restart")
        @written_in("shop.lifespan")
        async def refresh() -> None:
            try:
                await asyncio.sleep(1_000)
            finally:
                raise ConnectionError(LOST)

        await lifespan.startup()
        await asyncio.sleep(1)
        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.shutdown()
        assert [str(error) for error in caught.value.exceptions] == [LOST]
        assert served(lifespan, "shop.refresh").outcome == "failed"

    run_virtually(main)


# Crashes at other times.


def test_required_resource_that_crashes_before_serving_fails_the_startup() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        feed_that_crashes(lifespan, 1, ConnectionError(LOST))
        journal.resource(lifespan, "client")
        journal.resource(lifespan, "slow", opens=10)
        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.startup()
        assert [str(error) for error in caught.value.exceptions] == [LOST]
        assert report_of(lifespan).status == "startup_failed"

    run_virtually(main)

    assert journal.when("close client") == 1


def test_server_gets_the_message_of_a_crash_before_the_process_served() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        feed_that_crashes(lifespan, 1, ConnectionError(LOST))
        Journal().resource(lifespan, "slow", opens=10)
        answer = await Server(lifespan).startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert "hook 'shop.feed' (tests/engine/" in answer["message"]
        assert f"crashed before the process served: ConnectionError: {LOST}" in answer["message"]

    run_virtually(main)


def test_optional_resource_that_crashes_before_serving_degrades() -> None:
    given: list[object] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        feed_that_crashes(lifespan, 1, ConnectionError(LOST), required=False)
        slow = Journal().resource(lifespan, "slow", opens=10)

        @lifespan.on_start(depends_on=[slow])
        @written_in("shop.lifespan")
        async def needs_it(feed: str) -> None:
            given.append(feed)

        @lifespan.on_start(depends_on=[slow])
        @written_in("shop.lifespan")
        async def can_do_without(feed: str | None = None) -> None:
            given.append(feed)

        async with lifespan.run("app"):
            report = report_of(lifespan)
            assert report.status == "degraded"
            step = report.step("shop.needs_it")
            assert step.outcome == "skipped"
            assert "it needs 'shop.feed' (" in step.reason
            assert "which crashed" in step.reason

    run_virtually(main)

    assert given == [None]


def test_resource_that_crashes_during_the_shutdown_lets_others_stop() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "base", priority=-1)
        feed_that_crashes(lifespan, 6, ConnectionError(LOST))
        journal.resource(lifespan, "slow", closes=3, priority=1)
        await lifespan.startup()
        await asyncio.sleep(5)
        await asyncio.wait([asyncio.ensure_future(lifespan.shutdown())])
        assert served(lifespan, "shop.feed").outcome == "crashed"

    run_virtually(main)

    assert journal.when("close base: done") == 8


def test_job_that_crashes_while_others_are_being_stopped_is_not_begun_again() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Step:
        @lifespan.background(1)
        @written_in("shop.lifespan")
        async def high() -> None:
            try:
                await asyncio.sleep(1_000)
            finally:
                await asyncio.sleep(4)

        journal.job(lifespan, "low", 7, ConnectionError(LOST), on_crash="restart")
        journal.resource(lifespan, "client")
        await lifespan.startup()
        await asyncio.sleep(5)
        await lifespan.shutdown()
        return served(lifespan, "shop.low")

    step = run_virtually(main)
    assert (step.outcome, step.attempt, step.duration) == ("crashed", 1, 7)
    assert journal.events.count("run low") == 1
    assert journal.when("close client") == 9


def test_job_is_not_begun_again_without_the_resource_that_it_needs() -> None:
    """Called without its argument it would raise a TypeError, again and again."""
    calls: list[object] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        feed_that_crashes(lifespan, 5, ConnectionError(LOST))

        @lifespan.background(on_crash="restart")
        @written_in("shop.lifespan")
        async def refresh(feed: str) -> None:
            calls.append(feed)
            await asyncio.sleep(6)
            raise LookupError("nothing to refresh")

        async with lifespan.run("app"):
            await asyncio.sleep(60)
            step = served(lifespan, "shop.refresh")
            assert step.outcome == "crashed"
            assert "missing 1 required positional argument" not in step.error

    run_virtually(main)

    assert calls == ["a feed"]


def test_shutdown_function_of_a_crashed_resource_is_skipped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[object] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        feed_that_crashes(lifespan, 5, ConnectionError(LOST))

        @lifespan.on_shutdown
        @written_in("shop.lifespan")
        async def farewell(feed: str) -> None:
            calls.append(feed)

        @lifespan.on_shutdown
        @written_in("shop.lifespan")
        async def farewell_all_the_same(feed: str | None = None) -> None:
            calls.append(feed)

        await lifespan.startup()
        await asyncio.sleep(10)
        await lifespan.shutdown()
        step = report_of(lifespan).step("shop.farewell", "shutdown")
        assert step.outcome == "skipped"
        assert "it needs 'shop.feed' (" in step.reason

    run_virtually(main)

    assert calls == [None]
    assert not any("missing 1 required" in text for text in caplog.messages)
