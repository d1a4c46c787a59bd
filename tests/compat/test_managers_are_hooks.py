"""Lifespan managers of django-asgi-lifespan are hooks: shown, checked, rehearsed, set by HOOKS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from lifespan_app import Lifespan, Retry
from lifespan_app.handler import LifespanASGIHandler
from lifespan_app.register import register_lifespan_manager
from lifespan_app.signals import asgi_lifespan
from lifespan_app.testing import lifespan_running
from lifespan_app.types import LifespanManager, State
from tests.scopes import STARTED, ServerSide, started

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = pytest.mark.usefixtures("lifespan")

CLIENT = f"{__name__}.client"
"""The key of the manager that most of these tests register."""


def register(function: Callable[[], Any]) -> Callable[[], AbstractAsyncContextManager[State]]:
    """Register what a generator function makes, and return it."""
    manager = asynccontextmanager(function)
    register_lifespan_manager(manager)
    return manager


class TestInThePlan:
    def test_manager_is_a_hook_of_the_plan(self, lifespan: Lifespan) -> None:
        @register
        async def client() -> LifespanManager:
            yield {}

        [node] = lifespan.plan("app").hooks
        assert node.hook is not None
        assert (node.key, node.hook.kind, node.hook.file) == (CLIENT, "manager", __file__)

    def test_plan_with_managers_is_the_same_twice(self, lifespan: Lifespan) -> None:
        @register
        async def client() -> LifespanManager:
            yield {}

        async def receiver(**kwargs: Any) -> Any:
            return client

        asgi_lifespan.connect(receiver)
        assert lifespan.plan("app") == lifespan.plan("app")
        assert len(lifespan.plan("app")) == 2

    def test_receiver_that_has_gone_is_no_hook(self, lifespan: Lifespan) -> None:
        def connect() -> None:
            async def receiver(**kwargs: Any) -> Any: ...

            asgi_lifespan.connect(receiver)
            assert len(lifespan.plan("app")) == 1

        connect()
        assert len(lifespan.plan("app")) == 0

    def test_manager_comes_after_the_hooks_of_apps(self, lifespan: Lifespan) -> None:
        @register
        async def client() -> LifespanManager:
            yield {}

        @lifespan.on_start(priority=7)
        async def late() -> None: ...

        assert [key.rpartition(".")[2] for key in lifespan.plan("app").order] == ["late", "client"]

    def test_hook_may_depend_on_a_manager(self, lifespan: Lifespan) -> None:
        @register
        async def client() -> LifespanManager:
            yield {}

        @lifespan.on_start(depends_on=[CLIENT])
        async def ping() -> None: ...

        assert [key.rpartition(".")[2] for key in lifespan.plan("app").order] == ["client", "ping"]


class TestUnderHOOKS:
    async def test_disabled_manager_is_not_opened(
        self, happened: list[str], settings: Settings
    ) -> None:
        @register
        async def client() -> LifespanManager:
            happened.append("opens")
            yield {}

        settings.LIFESPAN = {"HOOKS": {CLIENT: {"enabled": False}}}
        async with started(LifespanASGIHandler()):
            pass
        assert happened == []

    async def test_optional_manager_fails_alone(self, settings: Settings) -> None:
        @register
        async def client() -> LifespanManager:
            raise ZeroDivisionError("by nothing")
            yield {}

        settings.LIFESPAN = {"HOOKS": {CLIENT: {"required": False}}}
        async with started(LifespanASGIHandler()) as server:
            assert server.state == {}

    async def test_manager_too_slow_to_start_is_reported_with_its_limit(
        self, settings: Settings
    ) -> None:
        @register
        async def client() -> LifespanManager:
            await asyncio.Event().wait()
            yield {}

        settings.LIFESPAN = {"HOOKS": {CLIENT: {"timeout": 0.2}}}
        answer = await ServerSide(LifespanASGIHandler()).startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert "within its limit of 0.2 s" in answer["message"]
        assert f"Raise LIFESPAN['HOOKS']['{CLIENT}']['timeout']" in answer["message"]

    async def test_manager_too_slow_to_stop_is_reported_with_its_limit(
        self, settings: Settings
    ) -> None:
        @register
        async def client() -> LifespanManager:
            yield {}
            await asyncio.Event().wait()

        settings.LIFESPAN = {"HOOKS": {CLIENT: {"shutdown_timeout": 0.2}}}
        server = ServerSide(LifespanASGIHandler())
        assert await server.startup() == STARTED
        answer = await server.shutdown()
        assert "within its limit of 0.2 s" in answer["message"]

    async def test_manager_of_a_lower_priority_opens_first(
        self, happened: list[str], settings: Settings
    ) -> None:
        @register
        async def second() -> LifespanManager:
            happened.append("second")
            yield {}

        @register
        async def client() -> LifespanManager:
            happened.append("client")
            yield {}

        settings.LIFESPAN = {"HOOKS": {CLIENT: {"priority": -1}}}
        async with started(LifespanASGIHandler()):
            pass
        assert happened == ["client", "second"]


class TestWithoutAServer:
    """A plan is the same, whatever opens it."""

    async def test_manager_is_opened_without_a_server(self, lifespan: Lifespan) -> None:
        @register
        async def client() -> LifespanManager:
            yield {"client": "open"}

        async with lifespan.run("worker") as state:
            assert state["client"] == "open"

    async def test_receiver_is_given_a_scope_without_a_server(self, lifespan: Lifespan) -> None:
        async def receiver(scope: dict[str, Any], state: State) -> None:
            state["kind"] = scope["type"]

        asgi_lifespan.connect(receiver)
        async with lifespan.run("worker") as state:
            assert state["kind"] == "lifespan"

    async def test_test_asks_for_a_manager_by_its_key(self) -> None:
        @register
        async def client() -> LifespanManager:
            yield {"client": "open"}

        @register
        async def other() -> LifespanManager:
            yield {"other": "open"}

        async with lifespan_running(only=[CLIENT]) as running:
            assert dict(running.state) == {"client": "open"}


class TestRetry:
    async def test_start_of_a_manager_is_tried_again_where_the_setting_says_so(
        self, settings: Settings
    ) -> None:
        attempts: list[str] = []

        @register
        async def client() -> LifespanManager:
            attempts.append("an attempt")
            if len(attempts) < 3:
                raise ConnectionRefusedError
            yield {"client": "open"}

        settings.LIFESPAN = {"HOOKS": {CLIENT: {"retry": Retry(30, first=0.001)}}}
        async with lifespan_running() as running:
            step = running.report.step(CLIENT)
            assert (step.outcome, step.attempt, len(step.errors)) == ("ok", 3, 2)
