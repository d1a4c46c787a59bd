"""A hook with required=False fails: it is told, what hangs on it is skipped, the rest serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.settings import Settings
from tests.engine.apps import written_in
from tests.engine.conftest import RunOnLoop
from tests.engine.journal import Journal
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually

NOBODY = "nobody there"


def test_optional_hook_that_fails_leaves_the_process_serving_degraded(run: RunOnLoop) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "client")
        journal.resource(lifespan, "feed", open_error=OSError(NOBODY), required=False)
        journal.start(lifespan, "warm_up", error=OSError(NOBODY), required=False)
        async with lifespan.run("app") as state:
            assert list(state) == ["client"]
            report = report_of(lifespan)
            assert (report.status, report.ready) == ("degraded", True)
            assert report.hooks_failed == 2
            for key in ("shop.feed", "warm_up.warm_up"):
                step = report.step(key)
                assert (step.outcome, step.exception, step.error) == ("failed", "OSError", NOBODY)
                assert f"OSError: {NOBODY}" in step.traceback
        assert report_of(lifespan).status == "stopped"

    run(main)


def test_optional_hook_that_fails_is_logged_with_its_traceback(
    run: RunOnLoop, caplog: pytest.LogCaptureFixture
) -> None:
    error = OSError(NOBODY)

    async def main(lifespan: Lifespan) -> None:
        Journal().resource(lifespan, "feed", open_error=error, required=False)
        async with lifespan.run("app"):
            pass

    run(main)

    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage().startswith("Lifespan hook 'shop.feed' (tests/engine/journal.py:")
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_optional_hook_has_ten_seconds_by_default() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "just", opens=9.9, required=False)
        journal.resource(lifespan, "slow", opens=60, required=False)
        journal.resource(lifespan, "later", opens=9.9, required=False, priority=1)
        async with lifespan.run("app") as state:
            journal.write("serving")
            assert list(state) == ["just", "later"]
            step = report_of(lifespan).step("shop.slow")
            assert (step.outcome, step.duration) == ("timed_out", 10)
            assert "within its limit of 10 s" in step.error
            assert "Settings.hooks['shop.slow']['timeout']" in step.error

    run_virtually(main)

    assert journal.when("open slow: cancelled") == 10
    assert journal.when("serving") == 19.9


@pytest.mark.parametrize("timeout", [3, 30])
def test_optional_hook_may_have_a_limit_of_its_own(timeout: float) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "slow", opens=60, required=False, timeout=timeout)
        async with lifespan.run("app"):
            journal.write("serving")

    run_virtually(main)

    assert journal.when("serving") == timeout


def test_startup_does_not_wait_for_an_optional_hook_on_its_way_out() -> None:
    """It is cancelled at 10, and needs half a second to clean up: the process serves at 10."""
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource(required=False)
        async def slow() -> AsyncIterator[None]:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.5)
                journal.write("cleaned up")
            yield

        async with lifespan.run("app"):
            journal.write("serving")
            await asyncio.sleep(5)

    run_virtually(main)

    assert journal.entries == [(10, "serving"), (10.5, "cleaned up")]


def test_rollback_waits_for_an_optional_hook_on_its_way_out() -> None:
    """slow passed its limit at 10 and cleans up until 10.8; a required hook fails at 10.5."""
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        base = journal.resource(lifespan, "base")

        @lifespan.resource(required=False, depends_on=[base])
        async def slow() -> AsyncIterator[None]:
            try:
                await asyncio.sleep(60)
            finally:
                await journal.take("clean up", 0.8)
            yield

        journal.start(lifespan, "fails", 10.5, OSError(NOBODY))
        with pytest.raises(OSError, match=NOBODY):
            await lifespan.startup()

    run_virtually(main)

    assert journal.when("clean up: done") == journal.when("close base") == 10.8


def test_setting_makes_a_hook_optional(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        lifespan.adapter.settings = lambda: Settings(  # type: ignore[method-assign]
            hooks={"shop.feed": {"required": False}}
        )
        Journal().resource(lifespan, "feed", open_error=OSError(NOBODY))
        async with lifespan.run("app"):
            assert report_of(lifespan).status == "degraded"

    run(main)


# What hangs on it.


def test_dependents_of_a_failed_optional_hook_are_skipped(run: RunOnLoop) -> None:
    """feed (optional, fails) <- index (required) <- search (required), news (optional)."""
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        feed = journal.resource(lifespan, "feed", open_error=OSError(NOBODY), required=False)
        index = journal.resource(lifespan, "index", depends_on=[feed])
        journal.start(lifespan, "search", depends_on=[index])
        journal.job(lifespan, "news", depends_on=[feed], required=False)
        journal.shutdown(lifespan, "farewell", depends_on=[feed])
        journal.resource(lifespan, "client")
        async with lifespan.run("app"):
            await asyncio.sleep(0)
            report = report_of(lifespan)
            assert report.status == "degraded"
            assert (report.hooks_failed, report.hooks_skipped) == (1, 4)
            reasons = {step.key: step.reason for step in report.steps if step.outcome == "skipped"}
            place = f"(tests/engine/journal.py:{feed.hook.line})"
            because = f"it needs 'shop.feed' {place}, which failed: OSError: {NOBODY}"
            assert reasons == {
                "shop.index": because,
                "shop.news": because,
                "farewell.farewell": because,
                "search.search": f"it needs 'shop.index' {place}, which was skipped",
            }

    run(main)

    assert set(journal.events) == {
        "open feed",
        "open client",
        "open client: done",
        "close client",
        "close client: done",
    }


def test_hooks_after_a_failed_optional_hook_are_not_skipped(run: RunOnLoop) -> None:
    ran: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.on_start(required=False)
        async def fails() -> None:
            raise OSError(NOBODY)

        @lifespan.on_start
        async def written_below() -> None:
            ran.append("written below")

        @lifespan.on_start(5)
        async def of_a_higher_priority() -> None:
            ran.append("of a higher priority")

        async with lifespan.run("app"):
            pass

    run(main)

    assert ran == ["written below", "of a higher priority"]


def test_parameter_with_a_default_gets_its_default(run: RunOnLoop) -> None:
    given: list[object] = []

    async def main(lifespan: Lifespan) -> None:
        Journal().resource(lifespan, "feed", open_error=OSError(NOBODY), required=False)

        @lifespan.on_start
        @written_in("shop.lifespan")
        async def warm_up(feed: object = "its default") -> None:
            given.append(feed)

        @lifespan.resource
        @written_in("shop.lifespan")
        def index(feed: object = None, *, size: int = 3) -> object:
            given.append(feed)
            return "an index"

        @lifespan.background
        @written_in("shop.lifespan")
        async def refresh(feed: object = "nothing to refresh") -> None:
            given.append(feed)

        async with lifespan.run("app") as state:
            assert state["index"] == "an index"
            await asyncio.sleep(0)

    run(main)

    assert sorted(map(str, given)) == ["None", "its default", "nothing to refresh"]


def test_default_does_not_help_beside_depends_on(run: RunOnLoop) -> None:
    given: list[object] = []

    async def main(lifespan: Lifespan) -> None:
        feed = Journal().resource(lifespan, "feed", open_error=OSError(NOBODY), required=False)

        @lifespan.on_start(depends_on=[feed])
        @written_in("shop.lifespan")
        async def warm_up(feed: object = None) -> None:
            given.append(feed)

        async with lifespan.run("app"):
            assert report_of(lifespan).step("shop.warm_up").outcome == "skipped"

    run(main)

    assert given == []


def test_hook_with_a_default_goes_on_without_a_late_optional_one() -> None:
    given: list[tuple[float, object]] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "feed", opens=60, required=False)

        @lifespan.on_start
        @written_in("shop.lifespan")
        async def warm_up(feed: object = None) -> None:
            given.append((loop.now - 1000, feed))

        async with lifespan.run("app"):
            pass

    run_virtually(main)

    assert given == [(10, None)]


def test_skipped_hook_is_not_stopped(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        journal = Journal()
        feed = journal.resource(lifespan, "feed", open_error=OSError(NOBODY), required=False)
        journal.resource(lifespan, "index", depends_on=[feed])
        async with lifespan.run("app"):
            pass
        phases: list[Any] = [(step.key, step.phase) for step in report_of(lifespan).steps]
        assert phases == [("shop.feed", "startup"), ("shop.index", "startup")]

    run(main)
