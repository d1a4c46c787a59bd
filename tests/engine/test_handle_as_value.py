"""A handle that is used as if it were the resource says what to write instead."""

from __future__ import annotations

import contextlib
import copy
import doctest
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from lifespan_app import Lifespan, Resource

CURE = "http_client is a handle: write http_client(request){0}, or http_client.current(){0} where"


class Client:
    """What the resource is."""

    async def get(self) -> str:
        return "a page"


@pytest.fixture
def http_client(lifespan: Lifespan) -> Any:
    @lifespan.resource
    async def http_client() -> AsyncIterator[Client]:
        yield Client()

    return http_client


async def enter_async(handle: Any) -> None:
    async with handle:
        pass


def enter(handle: Any) -> None:
    with handle:
        pass


def run_to_end(handle: Any) -> None:
    with contextlib.suppress(StopIteration):
        enter_async(handle).send(None)


USES: dict[str, Callable[[Any], object]] = {
    "async with": run_to_end,
    "with": enter,
    "for": list,
    "[]": lambda handle: handle["key"],
    "in": lambda handle: "key" in handle,
}


class TestWhatItRefuses:
    @pytest.mark.parametrize("name", ["get", "timeout"])
    def test_handle_refuses_an_attribute_of_the_value(self, http_client: Any, name: str) -> None:
        with pytest.raises(AttributeError) as caught:
            getattr(http_client, name)
        assert str(caught.value).startswith(CURE.format(f".{name}"))

    def test_handle_refuses_a_call_without_a_request(self, http_client: Any) -> None:
        with pytest.raises(TypeError) as caught:
            http_client()
        assert str(caught.value).startswith(CURE.format(""))

    @pytest.mark.parametrize("use", USES)
    def test_handle_refuses_a_statement_for_the_value(self, http_client: Any, use: str) -> None:
        with pytest.raises(AttributeError) as caught:
            USES[use](http_client)
        assert str(caught.value).startswith(CURE.format(""))


class TestWhatStaysHarmless:
    def test_handle_is_true(self, http_client: Any) -> None:
        assert http_client

    @pytest.mark.parametrize(
        "name",
        ["__wrapped__", "__aenter__", "__enter__", "__aexit__", "__getitem__", "__await__", "_x"],
    )
    def test_unknown_attribute_of_a_handle_raises_an_error(
        self, http_client: Any, name: str
    ) -> None:
        assert not hasattr(http_client, name)
        assert not hasattr(Resource, name)

    def test_handle_can_be_inspected(self, http_client: Any) -> None:
        assert not inspect.isawaitable(http_client)
        assert not isinstance(
            http_client,
            (
                Awaitable,
                Iterable,
                contextlib.AbstractContextManager,
                contextlib.AbstractAsyncContextManager,
            ),
        )
        assert inspect.unwrap(http_client) is http_client
        assert dict(inspect.getmembers(http_client))["hook"] is http_client.hook

    def test_handle_may_be_copied(self, http_client: Any) -> None:
        assert copy.copy(http_client).hook is http_client.hook

    def test_handle_may_be_replaced_by_a_mock(self, http_client: Any) -> None:
        module = ModuleType("views")
        vars(module)["http_client"] = http_client
        with mock.patch.object(module, "http_client") as double:
            assert not isinstance(double, mock.AsyncMock)
        with mock.patch.object(module, "http_client", autospec=True) as double:
            double({"type": "http"})

    def test_handle_may_be_searched_for_doctests(self, http_client: Any) -> None:
        module = ModuleType("shop")
        vars(module)["http_client"] = http_client
        assert doctest.DocTestFinder().find(module) == []
