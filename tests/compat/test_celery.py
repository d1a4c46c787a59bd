"""asgi-lifecycle's example for Celery, with a real worker: resources live on a loop thread."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from tests.brokers import Redis
from tests.needs import needs_redis
from tests.projects import Project
from tests.servers import Kind, Server

pytestmark = [needs_redis, pytest.mark.slow, pytest.mark.server]

LIMIT = 30

WORKER = Kind(
    name="celery",
    command=(
        *("-m", "celery", "-A", "{application}", "worker", "--loglevel", "info"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ),
    needs=("celery",),
)

TASKS = """
import asyncio
import os

import journal
from asgiref.sync import async_to_sync
from celery import Celery
from celery.signals import worker_init, worker_ready, worker_shutdown
from lifespan_app import LifespanContext, lifespan

app = Celery("tasks", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.broker_connection_retry_on_startup = False


class Client:
    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.calls = 0

    async def fetch(self, url):
        assert asyncio.get_running_loop() is self.loop
        self.calls += 1
        return f"{url} {self.calls}"


@lifespan.resource(service_types=["worker"])
async def client():
    journal.write("open")
    yield Client()
    journal.write("closed")


@lifespan.on_start(service_types=["app"])
def only_for_the_app():
    journal.write("app")


@lifespan.on_shutdown(service_types=["worker"], depends_on=[client])
def tell(context):
    journal.write(context.environment, context.get_config("celery_conf"))


@worker_init.connect
def init_worker_process(sender=None, conf=None, **kwargs):
    context = LifespanContext(
        service_type="worker", environment="production", config={"celery_conf": conf}
    )
    async_to_sync(lifespan.startup)(context)


@worker_shutdown.connect
def shutdown_worker_process(sender=None, **kwargs):
    context = LifespanContext(service_type="worker", environment="production")
    async_to_sync(lifespan.shutdown)(context)


@worker_ready.connect
def ready(**kwargs):
    journal.write("ready")


@app.task
def fetch(url):
    return lifespan.call(client.current().fetch, url, timeout=10)


@app.task
def pid():
    return os.getpid()


@app.task
def call():
    async def nothing():
        return os.getpid()

    return lifespan.call(nothing, timeout=10)
"""


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the address of a Redis, which is in BROKER too."""
    with Redis() as redis:
        monkeypatch.setenv("BROKER", redis.for_celery)
        yield redis.for_celery


@pytest.fixture
def client(broker: str) -> Iterator[Celery]:
    """Return the client's side of Celery."""
    app = Celery(broker=broker, backend=broker)
    yield app
    app.close()


@pytest.fixture
def tasks(project: Project) -> Project:
    """Return a project that is a Celery application."""
    return project.file("tasks.py", TASKS)


def worker(tasks: Project, *options: str) -> Server:
    """Return a worker that has begun, and is ready when its block is entered."""
    return Server(tasks, WORKER, application="tasks", options=options, ready=False)


def ask(client: Celery, task: str, *arguments: Any) -> Any:
    """Have a task run, and return its result; raises its error."""
    return client.send_task(f"tasks.{task}", arguments).get(timeout=LIMIT)


def test_resources_stay_open_from_the_workers_begin_to_its_end(
    tasks: Project, client: Celery
) -> None:
    with worker(tasks, "--pool", "solo") as server:
        server.wait_for_event("ready")
        assert [ask(client, "fetch", "/book/") for _ in range(3)] == [
            "/book/ 1",
            "/book/ 2",
            "/book/ 3",
        ]
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert tasks.events() == ["open", "ready", "production None", "closed"]


def test_child_of_the_worker_gets_an_error_about_resources_of_the_parent(
    tasks: Project, client: Celery
) -> None:
    with worker(tasks, "--pool", "prefork", "--concurrency", "1") as server:
        server.wait_for_event("ready")
        child = ask(client, "pid")
        assert child != server.process.pid
        for task, what in (("call", "nothing() can't be called"), ("fetch", "Resource 'client'")):
            arguments = ["/book/"] if task == "fetch" else []
            with pytest.raises(
                Exception, match=f"process {child}.*by process {server.process.pid}"
            ) as told:
                ask(client, task, *arguments)
            assert type(told.value).__name__ == "NotRunning"
            assert what in str(told.value)
            assert "which this one was forked from" in str(told.value)
        server.signal(signal.SIGTERM)
        server.wait()
    assert tasks.events() == ["open", "ready", "production None", "closed"]
    assert os.getpid() != child
