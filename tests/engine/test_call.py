"""`lifespan.call()`: sync code runs an async function on the loop that the run lives on."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from lifespan_app import Lifespan, Resource
from lifespan_app.errors import LifespanError, NotRunning, UndeclaredUse
from tests.engine.shelves import Shelf
from tests.forks import in_a_fork

variable = contextvars.ContextVar("variable", default="unset")


@pytest.fixture
def lifespan() -> Lifespan:
    """Return a registry of the test's own."""
    return Lifespan()


def call_from_here(lifespan: Lifespan, function: Callable[[], Awaitable[int]]) -> int:
    """Call an async function from this thread."""
    return lifespan.call(function)


class TestSyncCode:
    """It calls, waits, and has what the function returns or raises."""

    def test_call_returns_the_result_of_the_function(
        self, lifespan: Lifespan, shelf: Resource[Shelf]
    ) -> None:
        with lifespan.run_sync():
            assert lifespan.call(shelf.current().count) == 3
            assert lifespan.call(shelf.current().count, 5, 7) == 7

    def test_call_raises_the_error_of_the_function(self, lifespan: Lifespan) -> None:
        async def fail() -> None:
            raise ZeroDivisionError("here")

        with lifespan.run_sync(), pytest.raises(ZeroDivisionError, match="here"):
            lifespan.call(fail)

    def test_call_works_from_a_thread(self, lifespan: Lifespan) -> None:
        async def main() -> int:
            async with lifespan.run():
                return await asyncio.to_thread(call_from_here, lifespan, Shelf().count)

        assert asyncio.run(main()) == 3

    def test_call_works_from_a_sync_hook(self, lifespan: Lifespan, shelf: Resource[Shelf]) -> None:
        counted: list[int] = []

        @lifespan.on_start
        def count(shelf: Shelf) -> None:
            counted.append(lifespan.call(shelf.count))

        with lifespan.run_sync():
            assert counted == [3]

    def test_call_works_below_async_to_sync(self, lifespan: Lifespan) -> None:
        from asgiref.sync import sync_to_async

        async def main() -> int:
            async with lifespan.run():
                return await sync_to_async(lifespan.call)(Shelf().count)

        assert asyncio.run(main()) == 3

    def test_call_works_from_a_child_task_of_its_own_loop(self, lifespan: Lifespan) -> None:
        async def nested() -> int:
            return await asyncio.to_thread(call_from_here, lifespan, Shelf().count)

        with lifespan.run_sync():
            assert lifespan.call(nested) == 3

    def test_call_awaits_the_result_of_a_callable(self, lifespan: Lifespan) -> None:
        with lifespan.run_sync():
            assert lifespan.call(lambda: asyncio.sleep(0, "slept")) == "slept"


class TestTheFunction:
    """What it sees of the caller, and of the run."""

    def test_called_function_sees_the_callers_context_variables(self, lifespan: Lifespan) -> None:
        async def read() -> str:
            found = variable.get()
            variable.set("set by the function")
            return found

        with lifespan.run_sync():
            token = variable.set("set by the caller")
            try:
                assert lifespan.call(read) == "set by the caller"
                assert variable.get() == "set by the caller"
            finally:
                variable.reset(token)
            assert lifespan.call(read) == "unset"

    def test_called_function_reads_resources_by_their_handles(
        self, lifespan: Lifespan, shelf: Resource[Shelf]
    ) -> None:
        async def count() -> int:
            return await shelf.current().count()

        with lifespan.run_sync():
            assert lifespan.call(count) == 3

    def test_called_function_is_part_of_the_hook_that_calls_it(
        self, lifespan: Lifespan, shelf: Resource[Shelf]
    ) -> None:
        async def count() -> int:
            return await shelf.current().count()

        @lifespan.on_start(priority=1)
        def asks_for_nothing() -> None:
            lifespan.call(count)

        with pytest.raises(UndeclaredUse), lifespan.run_sync():
            pass

    def test_called_function_may_be_called_by_many_threads_at_once(
        self, lifespan: Lifespan
    ) -> None:
        met: list[int] = []
        all_here = asyncio.Event()

        async def meet(number: int) -> int:
            met.append(number)
            if len(met) == 5:
                all_here.set()
            await all_here.wait()
            return number

        results: list[int] = []

        def call(number: int) -> None:
            results.append(lifespan.call(meet, number))

        with lifespan.run_sync():
            threads = [threading.Thread(target=call, args=[number]) for number in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(results) == [0, 1, 2, 3, 4]


class TestATimeout:
    """A function that takes too long is cancelled, and the caller goes on."""

    def test_timeout_error_names_the_function(self, lifespan: Lifespan) -> None:
        cancelled = threading.Event()

        async def sleep() -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                cancelled.set()

        with lifespan.run_sync():
            with pytest.raises(TimeoutError, match=r"sleep\(\), .* took more than 0\.01 s"):
                lifespan.call(sleep, timeout=0.01)
            assert cancelled.wait(5)

    def test_timeout_does_not_wait_for_a_loop_that_is_blocked(self, lifespan: Lifespan) -> None:
        over = threading.Event()

        async def block() -> None:
            over.wait()

        with lifespan.run_sync():
            with pytest.raises(TimeoutError):
                lifespan.call(block, timeout=0.01)
            over.set()

    def test_function_that_a_blocked_loop_comes_to_after_the_timeout_is_not_called(
        self, lifespan: Lifespan
    ) -> None:
        """Its caller was told that it was cancelled, and may have called it again."""
        free, called = threading.Event(), []

        async def charge() -> None:
            called.append("charge")

        with lifespan.run_sync():
            [run] = lifespan.runs
            run.loop.call_soon_threadsafe(free.wait, 10)
            with pytest.raises(TimeoutError, match="was cancelled"):
                lifespan.call(charge, timeout=0.01)
            free.set()
            lifespan.call(asyncio.sleep, 0)
        assert called == []

    def test_timeout_of_the_function_itself_is_its_own(self, lifespan: Lifespan) -> None:
        async def fail() -> None:
            raise TimeoutError("the function's own")

        with lifespan.run_sync(), pytest.raises(TimeoutError, match="the function's own"):
            lifespan.call(fail, timeout=60)

    def test_timeout_that_is_long_enough_changes_nothing(self, lifespan: Lifespan) -> None:
        with lifespan.run_sync():
            assert lifespan.call(asyncio.sleep, 0, "slept", timeout=60) == "slept"


class TestWhatItRefuses:
    """Each error says what to write instead."""

    def test_call_on_the_runs_own_loop_is_refused(self, lifespan: Lifespan) -> None:
        async def main() -> None:
            async with lifespan.run():
                lifespan.call(Shelf().count)

        with pytest.raises(LifespanError, match=r"for ever.* 'await count\(\.\.\.\)'"):
            asyncio.run(main())

    def test_call_where_nothing_runs_is_refused(self, lifespan: Lifespan) -> None:
        with pytest.raises(NotRunning, match=r"sleep\(\) can't be called: no lifespan is running"):
            lifespan.call(asyncio.sleep, 0)

    def test_call_after_the_run_is_refused(self, lifespan: Lifespan) -> None:
        with lifespan.run_sync():
            pass
        with pytest.raises(NotRunning, match="no lifespan is running"):
            lifespan.call(asyncio.sleep, 0)

    def test_call_on_a_stopped_loop_is_refused(self, lifespan: Lifespan) -> None:
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(lifespan.startup())
            with pytest.raises(NotRunning, match=r"does not run now\. Call it while that"):
                lifespan.call(asyncio.sleep, 0)
            loop.run_until_complete(lifespan.shutdown())
        finally:
            loop.close()

    def test_call_that_may_mean_two_runs_is_refused(self, lifespan: Lifespan) -> None:
        ended = threading.Event()
        begun = threading.Barrier(3)

        def run() -> None:
            with asyncio.Runner() as runner:
                runner.run(lifespan.startup())
                begun.wait()
                ended.wait()
                runner.run(lifespan.shutdown())

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        begun.wait()
        try:
            with pytest.raises(NotRunning, match=r"which of 2 runs is meant: run \w+ \(app"):
                lifespan.call(asyncio.sleep, 0)
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    def test_call_inside_nested_runs_means_the_innermost(self, lifespan: Lifespan) -> None:
        async def loop() -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        with lifespan.run_sync():
            outer = lifespan.call(loop)
            with lifespan.run_sync():
                inner = lifespan.call(loop)
            assert lifespan.call(loop) is outer
        assert inner is not outer

    def test_call_of_a_coroutine_is_refused(self, lifespan: Lifespan) -> None:
        with (
            lifespan.run_sync(),
            pytest.raises(TypeError, match=r"lifespan\.call\(fetch, url\), not"),
        ):
            lifespan.call(asyncio.sleep(0))  # type: ignore[arg-type]

    def test_call_of_a_sync_function_is_refused(self, lifespan: Lifespan) -> None:
        with lifespan.run_sync(), pytest.raises(TypeError, match=r"len\(\) has returned a int"):
            lifespan.call(len, "abc")  # type: ignore[arg-type]

    def test_call_in_a_fork_is_refused(self, lifespan: Lifespan) -> None:
        with lifespan.run_sync():
            said = in_a_fork(lambda: lifespan.call(asyncio.sleep, 0))
            assert said.startswith("NotRunning: sleep() can't be called in process ")
            assert f"was opened by process {os.getpid()}, which this one was forked from" in said
            assert lifespan.call(asyncio.sleep, 0, "slept") == "slept"


class TestTheLoop:
    """It outlives what is called on it, and what is called ends with it."""

    def test_loop_outlives_a_called_function_that_raises_system_exit(
        self, lifespan: Lifespan
    ) -> None:
        async def leave() -> None:
            raise SystemExit(3)

        with lifespan.run_sync():
            with pytest.raises(SystemExit):
                lifespan.call(leave)
            assert lifespan.call(asyncio.sleep, 0, "slept") == "slept"

    def test_loop_that_ends_ends_a_call_with_an_error(self, lifespan: Lifespan) -> None:
        begun = threading.Event()
        errors: list[BaseException] = []

        async def wait() -> None:
            begun.set()
            await asyncio.get_running_loop().create_future()

        def call() -> None:
            try:
                lifespan.call(wait)
            except LifespanError as error:
                errors.append(error)

        thread = threading.Thread(target=call)
        with lifespan.run_sync():
            thread.start()
            begun.wait()
        thread.join()
        assert [str(error).partition(" on ")[0] for error in errors] == ["wait() was cancelled"]

    def test_loop_is_left_alone_by_a_fork_that_ends_inside_the_block(
        self, lifespan: Lifespan
    ) -> None:
        closed: list[str] = []

        @lifespan.resource
        async def shelf() -> AsyncIterator[int]:
            yield 1
            closed.append("shelf")

        def leave_the_block() -> None:
            block.__exit__(None, None, None)

        block = lifespan.run_sync()
        block.__enter__()
        assert in_a_fork(leave_the_block) == "nothing raised"
        assert closed == []
        block.__exit__(None, None, None)
        assert closed == ["shelf"]
