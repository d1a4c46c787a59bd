"""Lifespan managers of django-asgi-lifespan: async context managers that yield a part of the state."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from django.http import HttpResponse, JsonResponse

from lifespan_app import Lifespan
from lifespan_app.errors import HookError
from lifespan_app.handler import LifespanASGIHandler
from lifespan_app.register import register_lifespan_manager
from lifespan_app.signals import asgi_lifespan, asgi_shutdown, asgi_startup
from lifespan_app.types import LifespanManager, State
from tests.django.conftest import MountViews
from tests.exchanges import ask
from tests.scopes import MISSING, STOPPED, ServerSide, started

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = pytest.mark.usefixtures("lifespan")

HERE = "tests/compat/test_django_asgi_lifespan_managers.py"

Manager = Callable[[], AbstractAsyncContextManager[State]]


class Client:
    """Something that is open until it is closed."""

    closed = False


def manager_of(happened: list[str], name: str) -> Manager:
    """Return a manager of a client, which says when it opens and closes."""

    @asynccontextmanager
    async def manager() -> LifespanManager:
        happened.append(f"{name} opens")
        client = Client()
        try:
            yield {name: client}
        finally:
            happened.append(f"{name} closes")
            client.closed = True

    return manager


class TestAManager:
    async def test_manager_is_entered_at_startup_and_left_at_shutdown(
        self, happened: list[str]
    ) -> None:
        register_lifespan_manager(context_manager=manager_of(happened, "client"))
        async with started(LifespanASGIHandler()) as server:
            assert happened == ["client opens"]
            assert not server.state["client"].closed
        assert happened == ["client opens", "client closes"]

    async def test_manager_that_is_registered_twice_is_entered_once(
        self, happened: list[str]
    ) -> None:
        manager = manager_of(happened, "client")
        for _ in range(2):
            register_lifespan_manager(context_manager=manager)
        async with started(LifespanASGIHandler()):
            pass
        assert happened == ["client opens", "client closes"]

    async def test_manager_that_is_a_method_is_known_again(self, happened: list[str]) -> None:
        class Shop:
            manager = staticmethod(manager_of(happened, "shop"))

            def managed(self) -> AbstractAsyncContextManager[State]:
                return type(self).manager()

        shop = Shop()
        for _ in range(2):
            register_lifespan_manager(context_manager=shop.managed)
        async with started(LifespanASGIHandler()):
            pass
        assert happened == ["shop opens", "shop closes"]

    async def test_manager_is_entered_anew_at_each_start(self, happened: list[str]) -> None:
        register_lifespan_manager(context_manager=manager_of(happened, "client"))
        for _ in range(2):
            async with started(LifespanASGIHandler()):
                pass
        assert happened == ["client opens", "client closes"] * 2

    async def test_manager_is_entered_and_left_in_one_task(self) -> None:
        tasks: list[Any] = []

        @asynccontextmanager
        async def manager() -> LifespanManager:
            tasks.append(asyncio.current_task())
            # A task group that is left in another task than it was entered in raises.
            async with anyio.create_task_group() as group, asyncio.TaskGroup():
                group.start_soon(anyio.sleep_forever)
                yield {"group": group}
                group.cancel_scope.cancel()
            tasks.append(asyncio.current_task())

        register_lifespan_manager(context_manager=manager)
        async with started(LifespanASGIHandler()):
            pass
        assert tasks[0] is tasks[1]

    async def test_manager_opens_beside_the_others(self) -> None:
        met = asyncio.Barrier(2)

        def manager_that_waits() -> Manager:
            @asynccontextmanager
            async def manager() -> LifespanManager:
                await met.wait()
                yield {}
                await met.wait()

            return manager

        for _ in range(2):
            register_lifespan_manager(context_manager=manager_that_waits())
        async with started(LifespanASGIHandler()):
            pass

    async def test_manager_may_yield_nothing(self, happened: list[str]) -> None:
        @asynccontextmanager
        async def manager() -> AsyncIterator[Any]:
            happened.append("opens")
            yield
            happened.append("closes")

        register_lifespan_manager(context_manager=manager)
        async with started(LifespanASGIHandler()):
            pass
        assert happened == ["opens", "closes"]

    async def test_manager_that_yields_no_mapping_gets_a_remedy(self) -> None:
        @asynccontextmanager
        async def manager() -> AsyncIterator[Any]:
            yield Client()

        register_lifespan_manager(context_manager=manager)
        server = ServerSide(LifespanASGIHandler())
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert f"manager' ({HERE}:" in answer["message"]
        assert "yields a Client. Yield a dictionary" in answer["message"]

    async def test_manager_reads_resources_and_is_left_before_them(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        @lifespan.resource
        async def shelf() -> AsyncIterator[str]:
            yield "shelf"
            happened.append("shelf closes")

        @asynccontextmanager
        async def manager() -> LifespanManager:
            yield {"copy": shelf.current()}
            happened.append(f"manager closes, {shelf.current()} is open")

        register_lifespan_manager(context_manager=manager)
        async with started(LifespanASGIHandler()) as server:
            assert server.state == {"shelf": "shelf", "copy": "shelf"}
        assert happened == ["manager closes, shelf is open", "shelf closes"]

    async def test_manager_runs_before_the_signals_at_both_ends(self, happened: list[str]) -> None:
        async def startup() -> None:
            happened.append("asgi_startup")

        async def shutdown() -> None:
            happened.append("asgi_shutdown")

        asgi_startup.connect(startup)
        asgi_shutdown.connect(shutdown)
        register_lifespan_manager(context_manager=manager_of(happened, "client"))
        async with started(LifespanASGIHandler()):
            pass
        assert happened == ["client opens", "asgi_startup", "asgi_shutdown", "client closes"]

    async def test_manager_outlives_background_jobs(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        begun = asyncio.Event()

        @lifespan.background
        async def job(state: State) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                happened.append(f"job ends, client closed: {state['client'].closed}")

        register_lifespan_manager(context_manager=manager_of(happened, "client"))
        async with started(LifespanASGIHandler()):
            await begun.wait()
        assert happened == ["client opens", "job ends, client closed: False", "client closes"]


class TestManagersThatFail:
    async def test_manager_that_fails_at_startup_closes_the_others(
        self, happened: list[str]
    ) -> None:
        opened = asyncio.Event()

        @asynccontextmanager
        async def first() -> LifespanManager:
            opened.set()
            yield {"first": 1}
            happened.append("first closes")

        @asynccontextmanager
        async def second() -> LifespanManager:
            await opened.wait()
            raise ZeroDivisionError("by nothing")
            yield {}

        for manager in (first, second):
            register_lifespan_manager(context_manager=manager)
        server = ServerSide(LifespanASGIHandler())
        answer = await server.startup()
        assert happened == ["first closes"]
        assert answer["type"] == "lifespan.startup.failed"
        line = second.__wrapped__.__code__.co_firstlineno  # type: ignore[attr-defined]
        assert f"second' ({HERE}:{line}) failed" in answer["message"]
        assert isinstance(await server.end(), ZeroDivisionError)

    async def test_manager_that_fails_at_shutdown_lets_the_others_close(
        self, happened: list[str]
    ) -> None:
        @asynccontextmanager
        async def fails() -> LifespanManager:
            yield {}
            raise ZeroDivisionError("by nothing")

        register_lifespan_manager(context_manager=fails)
        register_lifespan_manager(context_manager=manager_of(happened, "client"))
        server = ServerSide(LifespanASGIHandler())
        await server.startup()
        answer = await server.shutdown()
        assert happened == ["client opens", "client closes"]
        assert answer["type"] == "lifespan.shutdown.failed"
        assert "ZeroDivisionError: by nothing" in answer["message"]

    async def test_manager_that_hangs_at_shutdown_is_given_up(
        self, happened: list[str], settings: Settings
    ) -> None:
        settings.LIFESPAN = {"SHUTDOWN_TIMEOUT": 0.3}

        @asynccontextmanager
        async def hangs() -> LifespanManager:
            yield {}
            await asyncio.Event().wait()

        register_lifespan_manager(context_manager=hangs)
        register_lifespan_manager(context_manager=manager_of(happened, "client"))
        server = ServerSide(LifespanASGIHandler())
        await server.startup()
        answer = await server.shutdown()
        assert happened == ["client opens", "client closes"]
        assert "limit of 0.3 s" in answer["message"]

    async def test_managers_with_one_key_are_both_named(self, happened: list[str]) -> None:
        @asynccontextmanager
        async def first() -> LifespanManager:
            yield {"client": 1}

        @asynccontextmanager
        async def second() -> LifespanManager:
            yield {"client": 2}

        for manager in (first, second):
            register_lifespan_manager(context_manager=manager)
        server = ServerSide(LifespanASGIHandler())
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        error = await server.end()
        assert isinstance(error, HookError)
        for text in ("'client' is in the state twice", f"first' ({HERE}:", f"second' ({HERE}:"):
            assert text in str(error)

    async def test_manager_with_the_key_of_a_resource_is_named_with_it(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        @lifespan.resource
        async def client() -> AsyncIterator[str]:
            yield "ours"
            happened.append("ours closes")

        @asynccontextmanager
        async def manager() -> LifespanManager:
            yield {"client": "theirs"}

        register_lifespan_manager(context_manager=manager)
        server = ServerSide(LifespanASGIHandler())
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        for text in (f".client' ({HERE}:", f"manager' ({HERE}:", "state_name="):
            assert text in answer["message"]
        assert happened == ["ours closes"]


class TestReceiversOfAsgiLifespan:
    """What they return is entered, however they are written."""

    async def test_async_receiver_gives_a_manager(self, happened: list[str]) -> None:
        manager = manager_of(happened, "client")

        async def give(**kwargs: Any) -> Any:
            return manager

        asgi_lifespan.connect(give)
        async with started(LifespanASGIHandler()) as server:
            assert "client" in server.state
        assert happened == ["client opens", "client closes"]

    async def test_sync_receiver_gives_a_manager(self, happened: list[str]) -> None:
        manager = manager_of(happened, "client")
        threads: list[threading.Thread] = []

        def give() -> Any:
            threads.append(threading.current_thread())
            return manager

        asgi_lifespan.connect(give)
        async with started(LifespanASGIHandler()) as server:
            assert "client" in server.state
        assert happened == ["client opens", "client closes"]
        assert threads != [threading.current_thread()]

    @pytest.mark.parametrize("state", [{}, MISSING])
    async def test_receiver_writes_to_the_state(self, mount: MountViews, state: Any) -> None:
        async def write(state: State) -> None:
            state["written"] = "by hand"

        async def view(request: Any) -> HttpResponse:
            return HttpResponse(request.state["written"])

        asgi_lifespan.connect(write)
        mount(view=view)
        application = LifespanASGIHandler()
        async with started(application, state=state) as server:
            copied: dict[str, Any] = {} if state is MISSING else {"state": dict(server.state)}
            answer = await ask(application, "/view/", **copied)
        assert answer.text == "by hand"

    async def test_receiver_that_returns_no_manager_gets_a_remedy(self) -> None:
        async def give() -> Any:
            return 7

        asgi_lifespan.connect(give)
        server = ServerSide(LifespanASGIHandler())
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert f"give' ({HERE}:" in answer["message"]
        assert "async context manager" in answer["message"]

    @pytest.mark.parametrize("form", ["sync", "async"])
    async def test_receiver_that_fails_fails_the_startup(
        self, form: str, happened: list[str]
    ) -> None:
        def fails() -> Any:
            raise ZeroDivisionError("by nothing")

        async def fails_async() -> Any:
            raise ZeroDivisionError("by nothing")

        asgi_lifespan.connect(fails if form == "sync" else fails_async)
        server = ServerSide(LifespanASGIHandler())
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert f"({HERE}:" in answer["message"]
        assert isinstance(await server.end(), ZeroDivisionError)


class TestTheState:
    """Mappings are in the scope's dictionary and in the requests', and stay there."""

    @pytest.mark.parametrize("state", [{}, MISSING])
    async def test_state_of_managers_is_read_by_requests(
        self, mount: MountViews, happened: list[str], state: Any
    ) -> None:
        async def view(request: Any) -> HttpResponse:
            same = request.state["client"] is request.state.client
            names = sorted(request.state)
            return JsonResponse([same, request.state["client"].closed, names], safe=False)

        mount(view=view)
        register_lifespan_manager(context_manager=manager_of(happened, "client"))
        application = LifespanASGIHandler()
        async with started(application, state=state) as server:
            copied: dict[str, Any] = {} if state is MISSING else {"state": dict(server.state)}
            answer = await ask(application, "/view/", **copied)
            assert answer.text == '[true, false, ["client"]]'
        # In django-asgi-lifespan a mapping is the user's own, and stays as it is.
        answer = await ask(application, "/view/", **copied)
        assert answer.text == '[true, true, ["client"]]'

    async def test_state_of_managers_is_left_in_the_scope_after_the_shutdown(
        self, happened: list[str]
    ) -> None:
        register_lifespan_manager(context_manager=manager_of(happened, "client"))
        server = ServerSide(LifespanASGIHandler())
        await server.startup()
        client = server.state["client"]
        assert await server.shutdown() == STOPPED
        assert server.state == {"client": client}
        assert client.closed

    async def test_state_emptied_by_the_server_keeps_no_manager_open(
        self, happened: list[str]
    ) -> None:
        register_lifespan_manager(context_manager=manager_of(happened, "client"))
        server = ServerSide(LifespanASGIHandler())
        await server.startup()
        server.state.clear()
        assert await server.shutdown() == STOPPED
        assert happened == ["client opens", "client closes"]
