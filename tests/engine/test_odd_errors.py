"""An error whose own code raises is a failure like any other: reported, and nothing waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.error_text import one_line, text_of, traceback_of
from lifespan_app.engine.reporting.report import Report
from lifespan_app.engine.settings import Settings
from tests.engine.apps import written_in
from tests.engine.exchange import Server
from tests.engine.journal import Journal
from tests.engine.odd_errors import ODD_ERRORS, ClassRaises, EverythingRaises, Frozen, TextIsNone
from tests.engine.virtual_clock import VirtualLoop, run_virtually


def each_of(kinds: list[type[Exception]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.__qualname__)


odd = each_of(ODD_ERRORS)


def report_of(lifespan: Lifespan) -> Report:
    report = lifespan.report()
    assert report is not None
    return report.complete()


@odd
@pytest.mark.parametrize("form", ["async", "sync"])
def test_start_that_raises_an_odd_error_is_rolled_back(
    caplog: pytest.LogCaptureFixture, kind: type[Exception], form: str
) -> None:
    error = kind("nobody there")

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        client = journal.resource(lifespan, "client")

        @written_in("shop.lifespan")
        async def in_task() -> None:
            raise error

        @written_in("shop.lifespan")
        def in_thread() -> None:
            raise error

        hook = in_task if form == "async" else in_thread
        lifespan.on_start(name="warm_up", depends_on=[client])(hook)
        server = Server(lifespan)
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert "hook 'shop.warm_up' (tests/engine/" in answer["message"]
        assert await server.raised() is error
        assert journal.events[-1] == "close client: done"
        report = report_of(lifespan)
        assert report.status == "startup_failed"
        step = report.step("shop.warm_up")
        assert (step.outcome, step.exception != "") == ("failed", True)

    run_virtually(main)
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith("Lifespan hook 'shop.warm_up' (tests/engine/")


@odd
def test_optional_hook_that_raises_an_odd_error_lets_the_rest_serve(kind: type[Exception]) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        feed = journal.resource(lifespan, "feed", open_error=kind("down"), required=False)
        journal.resource(lifespan, "index", depends_on=[feed])
        journal.resource(lifespan, "client")
        async with lifespan.run("app") as state:
            assert state["client"] == "client"
            assert report_of(lifespan).status == "degraded"
            assert "it needs 'shop.feed'" in report_of(lifespan).step("shop.index").reason

    run_virtually(main)


@odd
@pytest.mark.parametrize("form", ["async", "sync"])
def test_stop_that_raises_an_odd_error_is_answered_when_all_is_down(
    kind: type[Exception], form: str
) -> None:
    error = kind("nobody there")

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        journal.resource(lifespan, "base")

        @written_in("shop.lifespan")
        async def in_task(base: str) -> AsyncIterator[str]:
            yield "client"
            raise error

        @written_in("shop.lifespan")
        def in_thread(base: str) -> Iterator[str]:
            yield "client"
            raise error

        lifespan.resource(name="client")(in_task if form == "async" else in_thread)
        server = Server(lifespan)
        assert (await server.startup())["type"] == "lifespan.startup.complete"
        answer = await server.shutdown()
        assert answer["type"] == "lifespan.shutdown.failed"
        assert "'shop.client'" in answer["message"]
        assert journal.events[-1] == "close base: done"
        assert report_of(lifespan).step("shop.client", "shutdown").outcome == "failed"

    run_virtually(main)


@odd
@pytest.mark.parametrize("where", ["job", "task group"])
def test_crash_by_an_odd_error_is_seen(kind: type[Exception], where: str) -> None:
    error = kind("connection lost")
    if where == "task group" and kind in (ClassRaises, EverythingRaises):
        pytest.skip("asyncio's TaskGroup never ends: it asks the error for its __class__")

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        if where == "job":
            Journal().job(lifespan, "feed", 1, error)
        else:

            @lifespan.resource
            @written_in("shop.lifespan")
            async def feed() -> AsyncIterator[str]:
                async def listen() -> None:
                    await asyncio.sleep(1)
                    raise error

                async with asyncio.TaskGroup() as group:
                    group.create_task(listen())
                    yield "a feed"

        async with lifespan.run("app"):
            await asyncio.sleep(2)
            report = report_of(lifespan)
            assert (report.status, report.readiness) == ("degraded", "crashed")
            assert report.step("shop.feed", "serving").outcome == "crashed"
        assert report_of(lifespan).status == "stopped"

    run_virtually(main)


@odd
def test_job_that_raises_an_odd_error_begins_again(kind: type[Exception]) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal.job(lifespan, "feed", 1, kind("connection lost"), on_crash="restart")
        async with lifespan.run("app"):
            await asyncio.sleep(30)

    run_virtually(main)
    assert journal.events.count("run feed") > 2


@odd
def test_check_that_raises_an_odd_error_is_reported(kind: type[Exception]) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        client = Journal().resource(lifespan, "client")

        @client.check
        async def answers(value: str) -> None:
            raise kind("no answer")

        async with lifespan.run("app"):
            [run] = lifespan.runs
            await run.check()
            assert report_of(lifespan).readiness == "check_failed"

    run_virtually(main)


@odd
def test_resource_that_raised_an_odd_error_can_be_asked_why(kind: type[Exception]) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "feed", open_error=kind("down"), required=False)
        async with lifespan.run("app") as state:
            with pytest.raises(KeyError, match="did not come up"):
                _ = state["feed"]

    run_virtually(main)


# contextlib sets the traceback of what a body raises, which a frozen error refuses.
@each_of([kind for kind in ODD_ERRORS if kind is not Frozen])
def test_odd_error_of_the_body_goes_on_with_those_of_the_shutdown(kind: type[Exception]) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "client", close_error=kind("not closed"))
        body = kind("of the body")
        with pytest.raises(kind) as caught:
            async with lifespan.run("app"):
                raise body
        assert caught.value is body

    run_virtually(main)


@pytest.mark.parametrize("at", ["startup", "shutdown"])
def test_deadlines_hold_beside_an_error_that_cant_be_printed(at: str) -> None:
    """A hook that hangs is given up in time, whatever another one has raised before."""
    journal = Journal()
    settings = Settings(shutdown_deadline=4)

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        error = TextIsNone()
        if at == "startup":
            journal.start(lifespan, "fails", 1, error)
            journal.resource(lifespan, "slow", closes=1000)
        else:
            journal.shutdown(lifespan, "fails", 1, error)
            journal.resource(lifespan, "slow", closes=1000)
        server = Server(lifespan)
        await server.startup()
        if at == "shutdown":
            await server.shutdown()
        await server.raised()
        assert loop.time() - 1000 < 8

    run_virtually(main, settings=settings)


# Values.


class Awkward:
    """An object that answers nothing that it is asked."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not compared")

    def __bool__(self) -> bool:
        raise RuntimeError("neither")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("form", ["async", "sync", "async generator", "sync generator"])
def test_resource_may_be_an_object_that_refuses_every_question(form: str) -> None:
    value = Awkward()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @written_in("shop.lifespan")
        async def in_task() -> Awkward:
            return value

        @written_in("shop.lifespan")
        def in_thread() -> Awkward:
            return value

        @written_in("shop.lifespan")
        async def in_task_to_the_end() -> AsyncIterator[Awkward]:
            yield value

        @written_in("shop.lifespan")
        def in_thread_to_the_end() -> Iterator[Awkward]:
            yield value

        hooks: dict[str, Any] = {
            "async": in_task,
            "sync": in_thread,
            "async generator": in_task_to_the_end,
            "sync generator": in_thread_to_the_end,
        }
        lifespan.resource(name="awkward")(hooks[form])
        given = []

        @lifespan.on_start
        @written_in("shop.lifespan")
        async def uses(awkward: Any) -> None:
            given.append(id(awkward))

        server = Server(lifespan)
        assert (await server.startup())["type"] == "lifespan.startup.complete"
        assert given == [id(value)]
        assert (await server.shutdown())["type"] == "lifespan.shutdown.complete"

    run_virtually(main)


# The text of an error.


@odd
def test_error_has_a_line_and_a_traceback(kind: type[Exception]) -> None:
    try:
        raise kind("nobody there")
    except BaseException as caught:
        error = caught
    name = kind.__qualname__
    assert one_line(error).startswith(name)
    assert name in traceback_of(error)


def test_error_that_cant_be_printed_is_called_so() -> None:
    assert text_of(TextIsNone()) == "<unprintable TextIsNone object>"
    assert one_line(TextIsNone()) == "TextIsNone: <unprintable TextIsNone object>"
