"""The lifespan protocol: what our handler answers to a server, and what it has done by then."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from lifespan_app import Lifespan, LifespanMiddleware
from lifespan_app.engine.running.current import SCOPE_KEY
from lifespan_app.errors import HookError, LifespanError, NotRunning, PlanError
from lifespan_app.handler import LifespanASGIHandler
from lifespan_app.signals import asgi_shutdown, asgi_startup
from tests.compat.conftest import no_receivers
from tests.exchanges import LIMIT, ask
from tests.scopes import MISSING, STARTED, STOPPED, ServerSide, started

if TYPE_CHECKING:
    from pytest_django import Settings

__all__ = ["no_receivers"]

LIMIT_HERE = 0.3
"""Seconds after which what hangs is given up: enough for what does not, on a busy machine."""


def resource(lifespan: Lifespan, happened: list[str], name: str, **options: Any) -> Any:
    """Declare a resource that says when it opens and closes."""

    async def made() -> AsyncIterator[object]:
        happened.append(f"{name} opens")
        yield object()
        happened.append(f"{name} closes")

    return lifespan.resource(name=name, **options)(made)


class TestStartup:
    async def test_startup_is_complete_when_everything_is_open(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        resource(lifespan, happened, "first")
        resource(lifespan, happened, "second")
        async with started(LifespanASGIHandler()) as server:
            assert happened == ["first opens", "second opens"]
            assert set(server.state) == {"first", "second"}

    async def test_startup_that_fails_is_logged_then_answered_then_raised(
        self, lifespan: Lifespan, happened: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        resource(lifespan, happened, "first")

        @lifespan.on_start
        async def broken(first: object) -> None:
            raise ZeroDivisionError("by nothing")

        server = ServerSide(LifespanASGIHandler())
        answer = await server.startup()
        assert happened == ["first opens", "first closes"]
        assert "ZeroDivisionError: by nothing" in caplog.text
        assert answer["type"] == "lifespan.startup.failed"
        line = broken.__code__.co_firstlineno
        assert f"broken' (tests/django/test_lifespan_protocol.py:{line})" in answer["message"]
        assert "ZeroDivisionError: by nothing" in answer["message"]
        assert "Rolled back: 'tests.django.test_lifespan_protocol.first'" in answer["message"]
        assert isinstance(await server.end(), ZeroDivisionError)

    @pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
    async def test_startup_that_raises_a_base_exception_is_answered(
        self, lifespan: Lifespan, kind: type[BaseException]
    ) -> None:
        @lifespan.on_start
        async def ends() -> None:
            raise kind("enough")

        server = ServerSide(LifespanASGIHandler())
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert "enough" in answer["message"]
        assert type(await server.end()) is kind

    async def test_startup_without_a_plan_is_answered_all_the_same(
        self, lifespan: Lifespan, caplog: pytest.LogCaptureFixture
    ) -> None:
        @lifespan.on_start
        async def wants(what_there_is_not: object) -> None: ...

        server = ServerSide(LifespanASGIHandler())
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert "what_there_is_not" in answer["message"]
        assert "what_there_is_not" in caplog.text
        assert isinstance(await server.end(), PlanError)

    @pytest.mark.parametrize("state", [MISSING, None, "state"])
    async def test_startup_needs_no_state_in_the_scope(
        self, lifespan: Lifespan, happened: list[str], state: Any
    ) -> None:
        resource(lifespan, happened, "first")
        async with started(LifespanASGIHandler(), state=state) as server:
            assert server.scope.get("state", MISSING) is state
            assert lifespan.runs[0].state["first"]

    async def test_startup_where_no_asyncio_loop_runs_is_refused(self, lifespan: Lifespan) -> None:
        said: list[Any] = []

        async def receive() -> Any:
            return {"type": "lifespan.startup"}

        async def send(message: Any) -> None:
            said.append(message)

        def step_by_hand() -> None:
            LifespanASGIHandler()({"type": "lifespan"}, receive, send).send(None)

        # As under trio: a coroutine that somebody drives, and no loop of asyncio's.
        with pytest.raises(LifespanError, match="hypercorn -k asyncio"):
            await asyncio.to_thread(step_by_hand)
        assert [message["type"] for message in said] == ["lifespan.startup.failed"]
        assert "hypercorn -k asyncio" in said[0]["message"]

    async def test_startup_that_comes_twice_fails_and_closes_open_resources(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        resource(lifespan, happened, "first")
        server = ServerSide(LifespanASGIHandler())
        assert await server.startup() == STARTED
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert "twice" in answer["message"]
        assert happened == ["first opens", "first closes"]
        assert lifespan.runs == []
        assert isinstance(await server.end(), LifespanError)

    async def test_startup_that_is_cancelled_closes_open_resources(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        resource(lifespan, happened, "first")
        begun = asyncio.Event()

        @lifespan.on_start
        async def hangs(first: object) -> None:
            begun.set()
            await asyncio.Event().wait()

        server = ServerSide(LifespanASGIHandler())
        starting = asyncio.ensure_future(server.startup())
        await begun.wait()
        server.task.cancel()
        assert isinstance(await server.end(), asyncio.CancelledError)
        assert happened == ["first opens", "first closes"]
        with pytest.raises(AssertionError, match="no answer"):
            await starting


class TestShutdown:
    async def test_shutdown_is_complete_when_everything_is_closed(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        first = resource(lifespan, happened, "first")
        resource(lifespan, happened, "second", depends_on=[first])
        server = ServerSide(LifespanASGIHandler())
        await server.startup()
        assert await server.shutdown() == STOPPED
        assert happened[2:] == ["second closes", "first closes"]
        assert await server.end() is None

    async def test_failing_shutdown_stops_the_rest_and_reports_all_errors(
        self, lifespan: Lifespan, happened: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        resource(lifespan, happened, "first")

        @lifespan.on_shutdown
        async def broken() -> None:
            raise ZeroDivisionError("by nothing")

        @lifespan.on_shutdown
        def broken_too() -> None:
            raise LookupError("nowhere")

        server = ServerSide(LifespanASGIHandler())
        await server.startup()
        answer = await server.shutdown()
        assert happened == ["first opens", "first closes"]
        assert answer["type"] == "lifespan.shutdown.failed"
        for error in ("ZeroDivisionError: by nothing", "LookupError: nowhere"):
            assert error in answer["message"]
            assert error in caplog.text
        raised = await server.end()
        assert isinstance(raised, ExceptionGroup)
        assert {type(error) for error in raised.exceptions} == {ZeroDivisionError, LookupError}

    async def test_shutdown_before_any_startup_is_complete_at_once(
        self, lifespan: Lifespan
    ) -> None:
        server = ServerSide(LifespanASGIHandler())
        assert await server.shutdown() == STOPPED
        assert await server.end() is None

    async def test_shutdown_is_made_up_for_when_the_server_cancels_instead(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        resource(lifespan, happened, "first")
        server = ServerSide(LifespanASGIHandler())
        await server.startup()
        server.task.cancel()
        assert isinstance(await server.end(), asyncio.CancelledError)
        assert happened == ["first opens", "first closes"]

    async def test_shutdown_needs_no_state_any_more(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        resource(lifespan, happened, "first")
        server = ServerSide(LifespanASGIHandler())
        await server.startup()
        # As granian does.
        server.state.clear()
        assert await server.shutdown() == STOPPED
        assert happened == ["first opens", "first closes"]


class TestARequest:
    async def test_request_knows_the_run_that_serves_it(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        application = LifespanASGIHandler()
        scope: dict[str, Any] = {}
        async with started(application):
            run = lifespan.runs[0]
            await ask(KeepingScope(application, scope), "/nowhere/")
        assert scope[SCOPE_KEY] is run

    async def test_request_on_another_loop_is_served_by_the_run_of_that_loop(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        application = LifespanASGIHandler()
        shelf = resource(lifespan, happened, "shelf")
        seen: list[Any] = []

        async def serve_here() -> None:
            async with started(application):
                scope: dict[str, Any] = {}
                await ask(KeepingScope(application, scope), "/nowhere/")
                seen.append((scope[SCOPE_KEY].loop is asyncio.get_running_loop(), shelf(scope)))

        async with started(application):
            # Another loop in another thread, while this one serves.
            await asyncio.to_thread(asyncio.run, serve_here())
            await serve_a_request(application, shelf, seen)
        assert [right for right, _ in seen] == [True, True]
        assert seen[0][1] is not seen[1][1]

    async def test_request_without_any_lifespan_finds_no_run(self, lifespan: Lifespan) -> None:
        @lifespan.resource
        async def shelf() -> AsyncIterator[object]:
            yield object()

        scope: dict[str, Any] = {}
        await ask(KeepingScope(LifespanASGIHandler(), scope), "/nowhere/")
        with pytest.raises(NotRunning, match="shelf"):
            shelf(scope)


class KeepingScope:
    """An application that keeps the scope of the last request."""

    def __init__(self, application: Any, into: dict[str, Any]) -> None:
        self.application = application
        self.into = into

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.application(scope, receive, send)
        self.into.update(scope)


async def serve_a_request(application: Any, shelf: Any, seen: list[Any]) -> None:
    scope: dict[str, Any] = {}
    await ask(KeepingScope(application, scope), "/nowhere/")
    seen.append((scope[SCOPE_KEY].loop is asyncio.get_running_loop(), shelf(scope)))


class TestTheEdgesOfARun:
    """Hooks, receivers, an inner application, background jobs: each in its turn."""

    async def test_stages_are_entered_in_order_and_left_in_reverse(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        application = Inner(happened)
        begun = asyncio.Event()
        resource(lifespan, happened, "hook")

        @lifespan.background
        async def job(hook: object) -> None:
            happened.append("job begins")
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                happened.append("job ends")

        def on_startup() -> None:
            happened.append("asgi_startup")

        async def on_shutdown() -> None:
            happened.append(f"asgi_shutdown, ready: {lifespan.runs[0].report().ready}")

        application.handler.on_shutdown.append(lambda: happened.append("on_shutdown, first"))
        application.handler.on_shutdown.append(lambda: happened.append("on_shutdown, second"))
        asgi_startup.connect(on_startup)
        asgi_shutdown.connect(on_shutdown)
        async with started(LifespanMiddleware(application)):
            await begun.wait()
            assert happened == ["hook opens", "asgi_startup", "inner starts", "job begins"]
            happened.clear()
        assert happened == [
            "inner stops",
            "asgi_shutdown, ready: False",
            "on_shutdown, second",
            "on_shutdown, first",
            "job ends",
            "hook closes",
        ]

    async def test_stages_keep_on_going_past_every_error_and_every_limit(
        self, lifespan: Lifespan, settings: Settings, happened: list[str]
    ) -> None:
        settings.LIFESPAN = {"SHUTDOWN_TIMEOUT": LIMIT_HERE}
        application = LifespanASGIHandler()
        resource(lifespan, happened, "hook")

        async def hangs() -> None:
            await asyncio.Event().wait()

        async def fails() -> None:
            raise ZeroDivisionError("in a receiver")

        async def goes_on() -> None:
            happened.append("receiver")

        def fails_in_thread() -> None:
            raise LookupError("in a sync receiver")

        for receiver in (hangs, fails, goes_on, fails_in_thread):
            asgi_shutdown.connect(receiver)

        async def fails_too() -> None:
            raise ZeroDivisionError("in a function")

        application.on_shutdown += [lambda: happened.append("function"), fails_too, hangs]
        server = ServerSide(application)
        await server.startup()
        answer = await server.shutdown()
        assert happened == ["hook opens", "receiver", "function", "hook closes"]
        assert answer["type"] == "lifespan.shutdown.failed"
        raised = await server.end()
        assert isinstance(raised, ExceptionGroup)
        kinds = sorted(type(error).__name__ for error in raised.exceptions)
        assert kinds == [
            "LimitPassed",
            "LimitPassed",
            "LookupError",
            "ZeroDivisionError",
            "ZeroDivisionError",
        ]
        for error in raised.exceptions:
            assert str(error) in answer["message"]
        assert answer["message"].count(f"limit of {LIMIT_HERE} s") == 2

    async def test_stages_are_left_when_the_server_cancels(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        application = LifespanASGIHandler()
        resource(lifespan, happened, "hook")
        application.on_shutdown.append(lambda: happened.append("function"))

        async def receiver() -> None:
            happened.append("receiver")

        asgi_shutdown.connect(receiver)
        server = ServerSide(application)
        await server.startup()
        server.task.cancel()
        assert isinstance(await server.end(), asyncio.CancelledError)
        assert happened == ["hook opens", "receiver", "function", "hook closes"]

    async def test_stages_are_left_when_the_loop_ends(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        application = Inner(happened)
        resource(lifespan, happened, "hook")
        application.handler.on_shutdown.append(lambda: happened.append("function"))

        async def receiver() -> None:
            happened.append("receiver")

        asgi_shutdown.connect(receiver)

        async def end_the_loop() -> None:
            assert await ServerSide(LifespanMiddleware(application)).startup() == STARTED

        # asyncio.run cancels every task at once.
        await asyncio.wait_for(asyncio.to_thread(asyncio.run, end_the_loop()), LIMIT)
        assert happened == [
            "hook opens",
            "inner starts",
            "inner stops",
            "receiver",
            "function",
            "hook closes",
        ]

    async def test_stages_that_were_not_entered_are_not_left(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        application = LifespanASGIHandler()

        @lifespan.on_start
        async def fails() -> None:
            application.on_shutdown.append(lambda: happened.append("function"))
            raise ZeroDivisionError

        async def receiver() -> None:
            happened.append("receiver")

        asgi_shutdown.connect(receiver)
        server = ServerSide(application)
        assert (await server.startup())["type"] == "lifespan.startup.failed"
        # asgi_startup was not sent; what has been appended already is called.
        assert happened == ["function"]

    async def test_stages_that_fail_at_startup_undo_earlier_hooks(
        self, lifespan: Lifespan, happened: list[str]
    ) -> None:
        resource(lifespan, happened, "hook")

        async def opens() -> None:
            happened.append("first receiver")

        async def fails() -> None:
            raise ZeroDivisionError("in a receiver")

        async def closes() -> None:
            happened.append("asgi_shutdown")

        asgi_startup.connect(opens)
        asgi_startup.connect(fails)
        asgi_shutdown.connect(closes)
        server = ServerSide(LifespanMiddleware(Inner(happened)))
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert "fails' (tests/django/test_lifespan_protocol.py:" in answer["message"]
        assert isinstance(await server.end(), ZeroDivisionError)
        assert happened == ["hook opens", "first receiver", "asgi_shutdown", "hook closes"]

    async def test_stages_may_read_every_resource(self, lifespan: Lifespan) -> None:
        read: list[object] = []

        @lifespan.resource
        async def shelf() -> AsyncIterator[str]:
            yield "shelf"

        async def in_task() -> None:
            read.append(shelf.current())

        def in_thread() -> None:
            read.append(shelf.current())

        for receiver in (in_task, in_thread):
            asgi_startup.connect(receiver)
            asgi_shutdown.connect(receiver)
        application = LifespanASGIHandler()
        application.on_shutdown += [in_task, in_thread]
        async with started(application):
            assert read == ["shelf"] * 2
        assert read == ["shelf"] * 6

    async def test_stages_are_steps_of_the_report(self, lifespan: Lifespan) -> None:
        async def opens() -> None: ...

        def closes() -> None: ...

        asgi_startup.connect(opens)
        asgi_shutdown.connect(closes)
        application = LifespanASGIHandler()
        application.on_shutdown.append(opens)
        async with started(application):
            pass
        report = lifespan.report()
        assert report is not None
        steps = [(step.key, step.phase, step.outcome) for step in report.steps]
        place = "tests.django.test_lifespan_protocol"
        assert steps == [
            (f"{place}.opens", "startup", "ok"),
            (f"{place}.opens", "shutdown", "ok"),
            (f"{place}.closes", "shutdown", "ok"),
        ]
        assert {step.file for step in report.steps} == {"tests/django/test_lifespan_protocol.py"}

    async def test_stages_of_a_startup_that_hangs_are_named(
        self, lifespan: Lifespan, settings: Settings
    ) -> None:
        settings.LIFESPAN = {"STARTUP_DEADLINE": LIMIT_HERE}

        async def hangs() -> None:
            await asyncio.Event().wait()

        asgi_startup.connect(hangs)
        server = ServerSide(LifespanASGIHandler())
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert "hangs' (tests/django/test_lifespan_protocol.py:" in answer["message"]
        assert isinstance(await server.end(), HookError)


class Inner:
    """An application with a lifespan of its own, around a handler of ours."""

    def __init__(self, happened: list[str]) -> None:
        self.handler = LifespanASGIHandler()
        self.happened = happened

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def told(message: Any) -> None:
            word = "starts" if message["type"] == "lifespan.startup.complete" else "stops"
            self.happened.append(f"inner {word}")
            await send(message)

        await self.handler(scope, receive, told)


class TestFunctionsInThreads:
    async def test_functions_in_threads_run_beside_the_loop(self, lifespan: Lifespan) -> None:
        threads: list[threading.Thread] = []

        def note() -> None:
            threads.append(threading.current_thread())

        asgi_startup.connect(note)
        asgi_shutdown.connect(note)
        application = LifespanASGIHandler()
        application.on_shutdown.append(note)
        async with started(application):
            pass
        assert len(threads) == 3
        assert threading.main_thread() not in threads
