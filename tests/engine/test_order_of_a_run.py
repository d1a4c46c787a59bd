"""Rules 4.2 to 4.4 while they run: side by side, in order, and back in reverse."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.hooks.hook import Hook, Kind
from lifespan_app.engine.running.run import Run
from lifespan_app.engine.running.stages import Stage
from lifespan_app.engine.settings import Settings
from lifespan_app.errors import HookError
from tests.engine.apps import written_in
from tests.engine.conftest import RunOnLoop
from tests.engine.journal import Journal
from tests.engine.virtual_clock import VirtualLoop, run_virtually


def with_stages(lifespan: Lifespan, *functions: Any) -> Run:
    """Return a run with edges behind its hooks, as receivers and inner applications are."""

    def stage(function: Any) -> Stage:
        name = function.__name__
        return Stage(name, enters=lambda: [[Hook(function, Kind.STAGE, name=name)]])

    context = lifespan.adapter.context("app")
    return Run(lifespan, lifespan.plan("app"), context, stages=map(stage, functions))


# Startup.


def test_startup_takes_as_long_as_its_longest_chain() -> None:
    """a (3) <- b (4), c (6), d (1) <- e (1) <- f (1): seven seconds, all side by side."""
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        a = journal.resource(lifespan, "a", opens=3, closes=1)
        journal.resource(lifespan, "b", opens=4, closes=2, depends_on=[a])
        journal.resource(lifespan, "c", opens=6, closes=2.5)
        d = journal.start(lifespan, "d", 1)
        e = journal.start(lifespan, "e", 1, depends_on=[d])
        journal.start(lifespan, "f", 1, depends_on=[e])
        await lifespan.startup()
        journal.write("up")
        await lifespan.shutdown()
        journal.write("over")

    run_virtually(main)

    assert {event: second for second, event in journal.entries if second < 7} == {
        "open a": 0,
        "open c": 0,
        "start d": 0,
        "start d: done": 1,
        "start e": 1,
        "start e: done": 2,
        "start f": 2,
        "start f: done": 3,
        "open a: done": 3,
        "open b": 3,
        "open c: done": 6,
    }
    assert journal.when("up") == journal.when("open b: done") == 7
    assert journal.when("close b") == journal.when("close c") == 7
    assert journal.when("close a") == 9
    assert journal.when("over") == 10


def test_every_hook_of_a_priority_waits_for_all_of_the_lower_one() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "quick", opens=1, closes=1)
        journal.resource(lifespan, "slow", opens=5, closes=1)
        journal.resource(lifespan, "late", opens=1, closes=3, priority=1)
        async with lifespan.run("app"):
            journal.write("up")

    run_virtually(main)

    assert journal.when("open late") == 5
    assert journal.when("up") == 6
    assert journal.when("close late") == 6
    assert journal.when("close quick") == journal.when("close slow") == 9


def test_start_functions_of_one_module_run_one_after_the_other_as_written() -> None:
    ran: list[tuple[float, str]] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        async def hook(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            ran.append((loop.now - 1000, name))

        for name, seconds in (("one", 3.0), ("two", 1.0), ("three", 2.0)):
            lifespan.on_start(name=name)(functools.partial(hook, name, seconds))
        async with lifespan.run("app"):
            pass

    run_virtually(main)

    assert ran == [(3, "one"), (4, "two"), (6, "three")]


def test_sync_and_async_hooks_wait_for_each_other_alike(run: RunOnLoop) -> None:
    order: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        def connection() -> Iterator[str]:
            order.append("connect")
            yield "connection"
            order.append("disconnect")

        @lifespan.resource
        async def pool(connection: str) -> AsyncIterator[str]:
            order.append(f"open pool on {connection}")
            yield "pool"
            order.append("close pool")

        @lifespan.on_start
        def migrate(pool: str) -> None:
            order.append(f"migrate {pool}")

        @lifespan.on_shutdown(depends_on=[migrate])
        async def farewell(connection: str) -> None:
            order.append(f"farewell to {connection}")

        async with lifespan.run("app"):
            order.append("body")

    run(main)

    assert order == [
        "connect",
        "open pool on connection",
        "migrate pool",
        "body",
        "farewell to connection",
        "close pool",
        "disconnect",
    ]


def test_chain_of_a_thousand_hooks_is_no_recursion(run: RunOnLoop) -> None:
    counted: list[int] = []

    async def main(lifespan: Lifespan) -> None:
        async def hook(number: int) -> AsyncIterator[int]:
            counted.append(number)
            yield number
            counted.append(-number)

        before: list[Any] = []
        for number in range(1, 1001):
            declare = lifespan.resource(name=f"hook_{number}", depends_on=before)
            before = [declare(functools.partial(hook, number))]
        async with lifespan.run("app"):
            pass

    run(main)

    assert counted == [*range(1, 1001), *range(-1000, 0)]


def test_run_without_hooks_serves_and_stops(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        async with lifespan.run("app") as state:
            assert dict(state) == {}
            report = lifespan.report()
            assert report is not None
            assert (report.status, report.ready) == ("serving", True)
        report = lifespan.report()
        assert report is not None
        assert (report.status, report.ready) == ("stopped", False)

    run(main)


# Shutdown functions.


def test_shutdown_function_runs_at_its_position_in_the_reverse(run: RunOnLoop) -> None:
    """client <- farewell (shutdown) ; index stands on nothing the farewell waits for."""
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        client = journal.resource(lifespan, "client")
        journal.shutdown(lifespan, "farewell", depends_on=[client])
        journal.resource(lifespan, "late", priority=1)
        async with lifespan.run("app"):
            journal.write("body")

    run(main)

    closing = journal.events[journal.events.index("body") :]
    assert closing == [
        "body",
        "close late",
        "close late: done",
        "shutdown farewell",
        "shutdown farewell: done",
        "close client",
        "close client: done",
    ]


def test_shutdown_functions_of_one_module_run_last_written_first(run: RunOnLoop) -> None:
    order: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.on_shutdown
        async def one() -> None:
            order.append("one")

        @lifespan.on_shutdown
        def two() -> None:
            order.append("two")

        @lifespan.on_shutdown(5)
        async def of_a_higher_priority() -> None:
            order.append("of a higher priority")

        async with lifespan.run("app"):
            assert order == []

    run(main)

    assert order == ["of a higher priority", "two", "one"]


@pytest.mark.parametrize("above", [True, False], ids=["above", "below"])
def test_shutdown_function_above_a_failed_start_function_fires(run: RunOnLoop, above: bool) -> None:
    fired: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        async def connect() -> None:
            raise OSError("nobody there")

        async def disconnect() -> None:
            fired.append("disconnect")

        if above:
            lifespan.on_shutdown(disconnect)
        lifespan.on_start(connect)
        if not above:
            lifespan.on_shutdown(disconnect)
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()

    run(main)

    assert fired == (["disconnect"] if above else [])


def test_shutdown_function_is_armed_only_when_its_turn_has_come() -> None:
    """It waits for the client, which is still opening when another hook fails: it never fires."""
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        client = journal.resource(lifespan, "client", opens=5)
        journal.shutdown(lifespan, "farewell", depends_on=[client])
        journal.shutdown(lifespan, "free")
        journal.start(lifespan, "fails", 1, OSError("nobody there"))
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()

    run_virtually(main)

    assert "shutdown farewell" not in journal.events
    assert "shutdown free: done" in journal.events


# Background jobs.


def test_jobs_begin_after_every_hook_and_stop_before_the_first() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.job(lifespan, "refresh")
        journal.resource(lifespan, "client", opens=2, closes=1)
        journal.resource(lifespan, "late", opens=3, closes=1, priority=4)
        async with lifespan.run("app"):
            await asyncio.sleep(10)
            journal.write("body ends")

    run_virtually(main)

    assert journal.entries == [
        (0, "open client"),
        (2, "open client: done"),
        (2, "open late"),
        (5, "open late: done"),
        (5, "run refresh"),
        (15, "body ends"),
        (15, "run refresh: cancelled"),
        (15, "close late"),
        (16, "close late: done"),
        (16, "close client"),
        (17, "close client: done"),
    ]


def test_no_hook_stops_before_a_job_that_takes_its_time_has_ended() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.resource(lifespan, "client")

        @lifespan.background
        async def refresh() -> None:
            try:
                await asyncio.sleep(1_000)
            finally:
                await journal.take("write what is left", 3)

        async with lifespan.run("app"):
            await asyncio.sleep(1)

    run_virtually(main)

    assert journal.when("close client") == journal.when("write what is left: done") == 4


def test_jobs_stop_in_reverse_of_each_other() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        def job(name: str, priority: int) -> None:
            @lifespan.background(priority, name=name)
            async def hook() -> None:
                try:
                    await asyncio.sleep(1_000)
                finally:
                    await journal.take(f"stop {name}", 1)

        job("low", -1)
        job("high", 7)
        job("high_too", 7)
        job("middle", 0)
        async with lifespan.run("app"):
            await asyncio.sleep(1)

    run_virtually(main)

    assert [(second, event) for second, event in journal.entries if "done" not in event] == [
        (1, "stop high"),
        (1, "stop high_too"),
        (2, "stop middle"),
        (3, "stop low"),
    ]


def test_job_that_is_stopped_before_its_first_step_is_stopped(run: RunOnLoop) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.job(lifespan, "refresh")
        journal.resource(lifespan, "client")
        async with lifespan.run("app"):
            pass
        report = lifespan.report()
        assert report is not None
        assert report.status == "stopped"
        assert report.step("shop.refresh", "serving").outcome == "ok"

    run(main)

    assert journal.events[-1] == "close client: done"


def test_job_gets_its_dependencies(run: RunOnLoop) -> None:
    given: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(name="client")(written_in(__name__)(lambda: "a client"))

        @lifespan.background
        async def refresh(client: str) -> None:
            given.append(client)

        async with lifespan.run("app"):
            await asyncio.sleep(0)

    run(main)

    assert given == ["a client"]


def test_jobs_of_a_startup_that_fails_never_begin(run: RunOnLoop) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.job(lifespan, "refresh")
        journal.start(lifespan, "fails", error=OSError("nobody there"))
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()

    run(main)

    assert "run refresh" not in journal.events


# The edges of a run behind the hooks.


def test_stages_are_entered_between_hooks_and_jobs_and_left_first() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        async def receivers() -> AsyncIterator[None]:
            await journal.take("startup receivers", 1)
            yield
            await journal.take("shutdown receivers", 1)

        async def inner_application() -> AsyncIterator[None]:
            await journal.take("inner starts", 1)
            yield
            await journal.take("inner stops", 1)

        journal.job(lifespan, "refresh")
        journal.resource(lifespan, "client", opens=1, closes=1)
        run = with_stages(lifespan, receivers, inner_application)
        await run.start()
        assert run.report().ready
        journal.write("serving")
        await asyncio.sleep(1)
        stop = asyncio.ensure_future(run.stop())
        await asyncio.sleep(0)
        assert not run.report().ready
        await stop

    run_virtually(main)

    assert journal.entries == [
        (0, "open client"),
        (1, "open client: done"),
        (1, "startup receivers"),
        (2, "startup receivers: done"),
        (2, "inner starts"),
        (3, "inner starts: done"),
        (3, "run refresh"),
        (3, "serving"),
        (4, "inner stops"),
        (5, "inner stops: done"),
        (5, "shutdown receivers"),
        (6, "shutdown receivers: done"),
        (6, "run refresh: cancelled"),
        (6, "close client"),
        (7, "close client: done"),
    ]


def test_stage_that_fails_fails_the_startup(run: RunOnLoop) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        async def receivers() -> AsyncIterator[None]:
            raise LookupError("a receiver's own")
            yield

        async def never() -> None:
            journal.write("the next stage")

        journal.resource(lifespan, "client")
        journal.job(lifespan, "refresh")
        lifespan_run = with_stages(lifespan, receivers, never)
        with pytest.raises(LookupError, match="a receiver's own"):
            await lifespan_run.start()

    run(main)

    assert journal.events == [
        "open client",
        "open client: done",
        "close client",
        "close client: done",
    ]


def test_stage_reads_whatever_is_open(run: RunOnLoop) -> None:
    read: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        client = Journal().resource(lifespan, "client")

        async def receivers() -> None:
            read.append(client.current())

        lifespan_run = with_stages(lifespan, receivers)
        await lifespan_run.start()
        await lifespan_run.stop()

    run(main)

    assert read == ["client"]


def test_stage_is_held_to_the_startup_s_deadline() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        async def inner_application() -> None:
            await asyncio.sleep(100)

        lifespan_run = with_stages(lifespan, inner_application)
        with pytest.raises(HookError, match=r"inner_application' .* did not start within") as error:
            await lifespan_run.start()
        assert "Raise Settings.startup_deadline" in str(error.value)
        assert loop.now == 1010

    run_virtually(main, settings=Settings(startup_deadline=10))


def test_stop_of_a_stage_is_held_to_the_shutdown_s_timeout() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        async def inner_application() -> AsyncIterator[None]:
            yield
            await asyncio.sleep(100)

        journal.resource(lifespan, "client")
        lifespan_run = with_stages(lifespan, inner_application)
        await lifespan_run.start()
        await lifespan_run.stop()
        [error] = lifespan_run.stop_errors
        assert "inner_application' (" in str(error)
        assert "Raise Settings.shutdown_timeout" in str(error)

    run_virtually(main, settings=Settings(shutdown_timeout=2))

    assert journal.when("close client") == 2
