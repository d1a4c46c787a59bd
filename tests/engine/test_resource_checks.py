"""`@handle.check`: whether what was opened once still answers."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from lifespan_app import Lifespan, Resource
from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.reporting.report import Report
from tests.engine.apps import written_in
from tests.engine.lookups import report_of, run_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually


class Line:
    """A connection that can be cut, and counts how often it was asked."""

    def __init__(self) -> None:
        self.cut = False
        self.asked = 0

    def ask(self) -> None:
        self.asked += 1
        if self.cut:
            raise ConnectionError("the line is cut")


def connected(lifespan: Lifespan) -> tuple[Line, Resource[Line]]:
    """Declare a resource that holds a line; return the line, and the resource's handle."""
    line = Line()

    @lifespan.resource
    @written_in("shop.lifespan")
    async def connection() -> AsyncIterator[Line]:
        yield line

    return line, connection


async def readiness(lifespan: Lifespan) -> str:
    run = run_of(lifespan)
    await run.check()
    return run.readiness


@pytest.mark.parametrize(("required", "reason"), [(True, "check_failed"), (False, "degraded")])
def test_check_that_raises_makes_the_process_not_ready_or_degraded(
    required: bool, reason: str
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        line = Line()

        @lifespan.resource(required=required)
        @written_in("shop.lifespan")
        async def connection() -> AsyncIterator[Line]:
            yield line

        @connection.check
        async def answers(connection: Line) -> None:
            connection.ask()

        async with lifespan.run("app"):
            assert await readiness(lifespan) == "ok"
            line.cut = True
            await asyncio.sleep(10)
            await readiness(lifespan)
            await asyncio.sleep(0.1)
            assert await readiness(lifespan) == reason
            line.cut = False
            await asyncio.sleep(10)
            await readiness(lifespan)
            await asyncio.sleep(0.1)
            assert await readiness(lifespan) == "ok"

    run_virtually(main)


def test_check_that_returns_false_fails_and_none_passes() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource
        @written_in("shop.lifespan")
        async def pool() -> AsyncIterator[list[str]]:
            yield []

        @pool.check
        async def has_connections(pool: list[str]) -> bool:
            return bool(pool)

        async with lifespan.run("app"):
            assert await readiness(lifespan) == "check_failed"
            [failing] = report_of(lifespan).failing
            assert failing.hook == "shop.pool"
            assert "'has_connections' (tests/engine/test_resource_checks.py:" in failing.error
            assert "returned False" in failing.error

    run_virtually(main)


class Asks:
    """An object that is called like an async function."""

    async def __call__(self, connection: Line) -> None:
        connection.ask()


async def asks(connection: Line) -> None:
    """Ask a line."""
    connection.ask()


@functools.wraps(asks)
def only_if_whole(connection: Line) -> Awaitable[None] | bool:
    return not connection.cut and asks(connection)


@pytest.mark.parametrize(
    ("check", "name"),
    [
        (Asks(), "Asks"),
        (functools.partial(asks), "asks"),
        (only_if_whole, "asks"),
        (lambda connection: connection.ask(), "<lambda>"),
        (Line.ask, "Line.ask"),
    ],
)
def test_check_may_be_any_callable(
    check: Callable[[Line], object], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[str]:
        line, connection = connected(lifespan)
        connection.check(cache=1)(check)
        found = []
        async with lifespan.run("app"):
            for line.cut in (False, True):
                await readiness(lifespan)
                await asyncio.sleep(1.5)
                await readiness(lifespan)
                await asyncio.sleep(0.1)
                found.append(await readiness(lifespan))
        return found

    assert run_virtually(main) == ["ok", "check_failed"]
    assert f"The check '{name}' (tests/engine/test_resource_checks.py:" in caplog.text


def test_plain_function_that_returns_a_coroutine_is_no_passed_check(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> str:
        _, connection = connected(lifespan)

        @connection.check
        def forgets_to_wait(connection: Line) -> object:
            return asks(connection)

        async with lifespan.run("app"):
            return await readiness(lifespan)

    assert run_virtually(main) == "check_failed"
    assert "is a plain function and returns a coroutine, which nobody awaits" in caplog.text


def test_check_runs_once_for_many_requests() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        line, connection = connected(lifespan)

        @connection.check(cache=5)
        async def answers(connection: Line) -> None:
            connection.ask()
            await asyncio.sleep(1)

        async with lifespan.run("app"):
            await asyncio.gather(*(readiness(lifespan) for _ in range(100)))
            await asyncio.sleep(4.9)
            await readiness(lifespan)
            assert line.asked == 1

    run_virtually(main)


def test_stale_answer_of_a_check_is_given_at_once() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        line, connection = connected(lifespan)

        @connection.check(cache=5)
        async def answers(connection: Line) -> None:
            await asyncio.sleep(1)
            connection.ask()

        async with lifespan.run("app"):
            begun = loop.now
            assert await readiness(lifespan) == "ok"
            assert loop.now == begun + 1, "the first answer is waited for"
            line.cut = True
            await asyncio.sleep(5)
            assert await readiness(lifespan) == "ok", "as it was said last"
            assert loop.now == begun + 6
            await asyncio.sleep(1.01)
            assert await readiness(lifespan) == "check_failed"

    run_virtually(main)


def test_check_that_hangs_has_failed_at_its_limit_and_is_cancelled() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        cancelled = []

        @lifespan.resource
        @written_in("shop.lifespan")
        async def connection() -> AsyncIterator[str]:
            yield "a line"

        @connection.check(timeout=3)
        async def answers(connection: str) -> None:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                cancelled.append(loop.now)
                raise

        async with lifespan.run("app"):
            begun = loop.now
            assert await readiness(lifespan) == "check_failed"
            await asyncio.sleep(0)
            assert loop.now == begun + 3
            assert cancelled == [begun + 3]

    run_virtually(main)


def test_sync_check_that_hangs_in_its_thread_is_not_begun_again() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        _, connection = connected(lifespan)
        asked = []

        @connection.check(timeout=3, cache=1)
        def answers(connection: Line) -> None:
            asked.append(threading.get_ident())
            loop.hang_in_thread()

        async with lifespan.run("app"):
            begun = loop.now
            assert await readiness(lifespan) == "check_failed"
            assert loop.now == begun + 3
            await asyncio.sleep(2)
            assert await readiness(lifespan) == "check_failed"
            assert len(asked) == 1
            assert asked[0] != threading.get_ident()

    run_virtually(main)


@pytest.mark.parametrize(("seconds", "status"), [(2.9, "ok"), (3.1, "check_failed")])
def test_sync_check_has_the_limit_of_an_async_one(seconds: float, status: str) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> str:
        _, connection = connected(lifespan)

        @connection.check(timeout=3)
        def answers(connection: Line) -> None:
            loop.sleep_in_thread(seconds)

        async with lifespan.run("app"):
            return await readiness(lifespan)

    assert run_virtually(main) == status


def test_check_without_a_free_thread_has_failed_and_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        lifespan = Lifespan()

        @lifespan.resource
        async def connection() -> AsyncIterator[str]:
            yield "a line"

        @connection.check(cache=0.001)
        def answers(connection: str) -> None: ...

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        async with lifespan.run("app"):
            with monkeypatch.context() as full:
                full.setattr(threading.Thread, "start", refuse)
                assert await readiness(lifespan) == "check_failed"
            while await readiness(lifespan) != "ok":
                await asyncio.sleep(0.001)

    asyncio.run(main())


@pytest.mark.once
def test_thousands_of_checks_are_asked_side_by_side() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        for number in range(3000):

            @lifespan.resource(name=f"connection{number}")
            async def connection() -> AsyncIterator[str]:
                yield "a line"

            @connection.check
            async def answers(connection: str) -> None:
                await asyncio.sleep(1)

        async with lifespan.run("app"):
            begun = loop.now
            assert await readiness(lifespan) == "ok"
            assert loop.now == begun + 1

    run_virtually(main)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration()])
@pytest.mark.parametrize("form", ["async", "sync"])
def test_error_of_a_check_ends_nothing_else(error: BaseException, form: str) -> None:
    async def main() -> None:
        lifespan = Lifespan()

        @lifespan.resource
        async def connection() -> AsyncIterator[str]:
            yield "a line"

        if form == "async":

            @connection.check
            async def answers(connection: str) -> None:
                raise error
        else:

            @connection.check
            def answers_too(connection: str) -> None:
                raise error

        async with lifespan.run("app"):
            assert await readiness(lifespan) == "check_failed"

    asyncio.run(main())


def test_check_is_part_of_no_hook_and_may_read_other_resources() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        seen = []

        @lifespan.resource
        @written_in("shop.lifespan")
        async def settings() -> AsyncIterator[str]:
            yield "settings"

        @lifespan.resource
        @written_in("shop.lifespan")
        async def connection() -> AsyncIterator[str]:
            yield "a line"

        @connection.check
        async def answers(connection: str) -> None:
            seen.append((settings.current(), current_hook.get()))

        async with lifespan.run("app"):
            assert await readiness(lifespan) == "ok"
            assert seen == [("settings", run_of(lifespan))]

    run_virtually(main)


def test_check_that_still_runs_is_cancelled_before_its_resource_closes() -> None:
    events: list[str] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource
        @written_in("shop.lifespan")
        async def connection() -> AsyncIterator[str]:
            yield "a line"
            events.append("closed")

        @connection.check(timeout=100)
        async def answers(connection: str) -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                events.append("cancelled")

        async with lifespan.run("app"):
            asking = asyncio.create_task(readiness(lifespan))
            await asyncio.sleep(1)
        assert await asking == "stopped"

    run_virtually(main)
    assert events == ["cancelled", "closed"]


def test_closed_resources_are_not_checked() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        @lifespan.resource(required=False)
        @written_in("shop.lifespan")
        async def connection() -> AsyncIterator[str]:
            raise ConnectionError("refused")
            yield

        @connection.check
        async def answers(connection: str) -> None:
            raise AssertionError("there is nothing to be checked")

        async with lifespan.run("app"):
            assert await readiness(lifespan) == "degraded"
            assert report_of(lifespan).failing == ()
            return report_of(lifespan)

    assert run_virtually(main).ready


def test_failing_check_is_logged_once_and_so_is_its_recovery(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        line, connection = connected(lifespan)

        @connection.check(cache=1)
        async def answers(connection: Line) -> None:
            connection.ask()

        async with lifespan.run("app"):
            for line.cut in (False, True, True, True, False, False):
                await readiness(lifespan)
                await asyncio.sleep(1.5)

    caplog.set_level("INFO")
    run_virtually(main)
    said = [record.getMessage() for record in caplog.records if "check" in record.getMessage()]
    assert len(said) == 2
    assert said[0].startswith("The check 'answers' (tests/engine/test_resource_checks.py:")
    assert said[0].endswith("fails: ConnectionError: the line is cut")
    assert said[1].endswith("passes again.")


@pytest.mark.parametrize(
    ("declare", "error"),
    [
        (lambda handle: handle.check("no function"), "A check is a function"),
        (lambda handle: handle.check(timeout=0)(print), "timeout is a number of seconds above 0"),
        (lambda handle: handle.check(cache="long")(print), "cache is a number of seconds"),
    ],
)
def test_object_that_can_be_no_check_is_refused(
    lifespan: Lifespan, declare: Callable[[object], object], error: str
) -> None:
    @lifespan.resource
    async def connection() -> AsyncIterator[str]:
        yield "a line"

    with pytest.raises((TypeError, ValueError), match=error):
        declare(connection)
