"""`lifespan_running()`: a lifespan for one test, in `async with` and in `with`."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpResponse

from lifespan_app import Lifespan, LifespanContext, Resource
from lifespan_app.errors import LifespanError, NotRunning, ResourceClosed, UndeclaredUse
from lifespan_app.testing import lifespan_running
from tests.django.conftest import MountViews
from tests.engine.apps import written_in

if TYPE_CHECKING:
    from pytest_django import Settings


class Shelf:
    """Something that can be open, and knows its loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.open = True

    async def books(self) -> int:
        assert asyncio.get_running_loop() is self.loop
        return 3


@pytest.fixture
def shelf(lifespan: Lifespan) -> Resource[Shelf]:
    """Declare a resource called `shelf`, and return its handle."""

    @lifespan.resource
    async def shelf() -> AsyncIterator[Shelf]:
        shelf = Shelf()
        yield shelf
        shelf.open = False

    return shelf


class TestTheLifespan:
    """What is open in the block, and only there."""

    async def test_lifespan_running_opens_and_closes_on_the_loop_of_an_async_test(
        self, shelf: Resource[Shelf]
    ) -> None:
        async with lifespan_running() as running:
            found = running.state.shelf
            assert found is shelf.current()
            assert found.loop is asyncio.get_running_loop()
            assert found.open
        assert not found.open
        with pytest.raises(ResourceClosed):
            shelf.current()

    def test_lifespan_running_opens_and_closes_around_a_sync_test(
        self, shelf: Resource[Shelf]
    ) -> None:
        with lifespan_running() as running:
            found = running.state["shelf"]
            assert found is shelf.current()
            assert found.open
        assert not found.open
        assert found.loop.is_closed()

    async def test_context_of_lifespan_running_is_a_test(
        self, lifespan: Lifespan, settings: Settings
    ) -> None:
        settings.LIFESPAN = {"SERVICE_TYPE": "api", "CONFIG": {"shelves": 3}}
        told: list[LifespanContext] = []

        @lifespan.on_start
        def hear(context: LifespanContext) -> None:
            told.append(context)

        async with lifespan_running() as running:
            assert running.context is told[0]
        assert told == [LifespanContext("api", "test", {"shelves": 3})]

    async def test_lifespan_running_opens_the_service_type_it_is_given(
        self, lifespan: Lifespan
    ) -> None:
        ran: list[str] = []

        @lifespan.on_start(service_types=["worker"])
        def take_orders() -> None:
            ran.append("worker")

        @lifespan.on_start(service_types=["app"])
        def open_shop() -> None:
            ran.append("app")

        async with lifespan_running(service_type="worker"):
            pass
        assert ran == ["worker"]

    async def test_lifespan_running_has_a_report(self, shelf: Resource[Shelf]) -> None:
        async with lifespan_running() as running:
            assert running.report.status == "serving"
        assert running.report.status == "stopped"
        assert [step.name for step in running.report.steps] == ["shelf", "shelf"]

    def test_lifespan_running_can_be_that_of_another_registry(self) -> None:
        other = Lifespan()

        @other.resource
        def lamp() -> Iterator[str]:
            yield "lit"

        with lifespan_running(lifespan=other) as running:
            assert running.state.lamp == "lit"
            assert lamp.current() == "lit"

    def test_lifespan_running_is_used_once(self, shelf: Resource[Shelf]) -> None:
        running = lifespan_running()
        with running:
            pass
        with pytest.raises(LifespanError, match="Call it again"), running:
            pass

    async def test_lifespan_running_is_refused_in_a_sync_block_where_a_loop_runs(self) -> None:
        with pytest.raises(LifespanError, match="async with"), lifespan_running():
            pass

    def test_lifespan_running_leaves_no_thread_behind(self, shelf: Resource[Shelf]) -> None:
        before = set(threading.enumerate())
        with lifespan_running():
            assert set(threading.enumerate()) != before
        assert set(threading.enumerate()) == before

    async def test_lifespan_running_leaves_no_thread_behind_an_async_test(
        self, shelf: Resource[Shelf]
    ) -> None:
        before = set(threading.enumerate())
        async with lifespan_running():
            pass
        assert set(threading.enumerate()) == before


class TestOnly:
    """Some hooks, and what they need."""

    @pytest.fixture
    def ran(self, lifespan: Lifespan) -> list[str]:
        """Declare `plank`, `shelf(plank)`, `book(shelf)` and `lamp`; return who was opened."""
        ran: list[str] = []

        @lifespan.resource
        async def plank() -> AsyncIterator[str]:
            ran.append("plank")
            yield "plank"

        @lifespan.resource
        async def shelf(plank: str) -> AsyncIterator[str]:
            ran.append("shelf")
            yield "shelf"

        @lifespan.on_start
        async def book(shelf: str) -> None:
            ran.append("book")

        @lifespan.resource
        async def lamp() -> AsyncIterator[str]:
            ran.append("lamp")
            yield "lamp"

        self.shelf, self.book = shelf, book
        return ran

    async def test_only_opens_a_resource_by_its_handle_with_its_dependencies(
        self, ran: list[str]
    ) -> None:
        async with lifespan_running(only=[self.shelf]) as running:
            assert ran == ["plank", "shelf"]
            with pytest.raises(NotRunning, match="not asked for"):
                running.state["lamp"]

    async def test_only_starts_a_function_by_itself_and_by_its_key(self, ran: list[str]) -> None:
        async with lifespan_running(only=[self.book]):
            assert ran == ["plank", "shelf", "book"]
        async with lifespan_running(only=[f"{__name__}.lamp"]):
            assert ran[3:] == ["lamp"]

    async def test_only_lists_the_keys_when_one_is_wrong(self, ran: list[str]) -> None:
        with pytest.raises(LookupError, match=rf"Did you mean '{__name__}.shelf'\?"):
            await lifespan_running(only=[f"{__name__}.shelv"]).__aenter__()
        assert ran == []

    async def test_only_has_the_reason_for_a_hook_outside_the_plan(
        self, lifespan: Lifespan, ran: list[str]
    ) -> None:
        @lifespan.resource(service_types=["worker"])
        async def queue() -> AsyncIterator[int]:
            yield 1

        with pytest.raises(LookupError, match="it is for service type worker, not app"):
            await lifespan_running(only=[queue]).__aenter__()

    def test_only_takes_a_list(self) -> None:
        with pytest.raises(TypeError, match=r"only=\['library.shelf'\]"):
            lifespan_running(only="library.shelf")


class TestClients:
    """Requests have the state, whichever kind the client and the view are of."""

    @pytest.fixture
    def seen(self, mount: MountViews, shelf: Resource[Shelf]) -> list[Any]:
        """Mount a sync and an async view that read the shelf in all three ways."""
        seen: list[Any] = []

        def read(request: Any) -> HttpResponse:
            seen.extend([request.state["shelf"], request.state.shelf, shelf(request)])
            return HttpResponse("read")

        async def read_async(request: Any) -> HttpResponse:
            read(request)
            return HttpResponse(f"{await shelf(request).books()} books")

        mount(sync=read, asynchronous=read_async)
        return seen

    def test_client_of_a_sync_test_reads_resources(self, seen: list[Any]) -> None:
        with lifespan_running() as running:
            assert running.client.get("/sync/").content == b"read"
            assert running.client.get("/asynchronous/").content == b"3 books"
            assert all(one is running.state.shelf for one in seen)
        assert len(seen) == 6

    async def test_client_of_an_async_test_reads_resources(self, seen: list[Any]) -> None:
        async with lifespan_running() as running:
            assert (await running.async_client.get("/sync/")).content == b"read"
            assert (await running.async_client.get("/asynchronous/")).content == b"3 books"
            assert all(one is running.state.shelf for one in seen)
        assert len(seen) == 6

    def test_client_of_a_sync_test_calls_async_views(
        self, seen: list[Any], shelf: Resource[Shelf]
    ) -> None:
        with lifespan_running() as running:
            response = async_to_sync(running.async_client.get)("/asynchronous/")
            assert response.content == b"3 books"
            assert async_to_sync(shelf.current().books)() == 3

    def test_clients_are_djangos_own_in_all_else(self, seen: list[Any], mount: MountViews) -> None:
        def fail(request: Any) -> HttpResponse:
            raise ZeroDivisionError

        mount(fail=fail)
        with lifespan_running() as running:
            with pytest.raises(ZeroDivisionError):
                running.client.get("/fail/")
            assert running.client.get("/nowhere/").status_code == 404

    def test_state_that_a_view_writes_stays_in_its_request(
        self, lifespan: Lifespan, mount: MountViews
    ) -> None:
        def write(request: Any) -> HttpResponse:
            before = request.state.get("note")
            request.state["note"] = "mine"
            return HttpResponse(f"{before}")

        mount(write=write)
        with lifespan_running() as running:
            for _ in range(2):
                assert running.client.get("/write/").content == b"None"

    def test_other_clients_reach_resources_by_handle(
        self, client: Any, mount: MountViews, shelf: Resource[Shelf]
    ) -> None:
        async def count(request: Any) -> HttpResponse:
            return HttpResponse(f"{await shelf(request).books()} books")

        mount(count=count)
        with lifespan_running():
            assert client.get("/count/").content == b"3 books"


class TestThreads:
    """Sync hooks run in the test's thread, one after the other."""

    @pytest.fixture
    def threads(self, lifespan: Lifespan) -> list[threading.Thread]:
        """Declare sync hooks of each kind, and return the threads that they run in."""
        threads: list[threading.Thread] = []

        def note() -> None:
            threads.append(threading.current_thread())

        @lifespan.resource
        def yields() -> Iterator[int]:
            note()
            yield 1
            note()

        class Entered:
            def __enter__(self) -> Entered:
                note()
                return self

            def __exit__(self, *error: object) -> None:
                note()

        lifespan.resource(name="entered")(Entered)
        lifespan.on_start(name="starts")(note)
        lifespan.on_shutdown(name="stops")(note)
        return threads

    def test_sync_hooks_run_in_the_thread_of_a_sync_test(
        self, threads: list[threading.Thread]
    ) -> None:
        with lifespan_running():
            assert len(threads) == 3
        assert len(threads) == 6
        assert set(threads) == {threading.current_thread()}

    async def test_sync_hooks_share_one_thread_in_an_async_test(
        self, lifespan: Lifespan, threads: list[threading.Thread]
    ) -> None:
        loop = asyncio.get_running_loop()
        turned = threading.Event()

        @lifespan.on_start
        def wait_for_the_loop() -> None:
            loop.call_soon_threadsafe(turned.set)
            turned.wait()

        async with lifespan_running():
            sensitive = await sync_to_async(threading.current_thread)()
        assert len(threads) == 6
        assert set(threads) == {sensitive}

    def test_sync_hooks_take_turns_in_their_thread(self, lifespan: Lifespan) -> None:
        at_it: list[str] = []
        most: list[int] = []

        for name in ("one", "two", "three"):

            def take_turn(name: str = name) -> Iterator[str]:
                at_it.append(name)
                most.append(len(at_it))
                at_it.remove(name)
                yield name
                at_it.append(name)
                most.append(len(at_it))
                at_it.remove(name)

            lifespan.resource(name=name)(take_turn)

        with lifespan_running():
            pass
        assert most == [1] * 6

    def test_context_variables_of_a_sync_resource_last_to_its_exit(
        self, lifespan: Lifespan
    ) -> None:
        variable = contextvars.ContextVar("variable", default="unset")
        found: list[str] = []

        @lifespan.resource
        def sets() -> Iterator[int]:
            token = variable.set("set")
            yield 1
            found.append(variable.get())
            variable.reset(token)

        with lifespan_running():
            assert variable.get() == "unset"
        assert found == ["set"]

    def test_threads_know_which_hook_they_are_inside(
        self, lifespan: Lifespan, shelf: Resource[Shelf]
    ) -> None:
        @lifespan.on_start
        def reads_what_it_did_not_ask_for() -> None:
            shelf.current()

        with pytest.raises(UndeclaredUse):
            lifespan_running().__enter__()

    def test_sync_hook_of_a_sync_test_calls_async_code(
        self, lifespan: Lifespan, shelf: Resource[Shelf]
    ) -> None:
        counted: list[int] = []

        @lifespan.on_start
        def count(shelf: Shelf) -> None:
            counted.append(lifespan.call(shelf.books))

        with lifespan_running():
            counted.append(lifespan.call(shelf.current().books))
        assert counted == [3, 3]

    async def test_sync_hook_that_is_given_up_before_its_turn_is_never_called(
        self, lifespan: Lifespan
    ) -> None:
        """The thread comes to it only after the startup has failed, and the test may have gone on."""
        begun, free = threading.Event(), threading.Event()
        ran: list[Any] = []

        @lifespan.on_start
        @written_in("one.lifespan")
        def slow() -> None:
            ran.append(threading.current_thread())
            begun.set()
            free.wait(10)

        @lifespan.on_start
        @written_in("two.lifespan")
        def queued() -> None:
            ran.append("queued")

        @lifespan.on_start
        @written_in("three.lifespan")
        async def fails() -> None:
            await asyncio.to_thread(begun.wait, 10)
            raise OSError("nobody there")

        with pytest.raises(OSError, match="nobody there"):
            await lifespan_running().__aenter__()
        free.set()
        [thread] = ran
        await asyncio.to_thread(thread.join, 10)
        assert ran == [thread]

    async def test_sync_hook_of_an_async_test_calls_async_code(
        self, lifespan: Lifespan, shelf: Resource[Shelf]
    ) -> None:
        counted: list[int] = []

        @lifespan.on_start
        def count(shelf: Shelf) -> None:
            counted.append(lifespan.call(shelf.books))

        async with lifespan_running():
            pass
        assert counted == [3]


class TestErrors:
    """Whatever fails is raised where it can be seen, and everything is closed."""

    @pytest.mark.parametrize("kind", ["async", "sync"])
    def test_startup_error_is_raised_as_the_hook_raised_it(
        self, lifespan: Lifespan, kind: str, shelf: Resource[Shelf]
    ) -> None:
        shelves: list[Shelf] = []

        @lifespan.on_start
        def fails(shelf: Shelf) -> None:
            shelves.append(shelf)
            raise ZeroDivisionError("no shelves")

        if kind == "sync":
            with pytest.raises(ZeroDivisionError, match="no shelves"):
                lifespan_running().__enter__()
        else:
            with pytest.raises(ZeroDivisionError, match="no shelves"):
                asyncio.run(enter())
        assert not shelves[0].open
        assert not lifespan.is_initialized()

    def test_shutdown_errors_are_raised_behind_a_good_body(self, lifespan: Lifespan) -> None:
        @lifespan.resource
        def sticks() -> Iterator[int]:
            yield 1
            raise ZeroDivisionError("stuck")

        with pytest.raises(ExceptionGroup) as raised, lifespan_running():
            pass
        assert isinstance(raised.value.exceptions[0], ZeroDivisionError)

    async def test_shutdown_errors_are_notes_on_the_bodys_error(self, lifespan: Lifespan) -> None:
        @lifespan.resource
        def sticks() -> Iterator[int]:
            yield 1
            raise ZeroDivisionError("stuck")

        with pytest.raises(KeyError) as raised:
            async with lifespan_running():
                raise KeyError("body")
        assert "Then, at shutdown: ZeroDivisionError: stuck" in raised.value.__notes__

    def test_error_of_a_sync_body_closes_everything(self, shelf: Resource[Shelf]) -> None:
        found: list[Shelf] = []
        with suppress(KeyError), lifespan_running() as running:
            found.append(running.state.shelf)
            raise KeyError
        assert not found[0].open

    def test_system_exit_comes_through_from_a_sync_hook(self, lifespan: Lifespan) -> None:
        @lifespan.on_start
        def leaves() -> None:
            raise SystemExit(3)

        with pytest.raises(SystemExit):
            lifespan_running().__enter__()

    def test_job_whose_crash_stops_a_server_leaves_the_test_alone(
        self, lifespan: Lifespan, caplog: pytest.LogCaptureFixture
    ) -> None:
        crashed = threading.Event()

        @lifespan.background(on_crash="stop")
        async def crashes() -> None:
            asyncio.get_running_loop().call_soon(crashed.set)
            raise ZeroDivisionError

        with lifespan_running(background=True) as running:
            assert crashed.wait(5)
            assert running.report.status == "degraded"
        assert "a test is left alone" in caplog.text


async def enter() -> None:
    async with lifespan_running():
        pass
