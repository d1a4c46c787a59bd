"""Task groups, cancel scopes, timeouts and context variables inside hooks: one task, enter to exit."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import anyio.abc
import pytest

from lifespan_app import Lifespan, Resource
from lifespan_app.engine.reporting.report import Report
from tests.engine.conftest import RunOnLoop
from tests.engine.journal import Journal
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually

# One and the same task.


def test_resource_is_entered_and_left_in_one_and_the_same_task(run: RunOnLoop) -> None:
    tasks: list[asyncio.Task[object] | None] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def generator() -> AsyncIterator[None]:
            tasks.append(asyncio.current_task())
            yield
            tasks.append(asyncio.current_task())

        @lifespan.resource
        @asynccontextmanager
        async def context_manager() -> AsyncIterator[None]:
            tasks.append(asyncio.current_task())
            yield
            tasks.append(asyncio.current_task())

        async with lifespan.run("app"):
            tasks.append(asyncio.current_task())

    run(main)

    assert len(tasks) == 5
    assert len(set(tasks)) == 3
    assert all(tasks.count(task) == 2 for task in set(tasks) - {tasks[2]})


def test_resource_is_left_in_its_task_whoever_stops_the_run() -> None:
    tasks: list[asyncio.Task[object] | None] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource
        async def group() -> AsyncIterator[None]:
            tasks.append(asyncio.current_task())
            async with asyncio.timeout(1_000):
                yield
            tasks.append(asyncio.current_task())

        await asyncio.create_task(lifespan.startup())
        await asyncio.create_task(lifespan.shutdown())

    run_virtually(main)

    assert tasks[0] is tasks[1]


def test_run_may_be_entered_in_one_task_and_left_in_another(run: RunOnLoop) -> None:
    """As fixtures of a test framework are: the hooks live in tasks of their own anyway."""
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "client")
        stack = AsyncExitStack()
        await asyncio.create_task(stack.enter_async_context(lifespan.run("app")))
        await asyncio.create_task(stack.aclose())
        assert lifespan.runs == []

    run(main)

    assert journal.events[-1] == "close client: done"


# asyncio.TaskGroup.


def task_group(lifespan: Lifespan) -> Resource[asyncio.TaskGroup]:
    @lifespan.resource
    async def group() -> AsyncIterator[asyncio.TaskGroup]:
        async with asyncio.TaskGroup() as group:
            yield group

    return group


def test_task_group_as_a_resource_waits_for_its_tasks_at_its_end() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        group = task_group(lifespan)
        async with lifespan.run("app"):
            group.current().create_task(journal.take("work", 3))
            await asyncio.sleep(1)
        journal.write("over")

    run_virtually(main)

    assert journal.entries == [(0, "work"), (3, "work: done"), (3, "over")]


def test_task_group_s_tasks_are_cancelled_when_its_limit_passes() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        group = task_group(lifespan)
        await lifespan.startup()
        group.current().create_task(journal.take("work", 60))
        with pytest.raises(ExceptionGroup):
            await lifespan.shutdown()

    run_virtually(main)

    assert journal.entries == [(0, "work"), (5, "work: cancelled")]


def test_task_group_around_a_yield_is_cancelled_with_its_startup() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.on_start
        async def warm_up() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(journal.take("one", 60))
                group.create_task(journal.take("two", 60))

        journal.start(lifespan, "fails", 3, OSError("nobody there"))
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()

    run_virtually(main)

    assert (3, "one: cancelled") in journal.entries
    assert (3, "two: cancelled") in journal.entries


def test_task_group_that_fails_at_startup_is_the_hook_s_failure(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        async def fail() -> None:
            raise OSError("nobody there")

        @lifespan.resource
        async def group() -> AsyncIterator[None]:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
            yield

        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.startup()
        assert [str(error) for error in caught.value.exceptions] == ["nobody there"]

    run(main)


# anyio.


def test_anyio_task_group_serves_as_a_resource(run: RunOnLoop) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def group() -> AsyncIterator[anyio.abc.TaskGroup]:
            async with anyio.create_task_group() as group:
                yield group
                group.cancel_scope.cancel()

        async def work() -> None:
            journal.write("work")
            try:
                await anyio.sleep(1_000)
            finally:
                journal.write("cancelled")

        async with lifespan.run("app"):
            group.current().start_soon(work)
            while "work" not in journal.events:
                await asyncio.sleep(0)
        assert report_of(lifespan).status == "stopped"

    run(main)

    assert journal.events == ["work", "cancelled"]


def test_anyio_task_group_that_crashes_while_serving_is_seen(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def group() -> AsyncIterator[anyio.abc.TaskGroup]:
            async with anyio.create_task_group() as group:
                yield group

        async def fail() -> None:
            raise ConnectionError("lost")

        async with lifespan.run("app"):
            group.current().start_soon(fail)
            while report_of(lifespan).ready:
                await asyncio.sleep(0)
            [step] = [step for step in report_of(lifespan).steps if step.phase == "serving"]
            assert step.outcome == "crashed"
            assert "ConnectionError: lost" in step.traceback

    run(main)


def test_anyio_cancel_scope_cancels_only_its_own_block() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource
        async def client() -> AsyncIterator[str]:
            with anyio.move_on_after(2):
                await journal.take("ping", 60)
            yield "a client"
            with anyio.move_on_after(1):
                await journal.take("farewell", 60)

        async with lifespan.run("app"):
            assert client.current() == "a client"
        assert {step.outcome for step in report_of(lifespan).steps} == {"ok"}

    run_virtually(main)

    assert journal.entries == [
        (0, "ping"),
        (2, "ping: cancelled"),
        (2, "farewell"),
        (3, "farewell: cancelled"),
    ]


def test_anyio_s_shield_is_no_way_past_the_shutdown_s_deadline() -> None:
    """A shielded scope ignores every cancellation from outside: it is abandoned in the end."""

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        @lifespan.resource
        async def shielded() -> AsyncIterator[None]:
            yield
            with anyio.CancelScope(shield=True):
                while True:
                    try:
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        continue

        await lifespan.startup()
        with pytest.raises(ExceptionGroup):
            await lifespan.shutdown()
        assert loop.now <= 1008
        return report_of(lifespan)

    assert run_virtually(main).steps[-1].outcome == "abandoned"


# asyncio.timeout.


def test_timeout_inside_a_hook_ends_its_own_block() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource
        async def client() -> AsyncIterator[str]:
            try:
                async with asyncio.timeout(2):
                    await journal.take("ping", 60)
            except TimeoutError:
                journal.write("no answer")
            yield "a client"

        async with lifespan.run("app"):
            assert client.current() == "a client"

    run_virtually(main)

    assert journal.events == ["ping", "ping: cancelled", "no answer"]


def test_timeout_that_ends_a_hook_is_that_hook_s_failure() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.on_start
        async def ping() -> None:
            async with asyncio.timeout(2):
                await asyncio.sleep(60)

        with pytest.raises(TimeoutError):
            await lifespan.startup()
        assert report_of(lifespan).steps[0].outcome == "failed"

    run_virtually(main)


def test_timeout_around_the_yield_that_does_not_pass_disturbs_nothing() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource
        async def lease() -> AsyncIterator[asyncio.Timeout]:
            async with asyncio.timeout(60) as lease:
                yield lease

        async with lifespan.run("app"):
            for _ in range(5):
                await asyncio.sleep(50)
                lease.current().reschedule(loop.time() + 60)
        assert {step.outcome for step in report_of(lifespan).steps} == {"ok"}

    run_virtually(main)


# Context variables.


def test_context_variable_lasts_from_enter_to_exit_and_in_the_children(run: RunOnLoop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")
    seen: list[str] = []

    async def look() -> None:
        seen.append(variable.get())

    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def one() -> AsyncIterator[None]:
            token = variable.set("inside one")
            async with asyncio.TaskGroup() as group:
                group.create_task(look())
            yield
            seen.append(variable.get())
            variable.reset(token)

        @lifespan.resource(depends_on=[one])
        async def two() -> AsyncIterator[None]:
            await look()
            yield
            await look()

        async with lifespan.run("app"):
            await look()

    run(main)

    assert seen == ["inside one", "outside", "outside", "outside", "inside one"]


def test_job_sees_the_context_that_its_run_was_begun_in(run: RunOnLoop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.background
        async def job() -> None:
            seen.append(variable.get())

        variable.set("at the begin")
        async with lifespan.run("app"):
            variable.set("later")
            await asyncio.sleep(0)

    run(main)

    assert seen == ["at the begin"]


# A project's own ways with tasks.


def test_task_factory_of_the_project_s_own_is_left_alone_and_does_no_harm(
    run: RunOnLoop,
) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        loop = asyncio.get_running_loop()

        def factory(
            loop: asyncio.AbstractEventLoop,
            coroutine: Awaitable[object],
            **options: object,
        ) -> asyncio.Task[object]:
            return asyncio.Task(coroutine, loop=loop, **options)  # type: ignore[arg-type]

        loop.set_task_factory(factory)  # type: ignore[arg-type]
        journal.resource(lifespan, "client")
        async with lifespan.run("app"):
            assert loop.get_task_factory() is factory
        assert loop.get_task_factory() is factory

    run(main)

    assert journal.events[-1] == "close client: done"


def test_exit_stack_inside_a_hook_closes_in_reverse(run: RunOnLoop) -> None:
    order: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        @asynccontextmanager
        async def part(name: str) -> AsyncIterator[str]:
            order.append(f"open {name}")
            yield name
            order.append(f"close {name}")

        @lifespan.resource
        async def parts() -> AsyncIterator[list[str]]:
            async with AsyncExitStack() as stack:
                yield [await stack.enter_async_context(part(name)) for name in ("a", "b")]

        async with lifespan.run("app"):
            assert parts.current() == ["a", "b"]

    run(main)

    assert order == ["open a", "open b", "close b", "close a"]
