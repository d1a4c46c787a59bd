"""A required hook raises, or passes its limit: what is up stops, and the server is told why."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.report import Report
from lifespan_app.engine.settings import Settings
from lifespan_app.errors import HookError, PlanError
from tests.engine.apps import written_in
from tests.engine.conftest import RunOnLoop
from tests.engine.exchange import Server
from tests.engine.journal import Journal
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually

FILE = "tests/engine/journal.py"


# A required hook raises.


def test_required_hook_that_raises_rolls_the_startup_back() -> None:
    """base <- client (up), slow (starting), never (its turn has not come) when fails fails."""
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        base = journal.resource(lifespan, "base", closes=1)
        journal.resource(lifespan, "client", closes=1, depends_on=[base])
        slow = journal.resource(lifespan, "slow", opens=60)
        journal.resource(lifespan, "never", depends_on=[slow])
        journal.start(lifespan, "fails", 3, OSError("nobody there"))
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()
        journal.write("raised")
        assert not lifespan.is_initialized()

    run_virtually(main)

    assert set(journal.entries[-6:-4]) == {(3, "open slow: cancelled"), (3, "close client")}
    assert journal.entries[-4:] == [
        (4, "close client: done"),
        (4, "close base"),
        (5, "close base: done"),
        (5, "raised"),
    ]
    assert "open never" not in journal.events
    assert "close slow" not in journal.events


def test_error_is_raised_with_a_note_that_names_the_hook(
    run: RunOnLoop,
) -> None:
    error = OSError("nobody there")

    async def main(lifespan: Lifespan) -> None:
        Journal().start(lifespan, "fails", error=error)
        with pytest.raises(OSError, match="nobody there") as caught:
            await lifespan.startup()
        assert caught.value is error
        [note] = error.__notes__
        assert note.startswith(f"Raised by lifespan hook 'fails.fails' ({FILE}:")
        assert note.endswith("at startup.")

    run(main)


@pytest.mark.parametrize("kind", ["async", "sync", "sync resource"])
def test_hook_of_any_kind_may_raise(run: RunOnLoop, kind: str) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        client = journal.resource(lifespan, "client")

        async def fails(client: str) -> None:
            raise OSError("nobody there")

        def fails_in_a_thread(client: str) -> None:
            raise OSError("nobody there")

        def fails_as_a_resource(client: str) -> Iterator[None]:
            raise OSError("nobody there")
            yield

        if kind == "sync resource":
            lifespan.resource(depends_on=[client])(written_in("shop.lifespan")(fails_as_a_resource))
        else:
            lifespan.on_start(
                written_in("shop.lifespan")(fails if kind == "async" else fails_in_a_thread)
            )
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()

    run(main)

    assert journal.events[-1] == "close client: done"


def test_report_of_a_failed_startup_has_the_outcome_of_every_hook() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        journal = Journal()
        journal.resource(lifespan, "client", opens=1, closes=1)
        slow = journal.resource(lifespan, "slow", opens=60)
        journal.resource(lifespan, "never", depends_on=[slow])
        journal.start(lifespan, "fails", 3, OSError("nobody there"))
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()
        return report_of(lifespan)

    report = run_virtually(main)
    outcomes = {(step.key, step.phase.value): str(step.outcome) for step in report.steps}
    assert outcomes == {
        ("shop.client", "startup"): "ok",
        ("shop.slow", "startup"): "cancelled",
        ("shop.never", "startup"): "skipped",
        ("fails.fails", "startup"): "failed",
        ("shop.client", "shutdown"): "ok",
    }
    assert (report.status, report.ready) == ("startup_failed", False)
    assert report.error == "OSError: nobody there"
    assert report.ended_by == "startup failed"
    assert report.ready_at is None
    assert report.startup_duration == 3
    assert report.shutdown_duration == 1
    failed = report.step("fails.fails")
    assert (failed.exception, failed.error, failed.duration) == ("OSError", "nobody there", 3)
    assert "OSError: nobody there" in failed.traceback
    assert report.step("shop.slow").reason == "the startup was given up"
    assert report.step("shop.never").reason == "the startup had already failed"


# What the server is told.


def test_traceback_is_logged_then_the_message_sent_then_the_error_raised(
    run: RunOnLoop, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal()
    error = OSError("nobody there")

    async def main(lifespan: Lifespan) -> None:
        class Watch(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if record.levelno == logging.ERROR:
                    assert record.exc_info is not None
                    assert record.exc_info[1] is error
                    journal.write("logged")

        handler = Watch()
        logging.getLogger("lifespan_app").addHandler(handler)
        try:
            journal.resource(lifespan, "client")
            journal.start(lifespan, "fails", error=error)
            server = Server(lifespan)
            answer = await server.startup()
            journal.write(answer["type"])
            assert await server.raised() is error
            assert server.sent == [answer]
        finally:
            logging.getLogger("lifespan_app").removeHandler(handler)

    run(main)

    assert journal.is_before("logged", "close client")
    assert journal.is_before("close client: done", "lifespan.startup.failed")
    assert journal.events.count("logged") == 1


def test_message_names_hook_location_error_and_rollback() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        client = journal.resource(lifespan, "client")
        fails = journal.start(lifespan, "fails", 2.5, OSError("nobody there"))
        answer = await Server(lifespan).startup()
        line = fails.__code__.co_firstlineno
        assert answer == {
            "type": "lifespan.startup.failed",
            "message": (
                f"lifespan_app: hook 'fails.fails' ({FILE}:{line}) failed to start after 2.500 s: "
                "OSError: nobody there\n"
                f"Rolled back: 'shop.client' ({FILE}:{client.hook.line}).\n"
                "Nothing is served. The traceback is in the log (logger lifespan_app)."
            ),
        }

    run_virtually(main)


def test_message_has_the_errors_of_the_rollback() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "client", close_error=OSError("won't close"))
        journal.start(lifespan, "fails", 1, OSError("nobody there"))
        answer = await Server(lifespan).startup()
        assert "OSError: nobody there" in answer["message"]
        assert "\nWhile rolling back: OSError: won't close\n" in answer["message"]

    run_virtually(main)


@pytest.mark.parametrize(
    ("limit", "setting"),
    [
        ({"timeout": 3}, "timeout= of the hook, or Settings.hooks['shop.slow']['timeout']"),
        ({}, "Settings.startup_deadline"),
    ],
    ids=["its own limit", "the deadline"],
)
def test_message_of_a_limit_names_the_setting_that_raises_it(
    limit: dict[str, Any], setting: str
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        slow = Journal().resource(lifespan, "slow", opens=600, **limit)
        server = Server(lifespan)
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert f"hook 'shop.slow' ({FILE}:{slow.hook.line}) did not start" in answer["message"]
        assert f"Raise {setting}" in answer["message"]
        error = await server.raised()
        assert isinstance(error, HookError)
        assert str(error) in answer["message"]

    run_virtually(main, settings=Settings(startup_deadline=30))


def test_broken_plan_is_sent_in_a_message_and_raised(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        Journal().start(lifespan, "warm_up", depends_on=["nowhere.to_be_found"])
        server = Server(lifespan)
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert "which no app declares" in answer["message"]
        assert isinstance(await server.raised(), PlanError)
        assert len(server.sent) == 1

    run(main)


def test_setting_that_can_not_be_read_is_sent_in_a_message_and_raised(
    run: RunOnLoop,
) -> None:
    class Broken(Exception):
        pass

    async def main(lifespan: Lifespan) -> None:
        def settings() -> Settings:
            raise Broken("no such file")

        lifespan.adapter.settings = settings  # type: ignore[method-assign]
        server = Server(lifespan)
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert "no such file" in answer["message"]
        assert isinstance(await server.raised(), Broken)
        assert lifespan.runs == []

    run(main)


def test_rollback_ends_before_the_server_gets_the_failure(run: RunOnLoop) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "client")
        journal.start(lifespan, "fails", error=OSError("nobody there"))
        server = Server(lifespan)
        await server.startup()
        journal.write("told")
        await server.raised()

    run(main)

    assert journal.is_before("close client: done", "told")


# A hook's own limit.


def test_required_hook_that_passes_its_limit_fails_the_startup() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        journal.resource(lifespan, "slow", opens=60, timeout=4)
        journal.resource(lifespan, "client")
        with pytest.raises(HookError, match=r"'shop\.slow' .* within its limit of 4 s"):
            await lifespan.startup()
        journal.write("raised")
        return report_of(lifespan)

    report = run_virtually(main)
    assert journal.when("open slow: cancelled") == journal.when("raised") == 4
    step = report.step("shop.slow")
    assert (step.outcome, step.duration) == ("timed_out", 4)
    assert step.exception == "lifespan_app.engine.errors.LimitPassed"


def test_limit_counts_from_the_hook_s_own_begin() -> None:
    """base takes 8 seconds, and what stands on it has 4 of its own: it needs only 3."""

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        base = journal.resource(lifespan, "base", opens=8)
        journal.resource(lifespan, "on_it", opens=3, timeout=4, depends_on=[base])
        async with lifespan.run("app"):
            assert loop.now == 1011

    run_virtually(main)


def test_required_hook_without_a_limit_may_take_its_time() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "slow", opens=299)
        async with lifespan.run("app"):
            assert loop.now == 1299

    run_virtually(main)


def test_setting_gives_a_hook_its_limit() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "slow", opens=60, timeout=100)
        with pytest.raises(HookError, match="within its limit of 7 s"):
            await lifespan.startup()

    run_virtually(main, settings=Settings(hooks={"shop.slow": {"timeout": 7}}))


def test_limit_is_judged_by_the_clock_when_the_loop_was_blocked() -> None:
    """No timer fires while a hook blocks the loop: what comes back too late is too late."""
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        @lifespan.on_start(timeout=3)
        @written_in("shop.lifespan")
        async def blocks() -> None:
            loop.now += 20

        journal.resource(lifespan, "client", priority=-1)
        with pytest.raises(HookError, match=r"'shop\.blocks' .* within its limit of 3 s"):
            await lifespan.startup()
        return report_of(lifespan)

    report = run_virtually(main)
    step = report.step("shop.blocks")
    assert (step.outcome, step.duration) == ("timed_out", 20)
    assert journal.events[-1] == "close client: done"


def test_resource_that_comes_up_too_late_is_left_at_once() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource(timeout=3)
        async def late() -> AsyncIterator[None]:
            loop.now += 20
            yield
            journal.write("left")

        with pytest.raises(HookError, match="within its limit of 3 s"):
            await lifespan.startup()

    run_virtually(main)

    assert journal.entries == [(20, "left")]


def test_hook_that_comes_up_in_spite_of_its_cancellation_is_left() -> None:
    """It ignores its first cancellation, at 3, and is up at 3.5: the rollback waits for it."""
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        base = journal.resource(lifespan, "base")

        @lifespan.resource(depends_on=[base])
        async def headstrong() -> AsyncIterator[None]:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(0.5)
            journal.write("up after all")
            yield
            journal.write("left")

        journal.start(lifespan, "fails", 3, OSError("nobody there"))
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()

    run_virtually(main)

    assert journal.entries[-4:] == [
        (3.5, "up after all"),
        (3.5, "left"),
        (3.5, "close base"),
        (3.5, "close base: done"),
    ]
