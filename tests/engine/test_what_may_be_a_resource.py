"""What may be a resource: how each form is called, entered and left, and where."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.failure import short
from lifespan_app.errors import HookError
from tests.engine.conftest import RunOnLoop

Log = list[tuple[str, str]]


def place() -> str:
    """Return whether this runs on a loop, or in which thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return f"thread {threading.get_ident()}"
    return "loop"


class Door:
    """A context manager, async or not, that writes down where it is called."""

    def __init__(self, log: Log) -> None:
        self.log = log
        log.append(("called", place()))


class AsyncDoor(Door):
    async def __aenter__(self) -> AsyncDoor:
        self.log.append(("entered", place()))
        return self

    async def __aexit__(self, *error: object) -> None:
        self.log.append(("left", place()))


class SyncDoor(Door):
    def __enter__(self) -> SyncDoor:
        self.log.append(("entered", place()))
        return self

    def __exit__(self, *error: object) -> None:
        self.log.append(("left", place()))


class BothDoor(AsyncDoor, SyncDoor):
    """What can be entered both ways, such as clients that have an old and a new side."""


# The forms: each is given a log, and returns what is declared.


def async_generator(log: Log) -> Callable[..., Any]:
    async def door() -> AsyncIterator[AsyncDoor]:
        async with AsyncDoor(log) as door:
            yield door

    return door


def sync_generator(log: Log) -> Callable[..., Any]:
    def door() -> Iterator[SyncDoor]:
        with SyncDoor(log) as door:
            yield door

    return door


def async_context_manager(log: Log) -> Callable[..., Any]:
    return asynccontextmanager(async_generator(log))


def sync_context_manager(log: Log) -> Callable[..., Any]:
    return contextmanager(sync_generator(log))


def async_class(log: Log) -> Callable[..., Any]:
    return functools.partial(AsyncDoor, log)


def sync_class(log: Log) -> Callable[..., Any]:
    return functools.partial(SyncDoor, log)


def both_class(log: Log) -> Callable[..., Any]:
    return functools.partial(BothDoor, log)


def maker_of_an_async_one(log: Log) -> Callable[..., Any]:
    return lambda: AsyncDoor(log)


def maker_of_a_sync_one(log: Log) -> Callable[..., Any]:
    return lambda: SyncDoor(log)


def maker_of_both(log: Log) -> Callable[..., Any]:
    return lambda: BothDoor(log)


def bound_method(log: Log) -> Callable[..., Any]:
    class Doors:
        async def open(self) -> AsyncIterator[AsyncDoor]:
            async with AsyncDoor(log) as door:
                yield door

    return Doors().open


@pytest.mark.parametrize(
    ("form", "called", "entered"),
    [
        (async_generator, "loop", "loop"),
        (bound_method, "loop", "loop"),
        (sync_generator, "thread", "thread"),
        (async_context_manager, "loop", "loop"),
        (sync_context_manager, "thread", "thread"),
        (async_class, "loop", "loop"),
        (sync_class, "thread", "thread"),
        (both_class, "loop", "loop"),
        (maker_of_an_async_one, "thread", "loop"),
        (maker_of_a_sync_one, "thread", "thread"),
        (maker_of_both, "thread", "loop"),
    ],
)
def test_context_manager_is_called_entered_and_left_where_it_belongs(
    run: RunOnLoop, form: Callable[[Log], Callable[..., Any]], called: str, entered: str
) -> None:
    log: Log = []

    async def main(lifespan: Lifespan) -> None:
        handle = lifespan.resource(name="door")(form(log))
        async with lifespan.run("app") as state:
            assert isinstance(handle.current(), Door)
            assert state["door"] is handle.current()
            assert [what for what, _ in log] == ["called", "entered"]

    run(main)

    assert [what for what, _ in log] == ["called", "entered", "left"]
    places = dict(log)
    assert places["called"].startswith(called)
    assert places["entered"].startswith(entered)
    assert places["left"] == places["entered"]


class Index:
    """A value that nothing has to close."""


async def coroutine_function() -> Index:
    return Index()


class AsyncCallable:
    async def __call__(self) -> Index:
        return Index()


@functools.wraps(coroutine_function)
def wrapped_coroutine_function() -> Awaitable[Index]:
    return coroutine_function()


class AwaitableIndex:
    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return Index()


@pytest.mark.parametrize(
    "form",
    [
        coroutine_function,
        functools.partial(coroutine_function),
        AsyncCallable(),
        wrapped_coroutine_function,
        lambda: coroutine_function(),
        AwaitableIndex,
        Index,
        lambda: Index(),
    ],
    ids=[
        "coroutine function",
        "partial of one",
        "async callable object",
        "wrapped one",
        "maker of a coroutine",
        "awaitable class",
        "class",
        "maker of a value",
    ],
)
def test_plain_and_awaited_values_are_handed_out(run: RunOnLoop, form: Callable[..., Any]) -> None:
    async def main(lifespan: Lifespan) -> None:
        handle = lifespan.resource(name="index")(form)
        async with lifespan.run("app"):
            assert type(handle.current()) is Index

    run(main)


@pytest.mark.parametrize(
    ("form", "value"),
    [(lambda: False, False), (lambda: 0, 0), (lambda: "", "")],
    ids=["False", "0", "empty"],
)
def test_value_may_be_nothing_much(run: RunOnLoop, form: Callable[..., Any], value: object) -> None:
    async def main(lifespan: Lifespan) -> None:
        handle: Any = lifespan.resource(name="value")(form)

        async def yields() -> AsyncIterator[object]:
            yield value

        other: Any = lifespan.resource(yields)
        async with lifespan.run("app"):
            assert handle.current() is value
            assert other.current() is value

    run(main)


def test_function_that_only_makes_a_value_leaves_no_thread_behind() -> None:
    threads: list[threading.Thread] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        def index() -> Index:
            threads.append(threading.current_thread())
            return Index()

        async with lifespan.run("app"):
            await asyncio.to_thread(threads[0].join, 10)
            assert not threads[0].is_alive()

    # A thread that ends is nothing that a virtual clock could wait for.
    with asyncio.Runner() as runner:
        runner.run(main(Lifespan()))


# What gives no object when it is entered.


@pytest.mark.parametrize(
    ("form", "gives"),
    [
        (asyncio.Lock, "None"),
        (lambda: asyncio.Semaphore(3), "None"),
        (lambda: threading.Lock(), "True"),
        (lambda: threading.Semaphore(3), "True"),
    ],
    ids=["asyncio.Lock", "asyncio.Semaphore", "threading.Lock", "threading.Semaphore"],
)
def test_context_manager_that_gives_no_object_is_an_error(
    run: RunOnLoop, form: Callable[..., Any], gives: str
) -> None:
    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(name="lock")(form)
        with pytest.raises(HookError) as caught:
            await lifespan.startup()
        assert f"and entering that gives {gives}" in str(caught.value)
        assert "return it from an async function: 'async def'" in str(caught.value)

    run(main)


def test_lock_that_an_async_function_returns_is_handed_out_as_it_is(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def lock() -> asyncio.Lock:
            return asyncio.Lock()

        async with lifespan.run("app"):
            assert not lock.current().locked()
            async with lock.current():
                assert lock.current().locked()

    run(main)


def test_async_context_manager_function_may_yield_nothing(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        @asynccontextmanager
        async def tracing() -> AsyncIterator[None]:
            yield

        async with lifespan.run("app") as state:
            assert state["tracing"] is None

    run(main)


# What is returned by a coroutine function and never closed.


class WithAclose:
    async def aclose(self) -> None:
        raise AssertionError("nobody closes it")


@pytest.mark.parametrize(
    ("value", "method"), [(WithAclose(), "aclose"), (AsyncDoor([]), "__aexit__")]
)
def test_closable_value_of_a_coroutine_function_is_warned_of(
    run: RunOnLoop, caplog: pytest.LogCaptureFixture, value: Any, method: str
) -> None:
    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def client() -> Any:
            return value

        async with lifespan.run("app"):
            assert client.current() is value

    run(main)

    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.name == "lifespan_app"
    text = record.getMessage()
    assert f".client' (tests/engine/{__name__.rpartition('.')[2]}.py:" in text
    assert f"has {method}() and will not be closed: yield it" in text
    if isinstance(value, AsyncDoor):
        assert ("entered", "loop") not in value.log


def test_value_without_close_is_not_warned_of(
    run: RunOnLoop, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(coroutine_function)
        lifespan.on_start(name="start")(WithAclose)
        async with lifespan.run("app"):
            pass

    run(main)

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# Generators that don't keep to one value.


YIELD_ONCE = (
    "Yield exactly once on every path: the code before 'yield' runs at startup, the code after it "
    "at shutdown."
)


def where(function: Callable[..., Any]) -> str:
    """Return what a message calls a resource."""
    name = function.__name__
    return f"'{__name__}.{name}' ({short(__file__)}:{function.__code__.co_firstlineno})"


async def yields_nothing_async() -> AsyncIterator[int]:
    numbers: tuple[int, ...] = ()
    for number in numbers:
        yield number


def yields_nothing() -> Iterator[int]:
    yield from ()


async def yields_twice_async() -> AsyncIterator[int]:
    yield 1
    yield 2


def yields_twice() -> Iterator[int]:
    yield 1
    yield 2


@pytest.mark.parametrize("form", [yields_nothing, yields_nothing_async])
def test_generator_that_yields_nothing_fails_the_startup(
    run: RunOnLoop, form: Callable[..., Any]
) -> None:
    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(form)
        with pytest.raises(HookError) as caught:
            await lifespan.startup()
        assert str(caught.value) == f"{where(form)} did not yield a value. {YIELD_ONCE}"

    run(main)


@pytest.mark.parametrize("form", [yields_twice, yields_twice_async])
def test_generator_that_yields_twice_fails_the_shutdown(
    run: RunOnLoop, form: Callable[..., Any]
) -> None:
    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(form)
        await lifespan.startup()
        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.shutdown()
        [error] = caught.value.exceptions
        assert isinstance(error, HookError)
        second = form.__code__.co_firstlineno + 2
        assert str(error) == (
            f"{where(form)} yielded more than once, again at {short(__file__)}:{second}. "
            f"{YIELD_ONCE}"
        )

    run(main)


@pytest.mark.parametrize(
    ("decorator", "form"),
    [(contextmanager, yields_nothing), (asynccontextmanager, yields_nothing_async)],
)
def test_context_manager_that_yields_nothing_gets_a_remedy(
    run: RunOnLoop, decorator: Callable[..., Any], form: Callable[..., Any]
) -> None:
    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(decorator(form))
        with pytest.raises(RuntimeError, match="generator didn't yield") as caught:
            await lifespan.startup()
        assert YIELD_ONCE in caught.value.__notes__

    run(main)


@pytest.mark.parametrize(
    ("decorator", "form"),
    [(contextmanager, yields_twice), (asynccontextmanager, yields_twice_async)],
)
def test_context_manager_that_yields_twice_gets_a_remedy(
    run: RunOnLoop, decorator: Callable[..., Any], form: Callable[..., Any]
) -> None:
    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(decorator(form))
        await lifespan.startup()
        with pytest.raises(ExceptionGroup) as caught:
            await lifespan.shutdown()
        [error] = caught.value.exceptions
        assert str(error) == "generator didn't stop"
        assert YIELD_ONCE in error.__notes__

    run(main)


# Start functions may be as varied.


@pytest.mark.parametrize("decorator", ["on_start", "on_shutdown"])
def test_awaitable_of_a_sync_function_is_awaited_on_the_loop(
    run: RunOnLoop, decorator: str
) -> None:
    places: list[str] = []

    async def greet() -> None:
        places.append(place())

    async def main(lifespan: Lifespan) -> None:
        getattr(lifespan, decorator)(name="wrapped")(functools.wraps(greet)(lambda: greet()))
        getattr(lifespan, decorator)(name="lambda")(lambda: greet())
        async with lifespan.run("app"):
            pass

    run(main)

    assert places == ["loop", "loop"]


def test_return_value_of_a_start_function_is_not_entered(run: RunOnLoop) -> None:
    log: Log = []

    async def main(lifespan: Lifespan) -> None:
        lifespan.on_start(name="sync")(lambda: SyncDoor(log))
        lifespan.on_start(name="async")(lambda: AsyncDoor(log))
        async with lifespan.run("app"):
            pass

    run(main)

    assert {what for what, _ in log} == {"called"}
