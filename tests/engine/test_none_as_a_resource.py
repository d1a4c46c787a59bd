"""A resource that is None because of a forgotten ``yield`` or ``return`` fails the start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Optional

import pytest

from lifespan_app import Lifespan
from lifespan_app.errors import HookError
from tests.engine.conftest import RunOnLoop

if TYPE_CHECKING:
    from elsewhere import Client  # type: ignore[import-not-found]

closed: list[str] = []

# Each makes something, and hands out nothing.


async def forgotten_in_async():  # type: ignore[no-untyped-def]
    await asyncio.sleep(0)


def forgotten_in_a_thread():  # type: ignore[no-untyped-def]
    pass


def maker_of_a_coroutine():  # type: ignore[no-untyped-def]
    return asyncio.sleep(0)


async def annotated_as_a_value() -> int:  # type: ignore[empty-body]
    pass


async def annotated_as_an_iterator() -> AsyncIterator[int]:  # type: ignore[return]
    await asyncio.sleep(0)


async def annotated_for_type_checkers() -> Client:
    pass


async def yields_nothing() -> AsyncIterator[int]:
    try:
        yield  # type: ignore[misc]
    finally:
        closed.append("yields_nothing")


def yields_nothing_in_a_thread() -> Iterator[int]:
    try:
        yield  # type: ignore[misc]
    finally:
        closed.append("yields_nothing_in_a_thread")


@asynccontextmanager
async def manager() -> AsyncIterator[int]:
    try:
        yield  # type: ignore[misc]
    finally:
        closed.append("manager")


RETURNS = [forgotten_in_async, forgotten_in_a_thread, maker_of_a_coroutine]
ANNOTATED = [annotated_as_a_value, annotated_as_an_iterator, annotated_for_type_checkers]
YIELDS = [yields_nothing, yields_nothing_in_a_thread, manager]

# None is meant.


async def none() -> None: ...


def none_in_a_thread() -> None: ...


async def optional() -> Optional[int]:  # noqa: UP045
    return None


async def union() -> int | None:
    return None


def awaited() -> Awaitable[int | None]:
    return optional()


def coroutine() -> Coroutine[Any, int, None]:
    return none()


async def anything() -> Any: ...


async def for_type_checkers() -> Client | None: ...


async def bare_yield():  # type: ignore[no-untyped-def]
    yield


async def yields_none() -> AsyncIterator[None]:
    yield


def generator() -> Generator[int | None, str, str]:
    yield None
    return ""


@contextmanager
def context_manager() -> Iterator[None]:
    yield


MEANT = [
    *(none, none_in_a_thread, optional, union, awaited, coroutine, anything, for_type_checkers),
    *(bare_yield, yields_none, generator, context_manager),
]


def refusal_of(run: RunOnLoop, function: Callable[..., Any]) -> str:
    """Return the error that a resource fails the start with."""

    async def main(lifespan: Lifespan) -> str:
        lifespan.resource(function)
        with pytest.raises(HookError) as caught:
            async with lifespan.run():
                pass
        return str(caught.value)

    return run(main)


@pytest.mark.parametrize("function", [*RETURNS, *ANNOTATED])
def test_forgotten_return_is_named_with_its_location(
    run: RunOnLoop, function: Callable[..., Any]
) -> None:
    said = refusal_of(run, function)

    line = function.__code__.co_firstlineno
    assert f"{function.__name__}' (tests/engine/test_none_as_a_resource.py:{line})" in said
    assert "returned None: did you forget 'yield' or 'return'?" in said


@pytest.mark.parametrize("function", YIELDS)
def test_forgotten_value_is_named_and_its_resource_closed(
    run: RunOnLoop, function: Callable[..., Any]
) -> None:
    closed.clear()

    assert "yielded None: did you forget the value behind 'yield'?" in refusal_of(run, function)
    assert closed == [function.__name__]


@pytest.mark.parametrize("function", MEANT)
def test_intended_none_is_the_value(run: RunOnLoop, function: Callable[..., Any]) -> None:
    async def main(lifespan: Lifespan) -> None:
        handle = lifespan.resource(function)
        async with lifespan.run():
            assert handle.current() is None

    run(main)


def test_optional_resource_that_is_none_degrades_the_process(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(required=False)(forgotten_in_async)
        async with lifespan.run():
            report = lifespan.report()
            assert report is not None
            assert report.status == "degraded"

    run(main)
