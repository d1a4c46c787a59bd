"""The startup passes STARTUP_DEADLINE: who fails then, who is forgiven, when all is over."""

from __future__ import annotations

import asyncio

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.report import Report
from lifespan_app.engine.settings import Settings
from lifespan_app.errors import HookError
from tests.engine.journal import Journal
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually

TEN = Settings(startup_deadline=10)


def test_startup_that_passes_its_deadline_fails_and_is_rolled_back() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        journal.resource(lifespan, "client", closes=1)
        slow = journal.resource(lifespan, "slow", opens=60)
        journal.resource(lifespan, "never", depends_on=[slow])
        with pytest.raises(HookError) as caught:
            await lifespan.startup()
        journal.write("raised")
        text = str(caught.value)
        assert f"'shop.slow' (tests/engine/journal.py:{slow.hook.line}) did not start" in text
        assert "within the startup's deadline of 10 s" in text
        assert "Raise Settings.startup_deadline, or make the hook optional" in text
        return report_of(lifespan)

    report = run_virtually(main, settings=TEN)
    assert journal.when("open slow: cancelled") == 10
    assert journal.when("close client: done") == journal.when("raised") == 11
    assert report.status == "startup_failed"
    assert report.step("shop.slow").outcome == "timed_out"
    assert report.step("shop.never").outcome == "skipped"


def test_deadline_counts_from_the_begin_of_the_startup() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        base = journal.resource(lifespan, "base", opens=7)
        journal.resource(lifespan, "on_it", opens=7, depends_on=[base])
        with pytest.raises(HookError, match=r"it has had 3\.000 s of them"):
            await lifespan.startup()
        assert loop.now == 1010

    run_virtually(main, settings=TEN)


def test_all_hooks_that_are_late_are_named() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "one", opens=60)
        journal.resource(lifespan, "two", opens=60)
        with pytest.raises(HookError, match=r"'shop\.one'") as caught:
            await lifespan.startup()
        assert "'shop.two'" in "\n".join(caught.value.__notes__)
        report = report_of(lifespan)
        assert report.step("shop.one").outcome == report.step("shop.two").outcome == "timed_out"

    run_virtually(main, settings=TEN)


@pytest.mark.parametrize(
    ("server", "seconds"),
    [
        (None, 300),
        ("", 25),
        ("one that waits 1.0", 300),
    ],
)
def test_automatic_deadline_is_short_under_an_unknown_server(
    server: str | None, seconds: float
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "slow", opens=10_000)
        run = lifespan.prepare("app", server=server)
        with pytest.raises(HookError, match=f"deadline of {seconds} s"):
            await run.start()
        assert loop.now == 1000 + seconds

    run_virtually(main)


# Optional hooks at the deadline.


def test_optional_hooks_fail_first_and_the_process_serves_degraded() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "client", opens=2)
        slow = journal.resource(lifespan, "slow", opens=60, required=False, timeout=10)
        journal.resource(lifespan, "hangs_on_it", depends_on=[slow])
        async with lifespan.run("app"):
            journal.write("serving")
            report = report_of(lifespan)
            assert (report.status, report.ready) == ("degraded", True)
            assert report.step("shop.slow").outcome == "timed_out"
            assert "startup's deadline of 10 s" in report.step("shop.slow").error
            assert report.step("shop.hangs_on_it").outcome == "skipped"

    run_virtually(main, settings=TEN)

    assert journal.when("serving") == 10


def test_optional_hooks_that_wait_are_skipped_at_the_deadline() -> None:
    """slow (optional) is due at 10; then the optional one behind it has no time left at all."""
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "slow", opens=60, required=False)
        journal.resource(lifespan, "behind", required=False, priority=1)
        journal.resource(lifespan, "on_it", required=False, priority=2)
        async with lifespan.run("app"):
            journal.write("serving")
            report = report_of(lifespan)
            assert report.status == "degraded"
            for key in ("shop.behind", "shop.on_it"):
                step = report.step(key)
                assert step.outcome == "skipped"
                assert step.reason == "the startup had already passed its deadline"

    run_virtually(main, settings=TEN)

    assert journal.events == ["open slow", "open slow: cancelled", "serving"]


def test_required_hook_behind_an_optional_one_misses_the_deadline() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "slow", opens=60, required=False)
        journal.resource(lifespan, "needed", priority=1)
        with pytest.raises(HookError) as caught:
            await lifespan.startup()
        assert "The startup passed its deadline of 10 s before 'shop.needed' (" in str(caught.value)
        assert "could begin. Raise Settings.startup_deadline." in str(caught.value)

    run_virtually(main, settings=TEN)

    assert "open needed" not in journal.events


def test_startup_fails_where_a_required_hook_is_late_too() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "optional", opens=60, required=False)
        journal.resource(lifespan, "needed", opens=60)
        with pytest.raises(HookError, match=r"'shop\.needed'"):
            await lifespan.startup()
        report = report_of(lifespan)
        assert report.step("shop.optional").outcome == "timed_out"
        assert report.step("shop.needed").outcome == "timed_out"

    run_virtually(main, settings=TEN)


# A longer limit of a hook.


def test_explicit_limit_longer_than_the_deadline_lifts_the_deadline_to_it() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "index", opens=39, timeout=40)
        journal.resource(lifespan, "client", opens=25)
        async with lifespan.run("app"):
            assert loop.now == 1039

    run_virtually(main, settings=TEN)


def test_lifted_deadline_is_one_for_all() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "index", opens=39, timeout=40)
        journal.resource(lifespan, "client", opens=60)
        with pytest.raises(HookError, match=r"'shop\.client' .* deadline of 40 s"):
            await lifespan.startup()

    run_virtually(main, settings=TEN)


@pytest.mark.parametrize("decorator", ["on_shutdown", "on_drain"])
def test_limit_of_a_function_for_the_end_does_not_lift_the_deadline(decorator: str) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "client", opens=60)

        @getattr(lifespan, decorator)(timeout=40)  # type: ignore[untyped-decorator]
        async def farewell() -> None: ...

        with pytest.raises(HookError, match=r"'shop\.client' .* deadline of 10 s"):
            await lifespan.startup()

    run_virtually(main, settings=TEN)


def test_limit_from_the_settings_lifts_the_deadline_as_well() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "index", opens=39)
        async with lifespan.run("app"):
            assert loop.now == 1039

    settings = Settings(startup_deadline=10, hooks={"shop.index": {"timeout": 40}})
    run_virtually(main, settings=settings)


def test_limit_shorter_than_the_deadline_does_not_cut_the_deadline() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "client", timeout=1)
        journal.resource(lifespan, "index", opens=9)
        async with lifespan.run("app"):
            assert loop.now == 1009

    run_virtually(main, settings=TEN)


# The rollback.


@pytest.mark.parametrize("deadline", [10.0, 25.0])
def test_rollback_ends_at_most_four_seconds_after_the_deadline(deadline: float) -> None:
    """Ten resources in a row, each closing for 2 s, would need 20: the order is given up."""
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        before: list[object] = []
        for number in range(10):
            before = [journal.resource(lifespan, f"r{number}", closes=2, depends_on=before)]
        journal.resource(lifespan, "slow", opens=600)
        with pytest.raises(HookError, match="startup's deadline"):
            await lifespan.startup()
        assert loop.now <= 1000 + deadline + 4

    run_virtually(main, settings=Settings(startup_deadline=deadline))

    assert all(f"close r{number}" in journal.events for number in range(10))


def test_rollback_of_an_early_failure_has_a_shutdown_s_limits() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "stuck", closes=600)
        journal.resource(lifespan, "client", closes=4)
        journal.start(lifespan, "fails", 2, OSError("nobody there"))
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()
        report = report_of(lifespan)
        assert report.step("shop.stuck", "shutdown").outcome == "timed_out"
        assert report.step("shop.client", "shutdown").outcome == "ok"

    run_virtually(main, settings=TEN)

    assert journal.when("close client: done") == 6
    assert journal.when("close stuck: cancelled") == 7


def test_rollback_of_a_late_failure_is_cut_by_the_deadline_too() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()

        @lifespan.resource
        async def stuck() -> object:
            return object()

        journal.resource(lifespan, "closing", closes=600)
        journal.start(lifespan, "fails", 9, OSError("nobody there"))
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()
        assert 1013 <= loop.now <= 1014

    run_virtually(main, settings=TEN)


def test_startup_within_its_deadline_is_not_ended_by_it_later() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "client", opens=9)
        async with lifespan.run("app"):
            await asyncio.sleep(100)
            report = report_of(lifespan)
            assert (report.status, report.ready) == ("serving", True)

    run_virtually(main, settings=TEN)
