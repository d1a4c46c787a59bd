"""`@lifespan.on_drain`: runs as soon as the shutdown is known, while everything is still open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from lifespan_app import Lifespan
from lifespan_app.errors import PlanError
from tests.engine.conftest import RunOnLoop
from tests.engine.lookups import run_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually


def shutdown_steps(lifespan: Lifespan) -> dict[str, str | None]:
    report = lifespan.report()
    assert report is not None
    return {step.name: step.outcome for step in report.steps if step.phase == "shutdown"}


def test_drain_function_runs_at_the_notice_and_not_again(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> list[str]:
        events = []

        @lifespan.resource
        async def client() -> AsyncIterator[str]:
            yield "client"
            events.append("client closes")

        @lifespan.on_drain
        async def deregister(client: str) -> None:
            events.append(f"drain with {client}")

        async with lifespan.run("app"):
            run_of(lifespan).notice("SIGTERM")
            run_of(lifespan).notice("SIGTERM")
            await asyncio.sleep(0.01)
            events.append("still serves")
            assert client.current() == "client"
            assert run_of(lifespan).readiness == "stopping"
            assert run_of(lifespan).status == "serving"
        assert shutdown_steps(lifespan) == {"client": "ok", "deregister": "ok"}
        return events

    assert run(main) == ["drain with client", "still serves", "client closes"]


def test_drain_function_runs_first_without_a_notice(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> list[str]:
        events = []

        @lifespan.on_drain
        def deregister() -> None:
            events.append("drain")

        @lifespan.background
        async def job() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                events.append("job stops")

        @lifespan.on_shutdown(5)
        def goodbye() -> None:
            events.append("goodbye")

        async with lifespan.run("app"):
            await asyncio.sleep(0.01)
            assert events == []
        return events

    assert run(main) == ["drain", "job stops", "goodbye"]


def test_shutdown_waits_for_a_drain_function_that_has_begun() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        events = []

        @lifespan.resource
        async def client() -> AsyncIterator[str]:
            yield "client"
            events.append(("client closes", loop.now - begun))

        @lifespan.on_drain
        async def first() -> None:
            await asyncio.sleep(3)
            events.append(("first", loop.now - begun))

        @lifespan.on_drain
        async def second() -> None:
            await asyncio.sleep(2)
            events.append(("second", loop.now - begun))

        async with lifespan.run("app"):
            begun = loop.now
            run_of(lifespan).notice("SIGTERM")
            await asyncio.sleep(1)
        assert events == [("second", 2), ("first", 3), ("client closes", 3)]

    run_virtually(main)


def test_drain_function_past_its_limit_is_cancelled_and_reported() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.on_drain(timeout=2)
        async def deregister() -> None:
            await asyncio.Event().wait()

        with pytest.RaisesGroup(Exception) as raised:
            async with lifespan.run("app"):
                run_of(lifespan).notice("SIGTERM")
                await asyncio.sleep(60)
        assert "did not stop within its limit of 2 s" in str(raised.value.exceptions[0])
        assert "Raise timeout= of the hook" in str(raised.value.exceptions[0])
        assert shutdown_steps(lifespan) == {"deregister": "timed_out"}

    run_virtually(main)


def test_drain_function_that_fails_keeps_no_other_from_running(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        @lifespan.on_drain
        async def deregister() -> None:
            raise OSError("nobody is there")

        @lifespan.on_drain
        def tell() -> None:
            pass

        with pytest.raises(ExceptionGroup, match="1 hook failed to stop"):
            async with lifespan.run("app"):
                run_of(lifespan).notice("SIGTERM")
        assert shutdown_steps(lifespan) == {"deregister": "failed", "tell": "ok"}

    run(main)


def test_startup_that_fails_drains_nothing(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        drained = []

        @lifespan.on_drain
        async def deregister() -> None:
            drained.append(True)

        @lifespan.on_start
        async def fails() -> None:
            raise OSError("no")

        with pytest.raises(OSError, match="no"):
            async with lifespan.run("app"):
                pass
        assert not drained

    run(main)


def test_drain_function_of_a_crashed_resource_is_skipped(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        crash = asyncio.Event()

        @lifespan.resource(required=False)
        async def client() -> AsyncIterator[str]:
            async with asyncio.TaskGroup() as group:
                group.create_task(crashes())
                yield "client"

        async def crashes() -> None:
            await crash.wait()
            raise OSError("gone")

        @lifespan.on_drain
        async def deregister(client: str) -> None:
            pytest.fail("it ran")

        async with lifespan.run("app"):
            crash.set()
            while run_of(lifespan).readiness == "ok":
                await asyncio.sleep(0)
            run_of(lifespan).notice("SIGTERM")
        assert shutdown_steps(lifespan)["deregister"] == "skipped"

    run(main)


def test_drain_function_passes_no_priority_to_its_dependencies(lifespan: Lifespan) -> None:
    @lifespan.on_drain
    async def deregister(late: str) -> None:
        pass

    @lifespan.resource(5)
    async def late() -> AsyncIterator[str]:
        yield "late"

    @lifespan.on_start(1)
    async def early() -> None:
        pass

    assert [key.rpartition(".")[2] for key in lifespan.plan("app").order] == [
        "early",
        "late",
        "deregister",
    ]


def test_nothing_may_depend_on_a_drain_function(lifespan: Lifespan) -> None:
    @lifespan.on_drain
    async def deregister() -> None:
        pass

    @lifespan.on_start(depends_on=[deregister])
    async def other() -> None:
        pass

    with pytest.raises(PlanError, match="depends on the drain function"):
        lifespan.plan("app")


def test_drain_function_takes_no_priority_and_may_not_yield(lifespan: Lifespan) -> None:
    with pytest.raises(
        TypeError, match=r"on_drain takes no priority=. It takes: depends_on, name,"
    ):
        lifespan.on_drain(priority=3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="needs a function, not 3"):
        lifespan.on_drain(3)  # type: ignore[call-overload]

    def generator() -> Iterator[None]:
        yield

    with pytest.raises(TypeError, match="yields, which a drain function can't"):
        lifespan.on_drain(generator)
