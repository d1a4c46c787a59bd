"""Starts that are tried again: `retry=Retry(for_=60)`, or `retry=60`."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from lifespan_app import Lifespan, Retry
from lifespan_app.engine.reporting.report import Observer, Report, Step
from lifespan_app.engine.settings import Settings
from lifespan_app.errors import HookError, ResourceNotReady
from tests.engine.apps import written_in
from tests.engine.exchange import Server
from tests.engine.journal import Journal
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually

REFUSED = "connection refused"
FAR = Settings(startup_deadline=300.0)


def second() -> float:
    return round(asyncio.get_running_loop().time() - 1000, 3)


def broker(
    lifespan: Lifespan, *ways: BaseException | float | None, **options: Any
) -> list[tuple[float, str]]:
    """Declare a resource whose attempts end in some ways; return what they do, with the second.

    Args:
        lifespan: where it is declared.
        ways: the error that an attempt raises, the seconds that it takes, or None for one that
            succeeds; the last one goes on.
        options: those of the resource.
    """
    done: list[tuple[float, str]] = []
    script = itertools.chain(ways, itertools.repeat(ways[-1]))

    @lifespan.resource(**{"retry": 60, **options})
    @written_in("shop.lifespan")
    async def broker() -> AsyncIterator[str]:
        done.append((second(), "opens"))
        try:
            way = next(script)
            if isinstance(way, BaseException):
                raise way
            if way is not None:
                await asyncio.sleep(way)
            yield "broker"
        finally:
            done.append((second(), "closes"))

    return done


def opens(done: list[tuple[float, str]]) -> list[float]:
    """Return the seconds in which attempts have begun."""
    return [at for at, event in done if event == "opens"]


def refused() -> ConnectionError:
    return ConnectionRefusedError(REFUSED)


# Attempts.


def test_start_is_tried_again_after_longer_and_longer_pauses() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[float]:
        done = broker(lifespan, *[refused()] * 7, None)
        async with lifespan.run("app") as state:
            assert state["broker"] == "broker"
            step = report_of(lifespan).step("shop.broker")
            assert (step.outcome, step.attempt) == ("ok", 8)
            assert (step.offset, step.duration) == (0, 35.5)
            assert step.errors == (f"ConnectionRefusedError: {REFUSED}",) * 7
            assert len(report_of(lifespan).steps) == 1
            assert report_of(lifespan).ready
        return opens(done)

    assert run_virtually(main, settings=FAR) == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 25.5, 35.5]


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 0.45), (1.0, 0.55)])
def test_pauses_differ_between_processes(chance: float, pause: float) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[float]:
        lifespan.adapter.random = lambda: chance  # type: ignore[method-assign]
        done = broker(lifespan, refused(), None)
        async with lifespan.run("app"):
            return opens(done)

    assert run_virtually(main) == [0, pause]


def test_pauses_are_those_of_the_option() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[float]:
        done = broker(lifespan, *[refused()] * 4, None, retry=Retry(60, first=2, longest=5))
        async with lifespan.run("app"):
            return opens(done)

    assert run_virtually(main) == [0, 2, 6, 11, 16]


def test_start_functions_are_tried_again() -> None:
    calls: list[float] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.on_start(retry=10)
        @written_in("shop.lifespan")
        async def ping() -> None:
            calls.append(second())
            if len(calls) < 3:
                raise refused()

        async with lifespan.run("app"):
            assert report_of(lifespan).step("shop.ping").attempt == 3

    run_virtually(main)
    assert calls == [0, 0.5, 1.5]


def test_sync_hooks_are_tried_again() -> None:
    calls: list[str] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource(retry=10)
        @written_in("shop.lifespan")
        def broker() -> Iterator[str]:
            calls.append("opens")
            try:
                if len(calls) < 4:
                    raise refused()
                yield "broker"
            finally:
                calls.append("closes")

        @lifespan.on_start(retry=10)
        @written_in("other.lifespan")
        def ping() -> None:
            calls.append("ping")
            if calls.count("ping") < 2:
                raise refused()

        async with lifespan.run("app") as state:
            assert state["broker"] == "broker"
        assert report_of(lifespan).status == "stopped"

    run_virtually(main)
    assert calls.count("opens") == calls.count("closes")
    assert calls.count("ping") == 2


def test_what_a_thread_has_made_is_made_anew() -> None:
    """The first attempt has moved from its thread to the loop, where it failed."""

    class Client:
        made = 0

        def __init__(self) -> None:
            Client.made += 1

        async def __aenter__(self) -> Client:
            if Client.made < 3:
                raise refused()
            return self

        async def __aexit__(self, *args: object) -> None: ...

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.resource(retry=10, name="client")(written_in("shop.lifespan")(lambda: Client()))
        async with lifespan.run("app") as state:
            assert isinstance(state["client"], Client)

    run_virtually(main)
    assert Client.made == 3


def test_what_an_attempt_has_half_opened_is_closed_before_the_next_one() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[tuple[float, str]]:
        done = broker(lifespan, 100.0, refused(), None, timeout=3)
        async with lifespan.run("app"):
            return list(done)

    assert run_virtually(main) == [
        (0, "opens"),
        (3, "closes"),
        (3.5, "opens"),
        (3.5, "closes"),
        (4.5, "opens"),
    ]


def test_from_outside_a_start_is_tried_again() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        done = broker(lifespan, refused(), None, retry=None)
        journal = Journal()
        journal.job(lifespan, "work")
        journal.shutdown(lifespan, "bye")
        async with lifespan.run("app"):
            assert opens(done) == [0, 0.5]

    run_virtually(main, settings=Settings(hooks={"*": {"retry": 60}}))


def test_what_waits_for_a_hook_waits_for_all_its_attempts() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        broker(lifespan, refused(), refused(), None)
        journal.start(lifespan, "consumer", depends_on=["shop.broker"])
        journal.start(lifespan, "other")
        async with lifespan.run("app"):
            pass

    run_virtually(main)
    assert journal.when("start consumer") == 1.5
    assert journal.when("start other") == 0


# Which errors.


@pytest.mark.parametrize(
    ("error", "on", "attempts"),
    [
        (OSError(), (OSError,), 2),
        (ConnectionRefusedError(), OSError, 2),
        (ValueError(), (OSError,), 1),
        (ValueError(), (OSError, ValueError), 2),
        (ExceptionGroup("two", [OSError(), ConnectionError()]), (OSError,), 2),
        (ExceptionGroup("two", [OSError(), ValueError()]), (OSError,), 1),
        (SystemExit(1), (Exception,), 1),
        (KeyboardInterrupt(), (Exception,), 1),
        (asyncio.CancelledError(), (Exception,), 1),
        (HookError("of the engine"), (Exception,), 1),
    ],
    ids=repr,
)
def test_only_errors_of_the_classes_are_tried_again(
    error: BaseException, on: Any, attempts: int
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[float]:
        done = broker(lifespan, error, None, retry=Retry(60, on=on), required=False)
        async with lifespan.run("app"):
            return opens(done)

    assert len(run_virtually(main)) == attempts


def test_hook_that_yields_nothing_is_not_tried_again() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource(retry=60)
        @written_in("shop.lifespan")
        async def broker() -> AsyncIterator[str]:
            if second() < 0:
                yield "never"

        with pytest.raises(HookError, match="did not yield"):
            await lifespan.startup()
        assert loop.now == 1000

    run_virtually(main)


# Limits.


def test_timeout_is_the_limit_of_one_attempt() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[float]:
        done = broker(lifespan, 50.0, 50.0, 1.0, timeout=2)
        async with lifespan.run("app"):
            step = report_of(lifespan).step("shop.broker")
            assert (step.outcome, step.attempt) == ("ok", 3)
            assert "did not start within its limit of 2 s" in step.errors[0]
        return opens(done)

    assert run_virtually(main) == [0, 2.5, 5.5]


def test_passed_timeout_is_not_tried_again_where_only_other_errors_are() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[float]:
        done = broker(
            lifespan, 50.0, None, timeout=2, retry=Retry(60, on=(ValueError,)), required=False
        )
        async with lifespan.run("app"):
            assert report_of(lifespan).step("shop.broker").outcome == "timed_out"
        return opens(done)

    assert run_virtually(main) == [0]


def test_after_all_attempts_the_startup_fails_with_the_last_error_and_names_the_first() -> None:
    errors = [ConnectionRefusedError(f"attempt {number}") for number in range(1, 50)]

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        done = broker(lifespan, *errors, retry=10)
        answer = await Server(lifespan).startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert opens(done) == [0, 0.5, 1.5, 3.5, 7.5]
        assert (
            "failed to start after 7.500 s: ConnectionRefusedError: attempt 5" in answer["message"]
        )
        first = "It was attempt 5; the first one had failed with ConnectionRefusedError: attempt 1"
        assert first in answer["message"]
        step = report_of(lifespan).step("shop.broker")
        assert (step.outcome, step.attempt, len(step.errors)) == ("failed", 5, 5)
        assert step.error == "attempt 5"
        assert first in step.traceback

    run_virtually(main)


def test_attempt_that_goes_on_when_the_time_is_used_up_has_failed() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        broker(lifespan, refused(), 1_000.0, retry=10)
        with pytest.raises(HookError, match=r"did not start within the 10 s of its retry\."):
            await lifespan.startup()
        assert loop.now == 1010

    run_virtually(main)


def test_time_of_retries_replaces_that_of_optional_hooks() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        broker(lifespan, 15.0, required=False, retry=20)
        async with lifespan.run("app"):
            assert report_of(lifespan).status == "serving"

    run_virtually(main)


def test_attempts_end_with_the_deadline_of_the_startup() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        broker(lifespan, refused(), retry=600)
        with pytest.raises(ConnectionRefusedError):
            await lifespan.startup()
        assert loop.now < 1030

    run_virtually(main, settings=Settings(startup_deadline=30.0))


def test_attempt_that_ignores_its_cancellation_does_not_delay_the_startups_deadline() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource(retry=60, timeout=0.5, required=False)
        @written_in("shop.lifespan")
        async def broker() -> AsyncIterator[str]:
            ends = loop.now + 30
            while loop.now < ends:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(ends - loop.now)
            yield "broker"

        async with lifespan.run("app"):
            assert second() == 1
            step = report_of(lifespan).step("shop.broker")
            assert step.outcome == "timed_out"
            assert "did not start within its limit of 0.5 s" in step.error

    run_virtually(main, settings=Settings(startup_deadline=1.0))


def test_optional_hook_that_fails_after_all_attempts_leaves_the_process_degraded() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        broker(lifespan, refused(), retry=5, required=False)
        async with lifespan.run("app"):
            assert report_of(lifespan).status == "degraded"
            assert loop.now == 1003.5

    run_virtually(main)


def test_attempt_that_ignores_its_cancellation_is_abandoned() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        calls: list[float] = []

        @lifespan.resource(retry=60, timeout=2, required=False)
        @written_in("shop.lifespan")
        async def broker() -> AsyncIterator[str]:
            calls.append(second())
            while True:
                try:
                    await asyncio.sleep(1_000)
                except asyncio.CancelledError:
                    continue
            yield "broker"

        async with lifespan.run("app"):
            step = report_of(lifespan).step("shop.broker")
            assert step.outcome == "abandoned"
            assert "did not start within its limit of 2 s" in step.error
        assert calls == [0]

    run_virtually(main)


def test_thread_that_passes_its_limit_is_not_tried_again() -> None:
    calls: list[float] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.on_start(retry=60, timeout=2, required=False)
        @written_in("shop.lifespan")
        def ping() -> None:
            calls.append(loop.now - 1000)
            loop.hang_in_thread()

        async with lifespan.run("app"):
            assert report_of(lifespan).step("shop.ping").outcome == "abandoned"

    run_virtually(main)
    assert calls == [0]


# What ends the wait.


def test_stop_ends_the_wait_at_once() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "client")
        done = broker(lifespan, refused(), retry=Retry(200, first=100, longest=100))
        run = lifespan.prepare("app")
        starting = asyncio.ensure_future(run.start())
        await asyncio.sleep(5)
        await run.stop(ended_by="SIGTERM")
        assert loop.now == 1005
        await asyncio.wait([starting])
        step = run.report().step("shop.broker")
        assert (step.outcome, step.reason) == ("cancelled", "the startup was given up")
        assert step.errors == (f"ConnectionRefusedError: {REFUSED}",)
        await asyncio.sleep(300)
        assert opens(done) == [0]

    run_virtually(main, settings=FAR)
    assert journal.when("close client: done") == 5


def test_another_hook_that_fails_ends_the_wait_at_once() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        broker(lifespan, refused(), retry=Retry(200, first=100, longest=100))
        Journal().start(lifespan, "breaks", 3, ValueError("broken"))
        with pytest.raises(ValueError, match="broken"):
            await lifespan.startup()
        assert loop.now == 1003
        assert report_of(lifespan).step("shop.broker").outcome == "cancelled"

    run_virtually(main, settings=FAR)


def test_caller_that_is_cancelled_ends_the_wait_at_once() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        broker(lifespan, refused(), retry=Retry(200, first=100, longest=100))
        starting = asyncio.ensure_future(lifespan.startup())
        await asyncio.sleep(5)
        starting.cancel()
        await asyncio.wait([starting])
        assert loop.now == 1005

    run_virtually(main, settings=FAR)


# Resources that the startup does not wait for.


def test_resource_that_nobody_waits_for_is_tried_again_while_the_process_serves() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource(wait=False, retry=100)
        @written_in("shop.lifespan")
        async def model() -> AsyncIterator[str]:
            if second() < 20:
                raise refused()
            yield "model"

        async with lifespan.run("app") as state:
            assert loop.now == 1000
            await asyncio.sleep(10)
            assert report_of(lifespan).readiness == "warming_up"
            with pytest.raises(ResourceNotReady):
                model.current()
            await asyncio.sleep(20)
            assert report_of(lifespan).ready
            assert state["model"] == "model"

    run_virtually(main, settings=Settings(startup_deadline=5.0))


def test_process_that_stops_waits_for_no_attempt() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        broker(lifespan, refused(), wait=False, retry=Retry(600, first=100, longest=100))
        async with lifespan.run("app"):
            await asyncio.sleep(10)
        assert loop.now == 1010
        assert report_of(lifespan).step("shop.broker").outcome == "cancelled"

    run_virtually(main)


# Seen.


def test_what_is_pending_says_which_attempt_failed_and_when_the_next_one_begins() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        broker(lifespan, *[refused()] * 4, 30.0, None)
        starting = asyncio.ensure_future(lifespan.startup())
        await asyncio.sleep(4.4)
        [pending] = report_of(lifespan).pending
        assert pending.doing == f"attempt 4: ConnectionRefusedError: {REFUSED}, next in 3.1 s"
        assert pending.seconds == pytest.approx(4.4)
        await asyncio.sleep(4)
        [pending] = report_of(lifespan).pending
        assert pending.doing == f"attempt 5, after ConnectionRefusedError: {REFUSED}"
        await starting
        await lifespan.shutdown()

    run_virtually(main, settings=FAR)


def test_each_failed_attempt_is_a_line_of_the_log_and_of_the_step(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Step:
        broker(lifespan, refused(), refused(), None)
        async with lifespan.run("app"):
            return report_of(lifespan).step("shop.broker")

    step = run_virtually(main)
    texts = [record for record in caplog.records if "failed to start" in record.getMessage()]
    assert [record.levelno for record in texts] == [logging.WARNING] * 2
    assert (
        texts[1]
        .getMessage()
        .endswith(f"failed to start: attempt 2: ConnectionRefusedError: {REFUSED}, next in 1.0 s.")
    )
    assert [(line.offset_ms, line.level) for line in step.log] == [(0, "WARNING"), (500, "WARNING")]


def test_observers_are_told_of_attempts_as_of_progress() -> None:
    class Follower(Observer):
        def __init__(self) -> None:
            self.steps: list[tuple[int, str | None]] = []
            self.doing: list[str] = []

        def step_changed(self, report: Report, step: Step) -> None:
            self.steps.append((step.attempt, step.outcome))

        def progressed(self, report: Report) -> None:
            self.doing += [one.doing for one in report.pending]

    follower = Follower()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.observe(follower)
        broker(lifespan, refused(), None)
        async with lifespan.run("app"):
            pass

    run_virtually(main)
    assert follower.steps[:2] == [(1, None), (2, "ok")]
    assert follower.doing == [f"attempt 1: ConnectionRefusedError: {REFUSED}, next in 0.5 s"]


@pytest.mark.once
def test_million_attempts_keep_a_hundred_errors() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        broker(
            lifespan,
            refused(),
            wait=False,
            required=False,
            retry=Retry(10_000, first=1, longest=1),
        )
        async with lifespan.run("app"):
            await asyncio.sleep(5_000.5)
            step = report_of(lifespan).step("shop.broker")
            assert (step.attempt, len(step.errors)) == (5_001, 100)

    logging.disable(logging.CRITICAL)
    try:
        run_virtually(main)
    finally:
        logging.disable(logging.NOTSET)


# What is refused.


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"for_": 0}, r"for_ of Retry is a number of seconds above 0, not 0\."),
        ({"for_": None}, r"for_ of Retry is a number of seconds, not None\."),
        ({"for_": float("inf")}, r"for_ of Retry is a number of seconds above 0"),
        ({"first": -1}, r"first of Retry is a number of seconds above 0, not -1\."),
        ({"first": "1"}, r"first of Retry is a number of seconds, not '1'\."),
        ({"longest": 0}, r"longest of Retry is a number of seconds above 0, not 0\."),
        ({"on": ()}, r"on of Retry holds exception classes, not \(\)\."),
        ({"on": (OSError(),)}, r"on of Retry holds exception classes"),
        ({"on": (int,)}, r"on of Retry holds exception classes"),
        ({"on": "OSError"}, r"on of Retry holds exception classes, not 'OSError'\."),
        ({"on": (SystemExit,)}, r"on of Retry holds exception classes"),
        ({"on": None}, r"on of Retry holds exception classes, not None\."),
    ],
    ids=str,
)
def test_retry_that_can_not_be_is_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        Retry(**values)


@pytest.mark.parametrize("retry", [0, -1, float("nan"), "60", True, (60,), {}])
@pytest.mark.parametrize("decorator", ["on_start", "resource"])
def test_option_that_is_no_retry_is_refused(decorator: str, retry: Any) -> None:
    lifespan = Lifespan()

    async def hook() -> None: ...

    with pytest.raises((TypeError, ValueError), match="retry is a number of seconds"):
        getattr(lifespan, decorator)(retry=retry)(hook)
    assert lifespan.hooks == []


@pytest.mark.parametrize("decorator", ["on_shutdown", "on_drain", "background"])
def test_what_does_not_start_takes_no_retry(decorator: str) -> None:
    with pytest.raises(TypeError, match=f"@lifespan.{decorator} takes no retry="):
        getattr(Lifespan(), decorator)(retry=60)
