"""`contrib.tasks.InProcess`: Django's tasks in the process that enqueues them, on real servers."""

from __future__ import annotations

import signal
from pathlib import Path

import django
import pytest

from tests.projects import Project
from tests.servers import GRANIAN, GUNICORN, HYPERCORN, UVICORN, Kind, Server

pytestmark = pytest.mark.skipif(django.VERSION < (6, 0), reason="Django's tasks came with 6.0")

TASKS = """
import asyncio
import time

import journal
from django.db import connection
from django.tasks import task


@task
def add(first, second):
    journal.write("sum", first + second)
    return first + second


@task
async def count(label):
    from django.contrib.contenttypes.models import ContentType

    if await ContentType.objects.acount():
        journal.write(label, "counts")


@task(takes_context=True)
def look(context):
    journal.write("attempt", context.attempt)


@task
def fail():
    raise ValueError("no book")


@task
def nap(number):
    time.sleep(2)
    journal.write("done", number)


@task
async def async_nap(number):
    await asyncio.sleep(2)
    journal.write("done", number)


@task
def told_by_signal():
    pass
"""

VIEWS = """
from datetime import timedelta

import journal
from django.http import HttpResponse
from django.tasks.exceptions import InvalidTask
from django.tasks.signals import task_enqueued, task_finished, task_started
from django.utils import timezone

from . import tasks


def each(request):
    tasks.add.enqueue(1, second=2)
    tasks.count.enqueue("a sync view")
    tasks.look.enqueue()
    tasks.fail.enqueue()
    return HttpResponse("enqueued")


async def from_async(request):
    result = await tasks.count.aenqueue("an async view")
    return HttpResponse(result.status)


async def features(request):
    backend = tasks.add.get_backend()
    for name in ("async_task", "defer", "get_result", "priority"):
        journal.write(name, getattr(backend, f"supports_{name}"))
    for changes in ({"run_after": timezone.now() + timedelta(1)}, {"priority": 5}):
        try:
            await tasks.add.using(**changes).aenqueue(1, 2)
        except InvalidTask as error:
            journal.write("refused:", error)
    try:
        tasks.add.get_result("1")
    except NotImplementedError as error:
        journal.write("refused:", error)
    return HttpResponse("ok")


def naps(request):
    for number in range(25):
        (tasks.nap if number % 2 else tasks.async_nap).enqueue(number)
    return HttpResponse("enqueued")


def note(signal, word):
    def receiver(task_result, **kwargs):
        if task_result.task.name == "told_by_signal":
            journal.write("signal", word, task_result.status)
    signal.connect(receiver, weak=False)


note(task_enqueued, "enqueued")
note(task_started, "started")
note(task_finished, "finished")


def by_signals(request):
    tasks.told_by_signal.enqueue()
    return HttpResponse("enqueued")
"""


def shop(project: Project) -> Project:
    """Return a project whose tasks run in its processes."""
    project.settings(
        INSTALLED_APPS=["django.contrib.contenttypes", "lifespan_app", "shop"],
        TASKS={"default": {"BACKEND": "lifespan_app.contrib.tasks.InProcess"}},
    )
    project.app("shop", views=VIEWS, tasks=TASKS)
    assert project.manage("migrate").returncode == 0
    return project


def test_tasks_run_in_the_process_that_enqueues_them(project: Project) -> None:
    with Server(shop(project)) as server:
        server.get("/each/")
        assert server.get("/from_async/").status == 200
        server.wait_for_event("sum 3")
        server.wait_for_event("attempt 1")
        server.wait_for_event("a sync view counts")
        server.wait_for_event("an async view counts")
        line = project.line_of("shop/views.py", "tasks.fail.enqueue()")
        server.wait_for_output(
            rf"'shop.fail' \(shop/tasks.py:\d+\), spawned at shop/views.py:{line}, failed: ValueError"
        )


def test_feature_flags_say_the_truth(project: Project) -> None:
    with Server(shop(project)) as server:
        server.get("/features/")
    assert project.events() == [
        "async_task True",
        "defer False",
        "get_result False",
        "priority False",
        "refused: Backend does not support run_after.",
        "refused: Backend does not support setting priority of tasks.",
        "refused: This backend does not support retrieving or refreshing results.",
    ]


def test_signals_of_a_task_are_sent(project: Project) -> None:
    with Server(shop(project)) as server:
        server.get("/by_signals/")
        server.wait_for_event("signal finished SUCCESSFUL")
    assert "signal started RUNNING" in project.events()
    assert any(event.startswith("signal enqueued ") for event in project.events())


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize(
    "kind", [UVICORN, HYPERCORN, GRANIAN, GUNICORN], ids=lambda kind: kind.name
)
def test_tasks_that_run_at_the_stop_come_to_their_end(project: Project, kind: Kind) -> None:
    with Server(shop(project), kind) as server:
        server.get("/naps/")
        server.signal(signal.SIGTERM)
        server.wait()
        assert len({event for event in project.events() if event.startswith("done")}) == 25
        assert "cut off" not in server.output
    [run] = project.runs()
    assert run["status"] == "stopped"


def test_backend_says_that_no_lifespan_is_running(project: Project, tmp_path: Path) -> None:
    shop(project)
    project.file(
        "enqueue.py",
        """
        import django

        django.setup()
        from shop.tasks import add

        add.enqueue(1, 2)
        """,
    )
    ended = project.run("enqueue.py")
    assert "NotRunning: add() can't be spawned: " in ended.stderr
