"""ASGI messages out of order or malformed, and channels that fail: what is open is closed, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import gc
import traceback
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from lifespan_app import Lifespan, LifespanMiddleware
from lifespan_app.asgi import get_asgi_application
from lifespan_app.handler import LifespanASGIHandler
from tests.bad_input.examples import examples, texts
from tests.bad_input.test_modules import is_a_fault
from tests.django.conftest import lifespan
from tests.exchanges import LIMIT

if TYPE_CHECKING:
    from pytest_django import Settings

__all__ = ["lifespan"]

pytestmark = pytest.mark.once

STARTUP, SHUTDOWN = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}


class Gone(Exception):
    """The channel to the server is broken."""


class Unkind(BaseException):
    """The same, of a kind that few expect."""


junk = (
    some.none() | some.integers() | texts | some.binary(max_size=3) | some.lists(texts, max_size=2)
)
messages = some.one_of(
    some.sampled_from((STARTUP, SHUTDOWN, Gone(), Unkind(), asyncio.CancelledError())),
    some.sampled_from(
        ({}, {"type": None}, {"type": "lifespan.nothing"}, {"type": "http.request"}, None, 5, [])
    ),
    some.fixed_dictionaries({"type": junk}),
)
failures = some.sampled_from((None, Gone, Unkind, asyncio.CancelledError))


USUAL = [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]
ANSWERS: list[Any] = []
"""What the inner application sends."""


async def inner(scope: Any, receive: Any, send: Any) -> None:
    """Answer lifespans and nothing else, without a look at the messages."""
    for answer in ANSWERS or USUAL:
        await receive()
        await send(answer)


APPLICATIONS: dict[str, Callable[[], Any]] = {
    "handler": LifespanASGIHandler,
    "middleware": lambda: LifespanMiddleware(inner),
    "mounts": lambda: get_asgi_application(mounts={"/inner": inner}),
    "in another": lambda: LifespanMiddleware(LifespanASGIHandler()),
}


class Channel:
    """A server that says and takes what a test has drawn."""

    def __init__(self, said: list[Any], fails: type[BaseException] | None, at: int) -> None:
        self.said = said
        self.fails, self.at = fails, at
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        await asyncio.sleep(0)
        if not self.said:
            raise Gone
        message = self.said.pop(0)
        if isinstance(message, BaseException):
            raise message
        return message

    async def send(self, message: Any) -> None:
        await asyncio.sleep(0)
        if self.fails is not None and len(self.sent) == self.at:
            failure = self.fails()
            self.fails = None
            raise failure
        self.sent.append(message)


async def outcome(application: Any, scope: Any, channel: Channel) -> BaseException | None:
    """Return what an application has raised for a scope."""

    async def called() -> BaseException | None:
        try:
            await application(scope, channel.receive, channel.send)
        except BaseException as error:
            return error
        return None

    return await asyncio.wait_for(called(), LIMIT)


@pytest.mark.parametrize("name", APPLICATIONS)
@examples(60)
@given(said=some.lists(messages, max_size=4), fails=failures, at=some.integers(0, 2))
@example(said=[STARTUP, {}], fails=None, at=0)
@example(said=[STARTUP, None], fails=None, at=0)
@example(said=[STARTUP, {"type": "lifespan.nothing"}], fails=None, at=0)
@example(said=[{}], fails=None, at=0)
@example(said=[STARTUP, Unkind()], fails=None, at=0)
@example(said=[STARTUP, SHUTDOWN], fails=Gone, at=0)
@example(said=[STARTUP, SHUTDOWN], fails=Gone, at=1)
@example(said=[STARTUP, STARTUP], fails=Gone, at=1)
@example(said=[SHUTDOWN, STARTUP], fails=None, at=0)
async def test_lifespan_of_anything_closes_what_it_has_opened(
    lifespan: Lifespan, name: str, said: list[Any], fails: type[BaseException] | None, at: int
) -> None:
    lifespan.clear()
    happened: list[str] = []

    @lifespan.resource
    async def shelf() -> AsyncIterator[str]:
        happened.append("opens")
        yield "shelf"
        happened.append("closes")

    channel = Channel(list(said), fails, at)
    error = await outcome(APPLICATIONS[name](), {"type": "lifespan", "state": {}}, channel)

    assert not is_a_fault(error)
    assert happened.count("opens") == happened.count("closes")
    assert not lifespan.runs
    if said[:1] == [STARTUP] and not (fails and at == 0):
        assert channel.sent[0]["type"] == "lifespan.startup.complete"


SCOPES = (
    *({"type": None}, {"type": 5}, {"type": "nothing"}, {"type": "lifespan"}, {"type": "http"}),
    {"type": "http", "path": "/", "method": "GET", "headers": []},
    {"type": "http", "path": "/inner", "method": None, "headers": None},
    {"type": "http", "path": "/\ud800", "method": "\0", "headers": [(b"host", b"\xff")]},
    {"type": "websocket", "path": "/", "headers": []},
    {"type": "lifespan", "state": None},
    {"type": "lifespan", "state": 5},
    {"type": "lifespan", "state": ()},
)
REQUESTS = some.one_of(
    some.sampled_from(
        (
            {"type": "http.request", "body": b"", "more_body": False},
            {"type": "http.request", "body": b"x" * 100, "more_body": True},
            {"type": "http.disconnect"},
            {"type": "websocket.connect"},
        )
    ),
    messages,
)


# Django leaves the file of a body open when the channel breaks in the middle of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", APPLICATIONS)
@examples(60)
@given(
    scope=some.sampled_from(SCOPES),
    said=some.lists(REQUESTS, max_size=4),
    fails=failures,
    at=some.integers(0, 2),
)
async def test_scope_of_anything_ends_as_it_does_without_us(
    settings: Settings,
    lifespan: Lifespan,
    name: str,
    scope: dict[str, Any],
    said: list[Any],
    fails: type[BaseException] | None,
    at: int,
) -> None:
    settings.LIFESPAN = {"WITHOUT_SERVER_LIFESPAN": "error"}
    lifespan.clear()

    error = await outcome(APPLICATIONS[name](), dict(scope), Channel(list(said), fails, at))

    assert not is_a_fault(error)
    assert not lifespan.runs
    if error is not None:
        traceback.clear_frames(error.__traceback__)
    gc.collect()


@pytest.mark.parametrize("name", ["middleware", "mounts"])
@examples(60)
@given(
    answers=some.lists(
        some.sampled_from(
            (
                *USUAL,
                {"type": "lifespan.startup.failed", "message": 5},
                {"type": "lifespan.startup"},
            )
        )
        | messages.filter(lambda message: not isinstance(message, BaseException)),
        min_size=1,
        max_size=3,
    )
)
@example(answers=[{}])
@example(answers=[{"type": "lifespan.startup.nonsense"}])
@example(answers=[USUAL[0], {"type": "lifespan.shutdown.nonsense"}])
async def test_inner_application_may_answer_anything(
    settings: Settings, lifespan: Lifespan, name: str, answers: list[Any]
) -> None:
    settings.LIFESPAN = {"SHUTDOWN_TIMEOUT": 0.1, "STARTUP_DEADLINE": 1}
    lifespan.clear()
    channel = Channel([STARTUP, SHUTDOWN], None, 0)

    ANSWERS[:] = answers
    try:
        error = await outcome(APPLICATIONS[name](), {"type": "lifespan", "state": {}}, channel)
    finally:
        ANSWERS.clear()

    assert not is_a_fault(error)
    assert not lifespan.runs
    assert [message["type"].split(".")[1] for message in channel.sent] in (
        ["startup"],
        ["startup", "shutdown"],
    )
