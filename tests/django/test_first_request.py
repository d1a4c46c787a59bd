"""Hooks are declared, and no lifespan ever comes: one warning at the first request."""

from __future__ import annotations

import pytest

from tests.projects import Project
from tests.servers import (
    DAPHNE,
    GRANIAN,
    GRANIAN_WITHOUT_LIFESPAN,
    GUNICORN_WSGI,
    RUNSERVER,
    UVICORN,
    Kind,
    Server,
)

pytestmark = [pytest.mark.slow, pytest.mark.server]

LIFESPAN = """
from lifespan_app import lifespan


@lifespan.on_start
def warm_up(): ...


@lifespan.on_start(service_types=["worker"])
def work(): ...
"""
VIEWS = """
from django.http import HttpResponse


def page(request):
    from django.core.signals import request_started

    listening = [one for one in request_started.receivers if "first_request" in str(one[0])]
    return HttpResponse(f"{len(listening)} listening")
"""
SAYS_SO = "Requests are served without a lifespan: 1 hook declared, none has run."

WSGI = """
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
"""
MOUNTED = """
from contextlib import asynccontextmanager

from lifespan_app.asgi import get_asgi_application
from starlette.applications import Starlette
from starlette.routing import Mount


@asynccontextmanager
async def own(app):
    yield


application = Starlette(routes=[Mount("/", get_asgi_application())], lifespan=own)
"""


@pytest.fixture
def shop(project: Project) -> Project:
    return project.app("shop", lifespan=LIFESPAN, views=VIEWS).file("wsgi.py", WSGI)


def output_of(shop: Project, kind: Kind, *options: str) -> str:
    """Return what a server says, that has answered several requests."""
    with Server(shop, kind, options=options) as server:
        assert [server.get("/page/").text for _ in range(3)] == ["0 listening"] * 3
        return server.output


class TestIsSaidOnce:
    @pytest.mark.parametrize(
        ("kind", "options", "cure"),
        [
            (UVICORN, ["--lifespan", "off"], "Start uvicorn with --lifespan on."),
            (GRANIAN_WITHOUT_LIFESPAN, [], "Start granian with --interface asgi."),
            (DAPHNE, [], "daphne has no lifespan: LIFESPAN = {'WITHOUT_SERVER_LIFESPAN': "),
            (GUNICORN_WSGI, [], "In wsgi.py, import get_wsgi_application from lifespan_app.wsgi"),
        ],
        ids=["uvicorn", "granian", "daphne", "WSGI"],
    )
    def test_warning_comes_once_under_a_server_without_a_lifespan(
        self, shop: Project, kind: Kind, options: list[str], cure: str
    ) -> None:
        said = output_of(shop, kind, *options)

        assert said.count(SAYS_SO) == 1
        assert f"{SAYS_SO} {cure}" in said

    @pytest.mark.parametrize(
        ("asgi", "cure"),
        [
            (
                MOUNTED,
                "Django is mounted in another application (starlette.applications.Starlette)",
            ),
            (
                WSGI.replace("wsgi", "asgi"),
                "In asgi.py, import get_asgi_application from lifespan_",
            ),
        ],
        ids=["mounted", "Django's own"],
    )
    def test_warning_comes_once_where_the_application_passes_no_lifespan_on(
        self, shop: Project, asgi: str, cure: str
    ) -> None:
        assert f"{SAYS_SO} {cure}" in output_of(shop.asgi(asgi), UVICORN)


class TestIsNotSaid:
    @pytest.mark.parametrize("kind", [UVICORN, GRANIAN], ids=["uvicorn", "granian"])
    def test_no_warning_where_a_lifespan_has_begun(self, shop: Project, kind: Kind) -> None:
        assert "served without a lifespan" not in output_of(shop, kind)

    def test_no_warning_where_a_thread_opens_the_plan_later(self, shop: Project) -> None:
        assert "served without a lifespan" not in output_of(shop, RUNSERVER, "--noreload")

    def test_no_warning_where_no_hook_is_for_this_service_type(self, shop: Project) -> None:
        shop.file("shop/lifespan.py", LIFESPAN.replace("@lifespan.on_start\n", ""))
        assert "served without a lifespan" not in output_of(shop, UVICORN, "--lifespan", "off")

    def test_no_warning_in_tests(self, shop: Project) -> None:
        shop.file(
            "shop/tests.py",
            """
            from django.test import Client, SimpleTestCase


            class Tests(SimpleTestCase):
                def test(self):
                    print(Client().get("/page/").content)
            """,
        )
        done = shop.manage("test", "shop")

        assert "0 listening" in done.stdout
        assert "served without a lifespan" not in done.stderr
