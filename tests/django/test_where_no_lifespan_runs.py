"""Reading a resource where no lifespan runs: the error has the one cure that fits the place."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.projects import Project
from tests.servers import (
    DAPHNE,
    GRANIAN_WITHOUT_LIFESPAN,
    GUNICORN_WSGI,
    RUNSERVER,
    UVICORN,
    Kind,
    Server,
)

pytestmark = [pytest.mark.once, pytest.mark.slow]

LIFESPAN = """
from journal import write
from lifespan_app import lifespan


@lifespan.resource
async def client():
    write("opens")
    yield "a client"


def said():
    try:
        return client.current()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""

VIEWS = """
from django.http import HttpResponse

from .lifespan import client, said


def by_request(request):
    try:
        return HttpResponse(client(request))
    except Exception as error:
        return HttpResponse(f"{type(error).__name__}: {error}")


def current(request):
    return HttpResponse(said())


async def in_async(request):
    return by_request(request)
"""

CURES = {
    "wsgi": "import get_wsgi_application from lifespan_app.wsgi",
    "thread": "{'WITHOUT_SERVER_LIFESPAN': 'thread'} opens one",
    "uvicorn": "Start uvicorn with --lifespan on.",
    "granian": "Start granian with --interface asgi.",
    "gunicorn": "Start gunicorn with --asgi-lifespan on.",
    "import": "In asgi.py, import get_asgi_application from lifespan_app.asgi",
    "mounted": "application = LifespanMiddleware(application)",
    "server": "Serve with an ASGI server whose lifespan is on",
    "command": "in this command. Write 'with lifespan.run_sync():'",
    "async command": "in this command. Write 'async with lifespan.run():'",
    "command of a package": "LIFESPAN = {'COMMANDS': {'consume': 'worker'}}",
    "test": "'with lifespan_running():', of lifespan_app.testing",
    "async test": "'async with lifespan_running():', of lifespan_app.testing",
    "fixture": "ask for the fixture 'running'",
    "async fixture": "ask for the fixture 'async_running'",
    "celery": "from lifespan_app.contrib.celery import open_lifespan; open_lifespan(app)",
    "program": "running here. Write 'with lifespan.run_sync():'",
    "middleware": "too early: the startup has not begun. Read it in the middleware's __call__",
    "early": "too early: the startup has not begun. ",
    "start function": "use a start function",
}

ASGI_OF_DJANGO = """
from django.core.asgi import get_asgi_application

application = get_asgi_application()
"""
WSGI_OF_DJANGO = ASGI_OF_DJANGO.replace("asgi", "wsgi")


def cures_in(text: str) -> set[str]:
    """Return which cures a text names."""
    return {name for name, cure in CURES.items() if cure in text}


@pytest.fixture
def shop(project: Project) -> Iterator[Project]:
    project.app("shop", lifespan=LIFESPAN, views=VIEWS).file("wsgi.py", WSGI_OF_DJANGO)
    yield project
    assert project.events() == []


@pytest.mark.server
class TestUnderAServer:
    def answers(self, shop: Project, kind: Kind, *options: str) -> list[set[str]]:
        with Server(shop, kind, options=options) as server:
            texts = [server.get(f"/{view}/").text for view in ("by_request", "current", "in_async")]
        assert all(text.startswith("NotRunning: Resource 'client'") for text in texts)
        return [cures_in(text) for text in texts]

    @pytest.mark.parametrize(
        ("kind", "options", "cure"),
        [
            (UVICORN, ["--lifespan", "off"], "uvicorn"),
            (GRANIAN_WITHOUT_LIFESPAN, [], "granian"),
            (DAPHNE, [], "thread"),
        ],
        ids=["uvicorn", "granian", "daphne"],
    )
    def test_server_that_begins_no_lifespan_is_named(
        self, shop: Project, kind: Kind, options: list[str], cure: str
    ) -> None:
        assert self.answers(shop, kind, *options) == [{cure}] * 3

    def test_djangos_own_asgi_application_is_named(self, shop: Project) -> None:
        shop.asgi(ASGI_OF_DJANGO)
        assert self.answers(shop, UVICORN) == [{"import"}] * 3

    def test_application_that_passes_no_lifespan_on_is_named(self, shop: Project) -> None:
        shop.asgi(
            """
            from lifespan_app.asgi import get_asgi_application
            from starlette.applications import Starlette
            from starlette.routing import Mount

            application = Starlette(routes=[Mount("/", get_asgi_application())])
            """
        )
        by_request, _, in_async = self.answers(shop, UVICORN)
        assert by_request == in_async == {"mounted"}

    def test_wsgi_is_named(self, shop: Project) -> None:
        by_request, current, in_async = self.answers(shop, GUNICORN_WSGI)
        assert by_request == current == in_async == {"wsgi"}

    def test_development_server_with_the_setting_error_is_named(self, shop: Project) -> None:
        shop.settings(LIFESPAN={"WITHOUT_SERVER_LIFESPAN": "error"})
        assert self.answers(shop, RUNSERVER, "--noreload") == [{"thread"}] * 3


COMMAND = """
import asyncio

from django.core.management import BaseCommand

from shop.lifespan import said


async def in_async():
    return said()


class Command(BaseCommand):
    def handle(self, *args, **options):
        print(said())
        print(asyncio.run(in_async()))
"""

TESTS = """
from django.core.management import call_command
from django.test import AsyncClient, Client, RequestFactory, SimpleTestCase

from shop import views
from shop.lifespan import said


class Tests(SimpleTestCase):
    def test_sync(self):
        print(said())
        print(Client().get("/by_request/").content.decode())
        print(views.by_request(RequestFactory().get("/")).content.decode())

    async def test_async(self):
        print((await AsyncClient().get("/in_async/")).content.decode())

    def test_command(self):
        call_command("read")
"""

PLAIN_TESTS = """
from django.test import RequestFactory

from shop import views
from shop.lifespan import said


def test_sync():
    print(said())
    print(views.by_request(RequestFactory().get("/")).content.decode())
"""


def lines_of(text: str) -> list[set[str]]:
    """Return the cures that each error in a text names."""
    return [cures_in(line) for line in text.splitlines() if line.startswith("NotRunning: ")]


def test_command_without_a_run_gets_its_remedy(shop: Project) -> None:
    shop.file("shop/management/commands/read.py", COMMAND)

    assert lines_of(shop.manage("read").stdout) == [{"command"}, {"async command"}]


def test_django_test_without_a_run_gets_its_remedy(shop: Project) -> None:
    shop.file("shop/management/commands/read.py", COMMAND).file("shop/tests.py", TESTS)
    done = shop.manage("test", "shop")

    assert done.returncode == 0, done.stderr
    assert lines_of(done.stdout) == [
        {"async test"},
        {"command"},
        {"async command"},
        *[{"test"}] * 3,
    ]


def test_pytest_test_without_a_run_gets_its_remedy(shop: Project) -> None:
    shop.file("test_shop.py", PLAIN_TESTS)
    done = shop.run("-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "test_shop.py")

    assert done.returncode == 0, done.stdout
    assert lines_of(done.stdout.replace(".NotRunning", "NotRunning")) == [{"test", "fixture"}] * 2


CONSUME = """
from django.core.management.base import BaseCommand

from shop.lifespan import said


class Command(BaseCommand):
    def handle(self, **options):
        print(said())
"""


def test_command_of_a_package_gets_its_setting(shop: Project) -> None:
    shop.file("site-packages/consumer/__init__.py", "")
    shop.file("site-packages/consumer/management/commands/consume.py", CONSUME)
    shop.settings(
        "import sys; sys.path.append('site-packages')",
        INSTALLED_APPS=["lifespan_app", "shop", "consumer"],
    )

    assert lines_of(shop.manage("consume").stdout) == [{"command of a package"}]


def test_program_without_a_run_gets_its_remedy(shop: Project) -> None:
    program = "import django; django.setup(); from shop.lifespan import said; print(said())"

    assert lines_of(shop.run("-c", program).stdout) == [{"program"}]


TASKS = """
import django
from celery import Celery

django.setup()

from shop.lifespan import said

app = Celery("tasks")
app.conf.task_always_eager = True


@app.task
def read():
    return said()
"""


def test_celery_worker_without_a_run_gets_its_remedy(shop: Project) -> None:
    """The worker's own code runs here; tests/compat/test_celery.py has a real one."""
    shop.file("tasks.py", TASKS)
    program = "import celery.worker; from tasks import read; print(read.delay().get())"

    assert lines_of(shop.run("-c", program).stdout) == [{"celery"}]


TESTS_WITH_A_FIXTURE = """
import pytest
import pytest_asyncio
from lifespan_app import lifespan
from lifespan_app.testing import lifespan_running

from shop.lifespan import client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def opened():
    async with lifespan_running() as running:
        yield running


@pytest.mark.asyncio
async def test_async(opened):
    client.current()


def test_sync(opened):
    async def fetch():
        return client.current()

    lifespan.call(fetch)


@pytest.mark.asyncio(loop_scope="session")
async def test_on_the_loop_of_the_fixture(opened):
    assert client.current() == "a client"
"""


def test_test_on_another_loop_than_its_fixture_gets_its_remedy(project: Project) -> None:
    project.app("shop", lifespan=LIFESPAN).file("test_shop.py", TESTS_WITH_A_FIXTURE)
    done = project.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py")

    assert "2 failed, 1 passed" in done.stdout, done.stdout
    errors = [line for line in done.stdout.splitlines() if line.startswith("E  ")]
    assert [("WrongLoop" in line, "NotRunning" in line) for line in errors] == [
        (True, False),
        (False, True),
    ]
    assert all("A fixture of wider scope opened it: give its event loop" in line for line in errors)


READS_IN_READY = """
from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self):
        from shop.lifespan import said

        print(said(), flush=True)
"""
READS_IN_INIT = """
from shop.lifespan import said


class Reads:
    def __init__(self, get_response):
        self.get_response = get_response
        print(said(), flush=True)

    def __call__(self, request):
        return self.get_response(request)
"""


@pytest.mark.server
@pytest.mark.parametrize(
    "setting", [{}, {"WITHOUT_SERVER_LIFESPAN": "thread"}], ids=["by default", "thread"]
)
class TestTooEarly:
    """Nothing is opened then, also where a thread would open it later."""

    @pytest.fixture
    def early(self, shop: Project, setting: dict[str, str]) -> Project:
        return shop.settings(LIFESPAN=setting)

    def test_read_in_an_apps_ready_is_too_early(self, early: Project) -> None:
        early.file("shop/apps.py", READS_IN_READY)

        assert lines_of(early.manage("check").stdout) == [{"early", "start function"}]

    def test_read_in_the_body_of_a_module_is_too_early(self, early: Project) -> None:
        early.file("reads.py", "from shop.lifespan import said\n\nprint(said())\n")
        program = "import django; django.setup(); import reads"

        assert lines_of(early.run("-c", program).stdout) == [{"early", "start function"}]

    def test_read_in_a_middlewares_init_is_too_early(self, early: Project) -> None:
        early.file("shop/middleware.py", READS_IN_INIT)
        early.settings(MIDDLEWARE=["shop.middleware.Reads"])
        with Server(early, RUNSERVER, options=["--noreload"]) as server:
            said = lines_of(server.output)

        assert said
        assert said[0] == {"middleware", "early", "start function"}
