"""`inject()`: hooks that break, in a run whose limits and messages are the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from lifespan_app import Lifespan, Resource
from lifespan_app.errors import HookError
from lifespan_app.testing import InjectedFailure, inject, lifespan_running
from tests.engine.virtual_clock import VirtualLoop, run_virtually

if TYPE_CHECKING:
    from pytest_django import Settings

KEY = f"{__name__}.{{}}".format


@pytest.fixture
def journal() -> list[str]:
    """Return what hooks have done, in their order."""
    return []


@pytest.fixture(params=["async", "sync"])
def shelf(request: pytest.FixtureRequest, lifespan: Lifespan, journal: list[str]) -> Resource[str]:
    """Declare a resource, in one test an async one and in another a sync one."""
    if request.param == "async":

        @lifespan.resource
        async def shelf() -> AsyncIterator[str]:
            journal.append("open")
            yield "shelf"
            journal.append("close")

        return shelf

    @lifespan.resource(name="shelf")
    def sync_shelf() -> Iterator[str]:
        journal.append("open")
        yield "shelf"
        journal.append("close")

    return sync_shelf


class TestFail:
    """A hook raises in place of starting."""

    def test_fail_raises_an_error_that_names_the_test(
        self, shelf: Resource[str], journal: list[str]
    ) -> None:
        with (
            inject(shelf, fail=True),
            pytest.raises(InjectedFailure, match="'shelf' fails to start, as inject"),
        ):
            lifespan_running().__enter__()
        assert journal == []

    async def test_fail_raises_the_error_that_it_is_given(self, shelf: Resource[str]) -> None:
        for error in (ZeroDivisionError("no wood"), ZeroDivisionError):
            with inject(shelf, fail=error), pytest.raises(ZeroDivisionError):
                await lifespan_running().__aenter__()

    def test_fail_holds_no_longer_than_its_block(
        self, shelf: Resource[str], journal: list[str]
    ) -> None:
        with inject(shelf, fail=True):
            pass
        with lifespan_running():
            assert journal == ["open"]

    def test_fail_breaks_an_optional_hook_like_its_own_error(self, lifespan: Lifespan) -> None:
        @lifespan.on_start(required=False)
        def warm() -> None: ...

        with inject(warm, fail=True), lifespan_running() as running:
            assert running.report.status == "degraded"
            step = running.report.step(KEY("warm"))
            assert step.exception == "lifespan_app.testing.InjectedFailure"

    def test_fail_breaks_every_hook_that_is_named(self, lifespan: Lifespan) -> None:
        @lifespan.on_start(required=False)
        def one() -> None: ...

        @lifespan.on_start(required=False)
        def two() -> None: ...

        with inject(one, KEY("two"), fail=True), lifespan_running() as running:
            assert [step.outcome for step in running.report.steps] == ["failed", "failed"]

    def test_fail_breaks_a_background_job_when_it_begins(self, lifespan: Lifespan) -> None:
        @lifespan.background
        async def refresh() -> None: ...

        async def look(running: Any) -> str:
            while running.report.status == "serving":
                await asyncio.sleep(0)
            return str(running.report.status)

        with inject(refresh, fail=True), lifespan_running(background=True) as running:
            assert lifespan.call(look, running, timeout=5) == "degraded"

    def test_fail_decorates_a_test(self, shelf: Resource[str]) -> None:
        @inject(shelf, fail=True)
        async def decorated() -> None:
            async with lifespan_running():
                pass

        with pytest.raises(InjectedFailure):
            asyncio.run(decorated())

    def test_fail_refuses_a_key_that_there_is_not(self, shelf: Resource[str]) -> None:
        with (
            inject(KEY("shelv"), fail=True),
            pytest.raises(LookupError, match=f"Did you mean '{KEY('shelf')}'"),
        ):
            lifespan_running().__enter__()

    @pytest.mark.parametrize("hooks", [(), (True,), ([print],), (None,), (print, 1)])
    def test_fail_needs_hooks(self, hooks: Any) -> None:
        with pytest.raises(TypeError, match="needs a hook"):
            inject(*hooks, fail=True)

    def test_fail_refuses_a_function_that_is_no_hook(self, lifespan: Lifespan) -> None:
        """Without an error the test would go on, and nothing would break."""

        @Lifespan().on_start
        def of_another() -> None: ...

        for function in (print, of_another):
            with pytest.raises(LookupError, match="nowhere in lifespan_app"):
                inject(function, fail=True).__enter__()
        assert lifespan.changes == []


class TestFailStop:
    """A hook raises when it has stopped."""

    def test_fail_stop_raises_when_all_is_closed(
        self, shelf: Resource[str], journal: list[str]
    ) -> None:
        with (
            inject(shelf, fail_stop=True),
            pytest.raises(ExceptionGroup) as raised,
            lifespan_running(),
        ):
            pass
        assert journal == ["open", "close"]
        [error] = raised.value.exceptions
        assert isinstance(error, InjectedFailure)

    async def test_fail_stop_raises_in_an_async_test(self, shelf: Resource[str]) -> None:
        running = lifespan_running()
        with inject(shelf, fail_stop=OSError("stuck")):
            await running.__aenter__()
        with pytest.raises(ExceptionGroup) as raised:
            await running.__aexit__(None, None, None)
        assert raised.group_contains(OSError, match="stuck")

    def test_fail_stop_breaks_the_shutdown_half_of_a_key(
        self, lifespan: Lifespan, journal: list[str]
    ) -> None:
        @lifespan.on_start(name="door")
        def unlock() -> None:
            journal.append("unlock")

        @lifespan.on_shutdown(name="door")
        def lock() -> None:
            journal.append("lock")

        with (
            inject(KEY("door"), fail_stop=True),
            pytest.raises(ExceptionGroup),
            lifespan_running(),
        ):
            pass
        assert journal == ["unlock", "lock"]

    def test_fail_stop_breaks_a_background_job_that_is_stopped(self, lifespan: Lifespan) -> None:
        @lifespan.background
        async def refresh() -> None:
            await asyncio.get_running_loop().create_future()

        with (
            inject(refresh, fail_stop=True),
            pytest.raises(ExceptionGroup) as raised,
            lifespan_running(background=True),
        ):
            lifespan.call(asyncio.sleep, 0)
        assert raised.group_contains(InjectedFailure)

    def test_fail_stop_is_refused_where_nothing_stops(self, lifespan: Lifespan) -> None:
        @lifespan.on_start
        def warm() -> None: ...

        with inject(warm, fail_stop=True), pytest.raises(LookupError, match="nothing that fail_st"):
            lifespan_running().__enter__()

    def test_fail_stop_breaks_a_context_manager_that_a_sync_callable_returns(
        self, lifespan: Lifespan, journal: list[str]
    ) -> None:
        class Entered:
            async def __aenter__(self) -> str:
                journal.append("open")
                return "entered"

            async def __aexit__(self, *error: object) -> None:
                journal.append("close")

        lifespan.resource(name="entered")(lambda: Entered())

        with (
            inject(KEY("entered"), fail_stop=True),
            pytest.raises(ExceptionGroup),
            lifespan_running() as running,
        ):
            assert running.state.entered == "entered"
        assert journal == ["open", "close"]


class TestDelayAndHang:
    """A hook begins late, or never; the real limits decide."""

    async def test_delayed_hook_begins_after_its_delay(
        self, lifespan: Lifespan, shelf: Resource[str], journal: list[str]
    ) -> None:
        @lifespan.resource
        def other() -> Iterator[int]:
            journal.append("other")
            yield 1

        with inject(shelf, delay=0.05):
            async with lifespan_running() as running:
                assert journal == ["other", "open"]
                assert running.report.step(KEY("shelf")).duration >= 0.045

    def test_hanging_hook_does_not_hold_up_a_sync_test(
        self, lifespan: Lifespan, shelf: Resource[str], settings: Settings
    ) -> None:
        settings.LIFESPAN = {"HOOKS": {KEY("shelf"): {"timeout": 0.05}}}
        with inject(shelf, hang=True), pytest.raises(HookError, match=r"limit of 0\.05 s"):
            lifespan_running().__enter__()

    async def test_hanging_hook_does_not_hold_up_an_async_test(
        self, shelf: Resource[str], settings: Settings
    ) -> None:
        settings.LIFESPAN = {"HOOKS": {KEY("shelf"): {"timeout": 0.05, "required": False}}}
        with inject(shelf, hang=True):
            async with lifespan_running() as running:
                assert running.report.status == "degraded"
                assert running.report.step(KEY("shelf")).outcome in ("timed_out", "abandoned")

    def test_delayed_hook_outside_a_test_waits_in_its_own_thread(self) -> None:
        def main(lifespan: Lifespan, loop: VirtualLoop) -> Any:
            @lifespan.resource(timeout=1)
            async def shelf() -> AsyncIterator[str]:
                yield "shelf"

            async def body() -> None:
                with inject(shelf, hang=True), pytest.raises(HookError, match="limit of 1 s"):
                    async with lifespan.run():
                        pass

            return body()

        run_virtually(main)

    async def test_hanging_thread_ends_with_the_block(self) -> None:
        lifespan = Lifespan()
        lifespan.resource(name="shelf", timeout=0.05, required=False)(yield_shelf)
        shelf = f"{__name__}.shelf"
        [handle] = [lifespan._handle(hook) for hook in lifespan.hooks]
        threads = thread_names()
        with inject(handle, hang=True):
            async with lifespan.run():
                assert thread_names() - threads == {f"lifespan {shelf}"}
        while thread_names() - threads:
            await asyncio.sleep(0)


def yield_shelf() -> Iterator[str]:
    yield "shelf"


def thread_names() -> set[str]:
    import threading

    return {thread.name for thread in threading.enumerate()}
