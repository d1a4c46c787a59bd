"""``request.state`` on a request that has none: the error says what to write instead."""

from __future__ import annotations

import pytest

from tests.projects import Project
from tests.servers import GUNICORN_WSGI, UVICORN, Kind, Server

pytestmark = pytest.mark.slow

VIEWS = """
from django.http import HttpResponse


def read(request):
    return HttpResponse(request.state["client"])


async def read_async(request):
    return read(request)


def other(request):
    return HttpResponse(request.stat)
"""
NOTE = "This request has no state. Read the resource with its handle, such as http_client(request)"
ASGI = """
from django.core.asgi import get_asgi_application

application = get_asgi_application()
"""
WSGI = """
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.core.wsgi import get_wsgi_application


class SiteRequest(WSGIRequest):
    pass


WSGIHandler.request_class = SiteRequest
application = get_wsgi_application()
"""


@pytest.fixture
def shop(project: Project) -> Project:
    project.app("shop", lifespan="", views=VIEWS)
    project.file("wsgi.py", WSGI).asgi(ASGI)
    # Django's own logging mails errors, and is silent where DEBUG is off.
    return project.settings(
        LOGGING={
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"console": {"class": "logging.StreamHandler"}},
            "root": {"handlers": ["console"]},
        }
    )


@pytest.mark.server
@pytest.mark.parametrize("kind", [GUNICORN_WSGI, UVICORN], ids=["wsgi", "asgi"])
@pytest.mark.parametrize("view", ["read", "read_async"])
def test_missing_state_is_explained_in_the_log_of_a_server(
    shop: Project, kind: Kind, view: str
) -> None:
    """Under WSGI, of a request class of the project's own: Django's is given a state."""
    with Server(shop, kind) as server:
        assert server.get(f"/{view}/").status == 500
        server.wait_for_output("AttributeError: '....Request' object has no attribute 'state'")
        server.wait_for_output(NOTE.replace("(", r"\(").replace(")", r"\)"))


@pytest.mark.server
def test_another_attribute_is_not_explained(shop: Project) -> None:
    with Server(shop, GUNICORN_WSGI) as server:
        assert server.get("/other/").status == 500
        server.wait_for_output("has no attribute 'stat'")
        assert NOTE not in server.output


def test_missing_state_is_explained_in_the_report_of_pytest(shop: Project) -> None:
    shop.file(
        "test_shop.py",
        """
        from django.test import RequestFactory

        from shop import views


        def test_read():
            views.read(RequestFactory().get("/"))
        """,
    )
    # Where the package is installed, pytest finds its plugin by itself.
    done = shop.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py")

    assert done.returncode == 1
    assert f"E       {NOTE}" in done.stdout
