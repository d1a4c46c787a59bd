"""`lifespan.spawn()`: a function runs on after its caller has returned."""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.running.run import Run
from lifespan_app.engine.running.spawned import Spawned
from lifespan_app.engine.settings import Settings
from lifespan_app.errors import LifespanError, NotRunning, QueueFull
from tests.engine.conftest import RunOnLoop
from tests.engine.lookups import report_of, run_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually
from tests.forks import in_a_fork

variable = contextvars.ContextVar("variable", default="unset")


async def until_done(done: threading.Event) -> None:
    """Wait in a task for an event of a thread or of another task."""
    await asyncio.to_thread(done.wait, 10)
    assert done.is_set()


async def open_and_fail_to_stop(lifespan: Lifespan, *functions: Any, seconds: float = 0) -> None:
    """Open the plan, spawn functions, and have the stop fail."""
    async with lifespan.run():
        for function in functions:
            lifespan.spawn(function)
        await asyncio.sleep(seconds)


def spawned_step(lifespan: Lifespan) -> Any:
    """Return the step that waits for spawned functions, or None."""
    return next((step for step in report_of(lifespan).steps if step.name == "spawned"), None)


class TestTheFunction:
    """Where it runs, and what it sees."""

    def test_async_function_runs_in_a_task_of_the_runs_loop(self, run: RunOnLoop) -> None:
        async def main(lifespan: Lifespan) -> None:
            seen: list[object] = []

            async def work(first: int, *, second: int) -> None:
                seen.extend((asyncio.get_running_loop(), first, second))

            async with lifespan.run():
                assert lifespan.spawn(work, 1, second=2) is None  # type: ignore[func-returns-value]
                assert seen == []
            assert seen == [asyncio.get_running_loop(), 1, 2]

        run(main)

    def test_sync_function_runs_in_a_thread(self, run: RunOnLoop) -> None:
        async def main(lifespan: Lifespan) -> None:
            seen: list[object] = []

            def work(first: int, *, second: int) -> None:
                seen.extend((threading.get_ident() == threading.main_thread().ident, first, second))

            async with lifespan.run():
                lifespan.spawn(work, 1, second=2)
            assert seen == [False, 1, 2]

        run(main)

    def test_method_of_a_builtin_class_may_be_spawned(self, run: RunOnLoop) -> None:
        """It has no module."""

        async def main(lifespan: Lifespan) -> None:
            seen: list[str] = []

            async with lifespan.run():
                lifespan.spawn(list.append, seen, "appended")
            assert seen == ["appended"]

        run(main)

    def test_result_of_a_sync_callable_is_awaited(self, run: RunOnLoop) -> None:
        async def main(lifespan: Lifespan) -> None:
            seen = []

            async def work(word: str) -> None:
                seen.append(word)

            async with lifespan.run():
                lifespan.spawn(lambda: work("awaited"))
            assert seen == ["awaited"]

        run(main)

    def test_function_that_sync_code_spawns_runs_on_the_runs_loop(self, lifespan: Lifespan) -> None:
        done, loops = threading.Event(), []

        async def work() -> None:
            loops.append(asyncio.get_running_loop())
            done.set()

        with lifespan.run_sync():
            [run] = lifespan.runs
            lifespan.spawn(work)
            assert done.wait(10)
            assert loops == [run.loop]

    @pytest.mark.parametrize("in_thread", [False, True], ids=["async", "sync"])
    def test_function_sees_the_callers_context_variables(
        self, lifespan: Lifespan, in_thread: bool
    ) -> None:
        done, seen = threading.Event(), []

        def look() -> None:
            seen.append(variable.get())
            variable.set("set by the function")
            done.set()

        async def look_on_the_loop() -> None:
            look()

        with lifespan.run_sync():
            token = variable.set("set by the caller")
            try:
                lifespan.spawn(look if in_thread else look_on_the_loop)
                assert done.wait(10)
                assert variable.get() == "set by the caller"
            finally:
                variable.reset(token)
        assert seen == ["set by the caller"]

    def test_function_that_a_hook_spawns_is_no_part_of_the_hook(self, run: RunOnLoop) -> None:
        async def main(lifespan: Lifespan) -> None:
            seen = []

            @lifespan.resource
            async def shelf() -> AsyncIterator[str]:
                yield "shelf"

            @lifespan.on_start
            def begin() -> None:
                lifespan.spawn(work)

            async def work() -> None:
                # A hook would have to ask for it by a parameter.
                seen.append(shelf.current())

            async with lifespan.run():
                pass
            assert seen == ["shelf"]

        run(main)

    def test_finalizer_may_spawn_in_the_midst_of_another_call(self, lifespan: Lifespan) -> None:
        """The garbage collector may run at any line, and a signal handler may be called there."""
        inside = [Run.spawned.__code__, Spawned.add.__code__]
        done: list[str] = []
        seen: set[CodeType] = set()
        ended = threading.Event()

        def at_each_line(frame: FrameType, event: str, _: object) -> Any:
            if frame.f_code not in inside:
                return None
            if event == "line":
                seen.add(frame.f_code)
                # Python calls no trace function while one runs.
                lifespan.spawn(done.append, "of a finalizer")
            return at_each_line

        def spawn_traced() -> None:
            before = sys.gettrace()
            sys.settrace(at_each_line)
            try:
                lifespan.spawn(done.append, "of the caller")
            finally:
                sys.settrace(before)
                ended.set()

        with lifespan.run_sync():
            threading.Thread(target=spawn_traced, daemon=True).start()
            if not ended.wait(10):
                pytest.exit("spawn() waits for itself, and the end of the run would, too.")
        assert seen == set(inside)
        assert done.count("of the caller") == 1
        assert len(done) > 10

    def test_timeout_cancels_an_async_function(self, caplog: pytest.LogCaptureFixture) -> None:
        async def main(lifespan: Lifespan, loop: VirtualLoop) -> float:
            ended = asyncio.Event()

            async def work() -> None:
                try:
                    await asyncio.sleep(60)
                finally:
                    ended.set()

            async with lifespan.run():
                begun = loop.time()
                lifespan.spawn(work, timeout=2)
                await ended.wait()
                return loop.time() - begun

        assert run_virtually(main) == 2
        assert "took more than its limit of 2 s, and was cancelled." in caplog.text

    def test_timeout_of_a_sync_function_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
            async with lifespan.run():
                lifespan.spawn(loop.sleep_in_thread, 4, timeout=2)

        run_virtually(main)
        [record] = [one for one in caplog.records if one.levelname == "ERROR"]
        assert "takes more than its limit of 2 s, at " in record.message
        assert "A thread can't be cancelled: it goes on." in record.message


class TestItsError:
    """It is logged once, with the line that has spawned it."""

    @pytest.mark.parametrize(
        "error",
        [ZeroDivisionError, SystemExit, asyncio.CancelledError],
        ids=lambda one: one.__name__,
    )
    @pytest.mark.parametrize("in_thread", [False, True], ids=["async", "sync"])
    def test_error_is_logged_once_with_the_line_that_has_spawned_it(
        self,
        run: RunOnLoop,
        caplog: pytest.LogCaptureFixture,
        error: type[BaseException],
        in_thread: bool,
    ) -> None:
        def fail() -> None:
            raise error("here")

        async def fail_on_the_loop() -> None:
            fail()

        async def main(lifespan: Lifespan) -> None:
            async with lifespan.run():
                lifespan.spawn(fail if in_thread else fail_on_the_loop)  # this line

        run(main)
        [record] = [one for one in caplog.records if one.levelname == "ERROR"]
        lines = Path(__file__).read_text().splitlines()
        line = next(number for number, text in enumerate(lines, 1) if text.endswith("# this line"))
        assert f"spawned at {os.path.relpath(__file__)}:{line}, failed: " in record.message
        assert f"{error.__name__}: here" in record.message
        assert record.exc_info is not None

    def test_error_changes_nothing_of_the_run(self, run: RunOnLoop) -> None:
        async def main(lifespan: Lifespan) -> None:
            def fail() -> None:
                raise ZeroDivisionError

            async with lifespan.run():
                lifespan.spawn(fail)
            assert report_of(lifespan).status == "stopped"
            assert report_of(lifespan).hooks_failed == 0

        run(main)


class TestLimits:
    """So many run at once, and so many wait."""

    def test_functions_beyond_running_wait_for_a_place_in_their_order(self) -> None:
        async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[tuple[int, float]]:
            begun: list[tuple[int, float]] = []

            async def work(number: int) -> None:
                begun.append((number, loop.time() - 1000))
                await asyncio.sleep(1)

            async with lifespan.run():
                for number in range(5):
                    lifespan.spawn(work, number)
            return begun

        settings = Settings(spawn={"running": 2, "waiting": 3})
        begun = run_virtually(main, settings=settings)
        assert begun == [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)]

    def test_function_beyond_waiting_is_refused(self) -> None:
        async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
            async def work() -> None:
                await asyncio.sleep(1)

            async with lifespan.run():
                lifespan.spawn(work)
                lifespan.spawn(work)
                with pytest.raises(QueueFull, match=r"1 spawned function run, and 1 wait") as full:
                    lifespan.spawn(work)
                assert isinstance(full.value, LifespanError)
                await asyncio.sleep(3)
                lifespan.spawn(work)

        run_virtually(main, settings=Settings(spawn={"running": 1, "waiting": 1}))

    def test_thread_that_can_not_be_started_is_an_error_of_its_function(
        self,
        run: RunOnLoop,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def refuse(*args: object) -> None:
            raise RuntimeError("can't start new thread")

        async def main(lifespan: Lifespan) -> None:
            async with lifespan.run():
                monkeypatch.setattr("lifespan_app.engine.running.spawned.start_thread", refuse)
                for _ in range(1_100):
                    lifespan.spawn(print)

        run(main)
        assert caplog.text.count("failed: RuntimeError: can't start new thread") == 1_100


class TestWrongUse:
    """It is refused where it is written."""

    def test_coroutine_object_is_refused_with_the_right_call(self, lifespan: Lifespan) -> None:
        async def work() -> None:
            pass

        with pytest.raises(TypeError, match=r"lifespan\.spawn\(fetch, url\), not lifespan\.spawn"):
            lifespan.spawn(work())  # type: ignore[arg-type]

    def test_generator_function_is_refused(self, lifespan: Lifespan) -> None:
        def work() -> Iterator[int]:
            yield 1

        with pytest.raises(TypeError, match="yields"):
            lifespan.spawn(work)

    def test_timeout_that_is_no_time_is_refused(self, lifespan: Lifespan) -> None:
        with lifespan.run_sync():
            with pytest.raises(ValueError, match="timeout is a number of seconds above 0, not 0"):
                lifespan.spawn(print, timeout=0)
            with pytest.raises(TypeError, match="timeout is a number of seconds, not '5'"):
                lifespan.spawn(print, timeout="5")  # type: ignore[arg-type]

    def test_function_outside_of_a_run_is_refused(self, lifespan: Lifespan) -> None:
        with pytest.raises(NotRunning, match=r"print\(\) can't be spawned: no lifespan is running"):
            lifespan.spawn(print)
        with lifespan.run_sync():
            pass
        with pytest.raises(NotRunning):
            lifespan.spawn(print)

    def test_function_is_refused_once_the_stop_has_begun(self, run: RunOnLoop) -> None:
        async def main(lifespan: Lifespan) -> None:
            refused = []

            @lifespan.on_shutdown
            def too_late() -> None:
                try:
                    lifespan.spawn(print)
                except NotRunning as error:
                    refused.append(str(error))

            async def work() -> None:
                await asyncio.sleep(0.01)
                too_late()

            async with lifespan.run():
                pass
            async with lifespan.run():
                lifespan.spawn(work)
            assert len(refused) == 3
            assert all("is stopping" in text for text in refused)

        run(main)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
    def test_function_in_a_fork_of_the_run_is_refused(self, lifespan: Lifespan) -> None:
        with lifespan.run_sync():
            assert "NotRunning" in in_a_fork(lambda: lifespan.spawn(print))


class TestTheEndOfTheRun:
    """The shutdown waits for them, before anything stops, and says what it has cut off."""

    def test_shutdown_waits_before_anything_stops(self, run: RunOnLoop) -> None:
        async def main(lifespan: Lifespan) -> list[str]:
            events: list[str] = []

            @lifespan.resource
            async def client() -> AsyncIterator[str]:
                yield "client"
                events.append("client closes")

            @lifespan.background
            async def job() -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    events.append("job stops")

            async def work() -> None:
                await asyncio.sleep(0.05)
                events.append(f"work with {client.current()}")

            async with lifespan.run("app"):
                lifespan.spawn(work)
                await asyncio.sleep(0.01)
            assert spawned_step(lifespan).outcome == "ok"
            return events

        assert run(main) == ["work with client", "job stops", "client closes"]

    def test_nothing_stops_before_it_beside_a_drain_function(self, run: RunOnLoop) -> None:
        async def main(lifespan: Lifespan) -> list[str]:
            events: list[str] = []

            @lifespan.on_drain
            async def deregister() -> None:
                events.append("drain")

            @lifespan.resource
            async def client() -> AsyncIterator[str]:
                yield "client"
                events.append("client closes")

            async def work() -> None:
                await asyncio.sleep(0.05)
                events.append(f"work with {client.current()}")

            async with lifespan.run("app"):
                lifespan.spawn(work)
            return events

        assert run(main) == ["drain", "work with client", "client closes"]

    def test_function_may_be_spawned_until_the_stop_begins(self, run: RunOnLoop) -> None:
        async def main(lifespan: Lifespan) -> list[str]:
            events: list[str] = []

            @lifespan.on_drain
            async def deregister() -> None:
                events.append("drain")

            async def work() -> None:
                await asyncio.sleep(0.05)
                events.append("work")

            async with lifespan.run("app"):
                run_of(lifespan).notice("SIGTERM")
                lifespan.spawn(work)
            assert spawned_step(lifespan).outcome == "ok"
            return events

        assert run(main) == ["drain", "work"]

    def test_rollback_waits_for_what_a_hook_has_spawned(self, run: RunOnLoop) -> None:
        async def main(lifespan: Lifespan) -> None:
            events: list[str] = []

            async def work() -> None:
                await asyncio.sleep(0.05)
                events.append("work")

            @lifespan.resource
            async def client() -> AsyncIterator[str]:
                yield "client"
                events.append("client closes")

            @lifespan.on_start
            async def fail(client: str) -> None:
                lifespan.spawn(work)
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await lifespan.startup("app")
            assert events == ["work", "client closes"]

        run(main)

    def test_run_without_spawned_functions_has_no_step_for_them(self, run: RunOnLoop) -> None:
        async def main(lifespan: Lifespan) -> None:
            done = asyncio.Event()

            async def work() -> None:
                done.set()

            async with lifespan.run():
                pass
            assert spawned_step(lifespan) is None
            async with lifespan.run():
                lifespan.spawn(work)
                await done.wait()
                await asyncio.sleep(0.01)
            assert spawned_step(lifespan) is None

        run(main)

    def test_function_that_does_not_end_is_cut_off_and_named(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main(lifespan: Lifespan, loop: VirtualLoop) -> Any:
            async def endless() -> None:
                await asyncio.Event().wait()

            async def quick() -> None:
                await asyncio.sleep(1)

            with pytest.raises(ExceptionGroup):
                await open_and_fail_to_stop(lifespan, endless, quick)
            assert loop.time() == 1005
            return spawned_step(lifespan)

        step = run_virtually(main)
        assert step.outcome == "timed_out"
        assert "did not stop within its limit of 5 s. It waits at " in step.error
        assert "test_spawn.py" in step.error
        assert "in endless, in asyncio" in step.error
        assert "(spawned at " in step.error
        assert "Spawned functions were cut off by the shutdown: '" in step.traceback
        cut = [one.message for one in caplog.records if "was cut off" in one.message]
        [line] = [text for text in cut if text.startswith("'")]
        assert "endless' (" in line
        assert "was cut off: the shutdown's time was used up." in line

    def test_function_that_waits_for_its_place_is_cut_off_too(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
            async def endless() -> None:
                await asyncio.Event().wait()

            def never_begins() -> None:
                raise AssertionError

            with pytest.raises(ExceptionGroup):
                await open_and_fail_to_stop(lifespan, endless, never_begins)

        run_virtually(main, settings=Settings(spawn={"running": 1, "waiting": 1}))
        assert "never_begins' (" in caplog.text
        assert caplog.text.count("was cut off: the shutdown's time") == 2

    def test_thread_that_hangs_is_left_and_named(self, caplog: pytest.LogCaptureFixture) -> None:
        async def main(lifespan: Lifespan, loop: VirtualLoop) -> float:
            with pytest.raises(ExceptionGroup):
                await open_and_fail_to_stop(lifespan, lambda: loop.sleep_in_thread(100))
            return loop.time()

        assert run_virtually(main) == 1005
        assert "It goes on in its thread, which can't be cancelled." in caplog.text

    def test_function_that_ignores_its_cancellation_is_left_behind(self) -> None:
        async def main(lifespan: Lifespan, loop: VirtualLoop) -> tuple[float, int]:
            async def stubborn() -> None:
                while True:
                    with suppress(asyncio.CancelledError):
                        await asyncio.sleep(100)

            with pytest.raises(ExceptionGroup):
                await open_and_fail_to_stop(lifespan, stubborn, seconds=1)
            return loop.time(), len(asyncio.all_tasks())

        ended, tasks = run_virtually(main)
        assert ended == 1007
        assert tasks == 1

    def test_end_of_the_loop_is_the_end_of_the_function(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        lifespan = Lifespan()

        async def endless() -> None:
            await asyncio.Event().wait()

        async def main() -> None:
            await lifespan.startup()
            lifespan.spawn(endless)
            await asyncio.sleep(0.01)

        asyncio.run(main())
        assert caplog.text.count("was cut off: the event loop has ended") == 1
