"""Code for asgi-lifecycle runs when its imports say `lifespan_app`."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync

import lifespan_app
from lifespan_app import (
    Lifespan,
    LifespanContext,
    LifespanMiddleware,
    ServiceType,
    ShutdownHook,
    StartupHook,
    get_lifespan,
)
from lifespan_app.errors import LifespanError, NotRunning
from tests.exchanges import ask, lifespan_of
from tests.forks import in_a_fork

variable = contextvars.ContextVar("variable", default="unset")
APP = LifespanContext(service_type="app")


@pytest.fixture
def journal() -> list[str]:
    """Return what hooks have done, in their order."""
    return []


class TestTheDecorators:
    """Priority, name, service types; async and sync functions, with the context and without."""

    async def test_hooks_start_by_rising_priority_and_stop_by_falling(
        self, lifespan: Lifespan, journal: list[str]
    ) -> None:
        for number in (3, 1, 2):

            @lifespan.on_start(number, name=f"start {number}")
            async def start(number: int = number) -> None:
                journal.append(f"start {number}")

            @lifespan.on_shutdown(priority=number, name=f"stop {number}")
            async def stop(number: int = number) -> None:
                journal.append(f"stop {number}")

        await lifespan.startup(APP)
        assert journal == ["start 1", "start 2", "start 3"]
        await lifespan.shutdown(APP)
        assert journal[3:] == ["stop 3", "stop 2", "stop 1"]

    async def test_decorators_choose_by_service_type(
        self, lifespan: Lifespan, journal: list[str]
    ) -> None:
        @lifespan.on_start(service_types=["app"])
        async def web() -> None:
            journal.append("web")

        @lifespan.on_start(service_types=[ServiceType.WORKER])
        async def pool() -> None:
            journal.append("pool")

        @lifespan.on_start(service_types=["app", "worker"])
        async def both() -> None:
            journal.append("both")

        for service_type in ("app", "worker", "scheduler"):
            context = LifespanContext(service_type=service_type)
            await lifespan.startup(context)
            await lifespan.shutdown(context)
            journal.append(".")
        assert " ".join(journal) == "web both . pool both . ."

    async def test_decorators_pass_the_context_to_a_parameter(
        self, lifespan: Lifespan, journal: list[str]
    ) -> None:
        given: list[LifespanContext] = []

        @lifespan.on_start()
        async def asynchronous(context: LifespanContext) -> None:
            given.append(context)

        @lifespan.on_start()
        def synchronous(context: LifespanContext) -> None:
            given.append(context)

        @lifespan.on_start()
        def lone(ctx: Any) -> None:
            given.append(ctx)

        @lifespan.on_shutdown()
        def at_the_end(any_name: LifespanContext) -> None:
            given.append(any_name)

        @lifespan.on_shutdown()
        def without() -> None:
            journal.append("without")

        context = LifespanContext(service_type="app", environment="production")
        await lifespan.startup(context)
        await lifespan.shutdown(context)
        assert len(given) == 4
        assert all(one is context for one in given)
        assert journal == ["without"]

    def test_decorators_take_the_arguments_of_their_types(self, lifespan: Lifespan) -> None:
        async def start(context: LifespanContext) -> None: ...

        def stop() -> None: ...

        begin: StartupHook = start
        end: ShutdownHook = stop
        assert lifespan.on_start()(begin) is begin
        assert lifespan.on_shutdown()(end) is end


class TestTheContext:
    """What is noted at startup is read at shutdown."""

    async def test_context_keeps_metadata_from_startup_to_shutdown(
        self, lifespan: Lifespan, journal: list[str]
    ) -> None:
        @lifespan.on_start(priority=1)
        async def connect(context: LifespanContext) -> None:
            context.set_metadata("connected", context.get_config("host", "nowhere"))

        @lifespan.on_shutdown(priority=1)
        async def disconnect(context: LifespanContext) -> None:
            journal.append(context.get_metadata("connected", "never"))

        await lifespan.startup(LifespanContext(service_type="app", config={"host": "db"}))
        # A worker's signal handler makes another one, with nothing in it.
        await lifespan.shutdown(LifespanContext(service_type="app"))
        assert journal == ["db"]

    def test_context_has_the_kind_of_process(self) -> None:
        kinds = {
            kind: [LifespanContext(kind).is_worker(), LifespanContext(kind).is_api()]
            for kind in ("app", "api", "worker", "scheduler")
        }
        assert kinds == {
            "app": [False, True],
            "api": [False, True],
            "worker": [True, False],
            "scheduler": [False, False],
        }
        assert LifespanContext(service_type="test").is_test()

    def test_context_does_without_a_config(self) -> None:
        assert LifespanContext(service_type="app", config=None).get_config("host", "none") == "none"


class TestTheSingleton:
    """One Lifespan for the process, however it is got."""

    def test_singleton_is_the_same_object_everywhere(self) -> None:
        assert Lifespan.get_instance() is lifespan_app.lifespan
        assert get_lifespan() is lifespan_app.lifespan
        assert get_lifespan().get_instance() is lifespan_app.lifespan

    async def test_singleton_knows_whether_it_is_running(self, lifespan: Lifespan) -> None:
        assert not lifespan.is_initialized()
        await lifespan.startup(APP)
        assert lifespan.is_initialized()
        await lifespan.shutdown(APP)
        assert not lifespan.is_initialized()

    async def test_singleton_is_as_new_after_a_reset(
        self, lifespan: Lifespan, journal: list[str]
    ) -> None:
        @lifespan.on_start()
        async def start() -> None:
            journal.append("start")

        await lifespan.startup(APP)
        await lifespan.shutdown(APP)
        Lifespan.reset_instance()
        assert lifespan.report() is None
        await lifespan.startup(APP)
        await lifespan.shutdown(APP)
        assert journal == ["start"]

    def test_singleton_closes_its_own_loops_resources_at_a_reset(
        self, lifespan: Lifespan, journal: list[str]
    ) -> None:
        @lifespan.resource
        async def shelf() -> AsyncIterator[int]:
            yield 1
            journal.append("closed")

        async_to_sync(lifespan.startup)(APP)
        lifespan.reset_instance()
        assert journal == ["closed"]
        assert not lifespan.is_initialized()

    async def test_reset_warns_of_runs_that_others_have_to_close(
        self, lifespan: Lifespan, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with lifespan.run():
            lifespan.reset_instance()
            assert "is open: what has opened it has to close it" in caplog.text
            assert not lifespan.is_initialized()

    async def test_singleton_warns_of_a_shutdown_without_a_startup(
        self, lifespan: Lifespan, caplog: pytest.LogCaptureFixture
    ) -> None:
        await lifespan.shutdown(APP)
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "without a startup()" in caplog.text


class TestAnApplication:
    """`LifespanMiddleware(app)` around an application that knows no lifespan."""

    async def test_application_starts_and_stops_with_its_server(
        self, lifespan: Lifespan, journal: list[str]
    ) -> None:
        @lifespan.on_start(priority=1, service_types=["app", "api"])
        async def start(context: LifespanContext) -> None:
            journal.append(f"start {context.service_type}")
            context.set_metadata("started", True)

        @lifespan.on_shutdown(priority=1, service_types=["app", "api"])
        async def stop(context: LifespanContext) -> None:
            journal.append(f"stop {context.get_metadata('started', False)}")

        async def hello(scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "http"
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})

        application = LifespanMiddleware(hello)
        async with lifespan_of(application):
            assert journal == ["start app"]
            assert (await ask(application)).text == "hello"
        assert journal == ["start app", "stop True"]

    async def test_application_gets_its_context(
        self, lifespan: Lifespan, journal: list[str]
    ) -> None:
        @lifespan.on_start()
        def start(context: LifespanContext) -> None:
            journal.append(f"{context.service_type} {context.environment}")

        async def hello(scope: Any, receive: Any, send: Any) -> None: ...

        application = LifespanMiddleware(hello, context=LifespanContext("api", "production"))
        async with lifespan_of(application):
            pass
        assert journal == ["api production"]


class TestAStartupThatAsyncToSyncCalls:
    """Its loop ends with the call, so the lifespan lives on a loop thread of its own."""

    @pytest.fixture
    def worker(self) -> Iterator[LifespanContext]:
        """Return the context of a worker."""
        yield LifespanContext(service_type="worker", environment="production")
        assert [thread.name for thread in threading.enumerate() if "loop" in thread.name] == []

    def test_startup_from_sync_code_stays_open_for_lifespan_call(
        self, lifespan: Lifespan, worker: LifespanContext, journal: list[str]
    ) -> None:
        @lifespan.resource
        async def client() -> AsyncIterator[asyncio.AbstractEventLoop]:
            yield asyncio.get_running_loop()
            journal.append("closed")

        async def use() -> bool:
            return client.current() is asyncio.get_running_loop()

        async_to_sync(lifespan.startup)(worker)
        assert client.current().is_running()
        assert lifespan.call(use)
        assert lifespan.call(use)
        async_to_sync(lifespan.shutdown)(worker)
        assert journal == ["closed"]
        with pytest.raises(NotRunning):
            lifespan.call(use)

    def test_startup_from_sync_code_keeps_the_context_variables_of_its_caller(
        self, lifespan: Lifespan, worker: LifespanContext
    ) -> None:
        found: list[str] = []

        @lifespan.on_start
        async def read() -> None:
            found.append(variable.get())

        token = variable.set("set by the caller")
        async_to_sync(lifespan.startup)(worker)
        variable.reset(token)
        async_to_sync(lifespan.shutdown)(worker)
        assert found == ["set by the caller"]

    def test_startup_from_sync_code_lets_hooks_use_sync_code_long_after_it(
        self, lifespan: Lifespan, worker: LifespanContext, journal: list[str]
    ) -> None:
        go_on = threading.Event()

        @lifespan.background
        async def work() -> None:
            from asgiref.sync import sync_to_async

            await asyncio.to_thread(go_on.wait)
            await sync_to_async(journal.append)("worked")
            await asyncio.get_running_loop().create_future()

        async def wait() -> None:
            while not journal:
                await asyncio.sleep(0)

        async_to_sync(lifespan.startup)(worker)
        go_on.set()
        lifespan.call(wait, timeout=10)
        async_to_sync(lifespan.shutdown)(worker)
        assert journal == ["worked"]

    def test_startup_from_sync_code_raises_the_error_of_a_hook(
        self, lifespan: Lifespan, worker: LifespanContext
    ) -> None:
        @lifespan.on_start
        async def fail() -> None:
            raise ZeroDivisionError("no pool")

        with pytest.raises(ZeroDivisionError, match="no pool"):
            async_to_sync(lifespan.startup)(worker)
        assert not lifespan.is_initialized()

    def test_startup_from_sync_code_is_refused_a_second_time(
        self, lifespan: Lifespan, worker: LifespanContext
    ) -> None:
        async_to_sync(lifespan.startup)(worker)
        with pytest.raises(LifespanError, match="twice in one process"):
            async_to_sync(lifespan.startup)(worker)
        assert lifespan.is_initialized()
        async_to_sync(lifespan.shutdown)(worker)

    def test_startup_from_sync_code_is_closed_from_any_loop(
        self, lifespan: Lifespan, worker: LifespanContext, journal: list[str]
    ) -> None:
        @lifespan.on_shutdown
        async def stop() -> None:
            journal.append("stopped")

        async_to_sync(lifespan.startup)(worker)
        asyncio.run(lifespan.shutdown(worker))
        assert journal == ["stopped"]

    def test_startup_from_sync_code_raises_shutdown_errors_when_all_is_closed(
        self, lifespan: Lifespan, worker: LifespanContext
    ) -> None:
        @lifespan.on_shutdown
        def stick() -> None:
            raise ZeroDivisionError("stuck")

        async_to_sync(lifespan.startup)(worker)
        with pytest.raises(ExceptionGroup) as raised:
            async_to_sync(lifespan.shutdown)(worker)
        assert raised.group_contains(ZeroDivisionError, match="stuck")
        assert not lifespan.is_initialized()

    def test_startup_from_sync_code_stays_on_a_loop_that_stays(self, lifespan: Lifespan) -> None:
        @lifespan.resource
        async def client() -> AsyncIterator[asyncio.AbstractEventLoop]:
            yield asyncio.get_running_loop()

        async def main() -> None:
            await lifespan.startup(APP)
            assert client.current() is asyncio.get_running_loop()
            await lifespan.shutdown(APP)

        asyncio.run(main())

    def test_startup_from_sync_code_begins_anew_after_a_fork(
        self, lifespan: Lifespan, worker: LifespanContext
    ) -> None:
        @lifespan.resource
        async def client() -> AsyncIterator[int]:
            yield 1

        async def use() -> int:
            return client.current()

        def in_the_child() -> None:
            with pytest.raises(NotRunning, match="which this one was forked from"):
                lifespan.call(use)
            with pytest.raises(NotRunning, match="which this one was forked from"):
                client.current()
            async_to_sync(lifespan.shutdown)(worker)
            assert not lifespan.is_initialized()
            async_to_sync(lifespan.startup)(worker)
            assert lifespan.call(use) == 1
            async_to_sync(lifespan.shutdown)(worker)

        async_to_sync(lifespan.startup)(worker)
        assert in_a_fork(in_the_child) == "nothing raised"
        assert lifespan.call(use) == 1
        async_to_sync(lifespan.shutdown)(worker)
