"""SystemExit, KeyboardInterrupt in a hook: carried as a value, unwound like any other, raised last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from lifespan_app import Lifespan
from tests.engine.apps import written_in
from tests.engine.conftest import RunOnLoop
from tests.engine.exchange import Server
from tests.engine.journal import Journal
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually


class OfItsOwn(BaseException):
    """An exception that is no ``Exception``."""


ERRORS = [SystemExit(3), KeyboardInterrupt("by hand"), OfItsOwn("by nobody")]


def fails_at_startup(lifespan: Lifespan, kind: str, error: BaseException) -> None:
    @written_in("shop.lifespan")
    async def fails() -> None:
        raise error

    @written_in("shop.lifespan")
    def fails_in_a_thread() -> None:
        raise error

    @written_in("shop.lifespan")
    async def fails_as_a_resource() -> AsyncIterator[None]:
        raise error
        yield

    @written_in("shop.lifespan")
    def fails_as_a_sync_resource() -> Iterator[None]:
        raise error
        yield

    if kind == "async function":
        lifespan.on_start(priority=1, name="fails")(fails)
    elif kind == "sync function":
        lifespan.on_start(priority=1, name="fails")(fails_in_a_thread)
    elif kind == "async resource":
        lifespan.resource(priority=1, name="fails")(fails_as_a_resource)
    else:
        lifespan.resource(priority=1, name="fails")(fails_as_a_sync_resource)


def fails_at_shutdown(lifespan: Lifespan, kind: str, error: BaseException) -> None:
    @written_in("shop.lifespan")
    async def fails() -> None:
        raise error

    @written_in("shop.lifespan")
    def fails_in_a_thread() -> None:
        raise error

    @written_in("shop.lifespan")
    async def fails_as_a_resource() -> AsyncIterator[None]:
        yield
        raise error

    @written_in("shop.lifespan")
    def fails_as_a_sync_resource() -> Iterator[None]:
        yield
        raise error

    if kind == "async function":
        lifespan.on_shutdown(priority=1, name="fails")(fails)
    elif kind == "sync function":
        lifespan.on_shutdown(priority=1, name="fails")(fails_in_a_thread)
    elif kind == "async resource":
        lifespan.resource(priority=1, name="fails")(fails_as_a_resource)
    else:
        lifespan.resource(priority=1, name="fails")(fails_as_a_sync_resource)


KINDS = ["async function", "sync function", "async resource", "sync resource"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_base_exception_at_startup_is_raised_after_the_rollback(
    run: RunOnLoop, kind: str, error: BaseException
) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "client")
        fails_at_startup(lifespan, kind, error)
        with pytest.raises(type(error)) as caught:
            await lifespan.startup()
        assert caught.value is error
        assert "Raised by lifespan hook 'shop.fails' (" in error.__notes__[-1]
        assert report_of(lifespan).step("shop.fails").exception.endswith(type(error).__name__)

    run(main)

    assert journal.events[-1] == "close client: done"


@pytest.mark.parametrize("kind", KINDS)
def test_server_gets_the_message_of_a_base_exception_before_it_is_raised(
    run: RunOnLoop, kind: str
) -> None:
    """A Task lets SystemExit out of the loop, so here the protocol is awaited by a test's hand."""
    sent: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        fails_at_startup(lifespan, kind, OfItsOwn("by nobody"))
        server = Server(lifespan)
        answer = await server.startup()
        sent.append(answer["type"])
        assert "OfItsOwn: by nobody" in answer["message"]
        raised = await server.raised()
        assert isinstance(raised, OfItsOwn)

    run(main)

    assert sent == ["lifespan.startup.failed"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_base_exception_at_shutdown_is_raised_after_every_stop(
    run: RunOnLoop, kind: str, error: BaseException
) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "client", close_error=OSError("won't close"))
        journal.resource(lifespan, "base", priority=-1)
        fails_at_shutdown(lifespan, kind, error)
        await lifespan.startup()
        with pytest.raises(type(error)) as caught:
            await lifespan.shutdown()
        assert caught.value is error
        report = report_of(lifespan)
        assert report.status == "shutdown_failed"
        assert report.step("shop.fails", "shutdown").outcome == "failed"
        assert report.step("shop.client", "shutdown").outcome == "failed"

    run(main)

    assert journal.events[-1] == "close base: done"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fails", [fails_at_startup, fails_at_shutdown])
def test_generator_exit_of_a_hook_is_its_failure(
    kind: str, fails: Callable[[Lifespan, str, BaseException], None]
) -> None:
    error = GeneratorExit("by hand")

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        fails(lifespan, kind, error)

        async def start_and_stop() -> None:
            await lifespan.startup()
            await lifespan.shutdown()

        with pytest.raises(GeneratorExit):
            await start_and_stop()
        assert loop.now == 1000

    run_virtually(main)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_base_exception_in_an_optional_hook_fails_that_hook_alone(
    run: RunOnLoop, error: BaseException
) -> None:
    async def main(lifespan: Lifespan) -> None:
        Journal().start(lifespan, "fails", error=error, required=False)
        async with lifespan.run("app"):
            assert report_of(lifespan).status == "degraded"

    run(main)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_base_exception_in_a_job_crashes_that_job_alone(
    run: RunOnLoop, error: BaseException
) -> None:
    async def main(lifespan: Lifespan) -> None:
        Journal().job(lifespan, "refresh", 0.0, error)
        async with lifespan.run("app"):
            for _ in range(3):
                await asyncio.sleep(0)
            report = report_of(lifespan)
            assert report.step("shop.refresh", "serving").outcome == "crashed"
            assert not report.ready

    run(main)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_base_exception_in_the_body_stops_open_hooks(run: RunOnLoop, error: BaseException) -> None:
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "client")

        async def body() -> None:
            async with lifespan.run("app"):
                raise error

        with pytest.raises(type(error)) as caught:
            await body()
        assert caught.value is error

    run(main)

    assert journal.events[-1] == "close client: done"
