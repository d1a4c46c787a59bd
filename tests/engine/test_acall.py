"""`lifespan.acall()`: async code on any loop runs an async function on the loop of the run."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from lifespan_app import Lifespan, Resource
from lifespan_app.errors import LifespanError, NotRunning, WrongLoop
from tests.engine.shelves import Shelf
from tests.forks import in_a_fork

T = TypeVar("T")

variable = contextvars.ContextVar("variable", default="unset")


@pytest.fixture
def lifespan() -> Lifespan:
    """Return a registry of the test's own."""
    return Lifespan()


def on_another_loop(lifespan: Lifespan, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return what a function gives on a loop beside that of an open run."""
    with lifespan.run_sync():
        return contextvars.Context().run(asyncio.run, function())


async def count(shelf: Resource[Shelf]) -> int:
    return await shelf.current().count()


class TestOnAnotherLoop:
    """Where a resource can't be awaited."""

    def test_acall_returns_the_result_of_the_function(
        self, lifespan: Lifespan, shelf: Resource[Shelf]
    ) -> None:
        assert on_another_loop(lifespan, lambda: lifespan.acall(count, shelf)) == 3

    def test_acall_raises_the_error_of_the_function(self, lifespan: Lifespan) -> None:
        async def fail() -> None:
            raise ZeroDivisionError("there")

        with pytest.raises(ZeroDivisionError, match="there"):
            on_another_loop(lifespan, lambda: lifespan.acall(fail))

    def test_wrong_loop_recommends_acall(self, lifespan: Lifespan, shelf: Resource[Shelf]) -> None:
        with pytest.raises(WrongLoop, match=r"await lifespan\.acall\(async_function"):
            on_another_loop(lifespan, lambda: count(shelf))

    def test_called_function_sees_the_callers_context_variables(self, lifespan: Lifespan) -> None:
        async def read() -> str:
            return variable.get()

        async def call() -> str:
            variable.set("the caller's")
            return await lifespan.acall(read)

        assert on_another_loop(lifespan, call) == "the caller's"

    def test_loop_of_the_caller_goes_on_during_an_acall(self, lifespan: Lifespan) -> None:
        async def call() -> str:
            woken = asyncio.Event()
            here = asyncio.get_running_loop()

            async def wait() -> None:
                reached = asyncio.run_coroutine_threadsafe(woken.wait(), here)
                here.call_soon_threadsafe(woken.set)
                await asyncio.wrap_future(reached)

            await lifespan.acall(wait, timeout=10)
            return "went on"

        assert on_another_loop(lifespan, call) == "went on"

    def test_call_past_its_timeout_is_cancelled(self, lifespan: Lifespan) -> None:
        cancelled: list[str] = []

        async def hang() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append("there")
                raise

        with pytest.raises(TimeoutError, match=r"hang\(\).*took more than 0.01 s"):
            on_another_loop(lifespan, lambda: lifespan.acall(hang, timeout=0.01))
        assert cancelled == ["there"]

    def test_timeout_of_the_function_itself_is_its_own(self, lifespan: Lifespan) -> None:
        async def give_up() -> None:
            raise TimeoutError("the function's own")

        with pytest.raises(TimeoutError, match="the function's own"):
            on_another_loop(lifespan, lambda: lifespan.acall(give_up, timeout=10))

    def test_cancelled_caller_cancels_the_function(self, lifespan: Lifespan) -> None:
        cancelled: list[str] = []

        async def call() -> None:
            hangs = asyncio.Event()
            here = asyncio.get_running_loop()

            async def hang() -> None:
                here.call_soon_threadsafe(hangs.set)
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancelled.append("there")
                    raise

            task = asyncio.create_task(lifespan.acall(hang))
            await hangs.wait()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert task.cancelled()

        on_another_loop(lifespan, call)
        assert cancelled == ["there"]

    def test_cancelled_function_does_not_cancel_its_caller(self, lifespan: Lifespan) -> None:
        async def cancel_itself() -> None:
            raise asyncio.CancelledError

        with pytest.raises(LifespanError, match=r"cancel_itself\(\) was cancelled on the event"):
            on_another_loop(lifespan, lambda: lifespan.acall(cancel_itself))


class TestOnTheLoopOfTheRun:
    """Where one could await as well: code that does not know where it runs."""

    async def test_acall_returns_the_result_of_the_function(
        self, lifespan: Lifespan, shelf: Resource[Shelf]
    ) -> None:
        async with lifespan.run():
            assert await lifespan.acall(shelf.current().count, 5) == 5

    async def test_hook_may_acall_while_the_run_starts(self, lifespan: Lifespan) -> None:
        counted: list[int] = []

        @lifespan.on_start
        async def take_stock() -> None:
            counted.append(await lifespan.acall(Shelf().count))

        async with lifespan.run():
            assert counted == [3]

    async def test_call_past_its_timeout_is_cancelled(self, lifespan: Lifespan) -> None:
        async with lifespan.run():
            with pytest.raises(TimeoutError, match=r"wait\(\).*took more than 0.01 s.*acall"):
                await lifespan.acall(asyncio.Event().wait, timeout=0.01)

    async def test_timeout_of_the_function_itself_is_its_own(self, lifespan: Lifespan) -> None:
        async def give_up() -> None:
            raise TimeoutError("the function's own")

        async with lifespan.run():
            with pytest.raises(TimeoutError, match="the function's own"):
                await lifespan.acall(give_up, timeout=10)


class TestWhatIsRefused:
    """At once, with a reason."""

    async def test_acall_where_nothing_runs_is_refused(self, lifespan: Lifespan) -> None:
        with pytest.raises(NotRunning, match=r"count\(\) can't be called: no lifespan is running"):
            await lifespan.acall(Shelf().count)

    async def test_acall_on_a_stopped_loop_is_refused(self, lifespan: Lifespan) -> None:
        """As that of a fixture whose test runs on another one."""
        stopped = asyncio.new_event_loop()
        await asyncio.to_thread(stopped.run_until_complete, lifespan.startup())
        try:
            with pytest.raises(NotRunning, match=r"event loop of run .* does not run now"):
                await lifespan.acall(Shelf().count)
        finally:
            await asyncio.to_thread(stopped.run_until_complete, lifespan.shutdown())
            stopped.close()

    async def test_acall_that_may_mean_two_runs_is_refused(self, lifespan: Lifespan) -> None:
        runs = [lifespan.prepare("app"), lifespan.prepare("app")]
        for run in runs:
            await run.start()
        with pytest.raises(NotRunning, match="which of 2 runs"):
            await asyncio.to_thread(
                contextvars.Context().run, asyncio.run, lifespan.acall(asyncio.sleep, 0)
            )
        for run in runs:
            await run.stop()

    def test_acall_in_a_fork_is_refused(self, lifespan: Lifespan) -> None:
        with lifespan.run_sync():
            said = in_a_fork(lambda: asyncio.run(lifespan.acall(asyncio.sleep, 0)))
        assert said.startswith("NotRunning: sleep() can't be called in process")
        assert "forked from" in said

    async def test_acall_of_a_coroutine_is_refused(self, lifespan: Lifespan) -> None:
        given: Any = Shelf().count()
        with pytest.raises(TypeError, match=r"lifespan\.acall\(fetch, url\), not"):
            await lifespan.acall(given)

    async def test_acall_of_a_sync_function_is_refused(self, lifespan: Lifespan) -> None:
        def count() -> int:
            return 3

        given: Callable[[], Awaitable[int]] = count  # type: ignore[assignment]
        async with lifespan.run():
            with pytest.raises(TypeError, match=r"count\(\) has returned a int.*without acall"):
                await lifespan.acall(given)
