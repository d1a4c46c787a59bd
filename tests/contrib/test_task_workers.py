"""The recipes of the page on task workers, run by the workers themselves."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from tests.brokers import Redis
from tests.documents import SETTINGS, example, paste
from tests.needs import needs_redis
from tests.projects import Project
from tests.servers import Kind, Server

pytestmark = [pytest.mark.slow, pytest.mark.once]

PAGE = "howto/task-workers"
LIMIT = 60

# What takes the place of the network.
FETCH = """
import os

import journal


async def get(address):
    journal.write("fetched in", os.getpid())
    return Answer()


class Answer:
    status_code = 200
"""


WATCHED = """\
        import fetched
        import journal

        client.get = fetched.get
        journal.write("open")
        yield client
        journal.write("closed")
"""


class Recipe:
    """An example of the page in a project, whose hooks and tasks write into the journal."""

    def __init__(self, project: Project, title: str, **environment: str) -> None:
        self.project = project
        self.environment = {**SETTINGS, **environment}
        paste(example(PAGE, title), project)
        project.file("fetched.py", FETCH)
        spool = str(project.folder / "spool")
        hooks = (project.folder / "books" / "lifespan.py").read_text()
        watched = hooks.replace("        yield client", WATCHED)
        assert watched != hooks
        project.file("books/lifespan.py", watched)
        self.settings(f"LIFESPAN = {{**globals().get('LIFESPAN', {{}}), 'SPOOL_DIR': {spool!r}}}")
        assert project.manage("migrate", "--verbosity", "0", **self.environment).returncode == 0

    def settings(self, source: str) -> None:
        """Write something at the end of the settings."""
        settings = self.project.folder / "mysite" / "settings.py"
        settings.write_text(f"{settings.read_text()}\n{source}\n")

    def worker(self, *command: str) -> Server:
        """Return the worker, to be entered."""
        kind = Kind(name=command[0], command=command, needs=())
        return Server(self.project, kind, environment=self.environment, ready=False, limit=LIMIT)

    def send(self, program: str) -> None:
        """Send a task, from a process of its own."""
        ran = self.project.run("-c", program, environment=self.environment)
        assert ran.returncode == 0, ran.stderr

    def fetched(self, server: Server, count: int) -> list[int]:
        """Wait until so many tasks have done their work, and return the processes that did it."""

        def found() -> list[int]:
            words = [event.split() for event in self.project.events()]
            pids = [int(word[2]) for word in words if word[0] == "fetched"]
            return pids if len(pids) >= count else []

        return server.until(found, f"{count} tasks were not done", may_end=True)

    def runs(self) -> list[dict[str, Any]]:
        """Return the recorded runs, the first one first."""
        database = sqlite3.connect(self.project.folder / "db.sqlite3")
        database.row_factory = sqlite3.Row
        rows = database.execute("SELECT * FROM lifespan_app_lifespanrun ORDER BY started_at")
        found = [dict(row) for row in rows]
        database.close()
        return found

    def check_all_are_closed(self) -> None:
        """Fail where a run was left open, or is of another plan or launch."""
        events = self.project.events()
        assert events.count("open") == events.count("closed"), events
        runs = self.runs()
        assert {(run["status"], run["service_type"]) for run in runs} == {("stopped", "worker")}
        assert len(runs) == events.count("open")


@pytest.fixture
def redis() -> Iterator[str]:
    """Return the address of a Redis of the test's own."""
    with Redis() as broker:
        yield broker.url


SEND_TO_RQ = (
    "import django; django.setup(); from books.tasks import fetch; fetch.delay('http://x/')"
)


@needs_redis
def test_rqs_simple_worker_opens_one_plan(project: Project, redis: str) -> None:
    rq = Recipe(project, "RQ", REDIS_URL=redis)
    rq.send(SEND_TO_RQ)
    rq.send(SEND_TO_RQ)
    with rq.worker("manage.py", "rqworker", "--worker-class", "rq.worker.SimpleWorker") as worker:
        assert rq.fetched(worker, 2) == [worker.process.pid] * 2
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.output

    rq.check_all_are_closed()
    assert len(rq.runs()) == 1


@needs_redis
def test_rqs_forks_open_a_plan_for_a_job_and_close_it(project: Project, redis: str) -> None:
    rq = Recipe(project, "RQ", REDIS_URL=redis)
    rq.send(SEND_TO_RQ)
    rq.send(SEND_TO_RQ)
    with rq.worker("manage.py", "rqworker") as worker:
        first, second = rq.fetched(worker, 2)
        assert len({first, second, worker.process.pid}) == 3
        worker.wait_for_event("closed", count=2)
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.output

    rq.check_all_are_closed()
    assert [run["pid"] for run in rq.runs()] == [worker.process.pid, first, second]
    assert len({run["launch"] for run in rq.runs()}) == 1


@needs_redis
def test_forks_of_rqs_own_program_close_what_a_thread_has_opened(
    project: Project, redis: str
) -> None:
    rq = Recipe(project, "RQ", REDIS_URL=redis, LIFESPAN_SERVICE_TYPE="worker")
    rq.settings("LIFESPAN = {'WITHOUT_SERVER_LIFESPAN': 'thread', 'SPOOL_DIR': 'spool'}")
    project.file("mysite/__init__.py", "")
    project.file("rq_settings.py", "import django\n\ndjango.setup()\n")
    rq.send(SEND_TO_RQ)
    command = ("-m", "rq.cli", "worker", "--url", redis, "--config", "rq_settings", "--burst")
    with rq.worker(*command) as worker:
        assert rq.fetched(worker, 1) != [worker.process.pid]
        assert worker.wait() == 0, worker.output

    rq.check_all_are_closed()
    assert len(rq.runs()) == 1


SEND_TO_DRAMATIQ = "import mysite.workers; from books.tasks import fetch; fetch.send('http://x/')"


@needs_redis
def test_dramatiqs_processes_open_a_plan_each(project: Project, redis: str) -> None:
    dramatiq = Recipe(project, "Dramatiq", REDIS_URL=redis)
    dramatiq.send(SEND_TO_DRAMATIQ)
    with dramatiq.worker("-m", "dramatiq", "mysite.workers", "--processes", "2") as worker:
        worker.wait_for_event("open", count=2)
        (pid,) = dramatiq.fetched(worker, 1)
        assert pid != worker.process.pid
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.output

    events = project.events()
    assert (events.count("open"), events.count("closed")) == (2, 2)
    assert {run["status"] for run in dramatiq.runs()} == {"stopped"}


@needs_redis
def test_dramatiqs_worker_ends_where_a_startup_fails(project: Project, redis: str) -> None:
    dramatiq = Recipe(project, "Dramatiq", REDIS_URL=redis)
    hooks = project.folder / "books" / "lifespan.py"
    hooks.write_text(
        hooks.read_text()
        + "\n\n@lifespan.on_start\nasync def connect():\n    raise ConnectionError('refused')\n"
    )
    with dramatiq.worker("-m", "dramatiq", "mysite.workers", "--processes", "2") as worker:
        assert worker.wait() != 0

    assert "ConnectionError: refused" in worker.output


SEND_TO_DJANGO_Q = (
    "import django; django.setup(); from django_q.tasks import async_task;"
    "async_task('books.tasks.fetch', 'http://x/')"
)


def test_processes_of_qcluster_open_a_plan_at_their_first_task(project: Project) -> None:
    q = Recipe(project, "Django-Q2")
    with q.worker("manage.py", "qcluster") as worker:
        for count in (1, 2, 3):
            q.send(SEND_TO_DJANGO_Q)
            pids = q.fetched(worker, count)
        assert worker.process.pid not in pids
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.output

    q.check_all_are_closed()
    assert {run["pid"] for run in q.runs()} == {worker.process.pid, *pids}
    assert len({run["launch"] for run in q.runs()}) == 1
