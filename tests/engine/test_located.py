"""Where a task or a thread waits: the user's line, and the library's under it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import socket
import sys
import sysconfig
import threading
import time
import types
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterator,
)
from pathlib import Path
from typing import Any, TypeVar, cast

import anyio
import anyio.abc
import httpx
import pytest

from lifespan_app.engine.stacks import stacks
from lifespan_app.engine.stacks.stacks import (
    Frame,
    Location,
    locations_of,
    tasks_by_value,
    tasks_with,
    where_loop,
    where_task,
    where_thread,
)
from tests.engine.conftest import LOOPS

T = TypeVar("T")
Hook = Callable[[], Coroutine[Any, Any, Any]]

marker: contextvars.ContextVar[object] = contextvars.ContextVar("marker")

HERE = Path(__file__)
THIS_FILE = str(HERE.relative_to(Path.cwd()) if HERE.is_relative_to(Path.cwd()) else HERE)


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, T]], T]:
    """Return what runs a coroutine to its end, on each kind of loop."""

    def run_to_end(main: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(main)

    return run_to_end


Run = Callable[[Coroutine[Any, Any, T]], T]


def waiting_in(function: Callable[..., Any]) -> Frame:
    """Return the line of a function of this file that ends in '# waits'."""
    function = inspect.unwrap(function)
    lines, first = inspect.getsourcelines(function)
    [line] = [first + n for n, text in enumerate(lines) if text.endswith("# waits\n")]
    return Frame(THIS_FILE, line, function.__name__)


async def never() -> None:
    await asyncio.get_running_loop().create_future()


@contextlib.asynccontextmanager
async def started(hook: Hook) -> AsyncIterator[Callable[[], list[Location]]]:
    """Run a hook in a marked task, as the engine does, and give what finds its places."""
    value = object()
    loop = asyncio.get_running_loop()

    async def life() -> None:
        marker.set(value)
        await hook()

    task = asyncio.create_task(life())
    try:
        yield lambda: locations_of(task, marker, value, loop)
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=1)


async def soon(look: Callable[[], T], fits: Callable[[T], object]) -> T:
    """Look until what is seen fits; what waits somewhere tells nobody that it has got there."""
    deadline = time.monotonic() + 10
    while not fits(seen := look()):
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.001)
    return seen


async def places_once_in(hook: Hook, spot: Frame) -> list[Location]:
    """Return a hook's places as soon as one of them is this line."""
    async with started(hook) as find:
        return await soon(find, lambda places: spot in [place.user for place in places])


# The user's code: each hook waits in one line.


async def async_generator() -> None:
    await anext(in_generator())


async def in_generator() -> AsyncGenerator[None, None]:
    await never_in_user_code()
    yield


async def never_in_user_code() -> None:
    await asyncio.Event().wait()  # waits


async def generator_that_leaves() -> None:
    generator = leaving_generator()
    await anext(generator)
    await anext(generator)


async def leaving_generator() -> AsyncGenerator[None, None]:
    yield
    await asyncio.sleep(1_000)  # waits


async def generator_thrown_into() -> None:
    generator = caring_generator()
    await anext(generator)
    await generator.athrow(ValueError())


async def caring_generator() -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await asyncio.sleep(1_000)  # waits


async def generator_sent_to() -> None:
    other = caring_generator()
    generator = sending_generator()
    await anext(generator)
    await generator.asend(other)


async def sending_generator() -> AsyncGenerator[None, object]:
    yield
    await asyncio.sleep(1_000)  # waits


async def anext_with_default() -> None:
    await anext(defaulting_generator(), leaving_generator())


async def defaulting_generator() -> AsyncGenerator[None, None]:
    await asyncio.sleep(1_000)  # waits
    yield


async def async_for() -> None:
    async for _ in defaulting_generator():
        pass


async def context_manager_entered() -> None:
    async with entering():
        pass


@contextlib.asynccontextmanager
async def entering() -> AsyncIterator[None]:
    await asyncio.sleep(1_000)  # waits
    yield


async def context_manager_left() -> None:
    async with leaving():
        pass


@contextlib.asynccontextmanager
async def leaving() -> AsyncIterator[None]:
    try:
        yield
    finally:
        await asyncio.sleep(1_000)  # waits


async def exit_stack_entered() -> None:
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(entering())


async def exit_stack_left() -> None:
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(leaving())


async def timeout() -> None:
    async with asyncio.timeout(1_000):
        await asyncio.sleep(1_000)  # waits


async def wait_for() -> None:
    await asyncio.wait_for(awaited_for_long(), 1_000)


async def awaited_for_long() -> None:
    await asyncio.sleep(1_000)  # waits


async def another_task() -> None:
    await asyncio.create_task(awaited_for_long())


async def task_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(awaited_for_long())


async def over_at_once() -> None: ...


async def gather() -> None:
    await asyncio.gather(over_at_once(), awaited_for_long())


async def shield() -> None:
    child = asyncio.create_task(awaited_for_long())
    try:
        await asyncio.shield(child)
    finally:
        child.cancel()


async def wait() -> None:
    child = asyncio.create_task(awaited_for_long())
    try:
        await asyncio.wait([child])
    finally:
        child.cancel()


async def task_group_in_a_task_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(task_group())


async def anyio_task_group() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(awaited_for_long)


async def anyio_start() -> None:
    async with anyio.create_task_group() as group:
        await group.start(starting)


async def starting(*, task_status: anyio.abc.TaskStatus[None]) -> None:
    await anyio.sleep(1_000)  # waits
    task_status.started()


async def anyio_fail_after() -> None:
    with anyio.fail_after(1_000):
        await anyio.sleep(1_000)  # waits


class Awaited:
    def __await__(self) -> Generator[Any, None, None]:
        yield from asyncio.sleep(1_000).__await__()  # waits


class Passing:
    def __init__(self, inner: Awaitable[Any]) -> None:
        self.inner = inner

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.inner.__await__()


class Iterating:
    """An awaitable without a frame, as a library written in C may have it."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine

    def __await__(self) -> Iterator[Any]:
        return self

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self.coroutine.send(None)

    def close(self) -> None:
        self.coroutine.close()


class Compiled(Iterating):
    """A coroutine as Cython makes it: of a type of its own, with the usual attributes."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        super().__init__(coroutine)
        self.argument = leaving_generator()

    @property
    def cr_await(self) -> Coroutine[Any, Any, Any]:
        return self.coroutine


async def compiled_coroutine() -> None:
    await cast(Awaitable[None], Compiled(awaited_for_long()))


async def own_awaitable() -> None:
    await Awaited()


async def coroutine_wrapper() -> None:
    await Passing(awaited_for_long())


async def awaitable_that_iterates() -> None:
    await cast(Awaitable[None], Iterating(awaited_for_long()))


@types.coroutine
def old_style() -> Generator[Any, Any, None]:
    yield from asyncio.sleep(1_000).__await__()  # waits


async def generator_based_coroutine() -> None:
    await old_style()


@pytest.mark.parametrize(
    ("hook", "waits_in"),
    [
        (async_generator, never_in_user_code),
        (generator_that_leaves, leaving_generator),
        (generator_thrown_into, caring_generator),
        (generator_sent_to, sending_generator),
        (anext_with_default, defaulting_generator),
        (async_for, defaulting_generator),
        (context_manager_entered, entering),
        (context_manager_left, leaving),
        (exit_stack_entered, entering),
        (exit_stack_left, leaving),
        (timeout, timeout),
        (wait_for, awaited_for_long),
        (another_task, awaited_for_long),
        (task_group, awaited_for_long),
        (task_group_in_a_task_group, awaited_for_long),
        (gather, awaited_for_long),
        (shield, awaited_for_long),
        (wait, awaited_for_long),
        (anyio_task_group, awaited_for_long),
        (anyio_start, starting),
        (anyio_fail_after, anyio_fail_after),
        (own_awaitable, Awaited.__await__),
        (coroutine_wrapper, awaited_for_long),
        (awaitable_that_iterates, awaited_for_long),
        (generator_based_coroutine, old_style),
        (compiled_coroutine, awaited_for_long),
    ],
    ids=lambda function: function.__name__,
)
def test_users_line_is_found_through(
    run: Run[list[Location]], hook: Hook, waits_in: Callable[..., Any]
) -> None:
    places = run(places_once_in(hook, waiting_in(waits_in)))

    assert len(places) <= 3
    for place in places:
        assert place.user is not None
        assert place.user.file == THIS_FILE


def test_hooks_own_task_comes_first(run: Run[list[Location]]) -> None:
    places = run(places_once_in(task_group, waiting_in(awaited_for_long)))

    assert [place.user.function for place in places if place.user] == [
        "task_group",
        "awaited_for_long",
    ]
    assert places[0].library is not None
    assert places[0].library.file == "asyncio/taskgroups.py"
    # Python 3.14's __aexit__ calls _aexit.
    assert places[0].library.function in ("__aexit__", "_aexit")


def test_many_children_in_one_line_are_one_location(run: Run[list[Location]]) -> None:
    async def many() -> None:
        await asyncio.gather(*(awaited_for_long() for _ in range(200)))

    assert len(run(places_once_in(many, waiting_in(awaited_for_long)))) == 2


def test_line_in_the_log_names_ten_places_at_most(run: Run[int]) -> None:
    functions = "\n".join(f"async def f{n}(): await never()" for n in range(25))
    namespace: dict[str, Any] = {"never": functools.partial(asyncio.sleep, 1_000)}
    exec(compile(functions, "/elsewhere/lifespan.py", "exec"), namespace)

    async def hook() -> None:
        await asyncio.gather(*(namespace[f"f{n}"]() for n in range(25)))

    async def main() -> int:
        async with started(hook) as find:
            return len(await soon(find, lambda places: len(places) >= 10))

    assert run(main()) == 10


# Libraries.


def test_httpx_reading_from_a_socket_that_never_answers_is_located(
    run: Run[list[Location]],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"

        async def http_client() -> AsyncGenerator[httpx.AsyncClient, None]:
            async with httpx.AsyncClient(timeout=None) as client:
                await client.get(url)  # waits
                yield client

        async def hook() -> None:
            await anext(http_client())

        async def main() -> list[Location]:
            server.setblocking(False)
            loop = asyncio.get_running_loop()
            async with started(hook) as find:
                peer, _ = await loop.sock_accept(server)
                with peer:
                    received = b""
                    while not received.endswith(b"\r\n\r\n"):
                        received += await loop.sock_recv(peer, 65_536)
                    return await soon(find, lambda places: "in receive" in str(places[0]))

        [place] = run(main())

        assert place.user == waiting_in(http_client)
        assert place.library is not None
        assert place.library.file == str(Path("anyio/_backends/_asyncio.py"))
        assert place.library.function == "receive"
        assert str(place) == f"{place.user}, in {place.library}"


def test_librarys_own_class_is_located_in_the_library(run: Run[Location]) -> None:
    async def main() -> Location:
        sender, receiver = anyio.create_memory_object_stream[int](0)
        with sender, receiver:
            task = asyncio.create_task(sender.send(1))
            place = await soon(lambda: where_task(task), lambda place: "streams" in str(place))
            task.cancel()
            await asyncio.wait([task])
        assert place is not None
        return place

    place = run(main())

    assert place.user is None
    assert place.library is not None
    assert place.library.file == str(Path("anyio/streams/memory.py"))
    assert place.library.function == "send"


def test_call_handed_to_a_thread_is_located_where_it_is_handed_over(
    run: Run[list[Location]],
) -> None:
    release = threading.Event()

    async def hook() -> None:
        await asyncio.to_thread(release.wait)  # waits

    async def main() -> list[Location]:
        try:
            return await places_once_in(hook, waiting_in(hook))
        finally:
            release.set()

    [place] = run(main())

    assert place.library is not None
    assert (place.library.file, place.library.function) == ("asyncio/threads.py", "to_thread")


# Tasks in every state.


def test_task_that_is_done_has_no_location(run: Run[None]) -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(0))
        await task

        assert where_task(task) is None
        assert locations_of(task, marker, object(), asyncio.get_running_loop()) == []

    run(main())


def test_task_that_has_not_begun_is_at_its_functions_first_line(run: Run[None]) -> None:
    async def main() -> None:
        task = asyncio.create_task(awaited_for_long())
        place = where_task(task)
        task.cancel()

        assert place is not None
        assert place.user is not None
        assert place.user.line == awaited_for_long.__code__.co_firstlineno

    run(main())


def test_task_that_looks_at_itself_is_where_it_looks(run: Run[None]) -> None:
    async def looks() -> Location | None:
        return looked()

    def looked() -> Location | None:
        task = asyncio.current_task()
        assert task is not None
        return where_task(task)  # waits

    async def main() -> None:
        assert await asyncio.create_task(looks()) == Location(waiting_in(looked), None)

    run(main())


def test_task_that_runs_in_another_thread_is_where_that_thread_is(run: Run[None]) -> None:
    inside, release = threading.Event(), threading.Event()
    places: list[Location | None] = []

    async def blocks() -> None:
        inside.set()
        release.wait(20)  # waits

    def look(task: asyncio.Task[Any]) -> None:
        inside.wait(20)
        try:
            while (place := where_task(task)) and (place.library is None):
                time.sleep(0.001)
            places.append(place)
        finally:
            release.set()

    async def main() -> None:
        task = asyncio.create_task(blocks())
        watcher = threading.Thread(target=look, args=(task,))
        watcher.start()
        await task
        watcher.join()

    run(main())

    [place] = places
    assert place is not None
    assert place.user == waiting_in(blocks)
    assert place.library is not None
    assert place.library.file == "threading.py"


def test_task_that_waits_for_itself_is_followed_once(run: Run[None]) -> None:
    class Circle:
        inner: Any = None

        def __await__(self) -> Iterator[Any]:
            return self

        def __iter__(self) -> Iterator[Any]:
            return self

        def __next__(self) -> Any:
            return None

    circle = Circle()

    async def waits_for_itself() -> None:
        await cast(Awaitable[None], circle)  # waits

    async def hook() -> None:
        circle.inner = waits_for_itself()
        await circle.inner

    async def main() -> None:
        places = await places_once_in(hook, waiting_in(waits_for_itself))

        assert places == [Location(waiting_in(waits_for_itself), None)]

    run(main())


def test_very_deep_chain_ends_somewhere_in_the_users_code(run: Run[Location]) -> None:
    async def deep(levels: int) -> None:
        if levels:
            await deep(levels - 1)
        else:
            await never()

    async def main() -> Location:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(20_000)
        try:
            task = asyncio.create_task(deep(3_000))
            await asyncio.sleep(0)
            place = where_task(task)
            task.cancel()
            await asyncio.wait([task])
        finally:
            sys.setrecursionlimit(limit)
        assert place is not None
        return place

    place = run(main())

    assert place.user is not None
    assert place.user.function == "deep"


class Hostile:
    """An awaitable that breaks whoever looks at it."""

    awake = True

    def __await__(self) -> Hostile:
        return self

    def __iter__(self) -> Hostile:
        return self

    def __next__(self) -> Any:
        return None

    def __getattribute__(self, name: str) -> Any:
        if Hostile.awake:
            raise RuntimeError(name)
        return super().__getattribute__(name)

    def __hash__(self) -> int:
        raise RuntimeError("hashed")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")


def test_awaitable_that_breaks_when_looked_at_ends_the_walk_quietly(
    run: Run[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hook() -> None:
        await Hostile()  # waits

    async def main() -> None:
        async with started(hook) as find:
            places = await soon(find, lambda places: Location(waiting_in(hook), None) in places)
            # Its cancellation looks at it too.
            monkeypatch.setattr(Hostile, "awake", False)

        assert places == [Location(waiting_in(hook), None)]

    run(main())


def test_awaitable_that_could_wait_for_two_is_not_guessed_at(run: Run[None]) -> None:
    class Two(Iterating):
        def __init__(self) -> None:
            super().__init__(awaited_for_long())
            self.other = leaving_generator()

    async def hook() -> None:
        await cast(Awaitable[None], Two())  # waits

    async def main() -> None:
        assert await places_once_in(hook, waiting_in(hook)) == [Location(waiting_in(hook), None)]

    run(main())


@pytest.mark.parametrize("thing", [None, 1, [], "task"])
def test_object_that_is_no_task_has_no_location(thing: Any) -> None:
    assert where_task(thing) is None
    assert where_thread(thing) is None
    assert where_loop(thing) is None
    assert tasks_with(marker, object(), thing) == []


# The tasks of a hook.


def test_tasks_are_distinguished_by_the_identity_of_an_object_in_their_context(
    run: Run[None],
) -> None:
    class Same:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    async def main() -> None:
        one, other = Same(), Same()
        loop = asyncio.get_running_loop()
        tasks: dict[str, asyncio.Task[None]] = {"unmarked": asyncio.create_task(never())}
        for name, value in (("one", one), ("other", other)):
            context = contextvars.copy_context()
            context.run(marker.set, value)
            # The context of a callback is not the task's own.
            task = loop.create_task(never(), context=context)
            unrelated = contextvars.copy_context()
            unrelated.run(marker.set, object())
            task.add_done_callback(lambda _: None, context=unrelated)
            tasks[name] = task

        assert tasks_with(marker, one, loop) == [tasks["one"]]
        assert tasks_by_value(marker, loop) == {
            id(one): [tasks["one"]],
            id(other): [tasks["other"]],
        }
        for task in tasks.values():
            task.cancel()

    run(main())


def test_task_written_in_python_is_found_and_located(run: Run[list[Location]]) -> None:
    async def main() -> list[Location]:
        loop = asyncio.get_running_loop()

        def make(loop: Any, coroutine: Any, **options: Any) -> Any:
            task = asyncio.tasks._PyTask(coroutine, loop=loop, **options)  # type: ignore[attr-defined]
            # From Python 3.14 on all_tasks() does not know it by itself, nor a TaskGroup its parent:
            # https://docs.python.org/3/library/asyncio-extending.html
            asyncio.tasks._register_task(task)
            return task

        async def hook() -> None:
            await asyncio.gather(awaited_for_long())

        loop.set_task_factory(make)
        return await places_once_in(hook, waiting_in(awaited_for_long))

    assert len(run(main())) == 2


def test_task_of_another_make_that_shows_no_context_is_passed_over(run: Run[None]) -> None:
    class OtherTask:
        def get_loop(self) -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        def done(self) -> bool:
            return False

    async def main() -> None:
        other: Any = OtherTask()
        asyncio._register_task(other)
        try:
            await places_once_in(gather, waiting_in(awaited_for_long))
            assert other in asyncio.all_tasks()
            assert where_task(other) is None
        finally:
            asyncio._unregister_task(other)

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_eager_children_are_located(run: Run[list[Location]]) -> None:
    async def main() -> list[Location]:
        loop = asyncio.get_running_loop()
        # uvloop 0.23 calls a factory with an argument that asyncio's own eager one does not take.
        loop.set_task_factory(
            lambda loop, coroutine, **options: asyncio.Task(
                coroutine, loop=loop, **{**options, "eager_start": True}
            )
        )
        return await places_once_in(gather, waiting_in(awaited_for_long))

    run(main())


def test_tasks_found_in_one_pass_need_no_second_look_at_the_loop(run: Run[None]) -> None:
    async def main() -> None:
        value = object()
        loop = asyncio.get_running_loop()
        marker.set(value)
        children = [asyncio.create_task(awaited_for_long()) for _ in range(2)]
        await asyncio.sleep(0)
        grouped = tasks_by_value(marker, loop)
        # Without a loop to ask, what was found before is all there is.
        nowhere: Any = None
        places = locations_of(None, marker, value, nowhere, among=grouped[id(value)])
        for child in children:
            child.cancel()

        assert waiting_in(awaited_for_long) in [place.user for place in places]

    run(main())


# Threads and loops.


def test_thread_that_hangs_is_located() -> None:
    release = threading.Event()

    def hook() -> None:
        release.wait(20)  # waits

    thread = threading.Thread(target=hook)
    thread.start()
    try:
        assert thread.ident is not None
        while (place := where_thread(thread.ident)) is None or place.library is None:
            time.sleep(0.001)
    finally:
        release.set()
        thread.join()

    assert place.user == waiting_in(hook)
    assert (place.library.file, place.library.function) == ("threading.py", "wait")
    assert where_thread(thread.ident) is None


def test_thread_deep_in_a_recursion_is_located() -> None:
    inside, release = threading.Event(), threading.Event()

    def dive(levels: int) -> None:
        if levels:
            dive(levels - 1)
        inside.set()
        release.wait(20)  # waits

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    thread = threading.Thread(target=dive, args=(5_000,))
    thread.start()
    try:
        assert inside.wait(10)
        assert thread.ident is not None
        place = where_thread(thread.ident)
    finally:
        release.set()
        thread.join()
        sys.setrecursionlimit(limit)

    assert place is not None
    assert place.user is not None
    assert place.user.function == "dive"


def test_blocked_loop_is_located(run: Run[None]) -> None:
    inside, release = threading.Event(), threading.Event()
    places: list[Location | None] = []
    ident = threading.get_ident()

    async def blocks() -> None:
        inside.set()
        release.wait(20)  # waits

    def look() -> None:
        inside.wait(20)
        try:
            while (place := where_loop(ident)) is None or place.library is None:
                time.sleep(0.001)
            places.append(place)
        finally:
            release.set()

    watcher = threading.Thread(target=look)
    watcher.start()
    run(blocks())
    watcher.join()

    assert [place and place.user for place in places] == [waiting_in(blocks)]


def test_line_that_runs_a_loop_does_not_block_it() -> None:
    inside, release = threading.Event(), threading.Event()
    places: list[Location | None] = []
    ident = threading.get_ident()

    def look() -> None:
        inside.wait(20)
        try:
            while (place := where_loop(ident)) is None or "wait" not in str(place):
                time.sleep(0.001)
            places.append(place)
        finally:
            release.set()

    watcher = threading.Thread(target=look)
    watcher.start()
    loop = asyncio.SelectorEventLoop()
    loop.call_soon(inside.set)
    loop.call_soon(functools.partial(release.wait, 20))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    watcher.join()

    assert [place and place.user for place in places] == [None]
    # Without that difference, this file is the user's code that runs the loop.
    whole = where_thread(ident)
    assert whole is not None
    assert whole.user is not None


# What is told.


def test_locations_hold_no_value_of_a_local_variable(run: Run[list[Location]]) -> None:
    async def hook() -> None:
        password = "s3cret"
        await asyncio.sleep(len(password) * 1_000)  # waits

    text = " ".join(map(str, run(places_once_in(hook, waiting_in(hook)))))

    assert "s3cret" not in text


def test_location_is_one_line_of_text() -> None:
    user = Frame("library/lifespan.py", 18, "http_client")
    library = Frame("httpx/_client.py", 1574, "send")

    assert str(Location(user, library)) == (
        "library/lifespan.py:18 in http_client, in httpx/_client.py:1574 in send"
    )
    assert str(Location(user, None)) == "library/lifespan.py:18 in http_client"
    assert str(Location(None, library)) == "httpx/_client.py:1574 in send"


PACKAGES = sysconfig.get_path("purelib")
STANDARD = str(Path(asyncio.__file__).parents[1])
COMMANDS = sysconfig.get_path("scripts")
OURS = str(Path(stacks.__file__).parents[2])


def called_in(*filenames: str) -> list[tuple[types.CodeType, int]]:
    """Return the lines of a stack, as if a function of each file had called the next."""
    return [(compile("", filename, "exec"), 1) for filename in filenames]


@pytest.mark.parametrize(
    ("filenames", "text"),
    [
        (["project/views.py"], "project/views.py"),
        ([f"{Path.cwd()}/library/lifespan.py"], "library/lifespan.py"),
        (["/elsewhere/library/lifespan.py"], "/elsewhere/library/lifespan.py"),
        (["<stdin>"], "<stdin>"),
        (["/u.py", f"{PACKAGES}/httpx/_client.py"], "/u.py | httpx/_client.py"),
        (["/u.py", "/usr/lib/python3/dist-packages/apt/a.py"], "/u.py | apt/a.py"),
        (["/u.py", f"{STANDARD}/asyncio/locks.py"], "/u.py | asyncio/locks.py"),
        (["/u.py", f"{PACKAGES}/a/b.py", f"{STANDARD}/queue.py"], "/u.py | a/b.py"),
        (
            ["/u.py", f"{OURS}/engine/x.py", f"{STANDARD}/queue.py"],
            "/u.py | lifespan_app/engine/x.py",
        ),
        (["/u.py", "<frozen runpy>"], "/u.py | <frozen runpy>"),
        (["/u.py", "<generated>"], "/u.py | <generated>"),
        ([f"{COMMANDS}/uvicorn"], "- | uvicorn"),
        ([f"{OURS}/engine/x.py"], "- | lifespan_app/engine/x.py"),
        ([f"{OURS}/engine/x.py", f"{STANDARD}/queue.py"], "- | queue.py"),
        ([f"{PACKAGES}/a/b.py", "/u.py", f"{PACKAGES}/c/d.py", "/v.py"], "/v.py"),
        ([], ""),
    ],
)
def test_files_are_distinguished_and_have_short_names(filenames: list[str], text: str) -> None:
    place = stacks._place(called_in(*filenames), None)

    told = [] if place is None else [spot.file if spot else "-" for spot in place]
    assert " | ".join(told).removesuffix(" | -") == text


def test_project_that_is_installed_as_a_package_is_the_users_code() -> None:
    lines = called_in(
        f"{PACKAGES}/shop/lifespan.py", f"{PACKAGES}/shop/client.py", f"{PACKAGES}/httpx/x.py"
    )

    place = stacks._place(lines, f"{PACKAGES}/shop/lifespan.py")

    assert place is not None
    assert [spot and spot.file for spot in place] == ["shop/client.py", "httpx/x.py"]


def test_working_folder_that_is_gone_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()

    place = stacks._place(called_in("/u.py"), None)

    assert str(place) == "/u.py:1 in <module>"
