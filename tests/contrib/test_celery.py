"""``open_lifespan(app)``: real Celery workers and beat, whose processes open a plan of their own."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from signal import Signals
from typing import Any

import pytest
from celery import Celery

from tests.brokers import Redis
from tests.needs import needs_redis
from tests.projects import Project
from tests.servers import Kind, Server

pytestmark = [needs_redis, pytest.mark.slow, pytest.mark.once]

LIMIT = 60

APPLICATION = """
import os

from celery import Celery
from celery.signals import worker_ready
from lifespan_app.contrib.celery import open_lifespan

app = Celery(
    "site", broker=os.environ["BROKER"], backend=os.environ["BROKER"], include=["shop.tasks"]
)
app.conf.broker_connection_retry_on_startup = False
app.conf.beat_schedule = {"often": {"task": "shop.tasks.tick", "schedule": 0.1}}
open_lifespan(app)


@worker_ready.connect
def ready(**kwargs):
    import journal

    journal.write("ready")
"""

LIFESPAN = """
import asyncio
import os

import journal
from lifespan_app import lifespan


class Client:
    def __init__(self):
        self.loop = asyncio.get_running_loop()

    async def fetch(self, title):
        assert asyncio.get_running_loop() is self.loop
        return f"{title} {os.getpid()}"


@lifespan.resource(service_types=["worker", "scheduler"])
async def client(context):
    await asyncio.sleep(float(os.environ.get("TAKES", 0)))
    journal.write("open", context.service_type)
    yield Client()
    journal.write("closed", context.service_type)
"""

TASKS = """
import os
import threading

import journal
from celery import current_app, shared_task
from lifespan_app import lifespan

from .lifespan import client


@shared_task
def fetch(title):
    return lifespan.call(client.current().fetch, title)


@shared_task
def tick():
    journal.write("tick")


@shared_task
def never_end():
    threading.Event().wait()


@shared_task
def finish():
    journal.write("works")
    current_app.backend.client.blpop("go", timeout=60)
    return lifespan.call(client.current().fetch, "late")
"""


def kind(program: str) -> Kind:
    return Kind(
        name="celery",
        command=("-m", "celery", "-A", "site_celery", program, "--loglevel", "info"),
        needs=("celery",),
    )


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """Return the client's side of Celery, and start the broker."""
    with Redis() as redis:
        monkeypatch.setenv("BROKER", redis.for_celery)
        app = Celery(broker=redis.for_celery, backend=redis.for_celery)
        yield app
        app.close()


@pytest.fixture
def shop(project: Project, client: Celery) -> Project:
    """Return a project with a Celery application, whose history can be written."""
    project.app("shop", lifespan=LIFESPAN, tasks=TASKS)
    project.settings(LIFESPAN={"SPOOL_DIR": str(project.folder / "spool")})
    project.file("site_celery.py", APPLICATION)
    return project.with_tables()


def worker(project: Project, *options: str, limit: float = LIMIT, **environment: str) -> Server:
    """Return a worker, to be entered; it is not waited for."""
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    return Server(
        project,
        kind("worker"),
        options=[*quiet, *options],
        environment=environment,
        ready=False,
        limit=limit,
    )


def ask(client: Celery, task: str, *arguments: Any) -> Any:
    """Have a task run, and return its result."""
    return client.send_task(f"shop.tasks.{task}", arguments).get(timeout=LIMIT)


def in_work(client: Celery) -> list[Any]:
    """Return what the worker knows of the tasks that its processes work on."""
    return [task for tasks in (client.control.inspect().active() or {}).values() for task in tasks]


# A whole life, in each pool.


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_worker_without_processes_opens_one_plan(shop: Project, client: Celery, pool: str) -> None:
    with worker(shop, "--pool", pool, "--concurrency", "2") as server:
        server.wait_for_event("ready")
        assert shop.events() == ["open worker", "ready"]
        pid = server.process.pid
        assert [ask(client, "fetch", title) for title in "ab"] == [f"a {pid}", f"b {pid}"]
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.output

    assert shop.events() == ["open worker", "ready", "closed worker"]
    (run,) = shop.runs()
    assert (run["status"], run["service_type"], run["mode"]) == ("stopped", "worker", "command")


def test_forty_tasks_are_done_by_processes_of_two_tasks_that_take_six_seconds_to_start(
    shop: Project, client: Celery
) -> None:
    """Celery itself kills a process whose ``worker_process_init`` takes four seconds."""
    options = ("--concurrency", "4", "--max-tasks-per-child", "2")
    with worker(shop, *options, limit=200, TAKES="6") as server:
        sent = [client.send_task("shop.tasks.fetch", [str(n)]) for n in range(40)]
        answers = [result.get(timeout=200) for result in sent]
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.output

    assert [answer.split()[0] for answer in answers] == [str(n) for n in range(40)]
    assert "UP message" not in server.output
    done_by = Counter(int(answer.split()[1]) for answer in answers)
    assert max(done_by.values()) == 2
    runs = shop.runs()
    status = {run["pid"]: run["status"] for run in runs}
    assert {status.get(pid) for pid in done_by} == {"stopped"}
    assert len({run["launch"] for run in runs}) == 1
    # Those that were started for no task, too: nothing is lost.
    assert {run["status"] for run in runs} == {"stopped"}


def test_spawned_processes_open_a_plan_as_forks_do(shop: Project, client: Celery) -> None:
    spawning = f"{APPLICATION}\napp.conf.worker_pool_start_method = 'spawn'\n"
    shop.file("site_celery.py", spawning)
    with worker(shop, "--concurrency", "1") as server:
        assert ask(client, "fetch", "a") != f"a {server.process.pid}"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.output

    assert [run["status"] for run in shop.runs()] == ["stopped"]


def test_broker_without_an_event_loop_makes_no_difference(shop: Project, client: Celery) -> None:
    """There, threads of the main process look after the pool."""
    (shop.folder / "queue").mkdir()
    folders = (
        "{f'data_folder_{way}': 'queue' for way in ('in', 'out')} | {'control_folder': 'queue'}"
    )
    shop.file(
        "site_celery.py",
        APPLICATION.replace('broker=os.environ["BROKER"]', 'broker="filesystem://"')
        + f"\napp.conf.broker_transport_options = {folders}\n",
    )
    send = (
        "import site_celery; from shop.tasks import fetch;"
        "print(*[one.get(timeout=60) for one in [fetch.delay(title) for title in 'abc']])"
    )
    with worker(shop, "--concurrency", "1", "--max-tasks-per-child", "1", TAKES="5") as server:
        server.wait_for_event("ready")
        done = shop.run("-c", send)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.output

    assert done.stdout.split()[::2] == ["a", "b", "c"], done.stderr
    assert {run["status"] for run in shop.runs()} == {"stopped"}


# The end.


def test_warm_shutdown_closes_behind_the_last_task(shop: Project, client: Celery) -> None:
    with worker(shop, "--concurrency", "2") as server:
        server.wait_for_event("ready")
        result = client.send_task("shop.tasks.finish")
        server.wait_for_event("works")
        server.signal(signal.SIGTERM)
        server.wait_for_output("Warm shutdown")
        client.backend.client.lpush("go", 1)
        assert result.get(timeout=LIMIT).startswith("late ")
        assert server.wait() == 0, server.output

    assert [run["status"] for run in shop.runs()] == ["stopped", "stopped"]


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT])
def test_cold_shutdown_breaks_tasks_off_and_closes(
    shop: Project, client: Celery, number: Signals
) -> None:
    with worker(shop, "--concurrency", "2") as server:
        server.wait_for_event("ready")
        client.send_task("shop.tasks.never_end")
        # The worker has to know which process does the task: it does not break off what it can't find.
        server.until(lambda: in_work(client), "The task did not begin")
        if number == signal.SIGINT:
            # The first Ctrl+C is a warm shutdown, the second a cold one.
            server.interrupt()
            server.wait_for_output("Hitting Ctrl\\+C again")
        server.signal(number)
        server.wait()

    assert shop.events().count("closed worker") == 2
    assert [(run["status"], run["error"]) for run in shop.runs()] == [("stopped", "")] * 2


def test_signal_to_every_process_closes_each_plan(shop: Project) -> None:
    """systemd sends one, with its default of KillMode."""
    with worker(shop, "--concurrency", "2") as server:
        server.wait_for_event("open worker", count=2)
        server.wait_for_event("ready")
        server.signal_group(signal.SIGTERM)
        server.wait()

    runs = shop.runs()
    assert shop.events().count("closed worker") == len(runs)
    assert {run["status"] for run in runs} == {"stopped"}


def test_killed_process_is_lost_and_the_next_one_serves(shop: Project, client: Celery) -> None:
    with worker(shop, "--concurrency", "1") as server:
        server.wait_for_event("ready")
        killed = int(ask(client, "fetch", "a").split()[1])
        os.kill(killed, signal.SIGKILL)
        assert int(ask(client, "fetch", "b").split()[1]) != killed
        # The run that has begun since looks after the others, when it has nothing else to write.
        server.until(lambda: shop.runs()[0]["status"] == "lost", "Nobody has noticed the loss")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.output

    first, second = shop.runs()
    assert (first["pid"], first["status"]) == (killed, "lost")
    assert second["status"] == "stopped"


# The beginning.


FAILING = """
@lifespan.on_start(service_types=["worker", "scheduler"])
async def connect(client):
    raise ConnectionError("refused")
"""


@pytest.mark.parametrize("pool", ["prefork", "solo", "threads"])
def test_failed_start_ends_the_worker_before_it_takes_a_task(
    shop: Project, client: Celery, pool: str
) -> None:
    shop.file("shop/lifespan.py", LIFESPAN + FAILING)
    client.send_task("shop.tasks.fetch", ["a"])
    with worker(shop, "--pool", pool, "--concurrency", "2") as server:
        assert server.wait() == 1, server.output

    assert re.search(
        r"lifespan_app: hook 'shop.connect' .* failed to start after .* refused", server.output
    )
    assert "ready" not in shop.events()
    assert "received" not in server.output
    assert "Signal handler" not in server.output
    ended = {run["status"] for run in shop.runs()}
    # What another process of the pool has begun meanwhile is given up.
    assert "startup_failed" in ended
    assert ended <= {"startup_failed", "stopped"}


def test_plan_that_can_not_be_made_ends_the_worker_too(shop: Project) -> None:
    shop.file(
        "shop/lifespan.py", LIFESPAN + "\nlifespan.on_start(lambda missing: None, name='x')\n"
    )
    with worker(shop, "--concurrency", "2") as server:
        assert server.wait() == 1, server.output

    assert "missing" in server.output


FAILING_AT_TIMES = """
import pathlib


@lifespan.on_start(service_types=["worker"])
async def connect(client):
    attempts = pathlib.Path("attempts")
    attempts.write_text(attempts.read_text() + "x" if attempts.exists() else "x")
    if len(attempts.read_text()) in (2, 3):
        raise ConnectionError("refused")
"""


def test_later_failures_are_tried_again_while_the_task_waits(shop: Project, client: Celery) -> None:
    shop.file("shop/lifespan.py", LIFESPAN + FAILING_AT_TIMES)
    with worker(shop, "--concurrency", "1", "--max-tasks-per-child", "1") as server:
        assert ask(client, "fetch", "a").startswith("a ")
        assert ask(client, "fetch", "b").startswith("b ")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.output

    assert server.wait_for_output("tried again in [12] s") == [
        "tried again in 1 s",
        "tried again in 2 s",
    ]
    assert Counter(run["status"] for run in shop.runs())["startup_failed"] == 2
    assert "lost" not in {run["status"] for run in shop.runs()}


def test_signal_during_the_startup_gives_it_up(shop: Project) -> None:
    with worker(shop, "--concurrency", "2", TAKES="600") as server:
        server.wait_for_output("Lifespan|celery@", count=1)
        server.until(lambda: len(shop.runs()) == 2, "The startups did not begin")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.output

    assert "ready" not in shop.events()
    assert "lost" not in {run["status"] for run in shop.runs()}
    assert "starting" not in {run["status"] for run in shop.runs()}


def test_process_of_the_pool_begins_at_its_fork_in_the_record(
    shop: Project, client: Celery
) -> None:
    with worker(shop, "--concurrency", "1") as server:
        server.wait_for_event("ready")
        assert ask(client, "fetch", "a").startswith("a ")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.output

    boot = json.loads(shop.manage("showlifespan", "--format", "json").stdout)["boot"]
    assert boot["forked"] is True
    assert [part["until"] for part in boot["parts"]] == ["startup", "ready"]


# Beat.


def test_beat_opens_the_plan_of_the_scheduler(shop: Project) -> None:
    beat = Server(shop, kind("beat"), options=["--schedule", "beat"], ready=False, limit=LIMIT)
    with beat:
        beat.wait_for_output("Sending due task", count=2)
        assert shop.events() == ["open scheduler"]
        beat.signal(signal.SIGTERM)
        beat.wait()

    assert shop.events() == ["open scheduler", "closed scheduler"]
    assert [(run["service_type"], run["status"]) for run in shop.runs()] == [
        ("scheduler", "stopped")
    ]


def test_beat_whose_plan_fails_ends_with_1(shop: Project) -> None:
    shop.file("shop/lifespan.py", LIFESPAN + FAILING)
    with Server(shop, kind("beat"), options=["--schedule", "beat"], ready=False) as beat:
        assert beat.wait() == 1, beat.output

    assert "hook 'shop.connect'" in beat.output
    assert "Sending" not in beat.output


def test_beat_inside_a_worker_has_a_run_of_its_own(shop: Project) -> None:
    with worker(shop, "--concurrency", "1", "--beat", "--schedule", "beat") as server:
        server.wait_for_event("tick")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.output

    ended = sorted((run["service_type"], run["status"]) for run in shop.runs())
    assert ended == [("scheduler", "stopped"), ("worker", "stopped")]


# Where no worker is.


def test_eager_task_uses_the_run_of_the_process_that_calls_it(shop: Project) -> None:
    program = """
import os
import django

django.setup()

from lifespan_app import lifespan
from site_celery import app
from shop.tasks import fetch

with lifespan.run_sync("worker"):
    print(fetch.apply(["a"]).get() == f"a {os.getpid()}")
    app.conf.task_always_eager = True
    print(fetch.delay("b").get() == f"b {os.getpid()}")
"""
    done = shop.run("-c", program)

    assert done.stdout == "True\nTrue\n", done.stderr
    assert shop.events() == ["open worker", "closed worker"]


def test_tasks_in_tests_use_what_the_test_opens(shop: Project) -> None:
    shop.file(
        "test_shop.py",
        """
        import os

        import pytest
        from celery.contrib.testing.worker import start_worker
        from lifespan_app.testing import lifespan_running
        from site_celery import app
        from shop.tasks import fetch

        def test_eagerly():
            app.conf.task_always_eager = True
            with lifespan_running("worker"):
                assert fetch.delay("a").get() == f"a {os.getpid()}"
            app.conf.task_always_eager = False

        @pytest.mark.django_db(transaction=True)
        def test_by_a_worker_in_a_thread():
            with lifespan_running("worker"):
                with start_worker(app, pool="solo", perform_ping_check=False):
                    assert fetch.delay("a").get(timeout=30) == f"a {os.getpid()}"
        """,
    )

    done = shop.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py")

    assert done.returncode == 0, done.stdout + done.stderr
    assert shop.events().count("open worker") == 2
