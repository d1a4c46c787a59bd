"""The signals of django-asgi-lifespan: who is connected, and how receivers are called."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, Mock

import pytest
from django.dispatch import receiver as receiver_of

from lifespan_app import Lifespan
from lifespan_app.compat.signals import LifespanSender
from lifespan_app.handler import LifespanASGIHandler
from lifespan_app.signals import asgi_lifespan, asgi_shutdown, asgi_startup
from tests.scopes import MISSING, ServerSide, started

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = pytest.mark.usefixtures("lifespan", "debug")

SIGNALS = {
    "asgi_startup": asgi_startup,
    "asgi_lifespan": asgi_lifespan,
    "asgi_shutdown": asgi_shutdown,
}


@pytest.fixture(params=[True, False], ids=["debug", "production"])
def debug(request: pytest.FixtureRequest, settings: Settings) -> None:
    """Run the test twice: Django is stricter with receivers under DEBUG."""
    settings.DEBUG = request.param


@pytest.fixture(params=SIGNALS)
def signal(request: pytest.FixtureRequest) -> Any:
    """Return each signal in turn."""
    return SIGNALS[request.param]


class Receivers:
    """Receivers of every shape, which note what they were called with."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.threads: list[threading.Thread] = []

    def note(self, **arguments: Any) -> None:
        self.calls.append(arguments)
        self.threads.append(threading.current_thread())

    def with_anything(self, **kwargs: Any) -> None:
        self.note(**kwargs)

    async def with_anything_async(self, **kwargs: Any) -> None:
        self.note(**kwargs)

    def with_nothing(self) -> None:
        self.note()

    async def with_nothing_async(self) -> None:
        self.note()

    def with_scope(self, scope: Any) -> None:
        self.note(scope=scope)

    async def with_scope_async(self, scope: Any) -> None:
        self.note(scope=scope)

    def with_sender_and_default(self, sender: Any, *, other: str = "default") -> None:
        self.note(sender=sender, other=other)

    async def with_sender_and_default_async(self, sender: Any, *, other: str = "default") -> None:
        self.note(sender=sender, other=other)


SHAPES = ["with_anything", "with_nothing", "with_scope", "with_sender_and_default"]


async def run_through(scope: dict[str, Any] | None = None) -> ServerSide:
    async with started(LifespanASGIHandler(), **(scope or {})) as server:
        pass
    return server


class TestAReceiver:
    @pytest.mark.parametrize("form", ["", "_async"], ids=["sync", "async"])
    @pytest.mark.parametrize("shape", SHAPES)
    async def test_receiver_is_called_with_the_arguments_of_its_signature(
        self, signal: Any, shape: str, form: str
    ) -> None:
        receivers = Receivers()
        signal.connect(getattr(receivers, shape + form))
        server = await run_through()
        given: dict[str, Any] = {"signal": signal, "sender": LifespanSender, "scope": server.scope}
        if signal is asgi_lifespan:
            given["state"] = server.state
        expected = {
            "with_anything": given,
            "with_nothing": {},
            "with_scope": {"scope": server.scope},
            "with_sender_and_default": {"sender": LifespanSender, "other": "default"},
        }
        assert receivers.calls == [expected[shape]]
        if "scope" in receivers.calls[0]:
            assert receivers.calls[0]["scope"] is server.scope

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_sync_receiver_runs_in_a_thread(self, signal: Any, shape: str) -> None:
        receivers = Receivers()
        signal.connect(getattr(receivers, shape))
        await run_through()
        assert receivers.threads != [threading.current_thread()]

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_async_receiver_runs_on_the_loop(self, signal: Any, shape: str) -> None:
        receivers = Receivers()
        signal.connect(getattr(receivers, f"{shape}_async"))
        await run_through()
        assert receivers.threads == [threading.current_thread()]

    async def test_receiver_may_be_a_plain_function(self, signal: Any) -> None:
        called: list[str] = []

        def sync() -> None:
            called.append("sync")

        async def asynchronous() -> None:
            called.append("async")

        signal.connect(sync)
        signal.connect(asynchronous)
        await run_through()
        assert called == ["sync", "async"]

    async def test_receiver_may_be_connected_with_djangos_decorator(self) -> None:
        called: list[str] = []

        @receiver_of([asgi_startup, asgi_shutdown])
        async def note() -> None:
            called.append("called")

        await run_through()
        assert called == ["called", "called"]

    async def test_receiver_may_be_a_mock(self, signal: Any) -> None:
        sync, asynchronous = Mock(return_value=None), AsyncMock(return_value=None)
        signal.connect(sync)
        signal.connect(asynchronous)
        await run_through()
        sync.assert_called_once()
        asynchronous.assert_awaited_once()

    async def test_receiver_needs_no_state_in_the_scope(self, signal: Any) -> None:
        receivers = Receivers()
        signal.connect(receivers.with_anything_async)
        await run_through({"state": MISSING})
        assert len(receivers.calls) == 1
        assert "state" not in receivers.calls[0]["scope"]

    async def test_receiver_is_called_for_its_sender_alone(self, signal: Any) -> None:
        receivers = Receivers()
        signal.connect(receivers.with_nothing, sender=LifespanSender)
        signal.connect(receivers.with_nothing_async, sender=object)
        await run_through()
        assert len(receivers.calls) == 1

    async def test_async_receiver_runs_beside_the_others(self) -> None:
        met = asyncio.Barrier(3)

        async def first() -> None:
            await met.wait()

        async def second() -> None:
            await met.wait()

        async def third() -> None:
            await met.wait()

        for receiver in (first, second, third):
            asgi_startup.connect(receiver)
            asgi_shutdown.connect(receiver)
        await run_through()

    async def test_receiver_connected_while_serving_receives_the_shutdown(self) -> None:
        receivers = Receivers()
        async with started(LifespanASGIHandler()):
            asgi_shutdown.connect(receivers.with_nothing_async)
        assert len(receivers.calls) == 1

    async def test_receiver_receives_a_signal_that_a_project_sends_itself(
        self, signal: Any
    ) -> None:
        receivers = Receivers()
        signal.connect(receivers.with_scope)
        signal.connect(receivers.with_scope_async)
        await signal.asend(sender="me", scope="mine")
        assert receivers.calls == [{"scope": "mine"}] * 2


class TestConnecting:
    """As with any signal of Django's, with and without `**kwargs`."""

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_connecting_twice_calls_once(self, signal: Any, shape: str) -> None:
        receivers = Receivers()
        for _ in range(2):
            signal.connect(getattr(receivers, shape))
        await run_through()
        assert len(receivers.calls) == 1

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_second_receiver_of_one_dispatch_uid_is_not_called(
        self, signal: Any, shape: str
    ) -> None:
        first, second = Receivers(), Receivers()
        for receivers in (first, second):
            signal.connect(getattr(receivers, shape), dispatch_uid="one")
        await run_through()
        assert (len(first.calls), len(second.calls)) == (1, 0)

    @pytest.mark.parametrize("form", ["", "_async"], ids=["sync", "async"])
    @pytest.mark.parametrize("shape", SHAPES)
    async def test_connecting_weakly_keeps_no_object_alive(
        self, signal: Any, shape: str, form: str
    ) -> None:
        calls: list[dict[str, Any]] = []
        receivers = Receivers()
        receivers.calls = calls
        signal.connect(getattr(receivers, shape + form))
        assert signal.has_listeners()
        del receivers
        gc.collect()
        assert not signal.has_listeners()
        await run_through()
        assert calls == []

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_connecting_strongly_keeps_the_object_alive(
        self, signal: Any, shape: str
    ) -> None:
        calls: list[dict[str, Any]] = []
        receivers = Receivers()
        receivers.calls = calls
        signal.connect(getattr(receivers, shape), weak=False)
        del receivers
        gc.collect()
        await run_through()
        assert len(calls) == 1

    async def test_function_may_be_connected_weakly_or_strongly(self, signal: Any) -> None:
        called: list[str] = []

        def function(name: str) -> Callable[[], None]:
            # Without **kwargs: Django itself keeps what it has looked at under DEBUG.
            def receiver() -> None:
                called.append(name)

            return receiver

        signal.connect(function("weak"))
        signal.connect(function("strong"), weak=False)
        gc.collect()
        await run_through()
        assert called == ["strong"]

    async def test_receiver_with_the_id_of_a_deleted_one_is_called(self, signal: Any) -> None:
        # A new object may get the address, and so the id(), of one that has gone.
        calls: list[dict[str, Any]] = []
        for _ in range(50):
            receivers = Receivers()
            signal.connect(receivers.with_nothing)
            receivers.calls = calls
            await signal.asend(sender=None)
            del receivers
        assert len(calls) == 50


class TestDisconnecting:
    @pytest.mark.parametrize("form", ["", "_async"], ids=["sync", "async"])
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("weak", [True, False])
    async def test_disconnected_receiver_is_not_called(
        self, signal: Any, shape: str, form: str, weak: bool
    ) -> None:
        receivers = Receivers()
        signal.connect(getattr(receivers, shape + form), weak=weak)
        assert signal.disconnect(getattr(receivers, shape + form)) is True
        assert signal.disconnect(getattr(receivers, shape + form)) is False
        await run_through()
        assert receivers.calls == []

    async def test_disconnected_function_is_not_called(self, signal: Any) -> None:
        called: list[str] = []

        def receiver() -> None:
            called.append("called")

        signal.connect(receiver)
        assert signal.disconnect(receiver) is True
        await run_through()
        assert called == []

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_receiver_is_disconnected_by_its_dispatch_uid_or_sender(
        self, signal: Any, shape: str
    ) -> None:
        receivers = Receivers()
        receiver = getattr(receivers, shape)
        signal.connect(receiver, dispatch_uid="one")
        signal.connect(receiver, sender=LifespanSender)
        assert signal.disconnect(receiver) is False
        assert signal.disconnect(dispatch_uid="one") is True
        assert signal.disconnect(receiver, sender=LifespanSender) is True
        await run_through()
        assert receivers.calls == []

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_disconnected_receiver_can_be_connected_again(
        self, signal: Any, shape: str
    ) -> None:
        receivers = Receivers()
        receiver = getattr(receivers, shape)
        signal.connect(receiver)
        signal.disconnect(receiver)
        signal.connect(receiver)
        await run_through()
        assert len(receivers.calls) == 1


class TestAFailingReceiver:
    @pytest.mark.parametrize("form", ["sync", "async"])
    async def test_failing_receiver_fails_the_startup(self, form: str, lifespan: Lifespan) -> None:
        closed: list[str] = []

        @lifespan.resource
        async def shelf() -> AsyncIterator[str]:
            yield "shelf"
            closed.append("shelf")

        async def fails_async() -> None:
            raise ZeroDivisionError("by nothing")

        def fails() -> None:
            raise ZeroDivisionError("by nothing")

        asgi_startup.connect(fails if form == "sync" else fails_async)
        server = ServerSide(LifespanASGIHandler())
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert "(tests/compat/test_django_asgi_lifespan_signals.py:" in answer["message"]
        assert isinstance(await server.end(), ZeroDivisionError)
        assert closed == ["shelf"]

    async def test_failing_receiver_at_shutdown_waits_for_hooks_that_still_close(self) -> None:
        closed: list[str] = []

        @asynccontextmanager
        async def manager() -> AsyncIterator[dict[str, Any]]:
            yield {}
            await asyncio.sleep(0.01)
            closed.append("manager")

        async def give() -> Any:
            return manager

        async def fails() -> None:
            raise ZeroDivisionError("by nothing")

        asgi_lifespan.connect(give)
        asgi_shutdown.connect(fails)
        server = ServerSide(LifespanASGIHandler())
        await server.startup()
        answer = await server.shutdown()
        assert closed == ["manager"]
        assert answer["type"] == "lifespan.shutdown.failed"
