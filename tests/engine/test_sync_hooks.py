"""Sync hooks run in threads: borrowed for functions, one of its own for a resource's whole life."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import Any

import pytest

from lifespan_app import Lifespan, Retry
from lifespan_app.engine.adapter import Adapter
from lifespan_app.engine.hooks.hook import Hook
from lifespan_app.engine.running.threads import Mailbox, start_thread
from tests.engine.apps import HostWithApps, written_in
from tests.engine.conftest import RunOnLoop
from tests.engine.virtual_clock import VirtualHost, VirtualLoop, run_virtually


def on_a_real_loop(main: Callable[[Lifespan], Any], host: Adapter | None = None) -> None:
    with asyncio.Runner() as runner:
        runner.run(main(Lifespan(host or HostWithApps())))


# Which thread.


def test_sync_functions_run_in_daemon_threads(
    run: RunOnLoop,
) -> None:
    threads: list[threading.Thread] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.on_start
        def start() -> None:
            threads.append(threading.current_thread())
            with pytest.raises(RuntimeError, match="no running event loop"):
                asyncio.get_running_loop()

        @lifespan.on_shutdown
        def shutdown() -> None:
            threads.append(threading.current_thread())

        async with lifespan.run("app"):
            pass

    run(main)

    assert len(threads) == 2
    assert all(thread.daemon for thread in threads)
    assert threading.main_thread() not in threads


def test_sync_resource_keeps_one_thread_of_its_own_from_enter_to_exit(run: RunOnLoop) -> None:
    threads: dict[str, list[threading.Thread]] = {"one": [], "two": []}

    async def main(lifespan: Lifespan) -> None:
        def declare(name: str) -> None:
            @lifespan.resource(name=name)
            def hook() -> Iterator[str]:
                threads[name].append(threading.current_thread())
                yield name
                threads[name].append(threading.current_thread())

        declare("one")
        declare("two")
        async with lifespan.run("app"):
            assert threads["one"][0].is_alive()
            assert threads["one"][0].daemon

    run(main)

    for first, last in threads.values():
        assert first is last
    assert threads["one"][0] is not threads["two"][0]


def test_thread_bound_object_is_opened_and_closed_in_one_thread(
    run: RunOnLoop,
) -> None:
    """SQLite's connections refuse every other thread than the one that they were made in."""
    rows: list[Any] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        def database() -> Iterator[sqlite3.Connection]:
            connection = sqlite3.connect(":memory:")
            connection.execute("create table visits (number integer)")
            connection.execute("insert into visits values (3)")
            yield connection
            rows.extend(connection.execute("select number from visits"))
            connection.close()

        @lifespan.resource
        def with_context_manager() -> Iterator[sqlite3.Connection]:
            with sqlite3.connect(":memory:") as connection:
                connection.execute("create table t (number integer)")
                yield connection
            connection.close()

        async with lifespan.run("app") as state:
            with pytest.raises(sqlite3.ProgrammingError, match="same thread"):
                state["database"].execute("select 1")

    run(main)

    assert rows == [(3,)]


def test_context_variables_last_from_enter_to_exit_and_stay_inside(run: RunOnLoop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")
    seen: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        def one() -> Iterator[None]:
            variable.set("inside one")
            yield
            seen.append(variable.get())

        @lifespan.resource(depends_on=[one])
        def two() -> Iterator[None]:
            seen.append(variable.get())
            yield

        @lifespan.on_start(depends_on=[one])
        def start() -> None:
            seen.append(variable.get())

        async with lifespan.run("app"):
            seen.append(variable.get())

    run(main)

    assert seen == ["outside", "outside", "outside", "inside one"]


def test_hooks_see_the_context_that_their_run_was_begun_in(run: RunOnLoop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.on_start
        def in_a_thread() -> None:
            seen.append(variable.get())

        @lifespan.on_start
        async def on_the_loop() -> None:
            seen.append(variable.get())

        @lifespan.on_shutdown
        def at_shutdown() -> None:
            seen.append(variable.get())

        variable.set("at the begin")
        async with lifespan.run("app"):
            variable.set("later")

    run(main)

    assert seen == ["at the begin"] * 3


# The loop is never blocked, and the pool grows.


def test_loop_goes_on_while_sync_hooks_block(run: RunOnLoop) -> None:
    """Each of these would wait for ever if the loop were not free to do what it waits for."""

    async def main(lifespan: Lifespan) -> None:
        loop = asyncio.get_running_loop()

        def wait_for_the_loop() -> None:
            answered = threading.Event()
            loop.call_soon_threadsafe(answered.set)
            assert answered.wait(60)

        @lifespan.on_start
        def start() -> None:
            wait_for_the_loop()

        @lifespan.resource
        def resource() -> Iterator[None]:
            wait_for_the_loop()
            yield
            wait_for_the_loop()

        @lifespan.on_shutdown
        def shutdown() -> None:
            wait_for_the_loop()

        async with lifespan.run("app"):
            pass

    run(main)


@pytest.mark.parametrize("decorator", ["on_start", "on_shutdown"])
def test_pool_grows_when_all_its_threads_are_busy(run: RunOnLoop, decorator: str) -> None:
    """Twelve functions wait for one another: they end only if all of them run at once."""
    meeting = threading.Barrier(12, timeout=60)

    async def main(lifespan: Lifespan) -> None:
        for number in range(12):
            hook = written_in(f"app_{number}.lifespan")(lambda: meeting.wait())
            getattr(lifespan, decorator)(name=f"meets_{number}")(hook)
        async with lifespan.run("app"):
            pass

    run(main)

    assert not meeting.broken


def test_many_short_functions_share_few_threads() -> None:
    threads: set[int] = set()

    async def main(lifespan: Lifespan) -> None:
        for number in range(300):
            hook = written_in(f"app_{number}.lifespan")(lambda: threads.add(threading.get_ident()))
            lifespan.on_start(name=f"short_{number}")(hook)
        async with lifespan.run("app"):
            pass

    class Patient(Adapter):
        thread_patience = 60.0

    on_a_real_loop(main, Patient())

    assert 1 <= len(threads) <= 2


def test_sync_resources_open_and_close_side_by_side() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        for number in range(10):

            @lifespan.resource(name=f"slow_{number}")
            def hook() -> Iterator[None]:
                loop.sleep_in_thread(3)
                yield
                loop.sleep_in_thread(2)

        await lifespan.startup()
        assert loop.now == 1003
        await lifespan.shutdown()
        assert loop.now == 1005

    run_virtually(main)


def test_threads_of_a_run_end_with_it() -> None:
    threads: list[threading.Thread] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.on_start
        def start() -> None:
            threads.append(threading.current_thread())

        @lifespan.resource
        def resource() -> Iterator[None]:
            threads.append(threading.current_thread())
            yield

        async with lifespan.run("app"):
            pass
        for thread in threads:
            await asyncio.to_thread(thread.join, 60)
            assert not thread.is_alive()

    on_a_real_loop(main)


# A thread that hangs.

HANGS = """
    import asyncio, threading
    from lifespan_app import lifespan

    @lifespan.{decorator}(timeout=0.2)
    def stuck():
        {before}
        threading.Event().wait()
        {after}

    async def main():
        try:
            async with lifespan.run("app"):
                print("serving")
        except Exception as error:
            print(type(error).__name__)

    asyncio.run(main())
    print("the end")
"""


@pytest.mark.parametrize(
    ("decorator", "before", "after", "expected"),
    [
        ("on_start", "", "", ["LimitPassed", "the end"]),
        ("on_shutdown", "", "", ["serving", "ExceptionGroup", "the end"]),
        ("resource", "", "yield", ["LimitPassed", "the end"]),
    ],
    ids=["start function", "shutdown function", "resource"],
)
def test_hung_thread_does_not_keep_the_process_alive(
    decorator: str, before: str, after: str, expected: list[str]
) -> None:
    program = textwrap.dedent(HANGS.format(decorator=decorator, before=before, after=after))

    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split("\n")[:-1] == expected
    assert "hangs in its thread" in ended.stderr


# What only works elsewhere.


def asks_for_a_loop() -> None:
    asyncio.get_running_loop()


def asks_for_a_current_loop() -> None:
    asyncio.get_event_loop()


def asks_for_the_main_thread() -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)


@pytest.mark.parametrize(
    "function", [asks_for_a_loop, asks_for_a_current_loop, asks_for_the_main_thread]
)
@pytest.mark.parametrize("kind", ["start", "resource"])
def test_error_caused_by_the_thread_recommends_async_def(
    run: RunOnLoop, function: Callable[[], None], kind: str
) -> None:
    async def main(lifespan: Lifespan) -> None:
        def resource() -> Iterator[None]:
            function()
            yield

        if kind == "start":
            lifespan.on_start(function)
        else:
            lifespan.resource(resource)
        with pytest.raises((RuntimeError, ValueError)) as caught:
            await lifespan.startup()
        assert any("Write it as 'async def'" in note for note in caught.value.__notes__)

    run(main)


def test_other_error_of_a_sync_hook_gets_no_note(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        @lifespan.on_start
        def fails() -> None:
            raise RuntimeError("out of books")

        with pytest.raises(RuntimeError, match="out of books") as caught:
            await lifespan.startup()
        assert not any("async def" in note for note in caught.value.__notes__)

    run(main)


# What the program around the engine does around each hook.


class Surroundings:
    """Write down what is entered around hooks, and where."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, int]] = []

    @contextmanager
    def in_thread(self, hook: Hook) -> Iterator[None]:
        self.calls.append(("enter", hook.name, threading.get_ident()))
        yield
        self.calls.append(("leave", hook.name, threading.get_ident()))

    def around_task(self, hook: Hook) -> AbstractAsyncContextManager[object]:
        return InTask(self, hook)

    def of(self, name: str) -> list[str]:
        return [what for what, other, _ in self.calls if other == name]


class InTask:
    def __init__(self, surroundings: Surroundings, hook: Hook) -> None:
        self.surroundings, self.hook = surroundings, hook

    async def __aenter__(self) -> None:
        self.surroundings.calls.append(("enter", self.hook.name, id(asyncio.current_task())))

    async def __aexit__(self, *error: object) -> None:
        self.surroundings.calls.append(("leave", self.hook.name, id(asyncio.current_task())))


def test_around_is_entered_once_per_hook_in_its_own_thread_or_task() -> None:
    around = Surroundings()

    async def main(lifespan: Lifespan) -> None:
        lived: dict[str, set[int]] = {"sync": set(), "async": set()}

        @lifespan.resource(name="sync")
        def sync_resource() -> Iterator[None]:
            lived["sync"].add(threading.get_ident())
            yield

        @lifespan.resource(name="async")
        async def async_resource() -> Any:
            lived["async"].add(id(asyncio.current_task()))
            return "value"

        lifespan.on_start(name="start")(lambda: None)
        lifespan.on_shutdown(name="shutdown")(lambda: None)

        @lifespan.background
        async def job() -> None:
            await asyncio.sleep(1_000)

        async with lifespan.run("app"):
            await asyncio.sleep(0)
            assert around.of("sync") == ["enter"]
            assert around.of("start") == ["enter", "leave"]
            assert around.of("shutdown") == []
            assert around.of("job") == ["enter"]
        for name in ("sync", "async"):
            assert {place for _, other, place in around.calls if other == name} == lived[name]

    class WithSurroundings(HostWithApps):
        def around_thread(self, hook: Hook) -> AbstractContextManager[object]:
            return around.in_thread(hook)

        def around_task(self, hook: Hook) -> AbstractAsyncContextManager[object]:
            return around.around_task(hook)

    on_a_real_loop(main, WithSurroundings())

    for name in ("sync", "async", "start", "shutdown", "job"):
        assert around.of(name) == ["enter", "leave"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_error_around_a_hook_is_that_hooks_failure(kind: str) -> None:
    class BrokenTask:
        async def __aenter__(self) -> None:
            raise OSError("no connection")

        async def __aexit__(self, *error: object) -> None:
            """Do nothing."""

    @contextmanager
    def broken_thread() -> Iterator[None]:
        raise OSError("no connection")
        yield

    class Broken(VirtualHost):
        def around_thread(self, hook: Hook) -> AbstractContextManager[object]:
            return broken_thread()

        def around_task(self, hook: Hook) -> AbstractAsyncContextManager[object]:
            return BrokenTask()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        lifespan.adapter = Broken(loop)

        @lifespan.on_start(name="async", required=kind == "async")
        async def async_hook() -> None:
            """Do nothing."""

        lifespan.on_start(name="sync", required=kind == "sync")(lambda: None)
        with pytest.raises(OSError, match="no connection"):
            await lifespan.startup()

    run_virtually(main)


# Limits of threads.


def test_sync_hook_has_limits_as_an_async_one_has() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.on_start(timeout=3)
        def in_time() -> None:
            loop.sleep_in_thread(2)

        @lifespan.on_start(timeout=3, required=False)
        def late() -> None:
            loop.sleep_in_thread(60)

        async with lifespan.run("app"):
            assert loop.now == 1005
            report = lifespan.report()
            assert report is not None
            step = next(step for step in report.steps if step.name == "late")
            assert step.duration == 3
            assert "within its limit of 3 s" in step.error

    run_virtually(main)


def test_pool_goes_on_when_one_of_its_threads_hangs() -> None:
    ran: list[str] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        for number in range(4):
            hook = written_in(f"stuck_{number}.lifespan")(lambda: loop.hang_in_thread())
            lifespan.on_start(name=f"stuck_{number}", timeout=1, required=False)(hook)

        @lifespan.on_start(1)
        @written_in("shop.lifespan")
        def start() -> None:
            ran.append("start")

        @lifespan.on_shutdown
        @written_in("shop.lifespan")
        def shutdown() -> None:
            ran.append("shutdown")

        async with lifespan.run("app"):
            pass

    run_virtually(main)

    assert ran == ["start", "shutdown"]


def test_no_thread_waits_for_a_loop_that_is_closed() -> None:
    """Each thread that reports in vain has to close its resource and to end."""
    loop = asyncio.new_event_loop()
    before = Mailbox(loop)
    assert before.post(print)
    loop.close()
    mailbox = Mailbox(loop)
    assert [mailbox.post(print), mailbox.post(print), before.post(print)] == [False] * 3


def test_function_whose_thread_can_not_be_started_is_called_by_its_next_attempt_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused: list[str] = []
    calls: list[str] = []

    def refuse_once(target: Callable[[], None], name: str) -> None:
        if not refused:
            refused.append(name)
            raise RuntimeError("can't start new thread")
        start_thread(target, name)

    async def main(lifespan: Lifespan) -> None:
        @lifespan.on_start(retry=Retry(10, first=0.01))
        def migrate() -> None:
            calls.append("migrate")

        async with lifespan.run("app"):
            pass

    monkeypatch.setattr("lifespan_app.engine.running.threads.start_thread", refuse_once)
    on_a_real_loop(main)
    assert refused == ["lifespan pool"]
    assert calls == ["migrate"]
