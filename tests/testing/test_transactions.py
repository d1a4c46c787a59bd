"""Hooks see the rows that a test has made, and what hooks write is undone with the test.

The suite of a small project is run by pytest in a process of its own, on each database: Django's
two test cases, and tests with pytest-django's fixtures, sync and async ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points

import pytest

from tests.clusters import PostgreSQL
from tests.needs import needs_postgresql
from tests.projects import Project

pytestmark = [pytest.mark.slow, pytest.mark.every_pair]

MODELS = """
from django.db import models


class Book(models.Model):
    title = models.CharField(max_length=100)

    class Meta:
        app_label = "shop"
"""

# Each hook tells how many books it has found, in which thread and on which connection, and writes
# one itself.
LIFESPAN = """
import threading

from asgiref.sync import sync_to_async
from django.db import connection
from lifespan_app import lifespan

from .models import Book

found = {}
threads = set()
connections = set()


def work(name):
    found[name] = Book.objects.count()
    Book.objects.create(title=name)
    threads.add(threading.get_ident())
    connections.add(connection.connection)


awork = sync_to_async(work)


@lifespan.on_start(priority=1)
def sync_start():
    work("sync_start")


@lifespan.on_start(priority=2)
async def async_start():
    await awork("async_start")


@lifespan.resource(priority=3)
def sync_shelf():
    work("sync_shelf")
    yield "shelf"
    work("sync_shelf_left")


@lifespan.resource(priority=4)
async def async_shelf():
    await awork("async_shelf")
    yield "shelf"
    await awork("async_shelf_left")


@lifespan.on_shutdown(priority=5)
def sync_stop():
    work("sync_stop")


@lifespan.on_shutdown(priority=6)
async def async_stop():
    await awork("async_stop")
"""

VIEWS = """
from django.http import HttpResponse

from .models import Book


def count(request):
    return HttpResponse(str(Book.objects.count()))


async def acount(request):
    return HttpResponse(str(await Book.objects.acount()))
"""

SUITE = """
import threading

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection
from django.test import TestCase, TransactionTestCase
from lifespan_app import lifespan
from lifespan_app.testing import lifespan_running

from shop import lifespan as hooks
from shop.models import Book

STARTED = {"sync_start": 1, "async_start": 2, "sync_shelf": 3, "async_shelf": 4}
STOPPED = {"async_stop": 5, "sync_stop": 6, "async_shelf_left": 7, "sync_shelf_left": 8}


def forget():
    for noted in (hooks.found, hooks.threads, hooks.connections):
        noted.clear()


def begin():
    assert Book.objects.count() == 0
    forget()
    Book.objects.create(title="the test's")


async def count():
    return await Book.objects.acount()


def check_sync(running):
    assert hooks.found == STARTED
    assert Book.objects.count() == 5
    assert running.client.get("/count/").content == b"5"
    assert running.client.get("/acount/").content == b"5"
    assert async_to_sync(count)() == 5
    assert lifespan.call(count, timeout=10) == 5


async def check_async(running):
    assert hooks.found == STARTED
    assert await Book.objects.acount() == 5
    assert (await running.async_client.get("/count/")).content == b"5"
    assert (await running.async_client.get("/acount/")).content == b"5"


def end():
    assert hooks.found == STARTED | STOPPED
    assert Book.objects.count() == 9
    assert hooks.connections == {connection.connection}
    assert len(hooks.threads) == 1


class Cases:
    def setUp(self):
        begin()

    def test_sync(self):
        with lifespan_running() as running:
            check_sync(running)
        end()
        assert hooks.threads == {threading.get_ident()}

    async def test_async(self):
        async with lifespan_running() as running:
            await check_async(running)
        await sync_to_async(end)()
        assert hooks.threads == {await sync_to_async(threading.get_ident)()}

    def test_again(self):
        with lifespan_running() as running:
            check_sync(running)
        end()

    async def test_again_async(self):
        async with lifespan_running() as running:
            await check_async(running)
        await sync_to_async(end)()


class TestInTestCase(Cases, TestCase):
    pass


class TestInTransactionTestCase(Cases, TransactionTestCase):
    pass


class TestWithRowsOfTheClass(TestCase):
    @classmethod
    def setUpTestData(cls):
        Book.objects.create(title="the class's")

    def setUp(self):
        forget()

    def test_sync(self):
        with lifespan_running() as running:
            check_sync(running)

    async def test_async(self):
        async with lifespan_running() as running:
            await check_async(running)


@pytest.fixture(params=["db", "transactional_db"])
def rows(request):
    request.getfixturevalue(request.param)
    begin()


def test_sync(rows):
    with lifespan_running() as running:
        check_sync(running)
    end()
    assert hooks.threads == {threading.get_ident()}


async def test_async(rows):
    async with lifespan_running() as running:
        await check_async(running)


@pytest.fixture
def ended_well(rows):
    yield
    end()


async def test_async_to_the_end(ended_well):
    async with lifespan_running() as running:
        await check_async(running)


@pytest.mark.django_db
async def test_rows_of_an_async_test_itself():
    hooks.found.clear()
    async with lifespan_running(only=[hooks.sync_stop]):
        await Book.objects.acreate(title="the test's")
        await sync_to_async(Book.objects.create)(title="another")
    assert hooks.found == {"sync_stop": 2}


def test_fixture_behind_rows(rows, running):
    check_sync(running)


async def test_async_fixture(rows, async_running):
    await check_async(async_running)


def test_the_database_is_left_empty(db):
    assert Book.objects.count() == 0
"""

OPTIONS = """
[pytest]
addopts = -q -p no:cacheprovider
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """A project whose hooks, views and tests use the database."""
    project.app("shop", models=MODELS, lifespan=LIFESPAN, views=VIEWS)
    project.file("test_shop.py", SUITE)
    return project


@pytest.fixture(params=["SQLite in memory", pytest.param("PostgreSQL", marks=needs_postgresql)])
def database(request: pytest.FixtureRequest, shop: Project) -> Iterator[None]:
    """Have the shop use a database."""
    if request.param == "PostgreSQL":
        with PostgreSQL() as cluster:
            cluster.serve(shop)
            yield
            assert cluster.clients() == 0
    else:
        shop.settings(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3"}})
        yield


def plugin() -> list[str]:
    """Return what has pytest load the plugin where it is not installed, but in a checkout."""
    installed = any(
        point.value == "lifespan_app.pytest_plugin" for point in entry_points(group="pytest11")
    )
    return [] if installed else ["-p", "lifespan_app.pytest_plugin"]


@pytest.mark.usefixtures("database")
def test_hooks_see_the_rows_of_a_test_and_leave_none(shop: Project) -> None:
    shop.file("pytest.ini", OPTIONS)
    result = shop.run("-m", "pytest", *plugin(), "test_shop.py")
    assert result.returncode == 0, result.stdout + result.stderr
    assert " failed" not in result.stdout
