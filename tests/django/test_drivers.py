"""Two drivers that others have written agree with each other, and with us, on every outcome.

`asgi-lifespan`'s LifespanManager, and Starlette's TestClient: neither hangs, and what they raise
names the hook.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgi_lifespan import LifespanManager
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lifespan_app import Lifespan, LifespanMiddleware
from lifespan_app.errors import HookError, PlanError
from lifespan_app.handler import LifespanASGIHandler
from lifespan_app.signals import asgi_shutdown, asgi_startup
from tests.compat.conftest import no_receivers

__all__ = ["no_receivers"]

LIMIT = 0.1
"""Seconds that a hook has which hangs: far less than a driver waits."""


class BodyError(Exception):
    """What the code between start and stop raises."""


def with_lifespan_manager(application: Any, body: Callable[[], None]) -> None:
    """Drive an application with asgi-lifespan."""

    async def drive() -> None:
        async with LifespanManager(application):
            body()

    asyncio.run(drive())


def with_test_client(application: Any, body: Callable[[], None]) -> None:
    """Drive an application with Starlette's test client."""
    with TestClient(application):
        body()


Drive = Callable[[Any, Callable[[], None]], None]


@pytest.fixture(params=[with_lifespan_manager, with_test_client])
def drive(request: pytest.FixtureRequest) -> Drive:
    """Return a function that starts an application, calls another, and stops it."""
    driver: Drive = request.param
    return driver


@pytest.fixture(params=["handler", "middleware"])
def application(request: pytest.FixtureRequest) -> Any:
    """Return an application of ours."""
    if request.param == "handler":
        return LifespanASGIHandler()
    return LifespanMiddleware(Starlette())


@pytest.fixture
def happened(lifespan: Lifespan) -> list[str]:
    """Declare a resource, and return a list of what has happened, in order."""
    events: list[str] = []

    @lifespan.resource
    async def shelf() -> AsyncIterator[str]:
        events.append("shelf opens")
        yield "shelf"
        events.append("shelf closes")

    return events


def told(error: BaseException) -> str:
    """Return what a person sees of an error."""
    return "".join(traceback.format_exception(error))


def serve(happened: list[str]) -> Callable[[], None]:
    return lambda: happened.append("serves")


class TestAStart:
    def test_start_that_is_good_is_followed_by_a_good_stop(
        self, application: Any, drive: Drive, happened: list[str]
    ) -> None:
        drive(application, serve(happened))
        assert happened == ["shelf opens", "serves", "shelf closes"]

    def test_start_that_fails_raises_the_error_of_the_hook_and_names_it(
        self, application: Any, drive: Drive, happened: list[str], lifespan: Lifespan
    ) -> None:
        @lifespan.on_start
        async def broken(shelf: str) -> None:
            raise ZeroDivisionError("by nothing")

        with pytest.raises(ZeroDivisionError, match="by nothing") as raised:
            drive(application, serve(happened))
        assert f"{broken.__module__}.broken' (tests/django/test_drivers.py:" in told(raised.value)
        assert happened == ["shelf opens", "shelf closes"]

    def test_start_that_hangs_raises_an_error_that_names_the_hook(
        self, application: Any, drive: Drive, happened: list[str], lifespan: Lifespan
    ) -> None:
        @lifespan.on_start(timeout=LIMIT)
        async def stuck(shelf: str) -> None:
            await asyncio.Event().wait()

        with pytest.raises(HookError, match=f"stuck' .* within its limit of {LIMIT} s"):
            drive(application, serve(happened))
        assert happened == ["shelf opens", "shelf closes"]

    def test_start_of_a_broken_plan_raises_its_error(
        self, application: Any, drive: Drive, happened: list[str], lifespan: Lifespan
    ) -> None:
        @lifespan.on_start
        async def wants(what_there_is_not: object) -> None: ...

        with pytest.raises(PlanError, match="what_there_is_not"):
            drive(application, serve(happened))
        assert happened == []

    def test_failed_start_names_the_failing_receiver(
        self, application: Any, drive: Drive, happened: list[str]
    ) -> None:
        async def receiver() -> None:
            raise ZeroDivisionError("by nothing")

        asgi_startup.connect(receiver)
        with pytest.raises(ZeroDivisionError) as raised:
            drive(application, serve(happened))
        assert "receiver' (tests/django/test_drivers.py:" in told(raised.value)
        assert happened == ["shelf opens", "shelf closes"]


class TestAStop:
    def test_stop_that_fails_raises_the_error_of_the_hook_and_names_it(
        self, application: Any, drive: Drive, happened: list[str], lifespan: Lifespan
    ) -> None:
        @lifespan.on_shutdown
        async def broken(shelf: str) -> None:
            raise ZeroDivisionError("by nothing")

        with pytest.raises(ExceptionGroup) as raised:
            drive(application, serve(happened))
        assert raised.group_contains(ZeroDivisionError, match="by nothing")
        assert f"{broken.__module__}.broken' (tests/django/test_drivers.py:" in told(raised.value)
        assert happened == ["shelf opens", "serves", "shelf closes"]

    def test_stop_that_hangs_raises_an_error_that_names_the_hook(
        self, application: Any, drive: Drive, happened: list[str], lifespan: Lifespan
    ) -> None:
        @lifespan.on_shutdown(timeout=LIMIT)
        async def stuck(shelf: str) -> None:
            await asyncio.Event().wait()

        with pytest.raises(ExceptionGroup) as raised:
            drive(application, serve(happened))
        assert raised.group_contains(HookError, match=f"stuck' .* limit of {LIMIT} s")
        assert happened == ["shelf opens", "serves", "shelf closes"]

    def test_failed_stop_names_the_failing_receiver(
        self, application: Any, drive: Drive, happened: list[str]
    ) -> None:
        def receiver() -> None:
            raise ZeroDivisionError("by nothing")

        asgi_shutdown.connect(receiver)
        with pytest.raises(ExceptionGroup) as raised:
            drive(application, serve(happened))
        assert "receiver' (tests/django/test_drivers.py:" in told(raised.value)
        assert happened == ["shelf opens", "serves", "shelf closes"]

    def test_stop_follows_a_body_that_failed(
        self, application: Any, drive: Drive, happened: list[str]
    ) -> None:
        def body() -> None:
            raise BodyError("in between")

        with pytest.raises(BodyError, match="in between"):
            drive(application, body)
        assert happened == ["shelf opens", "shelf closes"]
