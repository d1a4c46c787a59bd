"""`@lifespan.resource(wait=False)`: the process serves first, and warms up behind that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.report import Observer, Report
from lifespan_app.engine.settings import Settings
from lifespan_app.errors import ResourceClosed, ResourceNotReady
from tests.engine.apps import written_in
from tests.engine.journal import Journal
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually


def pending(lifespan: Lifespan) -> list[str]:
    return [one.key for one in report_of(lifespan).pending]


# The startup does not wait.


def test_startup_completes_without_a_resource_that_warms_up() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        model = journal.resource(lifespan, "model", opens=60, wait=False)
        client = journal.resource(lifespan, "client", opens=1)
        begun = loop.now
        async with lifespan.run("app") as state:
            assert loop.now == begun + 1
            assert report_of(lifespan).startup_duration == 1
            assert report_of(lifespan).longest_chain == ("shop.client",)
            assert (report_of(lifespan).status, report_of(lifespan).readiness) == (
                "serving",
                "warming_up",
            )
            assert pending(lifespan) == ["shop.model"]
            assert client.current() == "client"
            assert "model" not in state

            await asyncio.sleep(60)
            assert report_of(lifespan).readiness == "ok"
            assert pending(lifespan) == []
            assert model.current() == state["model"] == "model"
            step = report_of(lifespan).step("shop.model")
            assert (step.outcome, step.duration) == ("ok", 60)
        assert "close model: done" in journal.events

    run_virtually(main)


def test_reading_during_the_warm_up_is_an_error() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        model = Journal().resource(lifespan, "model", opens=60, wait=False)
        async with lifespan.run("app") as state:
            with pytest.raises(ResourceNotReady, match=r"'shop.model' \(.*\) is starting: it can"):
                model.current()
            with pytest.raises(ResourceNotReady):
                state["model"]
            assert state.get("model") is None

    run_virtually(main)


def test_plan_of_warm_ups_alone_serves_at_once() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "model", opens=60, wait=False)
        begun = loop.now
        async with lifespan.run("app"):
            assert loop.now == begun
            await asyncio.sleep(60.001)
            assert report_of(lifespan).readiness == "ok"

    run_virtually(main)


def test_warm_up_that_is_done_early_is_read_like_any_other() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        model = journal.resource(lifespan, "model", opens=1, wait=False)
        journal.resource(lifespan, "client", opens=5)
        async with lifespan.run("app"):
            assert report_of(lifespan).readiness == "ok"
            assert model.current() == "model"

    run_virtually(main)


# What asks for it waits with it.


def test_dependents_of_a_warm_up_start_after_it() -> None:
    """model (60 s) <- index (1 s) <- start function, job and shutdown function."""

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        model = journal.resource(lifespan, "model", opens=60, wait=False)
        index = journal.resource(lifespan, "index", opens=1, depends_on=[model])
        journal.start(lifespan, "announce", depends_on=[index])
        journal.job(lifespan, "refresh", depends_on=[index])
        journal.shutdown(lifespan, "save", depends_on=[index])
        async with lifespan.run("app"):
            assert pending(lifespan) == ["shop.model", "shop.index", "announce.announce"]
            await asyncio.sleep(61.001)
            assert report_of(lifespan).readiness == "ok"
            assert index.current() == "index"
            assert journal.when("open index") == 60
            assert journal.when("start announce") == journal.when("run refresh") == 61
        assert journal.is_before("run refresh: cancelled", "shutdown save")
        assert journal.is_before("shutdown save: done", "close index")
        assert journal.is_before("close index: done", "close model")

    run_virtually(main)


def test_parameter_with_a_default_waits_for_the_warm_up() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[object]:
        seen: list[object] = []
        Journal().resource(lifespan, "model", opens=3, wait=False)

        @lifespan.on_start
        @written_in("shop.lifespan")
        async def announce(model: object = None) -> None:
            seen.append(model)

        async with lifespan.run("app"):
            assert seen == []
            await asyncio.sleep(3.001)
        return seen

    assert run_virtually(main) == ["model"]


def test_warm_up_keeps_priorities_at_shutdown_only() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "model", opens=5, wait=False, priority=-1)
        journal.resource(lifespan, "client", closes=2, priority=1)
        async with lifespan.run("app"):
            assert journal.when("open client") == 0
            await asyncio.sleep(10)
        assert journal.when("close model") == journal.when("close client: done") == 12

    run_virtually(main)


def test_warm_up_begins_after_the_hooks_of_a_lower_priority() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "client", opens=2, priority=-1)
        journal.resource(lifespan, "model", opens=5, wait=False)
        async with lifespan.run("app"):
            assert journal.when("open model") == 2

    run_virtually(main)


# It fails.


@pytest.mark.parametrize(("required", "readiness"), [(True, "warm_up_failed"), (False, "degraded")])
def test_warm_up_that_fails_leaves_the_process_not_ready_or_degraded(
    required: bool, readiness: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        error = OSError("no such weights")
        model = journal.resource(
            lifespan, "model", opens=5, open_error=error, wait=False, required=required
        )
        index = journal.resource(lifespan, "index", depends_on=[model])
        client = journal.resource(lifespan, "client")
        async with lifespan.run("app"):
            await asyncio.sleep(6)
            report = report_of(lifespan)
            assert (report.status, report.readiness) == ("degraded", readiness)
            assert report.step("shop.model").outcome == "failed"
            assert report.step("shop.index").outcome == "skipped"
            assert client.current() == "client"
            with pytest.raises(ResourceClosed, match="no such weights"):
                model.current()
            with pytest.raises(ResourceClosed, match="was skipped"):
                index.current()
        assert report_of(lifespan).status == "stopped"

    run_virtually(main)
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "'shop.model'" in record.getMessage()
    assert "failed to start after 5.000 s: OSError: no such weights" in record.getMessage()


def test_warm_up_that_fails_does_not_fail_the_startup() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "model", open_error=OSError("no weights"), wait=False)
        journal.resource(lifespan, "client", opens=5)
        async with lifespan.run("app"):
            assert report_of(lifespan).readiness == "warm_up_failed"

    run_virtually(main)


def test_optional_warm_up_delays_no_hook() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "model", opens=60, wait=False, required=False)
        async with lifespan.run("app"):
            assert report_of(lifespan).readiness == "ok"
            assert pending(lifespan) == ["shop.model"]

    run_virtually(main)


def test_resource_that_crashes_after_its_warm_up_has_crashed() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource(wait=False)
        @written_in("shop.lifespan")
        async def feed() -> AsyncIterator[str]:
            async def listen() -> None:
                await asyncio.sleep(5)
                raise ConnectionError("lost")

            await asyncio.sleep(1)
            async with asyncio.TaskGroup() as group:
                group.create_task(listen())
                yield "a feed"

        async with lifespan.run("app"):
            await asyncio.sleep(2)
            assert feed.current() == "a feed"
            await asyncio.sleep(5)
            assert report_of(lifespan).readiness == "crashed"
            with pytest.raises(ResourceClosed, match="crashed"):
                feed.current()

    run_virtually(main)


# Limits.


def test_startup_deadlines_do_not_count_for_a_warm_up() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "model", opens=600, wait=False)
        journal.resource(lifespan, "extra", opens=600, wait=False, required=False)
        journal.resource(lifespan, "client", opens=2)
        async with lifespan.run("app"):
            await asyncio.sleep(600)
            assert report_of(lifespan).readiness == "ok"
            assert report_of(lifespan).status == "serving"

    run_virtually(main, settings=Settings(startup_deadline=3))


def test_timeout_of_a_warm_up_does_not_lift_the_deadline() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "model", opens=600, wait=False, timeout=100)
        run = lifespan.prepare("app")
        await run.start()
        assert run.scheduler.deadlines.allowed == 3
        await asyncio.sleep(100.001)
        step = report_of(lifespan).step("shop.model")
        assert (step.outcome, step.duration) == ("timed_out", 100)
        assert "did not start within its limit of 100 s" in step.error
        assert "open model: cancelled" in journal.events
        assert run.readiness == "warm_up_failed"
        await run.stop()

    run_virtually(main, settings=Settings(startup_deadline=3))


def test_slow_warm_up_is_looked_at_after_the_startup(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "model", opens=12, wait=False)
        async with lifespan.run("app"):
            await asyncio.sleep(60)

    run_virtually(main)
    slow = [r.getMessage() for r in caplog.records if "has been starting for" in r.getMessage()]
    assert [text.partition("has been starting for ")[2][:8] for text in slow] == [
        "5.000 s.",
        "10.000 s",
    ]
    assert "'shop.model'" in slow[0]


# The end comes first.


def test_shutdown_cancels_a_warm_up_and_skips_its_dependents() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        client = journal.resource(lifespan, "client")
        model = journal.resource(lifespan, "model", opens=60, wait=False, depends_on=[client])
        index = journal.resource(lifespan, "index", depends_on=[model])
        journal.job(lifespan, "refresh", depends_on=[index])
        async with lifespan.run("app"):
            await asyncio.sleep(5)
        assert journal.when("open model: cancelled") == 5
        assert journal.is_before("open model: cancelled", "close client")
        assert not {"open index", "run refresh"} & set(journal.events)
        report = report_of(lifespan)
        assert report.status == "stopped"
        assert report.step("shop.model").outcome == "cancelled"
        assert report.step("shop.index").outcome == "skipped"
        assert report.step("shop.index").reason == "the process was already stopping"

    run_virtually(main)


def test_warm_up_that_ends_while_stopping_closes_before_its_needs() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "client")

        @lifespan.resource(wait=False)
        @written_in("shop.lifespan")
        async def model(client: str) -> AsyncIterator[str]:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(0.5)
            yield "model"
            journal.write("close model")

        async with lifespan.run("app"):
            await asyncio.sleep(5)
        assert journal.is_before("close model", "close client")

    run_virtually(main)


def test_startup_that_fails_rolls_a_warm_up_back() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "early", wait=False)
        journal.resource(lifespan, "late", opens=60, wait=False)
        journal.start(lifespan, "connect", 1, OSError("refused"))
        with pytest.raises(OSError, match="refused"):
            async with lifespan.run("app"):
                pass
        assert "close early: done" in journal.events
        assert journal.when("open late: cancelled") == 1

    run_virtually(main)


# Who is told.


def test_observers_receive_the_readiness_of_the_process() -> None:
    told: list[tuple[str, str]] = []

    class Following(Observer):
        def run_changed(self, report: Report) -> None:
            told.append((report.status, report.readiness))

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.adapter.observers.append(Following())
        Journal().resource(lifespan, "model", opens=5, wait=False)
        async with lifespan.run("app"):
            await asyncio.sleep(6)

    run_virtually(main)
    assert told == [
        ("starting", "starting"),
        ("serving", "warming_up"),
        ("serving", "ok"),
        ("stopping", "stopping"),
        ("stopped", "stopped"),
    ]


def test_log_of_a_warm_up_is_kept_with_its_step(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource(wait=False)
        @written_in("shop.lifespan")
        async def model() -> AsyncIterator[str]:
            await asyncio.sleep(5)
            logging.getLogger("shop").info("half of it")
            yield "model"

        async with lifespan.run("app"):
            await asyncio.sleep(6)
            [line] = report_of(lifespan).step("shop.model").log
            assert line.text == "half of it"

    run_virtually(main)


def test_wait_is_an_option_of_resources_only(lifespan: Lifespan) -> None:
    with pytest.raises(TypeError, match=r"@lifespan.on_start takes no wait=\."):
        lifespan.on_start(wait=False)  # type: ignore[call-overload]
