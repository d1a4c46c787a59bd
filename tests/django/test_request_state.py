"""`request.state`: what the run has open, and what one request writes down for itself."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import async_only_middleware, sync_only_middleware

from lifespan_app import Lifespan, LifespanMiddleware
from lifespan_app.errors import LifespanError, NotRunning, ResourceClosed
from lifespan_app.handler import LifespanASGIHandler
from lifespan_app.serving.handler import LifespanRequest
from tests.django.conftest import MountViews
from tests.exchanges import Answer, ask, lifespan_of
from tests.scopes import STARTED, STOPPED, ServerSide, started

if TYPE_CHECKING:
    from pytest_django import Settings

Ask = Callable[[str], Awaitable[Answer]]
Serving = Callable[[], AbstractAsyncContextManager[Ask]]

MISSING = object()


class Shelf:
    """Something that can be open."""


@pytest.fixture
def shelf(lifespan: Lifespan) -> Any:
    """Declare a resource called `shelf`, and return its handle."""

    @lifespan.resource
    async def shelf() -> AsyncIterator[Shelf]:
        yield Shelf()

    return shelf


@pytest.fixture
def serving(lifespan: Lifespan) -> Serving:
    """Return a context manager that starts our handler and gives a way to ask it."""

    @asynccontextmanager
    async def serve() -> AsyncIterator[Ask]:
        application = LifespanASGIHandler()
        async with lifespan_of(application) as state:

            async def ask_it(path: str) -> Answer:
                return await ask(application, path, state=dict(state))

            yield ask_it

    return serve


class TestReading:
    """A resource is there by item, by attribute and by its handle."""

    async def test_state_gives_one_object_in_every_kind_of_view(
        self, serving: Serving, mount: MountViews, shelf: Any
    ) -> None:
        seen: list[Any] = []

        def read(request: Any) -> HttpResponse:
            seen.extend([request.state["shelf"], request.state.shelf, shelf(request)])
            return HttpResponse()

        async def read_async(request: Any) -> HttpResponse:
            return read(request)

        mount(sync=read, asynchronous=read_async)
        async with serving() as ask_it:
            for view in ("/sync/", "/asynchronous/"):
                assert (await ask_it(view)).status == 200
        assert len(seen) == 6
        assert isinstance(seen[0], Shelf)
        assert all(one is seen[0] for one in seen)

    async def test_wrong_name_lists_the_items_of_the_state(
        self, serving: Serving, mount: MountViews, shelf: Any
    ) -> None:
        errors: list[Exception] = []

        async def misread(request: Any) -> HttpResponse:
            with pytest.raises(KeyError) as by_item:
                request.state["shelv"]
            with pytest.raises(AttributeError) as by_attribute:
                request.state.shelv  # noqa: B018
            errors.extend([by_item.value, by_attribute.value])
            return HttpResponse()

        mount(misread=misread)
        async with serving() as ask_it:
            await ask_it("/misread/")
        assert len(errors) == 2
        for error in errors:
            assert "shelv" in str(error)
            assert "shelf" in str(error)


class TestWriting:
    """What a request writes is its own."""

    async def test_write_to_the_state_stays_in_the_request(
        self, serving: Serving, mount: MountViews, lifespan: Lifespan, shelf: Any
    ) -> None:
        found: list[Any] = []

        async def note(request: Any) -> HttpResponse:
            found.append(request.state.get("note", MISSING))
            request.state["note"] = "by item"
            found.append(request.state.note)
            request.state.note = "by attribute"
            found.append(request.state["note"])
            return HttpResponse()

        mount(note=note)
        async with serving() as ask_it:
            for _ in range(2):
                assert (await ask_it("/note/")).status == 200
        assert found == [MISSING, "by item", "by attribute"] * 2

    async def test_write_to_the_state_is_seen_by_all_that_handle_the_request(
        self, serving: Serving, mount: MountViews, settings: Settings
    ) -> None:
        settings.MIDDLEWARE = [f"{__name__}.writes_in_sync", f"{__name__}.writes_in_async"]
        found: list[dict[str, Any]] = []

        def look(request: Any) -> HttpResponse:
            found.append(dict(request.state))
            return HttpResponse()

        mount(look=look)
        async with serving() as ask_it:
            assert (await ask_it("/look/")).status == 200
        assert found == [{"sync": 1, "async": 2}]

    async def test_write_to_the_state_can_be_taken_back(
        self, serving: Serving, mount: MountViews, shelf: Any
    ) -> None:
        async def change(request: Any) -> HttpResponse:
            assert isinstance(request.state, MutableMapping)
            state: Any = request.state
            state.update(one=1, two=2, three=3)
            assert state.setdefault("one", 10) == 1
            assert state.pop("one") == 1
            del state["two"]
            del state.three
            assert not hasattr(state, "three")
            assert sorted(state) == ["shelf"]
            assert len(state) == 1
            with pytest.raises(KeyError):
                del state["two"]
            with pytest.raises(AttributeError):
                del state.three
            return HttpResponse("changed")

        mount(change=change)
        async with serving() as ask_it:
            assert (await ask_it("/change/")).text == "changed"


class TestAskingPolitely:
    """`in`, `.get` and `hasattr` answer, whatever has become of the resource; they never raise."""

    @staticmethod
    def answers(request: Any, name: str) -> tuple[bool, Any, bool]:
        state = request.state
        return (name in state, state.get(name, MISSING), hasattr(state, name))

    async def test_open_resource_is_in_the_state(
        self, serving: Serving, mount: MountViews, shelf: Any
    ) -> None:
        found: list[Any] = []

        async def look(request: Any) -> HttpResponse:
            found.append(self.answers(request, "shelf"))
            found.append(self.answers(request, "nothing_of_that_name"))
            found.append(self.answers(request, "__nothing__"))
            return HttpResponse()

        mount(look=look)
        async with serving() as ask_it:
            assert (await ask_it("/look/")).status == 200
        assert found[0][0] is found[0][2] is True
        assert isinstance(found[0][1], Shelf)
        assert found[1:] == [(False, MISSING, False)] * 2

    async def test_resource_is_not_in_the_state_without_a_lifespan(
        self, mount: MountViews, lifespan: Lifespan, shelf: Any
    ) -> None:
        found: list[Any] = []

        async def look(request: Any) -> HttpResponse:
            found.append(self.answers(request, "shelf"))
            found.append(dict(request.state))
            with pytest.raises(NotRunning, match="shelf"):
                shelf(request)
            with pytest.raises(NotRunning, match="shelf"):
                request.state["shelf"]
            return HttpResponse("looked")

        mount(look=look)
        scopes: list[dict[str, Any]] = [{}, {"state": {}}]
        for scope in scopes:
            assert (await ask(LifespanASGIHandler(), "/look/", **scope)).text == "looked"
        assert found == [(False, MISSING, False), {}] * 2

    async def test_resource_is_not_in_the_state_after_it_was_closed(
        self, mount: MountViews, lifespan: Lifespan, shelf: Any
    ) -> None:
        kept: list[Any] = []

        async def keep(request: Any) -> HttpResponse:
            kept.append(request)
            return HttpResponse()

        mount(keep=keep)
        application = LifespanASGIHandler()
        async with lifespan_of(application) as state:
            await ask(application, "/keep/", state=dict(state))
        [request] = kept
        assert self.answers(request, "shelf") == (False, MISSING, False)
        with pytest.raises(ResourceClosed, match="shelf"):
            request.state["shelf"]
        with pytest.raises(ResourceClosed, match="shelf"):
            shelf(request)

    async def test_resource_that_did_not_come_up_is_not_in_the_state(
        self, serving: Serving, mount: MountViews, lifespan: Lifespan
    ) -> None:
        found: list[Any] = []

        @lifespan.resource(required=False)
        async def wobbly() -> AsyncIterator[Shelf]:
            raise OSError("one leg short")
            yield Shelf()

        async def look(request: Any) -> HttpResponse:
            found.append(self.answers(request, "wobbly"))
            with pytest.raises(LifespanError, match="one leg short"):
                request.state["wobbly"]
            return HttpResponse("looked")

        mount(look=look)
        async with serving() as ask_it:
            assert (await ask_it("/look/")).text == "looked"
        assert found == [(False, MISSING, False)]


class TestInsideAnotherRun:
    """A run that a view opens is meant in its block, by the handle and by the state alike."""

    async def test_state_and_handle_give_one_object_inside_another_run(
        self, serving: Serving, mount: MountViews, lifespan: Lifespan, shelf: Any
    ) -> None:
        seen: list[Any] = []

        async def look(request: Any) -> HttpResponse:
            async with lifespan.run() as opened:
                seen.append([opened["shelf"], request.state["shelf"], shelf(request)])
            seen.append([request.state["shelf"], shelf(request)])
            return HttpResponse()

        mount(look=look)
        async with serving() as ask_it:
            assert (await ask_it("/look/")).status == 200
        inside, outside = ({id(value) for value in values} for values in seen)
        assert len(inside) == len(outside) == 1
        assert inside != outside


@pytest.mark.parametrize("around", [None, LifespanMiddleware], ids=["handler", "middleware"])
class TestAfterARunOfTheApplicationHasEnded:
    """A request is served by a run that is open, and not by one that has ended."""

    @pytest.fixture
    def application(self, mount: MountViews, shelf: Any, around: Any) -> Any:
        async def look(request: Any) -> HttpResponse:
            return HttpResponse(str(request.state["shelf"] is shelf(request)))

        mount(look=look)
        handler = LifespanASGIHandler()
        return around(handler) if around else handler

    async def test_second_lifespan_serves_when_the_first_has_ended_on_its_loop(
        self, application: Any
    ) -> None:
        first = ServerSide(application)
        assert await first.startup() == STARTED
        async with started(application):
            assert await first.shutdown() == STOPPED

            assert (await ask(application, "/look/")).text == "True"

    async def test_run_of_a_test_serves_after_the_applications_own_has_ended(
        self, application: Any, lifespan: Lifespan
    ) -> None:
        async with started(application):
            pass
        async with lifespan.run():
            # The context of a fixture is not that of its test.
            asked = asyncio.get_running_loop().create_task(
                ask(application, "/look/"), context=contextvars.Context()
            )

            assert (await asked).text == "True"


class TestWhoElseHasAState:
    """A project's own `request.state` is left alone."""

    async def test_middleware_that_assigns_a_state_wins(
        self, serving: Serving, mount: MountViews, settings: Settings, shelf: Any
    ) -> None:
        settings.MIDDLEWARE = [f"{__name__}.assigns_its_own"]
        found: list[Any] = []

        async def look(request: Any) -> HttpResponse:
            found.append(request.state)
            found.append(shelf(request))
            return HttpResponse()

        mount(look=look)
        async with serving() as ask_it:
            assert (await ask_it("/look/")).status == 200
        assert found[0] == {"of": "the project"}
        assert isinstance(found[1], Shelf)

    async def test_request_class_of_the_project_can_have_our_state(
        self, mount: MountViews, lifespan: Lifespan, shelf: Any
    ) -> None:
        class ProjectsRequest(LifespanRequest):
            pass

        class ProjectsHandler(LifespanASGIHandler):
            request_class = ProjectsRequest

        async def look(request: Any) -> HttpResponse:
            return HttpResponse(f"{type(request.state['shelf']).__name__}")

        mount(look=look)
        application = ProjectsHandler()
        async with lifespan_of(application) as state:
            answer = await ask(application, "/look/", state=dict(state))
        assert answer.text == "Shelf"


@sync_only_middleware
def writes_in_sync(get_response: Callable[[HttpRequest], Any]) -> Callable[[Any], Any]:
    """Write into the state before the view."""

    def middleware(request: Any) -> Any:
        request.state["sync"] = 1
        return get_response(request)

    return middleware


@async_only_middleware
def writes_in_async(get_response: Callable[[HttpRequest], Any]) -> Callable[[Any], Any]:
    """Write into the state before the view."""

    async def middleware(request: Any) -> Any:
        request.state["async"] = request.state.sync + 1
        return await get_response(request)

    return middleware


@async_only_middleware
def assigns_its_own(get_response: Callable[[HttpRequest], Any]) -> Callable[[Any], Any]:
    """Put a mapping of the project's own in the state's place."""

    async def middleware(request: Any) -> Any:
        request.state = {"of": "the project"}
        return await get_response(request)

    return middleware
