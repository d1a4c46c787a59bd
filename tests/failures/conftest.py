"""A lifespan of the test's own, and the failure of its only hook."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import pytest

from lifespan_app import Lifespan
from tests.engine.exchange import Server


class Failed(NamedTuple):
    """What is said of a hook that has failed to start."""

    cause: str
    action: str
    error: str
    message: str
    """The message for the server."""


class Fail(Protocol):
    """Start a hook that fails, and return what is said of it."""

    def __call__(self, function: Callable[..., Any]) -> Failed: ...


@pytest.fixture
def lifespan() -> Iterator[Lifespan]:
    """Return Django's lifespan, with no hooks but those of the test."""
    from lifespan_app import lifespan

    lifespan.clear()
    lifespan.last_run = None
    yield lifespan
    lifespan.clear()


@pytest.fixture
def fail(lifespan: Lifespan) -> Fail:
    """Return a function that starts a hook, and returns its failure."""

    async def start() -> str:
        server = Server(lifespan)
        answer = await server.startup()
        await server.raised()
        message: str = answer["message"]
        return message

    def failed(function: Callable[..., Any]) -> Failed:
        lifespan.on_start(name="shop")(function)
        message = asyncio.run(start())
        report = lifespan.report()
        assert report is not None
        [step] = report.steps
        return Failed(step.cause, step.action, step.error, message)

    return failed
