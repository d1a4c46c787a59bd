"""Servers that patch threads: nothing is opened there, an error says so, and the rest works."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.projects import Project
from tests.servers import GUNICORN_WSGI, Server

pytestmark = [pytest.mark.server, pytest.mark.slow]

LIFESPAN = """
from journal import write
from lifespan_app import lifespan


@lifespan.resource
def client():
    write("opens")
    yield "the client"
"""

VIEWS = """
from django.contrib.auth.models import Group
from django.http import HttpResponse
from lifespan_app import lifespan

from .lifespan import client


def read(request):
    return said(lambda: client(request))


def called(request):
    async def nothing():
        pass

    return said(lambda: lifespan.call(nothing))


def opened(request):
    def open():
        with lifespan.run_sync():
            return "opened"

    return said(open)


def stored(request):
    return HttpResponse(Group.objects.count())


async def free(request):
    return HttpResponse("free")


def said(function):
    try:
        return HttpResponse(function())
    except Exception as error:
        return HttpResponse(f"{type(error).__name__}: {error}")
"""

WSGI = """
from lifespan_app.wsgi import get_wsgi_application

application = get_wsgi_application()
"""
INSTEAD = "Serve with 'gunicorn -k gthread --threads 8', or with an ASGI server"


@pytest.fixture
def shop(project: Project) -> Project:
    project.app("shop", lifespan=LIFESPAN, views=VIEWS).file("wsgi.py", WSGI)
    installed = ["lifespan_app", "django.contrib.auth", "django.contrib.contenttypes", "shop"]
    project.settings(INSTALLED_APPS=installed)
    assert project.manage("migrate", "--verbosity", "0").returncode == 0
    return project


@pytest.mark.parametrize("worker_class", ["gevent", "gevent_pywsgi"])
def test_gunicorns_gevent_worker_is_named_and_goes_on(shop: Project, worker_class: str) -> None:
    with Server(shop, GUNICORN_WSGI, options=("--worker-class", worker_class)) as server:
        for path in ("/read/", "/called/"):
            said = server.get(path).text
            assert said.startswith("NotRunning: ")
            assert "gunicorn's worker class 'gevent' has patched Python's threads" in said
            assert INSTEAD in said
            for _ in range(3):
                assert server.get("/stored/").text == "0"
        assert server.get("/free/").text == "free"
        assert server.get("/stored/").text == "0"
    assert shop.events() == []


def test_run_opened_by_hand_is_refused_too(shop: Project) -> None:
    with Server(shop, GUNICORN_WSGI, options=("--worker-class", "gevent")) as server:
        said = server.get("/opened/").text
        assert said.startswith("LifespanError: No lifespan can be opened: gunicorn's worker class")
        assert server.get("/stored/").text == "0"


@pytest.mark.parametrize(
    ("library", "patch"),
    [
        ("gevent", "from gevent import monkey; monkey.patch_all()"),
        pytest.param(
            "eventlet",
            "import eventlet; eventlet.monkey_patch()",
            marks=pytest.mark.skipif(
                find_spec("eventlet") is None, reason="eventlet has no release for this Python"
            ),
        ),
    ],
)
def test_program_with_patched_threads_gets_the_name_of_the_library(
    shop: Project, library: str, patch: str
) -> None:
    shop.settings(LIFESPAN={"WITHOUT_SERVER_LIFESPAN": "thread"})
    done = shop.run(
        "-W",
        "ignore",
        "-c",
        f"{patch}\nimport django; django.setup()\n"
        "from shop.lifespan import client\nfrom shop.views import said\n"
        "print(said(client.current).content.decode())",
    )
    assert done.returncode == 0, done.stderr
    assert f"can't be read: {library} has patched Python's threads" in done.stdout


def test_library_that_is_only_imported_is_no_obstacle(shop: Project) -> None:
    shop.settings(LIFESPAN={"WITHOUT_SERVER_LIFESPAN": "thread"})
    done = shop.run(
        "-c",
        "import gevent.monkey; import django; django.setup()\n"
        "from shop.lifespan import client; print(client.current())",
    )
    assert done.stdout == "the client\n", done.stderr
