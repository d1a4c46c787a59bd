"""Hooks that use the ORM: each has connections of its own, and none is left open."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from inspect import signature
from textwrap import dedent, indent
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext

from tests.clusters import CLUSTERS, Cluster, PostgreSQL
from tests.needs import needs_mariadb, needs_postgresql
from tests.projects import Project

MODELS = """
from django.db import models


class Book(models.Model):
    title = models.CharField(max_length=100)

    class Meta:
        app_label = "shop"
"""

# A hook a service type, so that each can be run alone. What is noted is the connection, as the
# driver gives it, that a query was made on.
LIFESPAN = """
import asyncio
from contextlib import asynccontextmanager, contextmanager

from asgiref.sync import sync_to_async
from django.db import connection
from lifespan_app import lifespan

from .models import Book

noted = []
after_their_hook = []
may_go_on = asyncio.Event()


def note():
    Book.objects.create(title="Emma")
    noted.append(connection.connection)


anote = sync_to_async(note)


def alone(decorator):
    def decorate(function):
        return decorator(service_types=[function.__name__])(function)

    return decorate


@alone(lifespan.on_start)
def sync_start():
    note()


@alone(lifespan.on_start)
def sync_start_that_fails():
    note()
    raise LookupError


@alone(lifespan.on_shutdown)
def sync_shutdown():
    note()


@alone(lifespan.resource)
def sync_resource():
    note()
    yield "resource"
    note()


@alone(lifespan.resource)
@contextmanager
def sync_context_manager():
    note()
    yield "resource"
    note()


@alone(lifespan.on_start)
async def async_start():
    await Book.objects.acreate(title="Emma")
    await anote()


@alone(lifespan.on_start)
async def async_start_that_fails():
    await anote()
    raise LookupError


@alone(lifespan.on_start)
async def async_start_with_children():
    await anote()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(anote())
    async for book in Book.objects.all():
        await anote()


@alone(lifespan.on_start)
async def async_start_with_a_task_that_outlives_it():
    await anote()

    async def go_on():
        await may_go_on.wait()
        await Book.objects.abulk_create([Book(title="Sanditon") for _ in range(6)])
        rows = aiter(Book.objects.filter(title="Sanditon").aiterator(chunk_size=2))
        await anext(rows)
        await asyncio.sleep(0.1)
        async for book in rows:
            await anote()

    after_their_hook.append(asyncio.create_task(go_on()))


@alone(lifespan.on_shutdown)
async def async_shutdown():
    await anote()


@alone(lifespan.resource)
async def async_resource():
    await anote()
    yield "resource"
    await anote()


@alone(lifespan.resource)
@asynccontextmanager
async def async_context_manager():
    await anote()
    yield "resource"
    await anote()


@alone(lifespan.resource)
async def two_resources():
    await anote()
    yield "resource"


@lifespan.resource(service_types=["two_resources"])
async def the_other_one():
    await anote()
    yield "resource"


@alone(lifespan.background)
async def job():
    while True:
        await anote()
        await asyncio.sleep(0.01)


@alone(lifespan.background)
async def job_that_crashes():
    await anote()
    raise LookupError


@alone(lifespan.background)
async def job_that_finishes():
    await anote()
"""

# Runs every hook alone, and tells of each how many connections were open while the process
# served and afterwards.
EVERY_HOOK = """
import asyncio
import json
import os
import time

import django

django.setup()

from django.db import connection
from django.db.backends.signals import connection_created
from lifespan_app.integration import connections
from lifespan_app import lifespan
from shop import lifespan as hooks

connections.RESTED = 0.03

# MariaDB's wrapper may say so more than once.
opened = set()
connection_created.connect(lambda connection, **kwargs: opened.add(connection), weak=False)


def still_open():
    return sum(wrapper.connection is not None for wrapper in opened)


async def until(look):
    for _ in range(1000):
        if look():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


async def run(name):
    told = {"error": None}
    try:
        async with lifespan.run(name):
            if "job" in name:
                await until(lambda: hooks.noted)
            if name in ("job_that_crashes", "job_that_finishes"):
                job = lambda: lifespan.report().steps[-1].outcome
                await until(job)
            if hooks.after_their_hook:
                told["serving with a task to come"] = still_open()
                hooks.may_go_on.set()
                await hooks.after_their_hook[0]
            if name != "job":
                # Their thread closes them, and nobody waits for it.
                await until(lambda: not still_open())
            told["serving"] = still_open()
    except LookupError as error:
        told["error"] = type(error).__name__
    told["after"] = still_open()
    told["queries"] = len(hooks.noted)
    told["connections"] = len(set(map(id, hooks.noted)))
    told["here"] = connection.connection is not None
    hooks.noted.clear()
    hooks.after_their_hook.clear()
    return told


def left_at_the_server():
    # A server is late to forget a connection that was closed.
    with connection.cursor() as cursor:
        for _ in range(1000):
            cursor.execute(os.environ["COUNTING"])
            [count] = cursor.fetchone()
            if not count:
                break
            time.sleep(0.01)
    return count


names = sorted({name for hook in lifespan.hooks for name in hook.service_types})
told = {name: asyncio.run(run(name)) for name in names}
print(json.dumps([told, left_at_the_server() if "COUNTING" in os.environ else 0]))
"""

Told = dict[str, dict[str, Any]]


@pytest.fixture(
    scope="module",
    params=[
        "sqlite",
        pytest.param("postgresql", marks=needs_postgresql),
        pytest.param("mariadb", marks=[needs_mariadb, pytest.mark.slow]),
    ],
)
def every_hook(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Told, int]]:
    """Run every hook alone on a database; return what was told of each, and what was left."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.app("shop", models=MODELS, lifespan=LIFESPAN).file("every_hook.py", EVERY_HOOK)
    if request.param == "sqlite":
        yield run_every_hook(project)
        return
    with CLUSTERS[request.param]() as cluster:
        cluster.serve(project)
        yield run_every_hook(project, COUNTING=cluster.counting)


def run_every_hook(project: Project, **environment: str) -> tuple[Told, int]:
    make_tables(project)
    done = project.run("every_hook.py", environment=environment)
    assert done.returncode == 0, done.stderr
    told, left = json.loads(done.stdout)
    return told, left


# Its record has a connection of its own, and is not what is looked at here.
WITHOUT_HISTORY = {"HISTORY": False}


def make_tables(project: Project) -> None:
    project.settings(LIFESPAN=WITHOUT_HISTORY)
    migrated = project.manage("migrate", "--run-syncdb", "--verbosity=0")
    assert migrated.returncode == 0, migrated.stderr


class TestConnections:
    """A hook's connections are open while it lives, and closed after it."""

    @pytest.mark.parametrize(
        "name",
        [
            "sync_start",
            "async_start",
            "async_start_with_children",
            "sync_shutdown",
            "async_shutdown",
            "job_that_crashes",
            "job_that_finishes",
        ],
    )
    def test_no_connection_is_open_of_hooks_that_ended_or_did_not_begin(
        self, every_hook: tuple[Told, int], name: str
    ) -> None:
        told, _ = every_hook
        assert told[name]["queries"] > 0
        assert told[name]["serving"] == 0
        assert told[name]["after"] == 0

    @pytest.mark.parametrize(
        "name",
        [
            "sync_resource",
            "sync_context_manager",
            "async_resource",
            "async_context_manager",
        ],
    )
    def test_connection_of_a_resource_is_given_back_at_its_yield(
        self, every_hook: tuple[Told, int], name: str
    ) -> None:
        told, _ = every_hook
        assert told[name]["serving"] == 0
        assert told[name]["queries"] == 2
        assert told[name]["connections"] == 2
        assert told[name]["after"] == 0

    def test_connection_of_a_job_is_closed_when_it_is_stopped(
        self, every_hook: tuple[Told, int]
    ) -> None:
        told, _ = every_hook
        assert told["job"]["queries"] > 0
        assert told["job"]["after"] == 0

    @pytest.mark.parametrize("name", ["sync_start_that_fails", "async_start_that_fails"])
    def test_connection_of_a_hook_that_fails_is_closed(
        self, every_hook: tuple[Told, int], name: str
    ) -> None:
        told, _ = every_hook
        assert told[name]["error"] == "LookupError"
        assert told[name]["queries"] == 1
        assert told[name]["after"] == 0

    def test_connection_is_the_hooks_own(self, every_hook: tuple[Told, int]) -> None:
        told, _ = every_hook
        assert told["two_resources"]["connections"] == 2
        assert told["two_resources"]["after"] == 0

    def test_connection_is_shared_by_the_hooks_child_tasks(
        self, every_hook: tuple[Told, int]
    ) -> None:
        told, _ = every_hook
        assert told["async_start_with_children"]["queries"] > 4
        assert told["async_start_with_children"]["connections"] == 1

    def test_connection_of_a_task_that_outlives_its_hook_is_closed(
        self, every_hook: tuple[Told, int]
    ) -> None:
        told, _ = every_hook
        outlived = told["async_start_with_a_task_that_outlives_it"]
        assert outlived["serving with a task to come"] == 0
        assert outlived["queries"] == 6
        assert outlived["connections"] == 2, "rows were read from it all the while"
        assert outlived["serving"] == 0

    def test_connections_of_the_programs_threads_are_left_alone(
        self, every_hook: tuple[Told, int]
    ) -> None:
        told, _ = every_hook
        assert not any(one["here"] for one in told.values())

    def test_connection_is_gone_from_the_server_too(self, every_hook: tuple[Told, int]) -> None:
        _, left = every_hook
        assert left == 0


# A job does what a test is about, then says so; the process ends when it has.
JOB = """
import asyncio

from asgiref.sync import sync_to_async
from django.db import OperationalError, connection, transaction
from journal import write
from lifespan_app.integration import connections
from lifespan_app import lifespan

from .models import Book

done = asyncio.Event()


async def backend():
    # Its process at the server: another number is another connection.
    return await sync_to_async(ask)("select pg_backend_pid()")


def ask(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


async def grow_old():
    # Until a look at the connection finds it past its age.
    import time

    while await sync_to_async(lambda: time.monotonic() < connection.close_at)():
        await asyncio.sleep(0.01)


async def open_at_the_server(number):
    # Asked on a connection that is not the hook's.
    def look():
        found = ask(f"select count(*) from pg_stat_activity where pid = {number}")
        connection.close()
        return bool(found)

    return await asyncio.to_thread(look)


async def cut(number):
    # As an administrator does, from a connection that is not the hook's.
    def terminate():
        ask(f"select pg_terminate_backend({number})")
        connection.close()

    await asyncio.to_thread(terminate)


@lifespan.background
async def job():
    try:
        await work()
    except BaseException as error:
        write("failed with", type(error).__name__)
        raise
    finally:
        done.set()
"""

MAIN = """
import asyncio

import django

django.setup()

from lifespan_app import lifespan
from shop.lifespan import done


async def main():
    async with lifespan.run():
        await asyncio.wait_for(done.wait(), 30)


asyncio.run(main())
"""


@needs_postgresql
@pytest.mark.every_pair
class TestAJobsConnection:
    """It is replaced between queries where it is broken or too old, and otherwise kept."""

    @pytest.fixture(scope="class")
    @classmethod
    def cluster(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
        """Return a server with the tables, which all tests of this class use."""
        with PostgreSQL() as cluster:
            project = Project(tmp_path_factory.mktemp("tables")).app("shop", models=MODELS)
            cluster.serve(project)
            make_tables(project)
            yield cluster

    @pytest.fixture
    def work(self, cluster: Cluster, project: Project) -> Callable[..., list[str]]:
        """Return a function that runs a job with this body, and returns what the job wrote."""

        def run(body: str, **options: Any) -> list[str]:
            work = "\n".join(["async def work():", indent(dedent(body), "    ")])
            project.app("shop", models=MODELS, lifespan=f"{dedent(JOB)}\n\n{work}")
            cluster.serve(project, **options)
            project.settings(LIFESPAN=WITHOUT_HISTORY)
            # The server is that of all tests of this class, and of a second try of this one.
            cluster.query("TRUNCATE shop_book RESTART IDENTITY")
            done = project.file("main.py", MAIN).run("main.py")
            assert done.returncode == 0, done.stderr
            return project.events()

        return run

    @pytest.mark.parametrize("age", [0, 60, None])
    def test_jobs_connection_is_one_for_all_queries(
        self, work: Callable[..., list[str]], age: int | None
    ) -> None:
        body = """
            for _ in range(5):
                write(await backend())
        """
        backends = work(body, CONN_MAX_AGE=age)
        assert len(backends) == 5
        assert len(set(backends)) == 1

    def test_jobs_connection_is_replaced_once_it_is_past_its_age(
        self, work: Callable[..., list[str]]
    ) -> None:
        body = """
            before = await backend()
            for _ in range(1000):
                if await backend() != before:
                    write("another one")
                    break
                await asyncio.sleep(0.01)
        """
        assert work(body, CONN_MAX_AGE=0.05) == ["another one"]

    def test_jobs_connection_is_kept_past_its_age_while_rows_are_read_from_it(
        self, work: Callable[..., list[str]]
    ) -> None:
        body = """
            for _ in range(6):
                await Book.objects.acreate(title="Emma")
            before = None
            async for book in Book.objects.aiterator(chunk_size=2):
                before = before or await backend()
                await grow_old()
                write("same" if await backend() == before else "another", "one")
            write("same" if await backend() == before else "another", "one")
        """
        events = work(body, CONN_MAX_AGE=0.05)
        assert events[-7:] == ["same one"] * 6 + ["another one"]

    def test_jobs_connection_is_kept_past_its_age_in_a_transaction(
        self, work: Callable[..., list[str]]
    ) -> None:
        body = """
            begin = transaction.atomic()
            await sync_to_async(begin.__enter__)()
            before = await backend()
            await Book.objects.acreate(title="Lady Susan")
            await grow_old()
            write("same" if await backend() == before else "another", "one")
            await sync_to_async(begin.__exit__)(None, None, None)
            write("kept", await Book.objects.filter(title="Lady Susan").acount())
        """
        assert work(body, CONN_MAX_AGE=0.05) == ["same one", "kept 1"]

    def test_jobs_connection_is_kept_past_its_age_without_autocommit(
        self, work: Callable[..., list[str]]
    ) -> None:
        body = """
            await sync_to_async(transaction.set_autocommit)(False)
            before = await backend()
            await Book.objects.acreate(title="Sanditon")
            await grow_old()
            write("same" if await backend() == before else "another", "one")
            await sync_to_async(transaction.commit)()
            await sync_to_async(transaction.set_autocommit)(True)
            write("kept", await Book.objects.filter(title="Sanditon").acount())
        """
        assert work(body, CONN_MAX_AGE=0.05) == ["same one", "kept 1"]

    def test_jobs_connection_is_kept_in_a_transaction_that_an_error_has_spoilt(
        self, work: Callable[..., list[str]]
    ) -> None:
        body = """
            from django.db import ProgrammingError

            begin = transaction.atomic()
            before = await backend()
            await sync_to_async(begin.__enter__)()
            try:
                await sync_to_async(ask)("select no_such_function()")
            except ProgrammingError as error:
                write("wrong")
                await sync_to_async(begin.__exit__)(ProgrammingError, error, None)
            write("same" if await backend() == before else "another", "one")
        """
        assert work(body) == ["wrong", "same one"]

    def test_jobs_connection_is_replaced_after_a_query_that_found_it_broken(
        self, work: Callable[..., list[str]]
    ) -> None:
        body = """
            before = await backend()
            await cut(before)
            try:
                await backend()
            except OperationalError:
                write("broken")
            write("same" if await backend() == before else "another", "one")
        """
        assert work(body) == ["broken", "another one"]

    def test_jobs_connection_is_given_back_after_a_second_without_use(
        self, work: Callable[..., list[str]]
    ) -> None:
        body = """
            import time

            before = await backend()
            since = time.monotonic()
            while await open_at_the_server(before):
                await asyncio.sleep(0.01)
            write(0.9 < time.monotonic() - since < 10)
            write("same" if await backend() == before else "another", "one")
        """
        assert work(body) == ["True", "another one"]

    @pytest.mark.parametrize(
        "begin",
        [
            "transaction.atomic().__enter__()",
            "transaction.set_autocommit(False)",
            "held.append(connection.cursor())",
            "[held.append(Book.objects.iterator()), next(held[0])]",
        ],
        ids=["atomic", "autocommit", "cursor", "rows"],
    )
    def test_jobs_connection_is_kept_while_something_is_bound_to_it(
        self, work: Callable[..., list[str]], begin: str
    ) -> None:
        body = f"""
            connections.RESTED = 0.01
            held = []
            await Book.objects.abulk_create([Book(title="Emma"), Book(title="Persuasion")])
            await sync_to_async(lambda: {begin})()
            before = await backend()
            await asyncio.sleep(20 * connections.RESTED)
            write(await open_at_the_server(before))
            write("same" if await backend() == before else "another", "one")
        """
        assert work(body) == ["True", "same one"]

    def test_jobs_connection_is_given_back_though_an_error_holds_its_cursor(
        self, work: Callable[..., list[str]]
    ) -> None:
        body = """
            from django.db import ProgrammingError

            connections.RESTED = 0.01
            try:
                await sync_to_async(ask)("select no_such_function()")
            except ProgrammingError as error:
                kept = error
            before = await backend()
            while await open_at_the_server(before):
                await asyncio.sleep(0.01)
            write("given back")
        """
        assert work(body) == ["given back"]

    def test_jobs_connection_that_broke_while_rows_were_read_from_it_is_replaced(
        self, work: Callable[..., list[str]]
    ) -> None:
        body = """
            connections.RESTED = 0.01
            cursor = await sync_to_async(lambda: connection.cursor())()
            before = await backend()
            await cut(before)
            await asyncio.sleep(20 * connections.RESTED)
            write("same" if await backend() == before else "another", "one")
        """
        assert work(body) == ["another one"]

    def test_jobs_connection_is_kept_after_a_query_that_was_wrong(
        self, work: Callable[..., list[str]]
    ) -> None:
        body = """
            from django.db import ProgrammingError

            before = await backend()
            try:
                await sync_to_async(ask)("select no_such_function()")
            except ProgrammingError:
                write("wrong")
            write("same" if await backend() == before else "another", "one")
        """
        assert work(body) == ["wrong", "same one"]


# As a program runs a lifespan from its beginning to its end.
RUN_AND_END = """
import asyncio

from lifespan_app import lifespan


async def run():
    async with lifespan.run():
        pass


asyncio.run(run())
"""


@pytest.mark.every_pair
class TestAsyncToSync:
    """Under asgiref's async_to_sync the thread that waits makes the ORM calls, as elsewhere."""

    PROGRAM = """
        import asyncio
        import threading

        import django

        django.setup()

        from asgiref.sync import async_to_sync, sync_to_async
        from django.db import connection
        from lifespan_app import lifespan

        threads = []


        def ask():
            with connection.cursor() as cursor:
                cursor.execute("select 1")
            threads.append(threading.current_thread())


        @lifespan.on_start
        async def start():
            await sync_to_async(ask)()


        async def main():
            async with lifespan.run():
                pass


        %s
        print(threads == [threading.main_thread()], connection.connection is not None)
    """

    def test_connection_of_async_to_sync_is_left_open(self, project: Project) -> None:
        project.settings(LIFESPAN={"HISTORY": False})
        program = self.PROGRAM % "async_to_sync(main)()"
        done = project.file("main.py", program).run("main.py")
        assert (done.stdout, done.stderr) == ("True True\n", "")

    def test_hook_without_async_to_sync_uses_no_thread_of_the_program(
        self, project: Project
    ) -> None:
        project.settings(LIFESPAN={"HISTORY": False})
        program = self.PROGRAM % "asyncio.run(main())"
        done = project.file("main.py", program).run("main.py")
        assert (done.stdout, done.stderr) == ("False False\n", "")


class TestALoopInTheThreadOfTheConnections:
    """It would wait for the very thread that it blocks."""

    def test_loop_in_the_thread_of_the_connections_is_refused(self, project: Project) -> None:
        lifespan = """
            import asyncio

            from asgiref.sync import sync_to_async
            from lifespan_app import lifespan

            from .models import Book


            def count():
                asyncio.run(Book.objects.acount())


            @lifespan.on_start
            async def start():
                await sync_to_async(count)()
        """
        project.app("shop", models=MODELS, lifespan=lifespan)
        done = project.manage("shell", "-c", RUN_AND_END)
        line = project.line_of("shop/lifespan.py", "@lifespan.on_start")
        assert f"RuntimeError: 'shop.start' (shop/lifespan.py:{line}) runs an event" in done.stderr
        assert "async_to_sync() instead of asyncio.run()" in done.stderr


class TestAnAsgirefWithOtherNames:
    """What it publishes is used where its own names, which are quicker, are gone."""

    LIFESPAN = """
        from lifespan_app.integration import connections
        from lifespan_app import lifespan

        from .models import Book

        connections.THE_CHOICE = None


        @lifespan.resource
        async def resource():
            await Book.objects.acount()
            yield "resource"
            await Book.objects.acount()
    """
    TELL = """
        from django.db.backends.signals import connection_created

        opened = []
        connection_created.connect(lambda connection, **kw: opened.append(connection), weak=False)
    """

    @pytest.mark.skipif(
        "executor" not in signature(ThreadSensitiveContext).parameters,
        reason="this asgiref has no such public way, and has the names",
    )
    def test_asgiref_with_other_names_still_gives_a_hook_its_connections(
        self, project: Project
    ) -> None:
        project.app("shop", models=MODELS, lifespan=self.LIFESPAN)
        make_tables(project)
        tell = "print(len(opened), [one.connection for one in opened])"
        done = project.manage("shell", "-c", "\n".join([dedent(self.TELL), RUN_AND_END, tell]))
        assert done.stdout.splitlines()[-1] == "2 [None, None]", done.stderr
