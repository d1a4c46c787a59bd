"""`override()`: a value in place of a resource."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import IsolatedAsyncioTestCase, TestCase
from unittest.mock import MagicMock

import pytest
from django.http import HttpResponse

from lifespan_app import Lifespan, Resource
from lifespan_app.engine.running.current import SCOPE_KEY
from lifespan_app.engine.running.run import Run
from lifespan_app.errors import NotRunning, ResourceClosed
from lifespan_app.handler import LifespanASGIHandler
from lifespan_app.testing import lifespan_running, override
from tests.django.conftest import MountViews
from tests.exchanges import ask, lifespan_of

KEY = f"{__name__}.client"


class Client:
    """What the real resource is."""


class Fake:
    """What a test has in its place."""


@pytest.fixture
def opened() -> list[str]:
    """Return the names of what is opened, in their order."""
    return []


@pytest.fixture
def client(lifespan: Lifespan, opened: list[str]) -> Resource[Client]:
    """Declare `proxy`, `client(proxy)` and `shop(client)`; return the handle of `client`."""

    @lifespan.resource
    async def proxy() -> AsyncIterator[str]:
        opened.append("proxy")
        yield "proxy"

    @lifespan.resource
    async def client(proxy: str) -> AsyncIterator[Client]:
        opened.append("client")
        yield Client()

    @lifespan.resource
    async def shop(client: Client) -> AsyncIterator[list[Client]]:
        opened.append("shop")
        yield [client]

    return client


def read_in_request(run: Run, resource: Resource[Any]) -> Any:
    """Read a resource as a view does: outside of the block that has opened the run."""
    request = SimpleNamespace(scope={SCOPE_KEY: run})
    return contextvars.Context().run(resource, request)


class TestInARunThatBegins:
    """The value is there from the start, and nothing is opened for it."""

    def test_override_is_read_and_handed_to_hooks(
        self, client: Resource[Client], opened: list[str]
    ) -> None:
        fake = Fake()
        with override(client, fake), lifespan_running() as running:
            assert client.current() is fake  # type: ignore[comparison-overlap]
            assert running.state.client is fake
            assert running.state.shop == [fake]
        assert opened == ["shop"]

    async def test_override_is_read_on_every_loop(
        self, client: Resource[Client], opened: list[str]
    ) -> None:
        with override(client, Fake()):
            async with lifespan_running() as running:
                assert isinstance(running.state.client, Fake)

    def test_override_is_not_entered_called_or_awaited(self, client: Resource[Client]) -> None:
        fake = MagicMock()
        with override(client, fake), lifespan_running() as running:
            assert running.state.client is fake
        assert fake.mock_calls == []

    def test_override_may_be_none(self, client: Resource[Client]) -> None:
        with override(client, None), lifespan_running() as running:
            assert running.state.client is None
            assert "client" in running.state

    def test_override_takes_the_key_of_a_resource(self, client: Resource[Client]) -> None:
        with override(KEY, "fake"), lifespan_running() as running:
            assert running.state.client == "fake"

    def test_override_of_an_unknown_key_offers_the_nearest(self, client: Resource[Client]) -> None:
        with (
            override(f"{__name__}.cliant", "fake"),
            pytest.raises(LookupError, match=f"Did you mean '{KEY}'"),
        ):
            lifespan_running().__enter__()

    def test_override_of_a_function_is_refused(self, lifespan: Lifespan) -> None:
        @lifespan.on_start
        def warm() -> None: ...

        with pytest.raises(TypeError, match="takes the handle of a resource"):
            override(warm, "fake")  # type: ignore[arg-type]
        with override(f"{__name__}.warm", "fake"), pytest.raises(TypeError, match="a start hook"):
            lifespan_running().__enter__()

    async def test_override_holds_in_a_served_application(
        self, client: Resource[Client], mount: MountViews
    ) -> None:
        def kind(request: Any) -> HttpResponse:
            return HttpResponse(f"{request.state.client} {client(request)}")

        mount(kind=kind)
        application = LifespanASGIHandler()
        with override(client, "fake"):
            async with lifespan_of(application) as state:
                answer = await ask(application, "/kind/", state=dict(state))
        assert answer.text == "fake fake"


class TestWhatItNeeded:
    """What only a replaced resource needed is left out; what else is needed or asked for is not."""

    def test_excluded_dependency_of_an_override_has_its_reason(
        self, client: Resource[Client], opened: list[str]
    ) -> None:
        excluded = pytest.raises(NotRunning, match="only client needed it, which a test has replac")
        with override(client, "fake"), lifespan_running() as running, excluded:
            running.state["proxy"]
        assert "proxy" not in opened

    def test_dependencies_of_an_override_are_excluded_transitively(
        self, lifespan: Lifespan, opened: list[str]
    ) -> None:
        @lifespan.resource
        async def cable() -> AsyncIterator[str]:
            opened.append("cable")
            yield "cable"

        @lifespan.resource
        async def socket(cable: str) -> AsyncIterator[str]:
            opened.append("socket")
            yield "socket"

        @lifespan.resource
        async def lamp(socket: str) -> AsyncIterator[str]:
            opened.append("lamp")
            yield "lamp"

        with override(lamp, "lit"), lifespan_running():
            assert opened == []

    def test_dependency_of_another_hook_stays_beside_an_override(
        self, lifespan: Lifespan, client: Resource[Client], opened: list[str]
    ) -> None:
        @lifespan.on_start
        def greet(proxy: str) -> None:
            opened.append("greet")

        with override(client, "fake"), lifespan_running():
            assert sorted(opened) == ["greet", "proxy", "shop"]

    def test_hooks_in_only_stay_beside_an_override(
        self, client: Resource[Client], opened: list[str]
    ) -> None:
        proxy = f"{__name__}.proxy"
        with override(client, "fake"), lifespan_running(only=[client, proxy]) as running:
            assert running.state.proxy == "proxy"
            assert running.state.client == "fake"
        assert opened == ["proxy"]

    def test_dependency_of_an_override_is_not_opened_with_only(
        self, client: Resource[Client], opened: list[str]
    ) -> None:
        with override(client, "fake"), lifespan_running(only=[f"{__name__}.shop"]):
            assert opened == ["shop"]

    def test_start_function_stays_beside_an_override(
        self, lifespan: Lifespan, opened: list[str]
    ) -> None:
        @lifespan.on_start
        def prepare() -> None:
            opened.append("prepare")

        @lifespan.resource(depends_on=[prepare])
        async def lamp() -> AsyncIterator[str]:
            yield "lamp"

        with override(lamp, "lit"), lifespan_running():
            assert opened == ["prepare"]


class TestInARunThatIsOpen:
    """What is open stays open; what is read is the value, for as long as it holds."""

    def test_override_in_an_open_run_is_read_until_it_ends(self, client: Resource[Client]) -> None:
        with lifespan_running() as running:
            real = client.current()
            with override(client, "fake"):
                assert client.current() == "fake"  # type: ignore[comparison-overlap]
                assert running.state.client == "fake"
                assert dict(running.state)["client"] == "fake"
            assert client.current() is real
            assert running.state.client is real

    def test_innermost_override_holds(self, client: Resource[Client]) -> None:
        with override(client, "outer"), lifespan_running() as running:
            with override(client, "inner"):
                assert running.state.client == "inner"
                with override(KEY, "innermost"):
                    assert running.state.client == "innermost"
                assert running.state.client == "inner"
            assert running.state.client == "outer"

    def test_override_is_no_longer_read_than_its_resource_is_open(
        self, client: Resource[Client]
    ) -> None:
        opening = lifespan_running()
        running = opening.__enter__()
        with override(client, "fake"):
            opening.__exit__(None, None, None)
            with pytest.raises(ResourceClosed):
                running.state["client"]

    async def test_override_holds_for_a_resource_that_comes_up_meanwhile(
        self, lifespan: Lifespan
    ) -> None:
        go_on = asyncio.Event()

        @lifespan.resource(wait=False)
        async def slow() -> AsyncIterator[str]:
            await go_on.wait()
            yield "real"

        async with lifespan.run():
            [run] = lifespan.runs
            with override(slow, "fake"):
                go_on.set()
                await run.warmed_up()
                assert read_in_request(run, slow) == slow.current() == "fake"
            assert read_in_request(run, slow) == slow.current() == "real"

    async def test_override_that_a_start_function_begins_can_end_while_the_process_serves(
        self, lifespan: Lifespan
    ) -> None:
        @lifespan.resource
        async def client() -> AsyncIterator[str]:
            yield "real"

        overriding = override(client, "fake")

        @lifespan.on_start
        async def begin(client: str) -> None:
            overriding.__enter__()

        async with lifespan.run():
            [run] = lifespan.runs
            assert read_in_request(run, client) == "fake"
            overriding.__exit__(None, None, None)
            assert read_in_request(run, client) == "real"

    def test_views_read_an_override(self, client: Resource[Client], mount: MountViews) -> None:
        def kind(request: Any) -> HttpResponse:
            return HttpResponse(f"{request.state.client} {client(request)}")

        mount(kind=kind)
        with lifespan_running() as running, override(client, "fake"):
            assert running.client.get("/kind/").content == b"fake fake"


class TestAsADecorator:
    """It holds in a test, sync or async, and in all tests of a class."""

    @pytest.fixture
    def kind(self, client: Resource[Client]) -> Callable[[], str]:
        """Return what tells the kind of the client of a new run."""

        def kind() -> str:
            with lifespan_running() as running:
                return type(running.state.client).__name__

        return kind

    def test_override_decorates_a_function(
        self, client: Resource[Client], kind: Callable[[], str]
    ) -> None:
        @override(client, Fake())
        def decorated(argument: str) -> str:
            return f"{argument} {kind()}"

        assert decorated("a") == "a Fake"
        assert decorated(argument="a") == "a Fake"
        assert kind() == "Client"

    async def test_override_decorates_a_coroutine_function(self, client: Resource[Client]) -> None:
        @override(client, Fake())
        async def decorated() -> str:
            async with lifespan_running() as running:
                return type(running.state.client).__name__

        assert await decorated() == "Fake"
        async with lifespan_running() as running:
            assert type(running.state.client) is Client

    def test_override_decorates_a_class_of_tests(
        self, client: Resource[Client], kind: Callable[[], str]
    ) -> None:
        seen: list[str] = []

        class Cases(TestCase):
            def helper(self) -> None:
                seen.append(f"helper {kind()}")

            def test_one(self) -> None:
                self.helper()

        class AsyncCases(IsolatedAsyncioTestCase):
            async def test_two(self) -> None:
                async with lifespan_running() as running:
                    seen.append(type(running.state.client).__name__)

        override(client, Fake())(Cases)("test_one").debug()
        override(client, Fake())(AsyncCases)("test_two").debug()
        Cases("helper").debug()
        assert seen == ["helper Fake", "Fake", "helper Client"]

    def test_override_of_a_generator_function_is_refused(self, client: Resource[Client]) -> None:
        with pytest.raises(TypeError, match="yields"):

            @override(client, Fake())
            def fixture() -> Iterator[None]:
                yield

    def test_override_ends_with_an_error(
        self, client: Resource[Client], kind: Callable[[], str]
    ) -> None:
        @override(client, Fake())
        def fails() -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fails()
        assert kind() == "Client"
