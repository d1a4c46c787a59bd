"""What a handle gives, for everything that may be a resource."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self, TextIO, assert_type

import httpx
from django.http import HttpRequest

from lifespan_app import Lifespan, Resource, lifespan


@lifespan.resource
async def http_client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


def a_view_reads_it(request: HttpRequest) -> None:
    assert_type(http_client, Resource[httpx.AsyncClient])
    assert_type(http_client(request), httpx.AsyncClient)


def whoever_has_a_scope_reads_it(scope: MutableMapping[str, Any]) -> None:
    assert_type(http_client(scope), httpx.AsyncClient)


def whoever_has_no_request_reads_it() -> None:
    assert_type(http_client.current(), httpx.AsyncClient)


# What is declared with a handle is what it was


@http_client.check
async def answers(client: httpx.AsyncClient) -> None: ...


@http_client.check(timeout=3, cache=30)
def is_open(client: httpx.AsyncClient) -> bool:
    return not client.is_closed


@lifespan.resource(wait=False)
async def model() -> AsyncIterator[bytes]:
    lifespan.progress(0.5, "half of it")
    yield b""


def a_check_is_still_a_function(client: httpx.AsyncClient) -> None:
    assert_type(is_open(client), bool)
    assert_type(model.current(), bytes)


# Generator functions


@lifespan.resource
async def async_generator() -> AsyncGenerator[int, None]:
    yield 1


@lifespan.resource
def sync_iterator() -> Iterator[sqlite3.Connection]:
    with sqlite3.connect(":memory:") as connection:
        yield connection


@lifespan.resource
def sync_generator() -> Generator[str, None, None]:
    yield ""


@lifespan.resource
async def none_or_a_client() -> AsyncIterator[httpx.AsyncClient | None]:
    yield None


@lifespan.resource
async def that_asks(http_client: httpx.AsyncClient, limit: int = 3) -> AsyncIterator[bytes]:
    yield (await http_client.get("/")).content


def read_generators(request: HttpRequest) -> None:
    assert_type(async_generator(request), int)
    assert_type(sync_iterator(request), sqlite3.Connection)
    assert_type(sync_generator(request), str)
    assert_type(none_or_a_client(request), httpx.AsyncClient | None)
    assert_type(that_asks(request), bytes)


# Functions that return the value


@lifespan.resource
async def coroutine_function() -> httpx.AsyncClient:
    return httpx.AsyncClient()


@lifespan.resource
def plain_function() -> dict[str, int]:
    return {}


def read_functions(request: HttpRequest) -> None:
    assert_type(coroutine_function(request), httpx.AsyncClient)
    assert_type(plain_function(request), dict[str, int])


# Context managers


@lifespan.resource
@asynccontextmanager
async def async_context_manager_function() -> AsyncIterator[int]:
    yield 1


@lifespan.resource
@contextmanager
def context_manager_function() -> Iterator[str]:
    yield ""


class SyncManager:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None: ...


class AsyncManagerOfSomethingElse:
    async def __aenter__(self) -> bytes:
        return b""

    async def __aexit__(self, *exception: object) -> bool | None: ...


@lifespan.resource
def returns_a_manager() -> SyncManager:
    return SyncManager()


@lifespan.resource
def returns_an_async_manager() -> AsyncManagerOfSomethingElse:
    return AsyncManagerOfSomethingElse()


# A file is an iterator too, but what is meant is the file.
@lifespan.resource
def returns_a_file() -> TextIO:
    return open("log.txt")


sync_manager = lifespan.resource(SyncManager)
async_manager = lifespan.resource(AsyncManagerOfSomethingElse)
client_class = lifespan.resource(httpx.AsyncClient)


def read_context_managers(request: HttpRequest) -> None:
    assert_type(async_context_manager_function(request), int)
    assert_type(context_manager_function(request), str)
    assert_type(returns_a_manager(request), SyncManager)
    assert_type(returns_an_async_manager(request), bytes)
    assert_type(returns_a_file(request), TextIO)
    assert_type(sync_manager(request), SyncManager)
    assert_type(async_manager(request), bytes)
    assert_type(client_class(request), httpx.AsyncClient)


# With options


@lifespan.resource(priority=1)
async def called() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


@lifespan.resource(1)
def called_with_a_positional_priority() -> Iterator[int]:
    yield 1


@lifespan.resource()
async def called_with_nothing() -> int:
    return 1


@lifespan.resource(
    name="clients",
    priority=-1,
    service_types=["app", "worker"],
    depends_on=[http_client, "library.index"],
    timeout=5,
    shutdown_timeout=2.5,
    required=False,
    state_name="http_clients",
)
@asynccontextmanager
async def called_with_all() -> AsyncIterator[list[httpx.AsyncClient]]:
    yield []


named_class = lifespan.resource(name="named")(SyncManager)


def read_called(request: HttpRequest) -> None:
    assert_type(called, Resource[httpx.AsyncClient])
    assert_type(called(request), httpx.AsyncClient)
    assert_type(called.current(), httpx.AsyncClient)
    assert_type(called_with_a_positional_priority(request), int)
    assert_type(called_with_nothing(request), int)
    assert_type(called_with_all(request), list[httpx.AsyncClient])
    assert_type(named_class(request), SyncManager)


# A registry of one's own

own = Lifespan()


@own.resource
async def of_its_own() -> AsyncIterator[httpx.AsyncClient]:
    yield httpx.AsyncClient()


def read_of_its_own(request: HttpRequest) -> None:
    assert_type(of_its_own(request), httpx.AsyncClient)
