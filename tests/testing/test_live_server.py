"""Django's live server, and its plain test client: async views run where the test's lifespan does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import httpx
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.test import Client

from lifespan_app import Lifespan, Resource
from lifespan_app.errors import WrongLoop
from lifespan_app.integration.asgiref_compat import main_loop
from lifespan_app.serving import wsgi_requests
from lifespan_app.testing import lifespan_running
from tests.django.conftest import MountViews
from tests.one_loop import Shelf, shelf, views
from tests.projects import Project

if TYPE_CHECKING:
    from pytest_django.live_server_helper import LiveServer

__all__ = ["shelf", "views"]


def get(address: str) -> str:
    with urlopen(address, timeout=20) as answer:
        return str(answer.read().decode())


@pytest.mark.usefixtures("views")
class TestTheLiveServer:
    """Its threads answer on the loop of the lifespan that the test has opened."""

    @pytest.mark.parametrize(
        ("path", "text"),
        [("counted", "3"), ("state", "3"), ("streamed", "book book book ")],
    )
    @pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous iterators")
    def test_live_server_answers_in_a_sync_test(
        self, live_server: LiveServer, path: str, text: str
    ) -> None:
        with lifespan_running():
            assert get(f"{live_server.url}/{path}/") == text

    def test_live_server_answers_requests_side_by_side(
        self, live_server: LiveServer, lifespan: Lifespan, mount: MountViews
    ) -> None:
        @lifespan.resource
        async def both() -> AsyncIterator[asyncio.Barrier]:
            yield asyncio.Barrier(2)

        async def met(request: Any) -> HttpResponse:
            async with asyncio.timeout(20):
                await both(request).wait()
            return HttpResponse("met")

        mount(met=met)
        with lifespan_running(), ThreadPoolExecutor(2) as pool:
            assert list(pool.map(get, [f"{live_server.url}/met/"] * 2)) == ["met", "met"]

    def test_live_server_sees_the_rows_of_the_test(self, live_server: LiveServer) -> None:
        Group.objects.create(name="readers")
        with lifespan_running():
            assert get(f"{live_server.url}/stored/") == "1"

    async def test_live_server_answers_in_an_async_test(self, live_server: LiveServer) -> None:
        async with lifespan_running(), httpx.AsyncClient(timeout=20) as client:
            answer = await client.get(f"{live_server.url}/counted/")
        assert answer.text == "3"

    async def test_live_server_is_not_kept_waiting_by_a_test_that_blocks_its_loop(
        self, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(wsgi_requests, "PATIENCE", 0.1)
        async with lifespan_running():
            with pytest.raises(HTTPError, match="500") as caught:
                get(f"{live_server.url}/counted/")
            caught.value.close()
            assert get(f"{live_server.url}/free/") == "free"

    def test_view_without_a_resource_is_answered_without_a_lifespan(
        self, live_server: LiveServer
    ) -> None:
        assert get(f"{live_server.url}/free/") == "free"


@pytest.fixture
def stopped_loop(shelf: Resource[Shelf]) -> Iterator[None]:
    """Open a lifespan as an async fixture does: on a loop that runs no more when the test does."""
    loop = asyncio.new_event_loop()
    running = lifespan_running()
    loop.run_until_complete(running.__aenter__())
    yield
    loop.run_until_complete(running.__aexit__(None, None, None))
    loop.close()


@pytest.mark.django_db
@pytest.mark.usefixtures("views")
class TestThePlainTestClient:
    """Django's own, beside `running.client`."""

    def test_test_client_runs_async_views_on_the_loop_of_the_lifespan(self) -> None:
        with lifespan_running():
            assert Client().get("/counted/").content == b"3"

    def test_test_client_runs_async_views_below_an_async_test(self) -> None:
        """Its thread has a loop already: that of the test."""

        async def test() -> bytes:
            async with lifespan_running():
                return (await sync_to_async(Client().get)("/counted/")).content

        assert asyncio.run(test()) == b"3"

    def test_test_client_runs_async_views_in_a_thread_of_its_own(self) -> None:
        with lifespan_running(), ThreadPoolExecutor(1) as pool:
            assert pool.submit(Client().get, "/counted/").result(20).content == b"3"

    def test_test_client_runs_async_views_after_a_request_within_a_request(
        self, mount: MountViews, shelf: Resource[Shelf]
    ) -> None:
        async def books() -> HttpResponse:
            return HttpResponse(await shelf.current().books())

        async def inner(request: Any) -> HttpResponse:
            return await books()

        def outer(request: Any) -> HttpResponse:
            assert Client().get("/inner/").content == b"3"
            return async_to_sync(books)()

        mount(inner=inner, outer=outer)
        with lifespan_running(), ThreadPoolExecutor(1) as pool:
            assert pool.submit(Client().get, "/outer/").result(20).content == b"3"

    def test_test_client_leaves_its_thread_as_it_was(self) -> None:
        def look_after_a_request() -> object:
            assert Client().get("/sync_inside/").content == b"3"
            return main_loop()

        with lifespan_running(), ThreadPoolExecutor(1) as pool:
            assert pool.submit(look_after_a_request).result(20) is None

    @pytest.mark.usefixtures("stopped_loop")
    def test_test_client_raises_at_once_where_the_loop_does_not_run(self) -> None:
        with pytest.raises(WrongLoop, match=r"shelf.*lives on event loop"):
            Client().get("/counted/")

    @pytest.mark.usefixtures("stopped_loop")
    def test_view_without_a_resource_is_answered_by_the_test_client(self) -> None:
        assert Client().get("/free/").content == b"free"


TESTS = """
from urllib.request import urlopen

from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from lifespan_app.testing import lifespan_running


class Tests(StaticLiveServerTestCase):
    def test(self):
        with lifespan_running(), urlopen(f"{self.live_server_url}/counted/", timeout=20) as answer:
            print(answer.read().decode())
"""

LIFESPAN = """
import asyncio

from lifespan_app import lifespan


@lifespan.resource
async def loop():
    yield asyncio.get_running_loop()
"""

VIEWS = """
import asyncio

from django.http import HttpResponse

from .lifespan import loop


async def counted(request):
    return HttpResponse("the lifespan's" if loop(request) is asyncio.get_running_loop() else "own")
"""


@pytest.mark.every_pair
@pytest.mark.slow
@pytest.mark.parametrize("setting", [None, "error"])
def test_static_live_server_test_case_runs_async_views(
    project: Project, setting: str | None
) -> None:
    """Also where the project has a setting for processes that are not tests."""
    project.app("shop", lifespan=LIFESPAN, views=VIEWS, tests=TESTS).settings(
        INSTALLED_APPS=["lifespan_app", "django.contrib.staticfiles", "shop"],
        STATIC_URL="static/",
        LIFESPAN={"WITHOUT_SERVER_LIFESPAN": setting},
    )
    done = project.manage("test", "shop")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "the lifespan's"
