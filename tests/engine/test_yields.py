"""A resource that is written as a generator and never yields is found before it runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.yields import never_yields

TRUE = True


async def behind_a_return() -> AsyncIterator[str]:
    return
    yield "never"


async def in_if_false() -> AsyncIterator[str]:
    await asyncio.sleep(0)
    if False:
        yield "never"


def behind_a_raise() -> Iterator[str]:
    raise NotImplementedError
    yield "never"


async def forgotten() -> AsyncIterator[str]:  # type: ignore[return]
    await asyncio.sleep(0)


def forgotten_by_a_thread() -> Generator[str, None, None]:  # type: ignore[empty-body]
    pass


@asynccontextmanager
async def in_a_context_manager() -> AsyncIterator[str]:
    return
    yield "never"


@pytest.mark.parametrize(
    "function",
    [
        behind_a_return,
        in_if_false,
        behind_a_raise,
        forgotten,
        forgotten_by_a_thread,
        in_a_context_manager,
    ],
    ids=lambda function: function.__name__,
)
def test_what_never_yields_is_found(function: Callable[..., Any]) -> None:
    assert never_yields(hook_of(function))


async def plainly() -> AsyncIterator[str]:
    yield "value"


async def nowhere_else_than_deep_inside() -> AsyncIterator[str]:
    while TRUE:
        async with asyncio.timeout(5):
            with contextlib.suppress(KeyError):
                try:
                    yield "value"
                finally:
                    await asyncio.sleep(0)


async def perhaps() -> AsyncIterator[str]:
    if TRUE:
        yield "value"


def from_another() -> Iterator[str]:
    yield from "value"


def an_iterator_that_is_no_generator() -> Iterator[str]:
    return iter("value")


async def an_iterator_as_value() -> AsyncIterator[str]:
    return plainly()


async def nothing_at_all() -> None:
    await asyncio.sleep(0)


@asynccontextmanager
async def in_a_sound_context_manager() -> AsyncIterator[str]:
    yield "value"


class AClass:
    pass


@pytest.mark.parametrize(
    "function",
    [
        plainly,
        nowhere_else_than_deep_inside,
        perhaps,
        from_another,
        an_iterator_that_is_no_generator,
        an_iterator_as_value,
        nothing_at_all,
        in_a_sound_context_manager,
        AClass,
        dict,
    ],
    ids=lambda function: function.__name__,
)
def test_what_may_yield_is_left_alone(function: Callable[..., Any]) -> None:
    assert not never_yields(hook_of(function))


def hook_of(function: Callable[..., Any]) -> Any:
    """Return the hook of a function that is declared a resource."""
    return Lifespan().resource(function).hook
