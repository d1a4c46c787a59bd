"""An ASGI application whose run is on another loop: requests are answered on that one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lifespan_app import Lifespan, LifespanMiddleware, Resource
from lifespan_app.engine.running.threads import LoopThread
from lifespan_app.errors import WrongLoop
from lifespan_app.handler import LifespanASGIHandler
from tests.exchanges import Exchange, ask, lifespan_of
from tests.one_loop import Shelf, shelf, views

__all__ = ["shelf", "views"]


@pytest.fixture
def elsewhere(lifespan: Lifespan, shelf: Resource[Shelf]) -> Iterator[LoopThread]:
    """Open a run on a loop in a thread of its own."""
    thread = LoopThread("another loop")
    thread.submit(lifespan.startup()).result()
    yield thread
    thread.submit(lifespan.shutdown()).result()
    thread.close()


@pytest.mark.usefixtures("views")
class TestARunElsewhere:
    """Where no lifespan has come to the application itself."""

    @pytest.fixture(params=["our handler", "our middleware"])
    def application(self, request: pytest.FixtureRequest) -> Any:
        handler = LifespanASGIHandler()
        return handler if request.param == "our handler" else LifespanMiddleware(handler)

    @pytest.mark.usefixtures("elsewhere")
    async def test_forwarded_request_is_answered(self, application: Any) -> None:
        assert (await ask(application, "/counted/")).text == "3"

    @pytest.mark.usefixtures("elsewhere")
    async def test_forwarded_request_has_the_state_in_its_scope(self, application: Any) -> None:
        """The server hands none to requests."""
        assert (await ask(application, "/state_of_scope/")).text == "3"

    @pytest.mark.usefixtures("elsewhere")
    async def test_forwarding_leaves_the_scope_of_the_server_alone(self, application: Any) -> None:
        exchange = Exchange(application, "/counted/")
        before = set(exchange._communicator.scope)
        await exchange.send_body()
        await exchange.answer()
        assert set(exchange._communicator.scope) == before


@pytest.mark.usefixtures("views")
class TestStayingHere:
    """Where there is nothing to go over for."""

    @pytest.mark.usefixtures("elsewhere")
    async def test_request_stays_where_the_application_has_its_own_lifespan(self) -> None:
        application = LifespanASGIHandler()
        async with lifespan_of(application) as state:
            answer = await ask(application, "/threads/", state=dict(state))
        assert answer.text == str(threading.get_ident())

    async def test_request_stays_on_the_loop_of_its_run(self, lifespan: Lifespan) -> None:
        async with lifespan.run():
            assert (await ask(LifespanASGIHandler(), "/counted/")).text == "3"

    async def test_request_stays_on_its_loop_without_a_run(self) -> None:
        answer = await ask(LifespanASGIHandler(), "/threads/")
        assert answer.text == str(threading.get_ident())

    async def test_request_stays_where_the_loop_of_the_run_has_stopped(
        self, lifespan: Lifespan, shelf: Resource[Shelf]
    ) -> None:
        """An error at once, and nothing hangs."""
        stopped = asyncio.new_event_loop()
        await asyncio.to_thread(stopped.run_until_complete, lifespan.startup())
        try:
            assert (await ask(LifespanASGIHandler(), "/threads/")).status == 200
            with pytest.raises(WrongLoop):
                shelf.current()
            assert (await ask(LifespanASGIHandler(), "/counted/")).status == 500
        finally:
            await asyncio.to_thread(stopped.run_until_complete, lifespan.shutdown())
            stopped.close()
