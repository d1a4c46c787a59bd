"""`LifespanMiddleware(app, forward=[...])`: lifespans of mounted applications, which nobody drives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.applications import Starlette

from lifespan_app import Lifespan, LifespanMiddleware
from lifespan_app.asgi import get_asgi_application
from lifespan_app.engine.reporting.report import Outcome, Phase
from tests.django.inner_applications import lifespan_of_two, lifespan_that_tells
from tests.exchanges import ask
from tests.scopes import STARTED, ServerSide, started

Make = Callable[..., Any]


@pytest.fixture(params=[Starlette, FastAPI])
def make(request: pytest.FixtureRequest, happened: list[str]) -> Make:
    """Return a function that makes an application of a framework, with a lifespan."""

    def application(name: str, **state: Any) -> Any:
        return request.param(lifespan=lifespan_that_tells(happened, name, **state))

    return application


class TestTheOrder:
    async def test_mounted_lifespans_open_last_and_close_first(
        self, make: Make, ours: Any, happened: list[str]
    ) -> None:
        app, mounted = make("app"), make("mounted")
        app.mount("/mounted", mounted)

        async with started(LifespanMiddleware(app, forward=[mounted])):
            happened.append("serves")

        assert happened == [
            *["ours opens", "app opens", "mounted opens", "serves"],
            *["mounted closes", "app closes", "ours closes"],
        ]

    async def test_mounted_lifespans_open_side_by_side(self, ours: Any) -> None:
        lifespan = lifespan_of_two()
        mounted = [FastAPI(lifespan=lifespan), FastAPI(lifespan=lifespan)]
        async with started(LifespanMiddleware(FastAPI(), forward=mounted)):
            pass


class TestTheReport:
    async def test_report_names_mounted_lifespans_by_their_variables(
        self, make: Make, ours: Any, lifespan: Lifespan
    ) -> None:
        app, orders, prices = make("app"), make("orders"), make("prices")

        async with started(LifespanMiddleware(app, forward=[orders, prices])):
            pass

        report = lifespan.report()
        assert report is not None
        steps = [(step.name, step.phase, step.outcome) for step in report.steps]
        for name in ("app", "orders", "prices"):
            assert (name, Phase.STARTUP, Outcome.OK) in steps
            assert (name, Phase.SHUTDOWN, Outcome.OK) in steps

    async def test_report_numbers_mounted_lifespans_without_a_variable(
        self, make: Make, ours: Any, lifespan: Lifespan
    ) -> None:
        async with started(LifespanMiddleware(make("app"), forward=[make("a"), make("b")])):
            pass

        report = lifespan.report()
        assert report is not None
        assert {"forward_0", "forward_1"} <= {step.name for step in report.steps}


class TestTheState:
    async def test_state_holds_the_values_of_mounted_lifespans(
        self, ours: Any, happened: list[str]
    ) -> None:
        @asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
            yield {"pool": "their pool"}

        app, mounted = FastAPI(), FastAPI(lifespan=lifespan)
        app.mount("/mounted", mounted)

        @mounted.get("/")
        async def read(request: Request) -> list[str]:
            return [request.state.pool, request.state.client, ours(request)]

        application = LifespanMiddleware(app, forward=[mounted])
        async with started(application) as server:
            answer = await ask(application, "/mounted/", state=dict(server.state))

        assert answer.text == '["their pool","our client","our client"]'

    async def test_state_name_of_two_mounted_lifespans_is_an_error(
        self, make: Make, ours: Any, happened: list[str]
    ) -> None:
        app, orders, prices = make("app"), make("orders", pool=1), make("prices", pool=2)
        server = ServerSide(LifespanMiddleware(app, forward=[orders, prices]))

        answer = await server.startup()

        assert answer["type"] == "lifespan.startup.failed"
        assert "'pool' is in the state twice" in answer["message"]
        assert "orders" in answer["message"]
        assert "prices" in answer["message"]
        assert happened[-1] == "ours closes"
        assert {"app closes", "orders closes", "prices closes"} <= set(happened)


class TestAFailure:
    async def test_mounted_lifespan_that_fails_to_start_rolls_everything_back(
        self, make: Make, ours: Any, happened: list[str]
    ) -> None:
        @asynccontextmanager
        async def fails(app: Any) -> AsyncIterator[None]:
            raise OSError("no queue")
            yield

        app, broken = make("app"), FastAPI(lifespan=fails)
        server = ServerSide(LifespanMiddleware(app, forward=[broken]))

        answer = await server.startup()

        assert answer["type"] == "lifespan.startup.failed"
        assert "broken" in answer["message"]
        assert "OSError: no queue" in answer["message"]
        assert isinstance(await server.end(), OSError)
        assert happened == ["ours opens", "app opens", "app closes", "ours closes"]

    async def test_mounted_lifespan_that_fails_to_stop_lets_the_others_stop(
        self, make: Make, ours: Any, happened: list[str]
    ) -> None:
        @asynccontextmanager
        async def fails(app: Any) -> AsyncIterator[None]:
            yield
            raise OSError("queue is stuck")

        app, broken, other = make("app"), FastAPI(lifespan=fails), make("other")
        server = ServerSide(LifespanMiddleware(app, forward=[broken, other]))
        assert await server.startup() == STARTED

        answer = await server.shutdown()

        assert answer["type"] == "lifespan.shutdown.failed"
        assert "OSError: queue is stuck" in answer["message"]
        assert happened[-3:] == ["other closes", "app closes", "ours closes"]
        assert isinstance(await server.end(), ExceptionGroup)


class TestDjango:
    async def test_django_mounted_in_a_framework_joins_the_run(
        self, lifespan: Lifespan, ours: Any, happened: list[str]
    ) -> None:
        app, django_application = FastAPI(), get_asgi_application()
        django_application.on_shutdown.append(lambda: happened.append("function"))
        app.mount("/django", django_application)

        async with started(LifespanMiddleware(app, forward=[django_application])):
            assert len(lifespan.runs) == 1

        assert happened == ["ours opens", "function", "ours closes"]


class TestWhatIsRefused:
    @pytest.mark.parametrize("given", [FastAPI(), "shop.asgi:application", 1])
    def test_forward_refuses_an_object_that_is_no_list(self, given: Any) -> None:
        with pytest.raises(TypeError, match="takes a list of ASGI applications"):
            LifespanMiddleware(Starlette(), forward=given)

    def test_forward_refuses_an_object_that_is_no_application(self) -> None:
        with pytest.raises(TypeError, match=r"'shop\.asgi:application' is none"):
            LifespanMiddleware(Starlette(), forward=["shop.asgi:application"])  # type: ignore[list-item]

    def test_forward_refuses_the_application_itself(self) -> None:
        app = Starlette()
        with pytest.raises(TypeError, match="whose lifespan it drives already"):
            LifespanMiddleware(app, forward=[app])

    def test_forward_refuses_an_application_twice(self) -> None:
        mounted = Starlette()
        with pytest.raises(TypeError, match="twice"):
            LifespanMiddleware(Starlette(), forward=[mounted, mounted])

    async def test_forward_is_refused_inside_another_application_of_ours(
        self, ours: Any, happened: list[str]
    ) -> None:
        inside = LifespanMiddleware(Starlette(), forward=[Starlette()])
        server = ServerSide(LifespanMiddleware(inside))

        answer = await server.startup()

        assert answer["type"] == "lifespan.startup.failed"
        assert "Give forward= to the outermost LifespanMiddleware" in answer["message"]
        assert happened == ["ours opens", "ours closes"]
