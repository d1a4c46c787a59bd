"""Django where no server has a lifespan: the plan in a background thread, or an error."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from tests.projects import Project
from tests.servers import DAPHNE, GUNICORN_WSGI, RUNSERVER, UVICORN, Kind, Server

pytestmark = [pytest.mark.server, pytest.mark.slow]

LIFESPAN = """
import asyncio
import os

from journal import write
from lifespan_app import lifespan


class Client:
    def __init__(self):
        self.loop = asyncio.get_running_loop()

    async def get(self, page):
        assert asyncio.get_running_loop() is self.loop
        return f"{page} by {os.getpid()}"


@lifespan.resource
async def client():
    write("opens", os.getpid())
    yield Client()
    # A pool of threads has to be there to the very end.
    await asyncio.to_thread(write, "closes", os.getpid())


@lifespan.background
async def tick():
    write("job begins")
    await asyncio.Event().wait()
"""

VIEWS = """
import os

from asgiref.sync import sync_to_async
from django.http import HttpResponse
from lifespan_app import lifespan

from .lifespan import client


def plain(request):
    return HttpResponse(f"plain {os.getpid()}")


def called(request):
    return HttpResponse(lifespan.call(client(request).get, "emma"))


async def awaited(request):
    return HttpResponse(await client(request).get("emma"))


def state(request):
    names = "client" in request.state, hasattr(request.state, "client"), request.state["client"]
    return HttpResponse(" ".join(type(name).__name__ + str(bool(name)) for name in names))


async def handed_over(request):
    def fetch():
        return lifespan.call(client(request).get, "emma")

    return HttpResponse(await sync_to_async(fetch)())


def refused(request):
    try:
        client(request)
    except Exception as error:
        return HttpResponse(f"{type(error).__name__}: {error}")
    return HttpResponse("nothing raised")
"""

WSGI = """
from lifespan_app.wsgi import get_wsgi_application

application = get_wsgi_application()
"""

THREAD = {"WITHOUT_SERVER_LIFESPAN": "thread"}
SAYS_SO = "so a background thread opens it"


@pytest.fixture
def shop(project: Project) -> Project:
    return project.app("shop", lifespan=LIFESPAN, views=VIEWS).file("wsgi.py", WSGI)


def pids(project: Project, word: str) -> list[str]:
    """Return the processes that have written a word, in their order."""
    return [event.split()[1] for event in project.events() if event.startswith(f"{word} ")]


def recorded(project: Project) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(project.folder / "db.sqlite3")) as database:
        rows = database.execute(
            "SELECT mode, status, ended_by, server FROM lifespan_app_lifespanrun ORDER BY id"
        )
        return rows.fetchall()


@pytest.mark.every_pair
@pytest.mark.parametrize("options", [(), ("--noreload",)], ids=["reloader", "noreload"])
class TestRunserver:
    @pytest.fixture
    def server(self, shop: Project, options: tuple[str, ...]) -> Iterator[Server]:
        with Server(shop, RUNSERVER, options=options) as server:
            yield server

    def test_runserver_opens_at_the_first_use_and_closes_at_the_end(
        self, shop: Project, server: Server
    ) -> None:
        server.get("/plain/")
        assert shop.events() == []

        assert server.get("/called/").text.startswith("emma by ")
        assert server.get("/called/").text.startswith("emma by ")
        server.interrupt()
        server.wait()

        assert [event.split()[0] for event in shop.events()] == ["opens", "job", "closes"]
        assert server.output.count(SAYS_SO) == 1
        assert "shop/views.py:" in server.output
        assert "runlifespan --serve" in server.output

    def test_runserver_opens_one_plan_for_requests_that_come_at_once(
        self, shop: Project, server: Server
    ) -> None:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: server.get("/called/").text, range(8)))

        assert len(set(answers)) == 1
        assert len(pids(shop, "opens")) == 1


def test_runserver_closes_the_plan_before_it_reloads(shop: Project) -> None:
    with Server(shop, RUNSERVER) as server:
        before = server.get("/called/").text.split()[-1]

        def change_closes_it() -> bool:
            # Django looks every second, and takes what it sees first for what was there before.
            shop.file("shop/views.py", f"{VIEWS}\n# changed at {time.time_ns()}\n")
            return pids(shop, "closes") == [before]

        server.until(change_closes_it, "Nothing was closed")
        begins = "Quit the server with"
        server.until(lambda: server.output.count(begins) == 2, "It did not come back")
        server.wait_until_ready()
        after = server.get("/called/").text.split()[-1]

    assert pids(shop, "opens") == [before, after]
    assert before != after


def test_runserver_of_daphne_has_a_thread_too(shop: Project) -> None:
    shop.settings(
        INSTALLED_APPS=["daphne", "lifespan_app", "shop"], ASGI_APPLICATION="asgi.application"
    )
    with Server(shop, RUNSERVER, options=("--noreload",)) as server:
        assert server.get("/called/").text.startswith("emma by ")
        assert "Starting ASGI/Daphne" in server.output
        server.interrupt()
        server.wait()

    assert [event.split()[0] for event in shop.events()] == ["opens", "job", "closes"]


def test_runserver_can_be_set_to_raise_an_error(shop: Project) -> None:
    shop.settings(LIFESPAN={"WITHOUT_SERVER_LIFESPAN": "error"})
    with Server(shop, RUNSERVER, options=("--noreload",)) as server:
        answer = server.get("/refused/").text

    assert answer.startswith("NotRunning: Resource 'client'")
    assert "WITHOUT_SERVER_LIFESPAN" in answer
    assert shop.events() == []


@pytest.mark.parametrize(
    "options",
    [(), ("-k", "gthread", "--threads", "4"), ("--preload",)],
    ids=["sync", "gthread", "preload"],
)
class TestGunicorn:
    def test_each_worker_of_gunicorn_has_a_run(
        self, shop: Project, options: tuple[str, ...]
    ) -> None:
        with Server(shop, GUNICORN_WSGI, options=("--workers", "2", *options)) as server:
            workers: set[str] = set()

            def both() -> bool:
                with ThreadPoolExecutor(4) as pool:
                    answers = list(pool.map(lambda _: server.get("/called/").text, range(8)))
                workers.update(answer.split()[-1] for answer in answers)
                return len(workers) == 2

            server.until(both, "Only one worker has answered")
            server.signal(signal.SIGTERM)
            server.wait()

        assert set(pids(shop, "opens")) == set(pids(shop, "closes")) == workers
        assert len(pids(shop, "opens")) == 2


def test_fork_has_a_run_of_its_own_and_closes_nothing_of_its_parent(shop: Project) -> None:
    """gunicorn's master has read a resource before it makes its workers."""
    shop.file(
        "gunicorn.conf.py",
        """
        def when_ready(server):
            from shop.lifespan import client

            client.current()
        """,
    )
    with Server(shop, GUNICORN_WSGI, options=("--workers", "1", "--preload")) as server:
        master = str(server.process.pid)
        worker = server.get("/called/").text.split()[-1]
        assert pids(shop, "opens") == [master, worker]
        server.signal(signal.SIGTERM)
        server.wait()

    assert pids(shop, "closes") == [worker, master]


HEALTH = """
from django.urls import include, path

from . import views

urlpatterns = [path("", include("lifespan_app.urls")), path("refused/", views.refused)]
"""


class TestHealthUnderWSGI:
    """Probes of a platform, before anybody else has come."""

    def test_wsgi_readyz_opens_the_plan_and_livez_does_not(self, shop: Project) -> None:
        shop.file("shop/urls.py", HEALTH)
        with Server(shop, GUNICORN_WSGI, options=("--workers", "1")) as server:
            assert server.get("/livez").status == 200
            assert shop.events() == []
            assert server.get("/readyz").text == "ok\n"
            assert len(pids(shop, "opens")) == 1

    def test_wsgi_process_with_a_failed_startup_is_alive_and_not_ready(
        self, project: Project
    ) -> None:
        project.app("shop", lifespan=FAILS, views=VIEWS, urls=HEALTH).file("wsgi.py", WSGI)
        with Server(project, GUNICORN_WSGI, options=("--workers", "1")) as server:
            assert server.get("/readyz").status == 503
            assert server.get("/livez").status == 200


WARMS_UP = """
import asyncio

from lifespan_app import lifespan


@lifespan.resource(wait=False)
async def client():
    await asyncio.Event().wait()
    yield 1
"""


def test_resource_that_is_not_up_is_answered_with_503_under_wsgi(project: Project) -> None:
    project.app("shop", lifespan=WARMS_UP, views=VIEWS).file("wsgi.py", WSGI)
    with Server(project, GUNICORN_WSGI, options=("--workers", "1")) as server:
        for view in ("called", "awaited"):
            answer = server.get(f"/{view}/")
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


def test_run_in_a_thread_is_recorded(shop: Project) -> None:
    with Server(shop.with_tables(), GUNICORN_WSGI, options=("--workers", "1")) as server:
        server.get("/called/")
        server.signal(signal.SIGTERM)
        server.wait()

    [(mode, status, ended_by, name)] = recorded(shop)
    assert (mode, status, ended_by) == ("thread", "stopped", "the end of the process")
    assert name.startswith("gunicorn ")


class TestDaphne:
    def test_daphne_is_an_error_by_default(self, shop: Project) -> None:
        with Server(shop, DAPHNE) as server:
            assert server.get("/refused/").text.startswith("NotRunning: ")
        assert shop.events() == []

    def test_sync_code_of_an_async_view_calls_the_threads_loop(self, shop: Project) -> None:
        shop.settings(LIFESPAN=THREAD)
        with Server(shop, DAPHNE) as server:
            assert server.get("/handed_over/").text.startswith("emma by ")

    def test_daphne_has_a_thread_where_asked_for(self, shop: Project) -> None:
        shop.settings(LIFESPAN=THREAD)
        with Server(shop, DAPHNE) as server:
            assert server.get("/called/").text.startswith("emma by ")
            assert server.get("/state/").text == "boolTrue boolTrue ClientTrue"
            server.signal(signal.SIGTERM)
            server.wait()

        assert [event.split()[0] for event in shop.events()] == ["opens", "job", "closes"]


@pytest.mark.every_pair
class TestShell:
    READS = (
        "from shop.lifespan import client; from lifespan_app import lifespan; "
        "print(lifespan.call(client.current().get, 'emma'))"
    )

    def test_shell_opens_the_plan_without_background_jobs(self, shop: Project) -> None:
        done = shop.manage("shell", "--verbosity", "0", "--command", self.READS)

        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("emma by ")
        assert [event.split()[0] for event in shop.events()] == ["opens", "closes"]
        assert "without background jobs" in done.stderr

    def test_shell_closes_the_plan_when_its_code_raises(self, shop: Project) -> None:
        done = shop.manage("shell", "--verbosity", "0", "--command", f"{self.READS}; 1 / 0")

        assert "ZeroDivisionError" in done.stderr
        assert [event.split()[0] for event in shop.events()] == ["opens", "closes"]

    def test_shell_opens_nothing_that_is_not_used(self, shop: Project) -> None:
        done = shop.manage("shell", "--verbosity", "0", "--command", "print(1)")

        assert (done.stdout, done.stderr, shop.events()) == ("1\n", "", [])


TESTS = """
from django.test import Client, SimpleTestCase


class Tests(SimpleTestCase):
    def test(self):
        print(Client().get("/refused/").content.decode())
"""


@pytest.mark.every_pair
@pytest.mark.parametrize("setting", [{}, THREAD], ids=["by default", "thread"])
def test_test_client_gets_an_error(shop: Project, setting: dict[str, str]) -> None:
    """Also where the setting says "thread": a test says what it opens."""
    shop.settings(LIFESPAN=setting).file("shop/tests.py", TESTS)
    done = shop.manage("test", "shop")

    assert done.returncode == 0, done.stderr
    assert "NotRunning: Resource 'client'" in done.stdout
    assert shop.events() == []


def test_lifespan_that_comes_after_all_closes_the_thread_first(shop: Project) -> None:
    """Never two plans at once, and async views can use what is open."""
    shop.settings(LIFESPAN=THREAD)
    shop.file(
        "asgi.py",
        """
        from lifespan_app.asgi import get_asgi_application

        application = get_asgi_application()

        from threading import Thread

        from shop.lifespan import client

        early = Thread(target=client.current)
        early.start()
        early.join()
        """,
    )
    with Server(shop, UVICORN, options=("--lifespan", "on")) as server:
        assert server.get("/awaited/").text.startswith("emma by ")
        server.signal(signal.SIGTERM)
        server.wait()

    words = [event.split()[0] for event in shop.events() if not event.startswith("job")]
    assert words == ["opens", "closes", "opens", "closes"]
    assert "is closed first" in server.output


FAILS = """
from lifespan_app import lifespan


@lifespan.resource
def client():
    raise OSError("nobody is there")
"""


def test_failed_startup_has_its_reason_at_each_use(project: Project) -> None:
    """And is not tried again at once."""
    project.app("shop", lifespan=FAILS, views=VIEWS)
    with Server(project, RUNSERVER, options=("--noreload",)) as server:
        answers = [server.get("/refused/").text for _ in range(2)]

    assert answers[0] == answers[1]
    assert answers[0].startswith("NotRunning: Resource 'client'")
    assert "shop/lifespan.py:4" in answers[0]
    assert "OSError: nobody is there" in answers[0]
    assert server.output.count("Traceback") == 1


HANGS = """
import time

from journal import write
from lifespan_app import lifespan


@lifespan.resource
async def first():
    yield 1
    write("first closes")


@lifespan.resource
def client(first):
    write("hangs")
    time.sleep(60)
"""


def test_end_gives_up_a_startup_that_hangs(project: Project) -> None:
    project.app("shop", lifespan=HANGS, views=VIEWS)
    with (
        Server(project, RUNSERVER, options=("--noreload",)) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(server.get, "/refused/")
        server.until(lambda: "hangs" in project.events(), "Nothing hangs")
        server.interrupt()
        server.wait()
        asked.exception()

    assert project.events() == ["hangs", "first closes"]


UNSTEADY = """
from pathlib import Path

from journal import write
from lifespan_app import lifespan


@lifespan.resource
def client():
    if not Path("mended").exists():
        raise SystemExit("not yet")
    write("opens")
    yield 1
    write("closes")
"""


BLOCKS = """
import asyncio
import threading

from journal import write
from lifespan_app import lifespan


class Client:
    async def block(self):
        # Behind the answer.
        asyncio.get_running_loop().call_soon(threading.Event().wait)


@lifespan.resource
async def client():
    write("opens")
    yield Client()
    write("closes")
"""

THREADS_READ = """
from concurrent.futures import ThreadPoolExecutor

from journal import write
from lifespan_app import lifespan


@lifespan.resource
def client():
    write("opens")
    yield 1
    write("closes")


handle = client


@lifespan.on_start
def warm_up(client):
    with ThreadPoolExecutor() as pool:
        write("reads", pool.submit(handle.current).result())
"""


class TestAProgram:
    """Any code that is told "thread"."""

    def ran(self, project: Project, *lines: str, **settings: object) -> str:
        source = "import django; django.setup()\nfrom shop.lifespan import client\n"
        project.settings(LIFESPAN={**THREAD, **settings})
        done = project.run("-W", "error", "-c", source + "\n".join(lines), limit=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_program_tries_again_after_a_while(self, project: Project) -> None:
        project.app("shop", lifespan=UNSTEADY)
        said = self.ran(
            project,
            "import lifespan_app.integration.background",
            "from pathlib import Path",
            "from lifespan_app.errors import NotRunning",
            "from lifespan_app.serving.request_state import RequestState",
            "def read():",
            "    try: return client.current()",
            "    except NotRunning as error: return repr(error.__cause__)",
            "print(read())",
            "Path('mended').touch()",
            "print(read(), 'client' in RequestState({}))",
            "lifespan_app.integration.background.RETRY_SECONDS = 0",
            "print(read(), 'client' in RequestState({}))",
        )

        refused = "SystemExit('not yet')"
        assert said.splitlines() == [refused, f"{refused} False", "1 True"]
        assert project.events() == ["opens", "closes"]

    def test_program_has_a_run_in_a_forked_child_that_is_closed_there(self, shop: Project) -> None:
        self.ran(
            shop,
            "import multiprocessing, warnings",
            "warnings.simplefilter('ignore', DeprecationWarning)",
            "client.current()",
            "child = multiprocessing.get_context('fork').Process(target=client.current)",
            "child.start()",
            "child.join()",
            "client.current()",
        )

        parent, child = pids(shop, "opens")
        assert pids(shop, "closes") == [child, parent]

    def test_fork_that_ends_by_os_exit_closes_its_own_run(self, shop: Project) -> None:
        self.ran(
            shop,
            "import os, warnings",
            "warnings.simplefilter('ignore', DeprecationWarning)",
            "client.current()",
            "child = os.fork()",
            "if not child:",
            "    client.current()",
            "    os._exit(0)",
            "os.waitpid(child, 0)",
        )

        parent, child = pids(shop, "opens")
        assert pids(shop, "closes") == [child, parent]

    def test_program_opens_nothing_beside_an_open_run(self, shop: Project) -> None:
        self.ran(
            shop,
            "from lifespan_app import lifespan",
            "with lifespan.run_sync(): client.current(); lifespan.call(client.current().get, '')",
        )

        assert len(pids(shop, "opens")) == 1

    def test_blocked_loop_keeps_no_program_alive(self, project: Project) -> None:
        project.app("shop", lifespan=BLOCKS)

        self.ran(
            project,
            "from lifespan_app import lifespan",
            "lifespan.call(client.current().block)",
            SHUTDOWN_DEADLINE=1,
        )

        assert project.events() == ["opens"]

    def test_threads_that_a_hook_starts_read_from_the_run_that_opens(
        self, project: Project
    ) -> None:
        project.app("shop", lifespan=THREADS_READ)

        assert self.ran(project, "print(client.current())") == "1\n"
        assert project.events() == ["opens", "reads 1", "closes"]

    @pytest.mark.parametrize("heard_by", ["the main thread", "another thread"])
    def test_program_gives_up_the_startup_at_ctrl_c(self, project: Project, heard_by: str) -> None:
        project.app("shop", lifespan=ASYNC_HANGS).settings(LIFESPAN=THREAD)
        program = Kind(name="a program", command=("program.py",), needs=())
        project.file(
            "program.py",
            """
            import django

            django.setup()

            from shop.lifespan import client

            client.current()
            """,
        )
        with Server(project, program, ready=False) as server:
            server.until(lambda: "hangs" in project.events(), "Nothing hangs")
            if heard_by == "the main thread":
                server.interrupt()
            else:
                project.file("interrupt", "")
            server.wait()

        assert project.events() == ["hangs", "first closes"]
        assert "KeyboardInterrupt" in server.output


ASYNC_HANGS = """
import asyncio
import signal
import threading
from pathlib import Path

from journal import write
from lifespan_app import lifespan


@lifespan.resource
async def first():
    yield 1
    write("first closes")


@lifespan.resource
async def client(first):
    write("hangs")
    while not Path("interrupt").exists():
        await asyncio.sleep(0.01)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    await asyncio.Event().wait()
"""
