"""An async hook that calls the ORM without ``await`` is told of the two ways to use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation

from lifespan_app import Lifespan
from lifespan_app.models import LifespanRun
from lifespan_app.testing import lifespan_running

NOTE = "await Book.objects.acount()"


async def in_a_start_function() -> None:
    LifespanRun.objects.count()


async def in_a_child_of_it() -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(in_a_start_function())


async def in_a_resource() -> AsyncIterator[int]:
    yield LifespanRun.objects.count()


def notes_of(error: BaseException) -> str:
    """Return the notes of an error and of those that it holds."""
    held = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return "\n".join([*getattr(error, "__notes__", ()), *map(notes_of, held)])


@pytest.mark.parametrize("function", [in_a_start_function, in_a_child_of_it])
async def test_start_function_without_await_gets_a_note(
    lifespan: Lifespan, function: Callable[[], Any]
) -> None:
    lifespan.on_start(function)

    with pytest.raises((SynchronousOnlyOperation, ExceptionGroup)) as caught:
        async with lifespan.run():
            pass

    assert NOTE in notes_of(caught.value)


async def test_resource_of_a_test_without_await_gets_a_note(lifespan: Lifespan) -> None:
    lifespan.resource(in_a_resource)

    with pytest.raises(SynchronousOnlyOperation) as caught:
        async with lifespan_running():
            pass

    assert NOTE in notes_of(caught.value)


async def test_other_error_gets_no_note_on_await(lifespan: Lifespan) -> None:
    @lifespan.on_start
    async def fails() -> None:
        raise LookupError("no shop")

    with pytest.raises(LookupError) as caught:
        async with lifespan.run():
            pass

    assert NOTE not in notes_of(caught.value)
