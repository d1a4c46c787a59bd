"""Rule 4.7: which run is the current one; and two servers, two loops, two runs in one process."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import pytest

from lifespan_app import Lifespan, Resource
from lifespan_app.engine.running.run import Run
from lifespan_app.errors import NotRunning, WrongLoop
from tests.engine.conftest import LOOPS, RunOnLoop

T = TypeVar("T")
Main = Callable[[], Coroutine[Any, Any, T]]


def box_of(lifespan: Lifespan) -> Resource[object]:
    @lifespan.resource
    async def box() -> AsyncIterator[object]:
        yield object()

    return box


def sync_box_of(lifespan: Lifespan) -> Resource[object]:
    @lifespan.resource
    def sync_box() -> Iterator[object]:
        yield object()

    return sync_box


async def outside(read: Callable[[], T]) -> T:
    """Read where no context variable says anything, as a request's task does."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def look() -> None:
        try:
            future.set_result(read())
        except Exception as error:
            future.set_exception(error)

    asyncio.get_running_loop().call_soon(look, context=contextvars.Context())
    return await future


class Elsewhere:
    """Another event loop, in another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def call(self, main: Main[T]) -> T:
        """Run a coroutine function there, and wait for what it returns."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(main(), self.loop)
        return future.result(60)

    def read(self, read: Callable[[], T]) -> T:
        """Call a function there."""

        async def main() -> T:
            return read()

        return self.call(main)


@contextmanager
def another_loop(kind: str = "asyncio") -> Iterator[Elsewhere]:
    loop = LOOPS[kind]()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield Elsewhere(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def in_thread(read: Callable[[], T]) -> T:
    """Call a function in a thread where no loop runs, and return what it returns."""
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(read())
        except Exception as error:
            future.set_exception(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return future.result()


# One after the other: the context's, the request's, the loop's, the process's.


def test_run_is_current_inside_its_body(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        box = box_of(lifespan)
        async with lifespan.run("app") as outer:
            async with lifespan.run("app") as inner:
                assert box.current() is inner["box"]
                assert outer["box"] is not inner["box"]
            assert box.current() is outer["box"]

    run(main)


def test_run_is_current_inside_its_hooks(run: RunOnLoop) -> None:
    seen: list[tuple[object, object]] = []

    async def main(lifespan: Lifespan) -> None:
        box = box_of(lifespan)

        @lifespan.on_start
        async def look(box: object) -> None:
            seen.append((box, handle.current()))

        @lifespan.on_start
        def look_in_a_thread(box: object) -> None:
            seen.append((box, handle.current()))

        handle = box
        async with lifespan.run("app"), lifespan.run("app"):
            pass

    run(main)

    assert len(seen) == 4
    assert all(given is current for given, current in seen)
    assert len({id(given) for given, _ in seen}) == 2


def test_request_is_read_from_the_run_that_serves_it(run: RunOnLoop) -> None:
    class Request:
        def __init__(self, run: Run) -> None:
            self.scope = {"type": "http", "lifespan_app.run": run}

    async def main(lifespan: Lifespan) -> None:
        box = box_of(lifespan)
        runs = [lifespan.prepare("app"), lifespan.prepare("app")]
        for one in runs:
            await one.start()
        for one in runs:
            for request in (Request(one), Request(one).scope):
                assert await outside(partial(box, request)) is one.state["box"]
        for one in runs:
            await one.stop()

    run(main)


def test_context_goes_before_the_request(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        box = box_of(lifespan)
        other = lifespan.prepare("app")
        await other.start()
        async with lifespan.run("app") as state:
            assert box({"lifespan_app.run": other}) is state["box"]
        await other.stop()

    run(main)


def test_run_of_the_running_loop_is_current(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        box = box_of(lifespan)
        state = await lifespan.startup()
        assert box.current() is state["box"]
        assert await outside(box.current) is state["box"]
        assert await outside(lambda: box({"type": "http"})) is state["box"]
        await lifespan.shutdown()

    run(main)


def test_two_runs_on_one_loop_are_an_error_that_lists_them(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        box = box_of(lifespan)
        runs = [lifespan.prepare("app"), lifespan.prepare("worker")]
        for one in runs:
            await one.start()
        with pytest.raises(NotRunning) as caught:
            await outside(box.current)
        text = str(caught.value)
        assert "which of 2 runs is meant" in text
        for one in runs:
            assert f"run {one.facts.uuid[:8]} ({one.context.service_type}, serving)" in text
        assert "handle(request)" in text
        for one in runs:
            await one.stop()

    run(main)


def test_only_run_of_the_process_is_current_without_a_loop() -> None:
    async def main(lifespan: Lifespan) -> None:
        box, sync_box = box_of(lifespan), sync_box_of(lifespan)
        async with lifespan.run("app") as state:
            for handle in (box, sync_box):
                value = await asyncio.to_thread(in_thread, handle.current)
                assert value is state[handle.hook.name]

    with asyncio.Runner() as runner:
        runner.run(main(Lifespan()))


def test_two_runs_without_a_loop_are_an_error_that_lists_them() -> None:
    lifespan = Lifespan()
    box = box_of(lifespan)
    with another_loop() as one, another_loop() as two:
        one.call(lifespan.startup)
        two.call(lifespan.startup)
        with pytest.raises(NotRunning, match=r"which of 2 runs is meant: run .*; run "):
            box.current()
        two.call(lifespan.shutdown)
        assert box.current() is one.read(box.current)
        one.call(lifespan.shutdown)


# Two loops.


@pytest.mark.parametrize("kind", LOOPS)
def test_two_loops_each_have_their_own_run_and_their_own_values(kind: str) -> None:
    lifespan = Lifespan()
    box, sync_box = box_of(lifespan), sync_box_of(lifespan)
    with another_loop(kind) as one, another_loop() as two:
        states = [loop.call(lifespan.startup) for loop in (one, two)]
        for handle in (box, sync_box):
            values = [loop.read(handle.current) for loop in (one, two)]
            assert values[0] is not values[1]
            name = handle.hook.name
            assert one.read(partial(states[0].__getitem__, name)) is values[0]
            assert two.read(partial(states[1].__getitem__, name)) is values[1]
        one.call(lifespan.shutdown)
        assert two.read(box.current) is not None
        with pytest.raises(WrongLoop):
            one.read(box.current)
        two.call(lifespan.shutdown)


def test_async_resource_is_not_read_on_another_loop() -> None:
    lifespan = Lifespan()
    box = box_of(lifespan)
    with another_loop("asyncio") as one, another_loop("uvloop") as two:
        one.call(lifespan.startup)
        with pytest.raises(WrongLoop) as caught:
            two.read(box.current)
        text = str(caught.value)
        assert f"lives on event loop <{type(one.loop).__name__} at {id(one.loop):#x}>" in text
        assert f"is read on <{type(two.loop).__name__} at {id(two.loop):#x}>" in text
        assert "await lifespan.acall(async_function, ...)" in text
        assert one.read(box.current) is box.current()
        one.call(lifespan.shutdown)


def test_sync_resource_is_read_on_any_loop() -> None:
    lifespan = Lifespan()
    sync_box = sync_box_of(lifespan)
    with another_loop() as one, another_loop() as two:
        one.call(lifespan.startup)
        assert two.read(sync_box.current) is one.read(sync_box.current) is sync_box.current()
        one.call(lifespan.shutdown)


def test_run_on_its_own_loop_may_be_opened_again() -> None:
    lifespan = Lifespan()
    box = box_of(lifespan)
    seen: list[object] = []

    async def main() -> None:
        async with lifespan.run("app"):
            seen.append(box.current())

    for _ in range(3):
        asyncio.run(main())

    assert len({id(value) for value in seen}) == 3
    assert lifespan.runs == []


# run_sync.


def test_sync_code_opens_a_run_on_a_loop_of_its_own() -> None:
    lifespan = Lifespan()
    box, sync_box = box_of(lifespan), sync_box_of(lifespan)

    with lifespan.run_sync("app") as state:
        assert box.current() is state["box"]
        assert sync_box.current() is state["sync_box"]
        assert lifespan.is_initialized()

    assert not lifespan.is_initialized()
    assert "lifespan loop" not in [thread.name for thread in threading.enumerate()]


def test_sync_code_gets_the_errors_that_async_code_gets() -> None:
    lifespan = Lifespan()

    @lifespan.on_shutdown
    async def fails() -> None:
        raise OSError("at shutdown")

    with pytest.raises(ExceptionGroup) as group, lifespan.run_sync("app"):
        pass
    assert [str(error) for error in group.value.exceptions] == ["at shutdown"]

    def body() -> None:
        with lifespan.run_sync("app"):
            raise LookupError("in the body")

    with pytest.raises(LookupError, match="in the body") as caught:
        body()
    assert "Then, at shutdown: OSError: at shutdown" in caught.value.__notes__

    @lifespan.on_start
    async def fails_too() -> None:
        raise OSError("at startup")

    with pytest.raises(OSError, match="at startup"), lifespan.run_sync("app"):
        pass
