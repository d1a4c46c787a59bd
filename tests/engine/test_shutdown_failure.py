"""A stop raises, or passes its limit: every other hook still stops, and all errors are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.settings import Settings
from lifespan_app.errors import HookError
from tests.engine.apps import written_in
from tests.engine.conftest import RunOnLoop
from tests.engine.exchange import Server
from tests.engine.journal import Journal
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually


def test_stop_that_raises_keeps_no_other_hook_from_stopping(run: RunOnLoop) -> None:
    """base <- fails <- top: what stands under the one that fails closes all the same."""
    journal = Journal()
    error = OSError("won't close")

    async def main(lifespan: Lifespan) -> None:
        base = journal.resource(lifespan, "base")
        fails = journal.resource(lifespan, "fails", close_error=error, depends_on=[base])
        journal.resource(lifespan, "top", depends_on=[fails])
        journal.resource(lifespan, "beside")
        await lifespan.startup()
        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.shutdown()
        assert caught.value.exceptions == (error,)
        report = report_of(lifespan)
        assert report.status == "shutdown_failed"
        assert report.error == "OSError: won't close"
        outcomes = [str(step.outcome) for step in report.steps if step.phase == "shutdown"]
        assert sorted(outcomes) == ["failed", "ok", "ok", "ok"]

    run(main)

    for name in ("base", "top", "beside"):
        assert f"close {name}: done" in journal.events
    assert journal.is_before("close fails", "close base")


@pytest.mark.parametrize("kind", ["shutdown", "sync shutdown", "sync resource"])
def test_stop_of_any_kind_may_raise(run: RunOnLoop, kind: str) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "client")

        async def fails(client: str) -> None:
            raise OSError("won't close")

        def fails_in_a_thread(client: str) -> None:
            raise OSError("won't close")

        def fails_as_a_resource(client: str) -> Iterator[None]:
            yield
            raise OSError("won't close")

        if kind == "sync resource":
            lifespan.resource(written_in("shop.lifespan")(fails_as_a_resource))
        else:
            lifespan.on_shutdown(
                written_in("shop.lifespan")(fails if kind == "shutdown" else fails_in_a_thread)
            )
        await lifespan.startup()
        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.shutdown()
        assert [str(error) for error in caught.value.exceptions] == ["won't close"]

    run(main)

    assert journal.events[-1] == "close client: done"


def test_server_gets_all_errors_in_one_message_after_the_log(
    run: RunOnLoop, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal()
    errors = [OSError("won't close"), LookupError("nothing to close")]

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "one", close_error=errors[0])
        journal.resource(lifespan, "two", close_error=errors[1])
        base = journal.resource(lifespan, "base")
        journal.resource(lifespan, "on_it", depends_on=[base])
        server = Server(lifespan)
        assert await server.startup() == {"type": "lifespan.startup.complete"}
        answer = await server.shutdown()
        journal.write("told")

        logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
        assert set(logged) == set(errors)
        assert answer["type"] == "lifespan.shutdown.failed"
        lines = answer["message"].splitlines()
        assert lines[0] == "lifespan_app: 2 hooks failed to stop; all others are down."
        assert lines[1].startswith("'shop.one' (tests/engine/journal.py:")
        assert lines[1].endswith("): OSError: won't close")
        assert lines[2].startswith("'shop.two' (")
        assert lines[2].endswith("): LookupError: nothing to close")
        assert len(lines) == 3

        raised = await server.raised()
        assert isinstance(raised, ExceptionGroup)
        assert set(raised.exceptions) == set(errors)
        assert len(server.sent) == 2

    run(main)

    assert journal.is_before("close base: done", "told")


def test_one_hook_is_not_called_hooks(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        Journal().resource(lifespan, "one", close_error=OSError("won't close"))
        server = Server(lifespan)
        await server.startup()
        answer = await server.shutdown()
        assert answer["message"].startswith(
            "lifespan_app: 1 hook failed to stop; all others are down."
        )
        raised = await server.raised()
        assert isinstance(raised, ExceptionGroup)
        assert raised.message == "1 hook failed to stop"

    run(main)


def test_shutdown_without_errors_is_complete(run: RunOnLoop) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "client")
        server = Server(lifespan)
        await server.startup()
        assert await server.shutdown() == {"type": "lifespan.shutdown.complete"}
        journal.write("told")
        assert await server.raised() is None

    run(main)

    assert journal.events[-2:] == ["close client: done", "told"]


def test_errors_of_the_shutdown_are_noted_on_the_body_s_own_error(run: RunOnLoop) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "one", close_error=OSError("won't close"))
        journal.resource(lifespan, "two", close_error=LookupError("nothing to close"))
        error = ValueError("the body's own")

        async def body() -> None:
            async with lifespan.run("app"):
                raise error

        with pytest.raises(ValueError, match="the body's own") as caught:
            await body()
        assert caught.value is error
        assert sorted(error.__notes__) == [
            "Then, at shutdown: LookupError: nothing to close",
            "Then, at shutdown: OSError: won't close",
        ]
        assert report_of(lifespan).ended_by == "ValueError"

    run(main)


# Limits.


def test_stop_has_five_seconds_by_default() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        base = journal.resource(lifespan, "base")
        journal.resource(lifespan, "just", closes=4.9)
        journal.resource(lifespan, "slow", closes=60, depends_on=[base])
        await lifespan.startup()
        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.shutdown()
        [error] = caught.value.exceptions
        assert isinstance(error, HookError)
        assert "'shop.slow' (tests/engine/journal.py:" in str(error)
        assert "did not stop within its limit of 5 s" in str(error)
        assert "Raise shutdown_timeout= of the hook" in str(error)
        assert "Settings.hooks['shop.slow']['shutdown_timeout']" in str(error)
        assert "Settings.shutdown_timeout for all" in str(error)
        step = report_of(lifespan).step("shop.slow", "shutdown")
        assert (step.outcome, step.duration) == ("timed_out", 5)

    run_virtually(main)

    assert journal.when("close just: done") == 4.9
    assert journal.when("close slow: cancelled") == 5
    assert journal.when("close base: done") == 5


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        (Settings(shutdown_timeout=2), 2),
        (Settings(hooks={"shop.slow": {"shutdown_timeout": 3}}), 3),
        (Settings(hooks={"*": {"shutdown_timeout": 1}}), 1),
    ],
    ids=["SHUTDOWN_TIMEOUT", "HOOKS", "HOOKS for all"],
)
def test_settings_give_a_stop_its_limit(settings: Settings, limit: float) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "slow", closes=60)
        await lifespan.startup()
        with pytest.raises(ExceptionGroup):
            await lifespan.shutdown()

    run_virtually(main, settings=settings)

    assert journal.when("close slow: cancelled") == limit


def test_resource_s_limit_at_startup_is_not_one_at_shutdown() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "slow", closes=4, timeout=1, shutdown_timeout=4.5)
        async with lifespan.run("app"):
            pass
        assert loop.now == 1004

    run_virtually(main)


def test_limit_of_a_shutdown_function_is_its_timeout() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.shutdown(lifespan, "mine", 60, timeout=2)
        journal.shutdown(lifespan, "everybody_s", 60)
        await lifespan.startup()
        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.shutdown()
        texts = sorted(str(error) for error in caught.value.exceptions)
        assert "'everybody_s.everybody_s'" in texts[0]
        assert "within its limit of 5 s" in texts[0]
        assert "'mine.mine'" in texts[1]
        assert "within its limit of 2 s" in texts[1]
        assert "Raise timeout= of the hook, Settings.hooks['mine.mine']['timeout']" in texts[1]

    run_virtually(main)

    assert journal.when("shutdown mine: cancelled") == 2
    assert journal.when("shutdown everybody_s: cancelled") == 5


def test_job_that_does_not_end_within_its_limit_is_reported_and_the_hooks_stop() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "client")

        @lifespan.background(shutdown_timeout=2)
        @written_in("shop.lifespan")
        async def refresh() -> None:
            try:
                await asyncio.sleep(1_000)
            finally:
                await journal.take("write what is left", 60)

        await lifespan.startup()
        await asyncio.sleep(10)
        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.shutdown()
        [error] = caught.value.exceptions
        assert "'shop.refresh'" in str(error)
        assert "did not stop within its limit of 2 s after it was cancelled" in str(error)
        assert "raise shutdown_timeout= of the job" in str(error)
        assert report_of(lifespan).step("shop.refresh", "serving").outcome == "timed_out"

    run_virtually(main)

    assert journal.when("write what is left: cancelled") == 12
    assert journal.when("close client") == 12


def test_stop_is_judged_by_the_clock_when_the_loop_was_blocked() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource
        @written_in("shop.lifespan")
        async def blocks() -> AsyncIterator[None]:
            yield
            loop.now += 6

        await lifespan.startup()
        with pytest.raises(ExceptionGroup, match="failed to stop"):
            await lifespan.shutdown()
        step = report_of(lifespan).step("shop.blocks", "shutdown")
        assert (step.outcome, step.duration) == ("timed_out", 6)

    run_virtually(main)


def test_error_after_the_limit_is_noted_on_the_limit_s(caplog: pytest.LogCaptureFixture) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource
        async def slow() -> AsyncIterator[None]:
            yield
            try:
                await asyncio.sleep(60)
            finally:
                raise OSError("cut short")

        await lifespan.startup()
        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.shutdown()
        [error] = caught.value.exceptions
        assert "within its limit of 5 s" in str(error)
        assert "Then it raised OSError: cut short" in error.__notes__

    run_virtually(main)

    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1
