"""Async views under WSGI servers, with the project's own `wsgi.py`: as under an ASGI server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.one_loop import FAILS, LIFESPAN, VIEWS
from tests.projects import Project
from tests.servers import GUNICORN_WSGI, RUNSERVER, UVICORN, Kind, Server

pytestmark = [pytest.mark.server, pytest.mark.slow]

DJANGOS_WSGI = """
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
"""
OUR_WSGI = DJANGOS_WSGI.replace("django.core.wsgi", "lifespan_app.wsgi")

THREAD = {"WITHOUT_SERVER_LIFESPAN": "thread"}

FURTHER_VIEWS = """
import threading

from django.contrib.auth.models import Group
from django.core.signals import request_finished, request_started
from django.db import transaction


def plain(request):
    return HttpResponse("plain")


async def stored(request):
    await Group.objects.all().adelete()
    await Group.objects.acreate(name="readers")
    return HttpResponse(await Group.objects.acount())


def in_a_transaction(request):
    Group.objects.all().delete()
    with transaction.atomic():
        Group.objects.create(name="readers")
        return HttpResponse(async_to_sync(Group.objects.acount)())


async def in_thread_of_the_request(request):
    back = await sync_to_async(threading.get_ident)()
    return HttpResponse(back == request.META["thread"] and back != threading.get_ident())


def receivers(request):
    signals = request_started, request_finished
    names = [str(uid) for signal in signals for (uid, _), *_ in signal.receivers]
    return HttpResponse(" ".join(name for name in names if "lifespan_app" in name))


async def raises(request):
    return 1 / 0


async def own_state(request):
    return HttpResponse(request.state["client"])


async def page(request):
    found = await client(request).get("emma")
    return HttpResponse(f"<body>{found} {await Group.objects.acount()}</body>")
"""

MIDDLEWARE = """
import threading

from django.utils.decorators import async_only_middleware

from .lifespan import client


def thread(get_response):
    def middleware(request):
        request.META["thread"] = threading.get_ident()
        return get_response(request)

    return middleware


@async_only_middleware
def page(get_response):
    async def middleware(request):
        response = await get_response(request)
        if request.path == "/awaited/":
            response["Page"] = await client(request).get("middleware")
        return response

    return middleware
"""


def write_shop(project: Project, *, wsgi: str = DJANGOS_WSGI, **settings: Any) -> Project:
    """Write a project whose WSGI application is Django's own, as `startproject` writes it."""
    views = VIEWS + FURTHER_VIEWS
    project.app("shop", lifespan=LIFESPAN, views=views, middleware=MIDDLEWARE)
    values: dict[str, Any] = {
        "DEBUG": True,
        "INSTALLED_APPS": [
            "lifespan_app",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.staticfiles",
            "shop",
        ],
        "MIDDLEWARE": ["shop.middleware.thread", "shop.middleware.page"],
        "STATIC_URL": "static/",
        "WSGI_APPLICATION": "wsgi.application",
    }
    return project.settings(**{**values, **settings}).file("wsgi.py", wsgi)


SERVERS: dict[str, tuple[Kind, tuple[str, ...], dict[str, Any]]] = {
    "runserver": (RUNSERVER, (), {}),
    "runserver without its reloader": (RUNSERVER, ("--noreload",), {}),
    "runserver without threads": (RUNSERVER, ("--noreload", "--nothreading"), {}),
    "runserver without static files": (RUNSERVER, ("--noreload", "--nostatic"), {}),
    "gunicorn": (GUNICORN_WSGI, (), {"LIFESPAN": THREAD}),
    "gunicorn with threads": (
        GUNICORN_WSGI,
        ("-k", "gthread", "--threads", "4"),
        {"LIFESPAN": THREAD},
    ),
    "gunicorn with our application": (
        GUNICORN_WSGI,
        ("-k", "gthread", "--threads", "4"),
        {"wsgi": OUR_WSGI},
    ),
}
SIDE_BY_SIDE = sorted(set(SERVERS) - {"runserver without threads", "gunicorn"})


@pytest.fixture(scope="module", params=SERVERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Serve the shop."""
    kind, options, settings = SERVERS[request.param]
    project = write_shop(Project(tmp_path_factory.mktemp("shop")), **settings)
    assert project.manage("migrate", "--verbosity", "0").returncode == 0
    with Server(project, kind, options=options) as server:
        yield server


class TestEveryWSGIServer:
    """What a view that was written for an ASGI server does there."""

    def test_async_view_awaits_a_resource_under_wsgi(self, server: Server) -> None:
        assert server.get("/awaited/").text == "<emma>"

    def test_async_middleware_awaits_a_resource_under_wsgi(self, server: Server) -> None:
        assert server.get("/awaited/").headers["Page"] == "<middleware>"

    def test_stream_awaits_a_resource_under_wsgi(self, server: Server) -> None:
        assert server.get("/streamed/").text == "<a><b><c>"

    @pytest.mark.parametrize("path", ["/converted/", "/called/"])
    def test_sync_view_awaits_a_resource_under_wsgi(self, server: Server, path: str) -> None:
        assert server.get(path).text == "<emma>"

    def test_wsgi_server_gives_a_request_its_state(self, server: Server) -> None:
        assert server.get("/state/").text == "(True, True) noted <emma>"

    def test_async_view_queries_the_database_under_wsgi(self, server: Server) -> None:
        assert server.get("/stored/").text == "1"

    def test_sync_calls_of_async_code_run_in_the_thread_of_the_request(
        self, server: Server
    ) -> None:
        assert server.get("/in_thread_of_the_request/").text == "True"

    def test_async_code_sees_the_rows_of_the_transaction_around_it(self, server: Server) -> None:
        assert server.get("/in_a_transaction/").text == "1"

    def test_view_that_raises_is_answered_with_500_under_wsgi(self, server: Server) -> None:
        for _ in range(2):
            answer = server.get("/broken/")
            assert answer.status == 500
            assert "division by zero" in answer.text
        assert server.get("/awaited/").text == "<emma>"


@pytest.mark.parametrize("server", SIDE_BY_SIDE, indirect=True)
def test_two_async_views_run_side_by_side(server: Server) -> None:
    """Each waits for the other one."""
    with ThreadPoolExecutor(2) as pool:
        answers = [answer.text for answer in pool.map(server.get, ["/met/", "/met/"])]
    assert answers == ["met", "met"]


class TestTheLoop:
    """When it is opened and closed, and for whom."""

    def test_loop_is_not_opened_by_a_sync_view(self, project: Project) -> None:
        with Server(
            write_shop(project, MIDDLEWARE=[]), RUNSERVER, options=("--noreload",)
        ) as server:
            assert server.get("/plain/").text == "plain"
            assert project.events() == []

            assert server.get("/awaited/").text == "<emma>"
            assert project.events() == ["opens"]
            assert "async code of a request is the first to use it" in server.output

            server.interrupt()
            server.wait()
        assert project.events() == ["opens", "closes"]

    def test_loop_is_not_opened_by_livez(self, project: Project) -> None:
        write_shop(project, MIDDLEWARE=[]).settings(ROOT_URLCONF="lifespan_app.urls")
        with Server(project, RUNSERVER, options=("--noreload",)) as server:
            assert server.get("/livez").status == 200
            assert project.events() == []
            assert server.get("/readyz").status == 200
            assert project.events() == ["opens"]

    def test_loop_is_opened_once_for_views_that_come_at_once(self, project: Project) -> None:
        with (
            Server(write_shop(project), RUNSERVER, options=("--noreload",)) as server,
            ThreadPoolExecutor(8) as pool,
        ):
            answers = [answer.text for answer in pool.map(server.get, ["/awaited/"] * 8)]
        assert answers == ["<emma>"] * 8
        assert project.events() == ["opens"]

    def test_loop_is_that_of_a_run_that_was_opened_by_hand(self, project: Project) -> None:
        """In a gunicorn worker, with no setting and Django's own application."""
        write_shop(project).file(
            "gunicorn.conf.py",
            """
            def post_worker_init(worker):
                from asgiref.sync import async_to_sync
                from lifespan_app import lifespan

                async_to_sync(lifespan.startup)()
            """,
        )
        with Server(project, GUNICORN_WSGI) as server:
            assert server.get("/awaited/").text == "<emma>"
        assert project.events() == ["opens"]

    def test_loop_is_a_new_one_in_a_fork(self, project: Project) -> None:
        """gunicorn's master has answered a request before it makes its worker."""
        write_shop(project, LIFESPAN=THREAD).file(
            "gunicorn.conf.py",
            """
            def when_ready(server):
                from django.test import Client

                assert Client().get("/awaited/").content == b"<emma>"
            """,
        )
        with Server(project, GUNICORN_WSGI, options=("--preload",)) as server:
            assert server.get("/awaited/").text == "<emma>"
        assert project.events() == ["opens", "opens"]


def test_requests_of_an_asgi_server_are_left_alone_from_the_first_on(project: Project) -> None:
    """They cost what they cost without this."""
    with Server(write_shop(project, MIDDLEWARE=[]), UVICORN) as server:
        assert server.get("/receivers/").text == ""


class TestDjangosOwnWay:
    """What stays as it is without us."""

    def test_djangos_own_way_is_left_to_projects_that_say_so(self, project: Project) -> None:
        """Their async views have a loop of their own, and resources are not read there."""
        write_shop(project, LIFESPAN={"WITHOUT_SERVER_LIFESPAN": "error"})
        with Server(project, RUNSERVER, options=("--noreload",)) as server:
            assert server.get("/stored/").status == 500  # the middleware asks for the client
            assert "NotRunning" in server.get("/awaited/").text
        assert project.events() == []

    def test_request_without_a_state_gets_a_remedy(self, project: Project) -> None:
        """Under gunicorn, with no setting and Django's own application."""
        write_shop(project, MIDDLEWARE=[])
        with Server(project, GUNICORN_WSGI) as server:
            text = server.get("/state/").text
        assert (
            "WSGI has none. In wsgi.py, import get_wsgi_application from lifespan_app.wsgi" in text
        )

    def test_async_views_with_atomic_requests_are_refused(self, project: Project) -> None:
        write_shop(project).settings("DATABASES['default']['ATOMIC_REQUESTS'] = True")
        with Server(project, RUNSERVER, options=("--noreload",)) as server:
            assert server.get("/plain/").text == "plain"
            assert (
                "You cannot use ATOMIC_REQUESTS with async views." in server.get("/awaited/").text
            )

    def test_error_shows_the_frames_of_an_async_view(self, project: Project) -> None:
        """No frame of ours is among them."""
        frames = {}
        for setting in ("thread", "error"):
            write_shop(project, LIFESPAN={"WITHOUT_SERVER_LIFESPAN": setting}, MIDDLEWARE=[])
            project.settings(MIDDLEWARE=["shop.frames.show"]).file("shop/frames.py", FRAMES)
            with Server(project, RUNSERVER, options=("--noreload",)) as server:
                frames[setting] = server.get("/raises/").text.splitlines()
        assert frames["thread"][-1] == "raises"
        assert frames["thread"] == frames["error"]

    def test_request_class_of_the_projects_own_stays(self, project: Project) -> None:
        write_shop(
            project,
            wsgi="""
            from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
            from django.core.wsgi import get_wsgi_application


            class Request(WSGIRequest):
                state = {"client": "the project's own"}


            WSGIHandler.request_class = Request
            application = get_wsgi_application()
            """,
        )
        with Server(project, RUNSERVER, options=("--noreload",)) as server:
            assert server.get("/own_state/").text == "the project's own"


FRAMES = """
import traceback

from django.http import HttpResponse


class show:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_exception(self, request, error):
        frames = traceback.extract_tb(error.__traceback__)
        return HttpResponse("\\n".join(frame.name for frame in frames))
"""


def test_debug_toolbar_shows_the_queries_of_an_async_view(project: Project) -> None:
    write_shop(project)
    installed = ["lifespan_app", "django.contrib.auth", "django.contrib.contenttypes", "shop"]
    project.settings(
        """
        TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
        INTERNAL_IPS = ["127.0.0.1"]
        """,
        INSTALLED_APPS=[*installed, "django.contrib.staticfiles", "debug_toolbar"],
        MIDDLEWARE=["debug_toolbar.middleware.DebugToolbarMiddleware"],
    ).file(
        "site_urls.py",
        """
        from debug_toolbar.toolbar import debug_toolbar_urls
        from django.urls import include, path

        urlpatterns = [path("", include("shop.urls")), *debug_toolbar_urls()]
        """,
    )
    assert project.manage("migrate", "--verbosity", "0").returncode == 0
    with Server(project, RUNSERVER, options=("--noreload",)) as server:
        page = server.get("/page/").text
    assert "<emma> 0" in page
    assert "1 query in " in page


def test_startup_that_fails_stops_only_the_views_that_read(project: Project) -> None:
    write_shop(project, MIDDLEWARE=[]).file("shop/lifespan.py", FAILS)
    assert project.manage("migrate", "--verbosity", "0").returncode == 0
    with Server(project, RUNSERVER, options=("--noreload",)) as server:
        assert server.get("/stored/").text == "1"
        assert "OSError: nobody is there" in server.get("/awaited/").text
