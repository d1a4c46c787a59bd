"""``LIFESPAN["COMMANDS"]``: a management command that is a process has its plan open around it."""

from __future__ import annotations

import json
import re
import signal
from signal import Signals
from textwrap import indent

import pytest

from tests.history.served import in_namespace
from tests.needs import needs_namespaces
from tests.projects import MANAGE, Project
from tests.servers import Kind, Server

pytestmark = [pytest.mark.slow, pytest.mark.once]

LIFESPAN = """
import asyncio

import journal
from lifespan_app import lifespan


class Client:
    def __init__(self):
        self.loop = asyncio.get_running_loop()

    async def fetch(self, title):
        assert asyncio.get_running_loop() is self.loop
        return f"{title} fetched"


@lifespan.resource(service_types=["worker"])
async def client(context):
    journal.write("open", context.service_type)
    yield Client()
    journal.write("closed")


@lifespan.background(service_types=["worker"])
async def beat():
    journal.write("job begins")
    await asyncio.Event().wait()


@lifespan.on_start(service_types=["app"])
def only_for_the_app():
    journal.write("app")
"""

TASKS = """
import journal
from lifespan_app import lifespan
from {tasks} import task

from .lifespan import client


@{decorator}
def fetch(title):
    journal.write(lifespan.call(client.current().fetch, title))
"""

OPENED = ["open worker", "job begins"]
FETCHED = "emma fetched"


def command(name: str, *options: str) -> Kind:
    """Return a management command as a process."""
    return Kind(name=name, command=("manage.py", name, *options), needs=())


def running(project: Project, name: str, *options: str) -> Server:
    return Server(project, command(name, *options), ready=False)


def configure(project: Project, commands: object, **further: object) -> Project:
    """Have these commands open their plans; what the history can't take waits in the project."""
    spool = str(project.folder / "spool")
    return project.settings(LIFESPAN={"COMMANDS": commands, "SPOOL_DIR": spool, **further})


@pytest.fixture
def shop(project: Project) -> Project:
    """Return a project with a worker's plan, and a command ``work`` that opens it."""
    project.app("shop", lifespan=LIFESPAN)
    project.file("shop/management/commands/work.py", WORK)
    return configure(project, {"work": "worker"})


WORK = """
import threading

import journal
from django.core.management.base import BaseCommand
from lifespan_app import lifespan
from shop.lifespan import client


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("--once", action="store_true")

    def handle(self, *, once, **options):
        journal.write(lifespan.call(client.current().fetch, "emma"))
        if once:
            return "done"
        threading.Event().wait()
"""


# Workers of other packages.


@pytest.fixture
def django_tasks(project: Project) -> Project:
    """Return a project whose tasks django-tasks-db's worker runs."""
    pytest.importorskip("django.tasks", reason="Django has tasks from 6.0 on")
    project.app(
        "shop",
        lifespan=LIFESPAN,
        tasks=TASKS.format(tasks="django.tasks", decorator="task"),
    )
    project.settings(
        INSTALLED_APPS=["lifespan_app", "shop", "django_tasks_db"],
        TASKS={"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}},
    )
    status_file = str(project.folder / "status.json")
    return configure(project, {"db_worker": "worker"}, SERVICE_TYPE="app", STATUS_FILE=status_file)


def test_db_worker_has_its_plan_while_it_idles_and_in_its_tasks(django_tasks: Project) -> None:
    project = django_tasks
    assert project.manage("migrate").returncode == 0
    worker = Server(
        project,
        command("db_worker", "--interval", "0.1", "--no-startup-delay"),
        # The setting of the command is meant, whatever the environment says of the project.
        environment={"LIFESPAN_SERVICE_TYPE": "app"},
        ready=False,
    )
    with worker:
        worker.wait_for_event("job begins")
        worker.until(lambda: probe(project) == 0, "The worker did not come to be ready")
        assert json.loads((project.folder / "status.json").read_text())["service_type"] == "worker"
        enqueue = (
            "import django; django.setup(); from shop.tasks import fetch; fetch.enqueue('emma')"
        )
        assert project.run("-c", enqueue).returncode == 0
        worker.wait_for_event(FETCHED)
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.output

    assert project.events() == [*OPENED, FETCHED, "closed"]
    assert probe(project) == 1
    (run,) = project.runs()
    assert (run["status"], run["service_type"], run["mode"]) == ("stopped", "worker", "command")


def probe(project: Project) -> int:
    """Return the exit code of the probe."""
    status_file = str(project.folder / "status.json")
    return project.run("-m", "lifespan_app.probe", "ready", status_file).returncode


@pytest.fixture
def huey(project: Project) -> Project:
    """Return a project whose tasks Huey's consumer runs, in threads."""
    project.app(
        "shop",
        lifespan=LIFESPAN,
        tasks=TASKS.format(tasks="huey.contrib.djhuey", decorator="task()"),
    )
    project.settings(
        INSTALLED_APPS=["lifespan_app", "shop", "huey.contrib.djhuey"],
        HUEY={
            "huey_class": "huey.SqliteHuey",
            "filename": str(project.folder / "huey.sqlite3"),
            "immediate": False,
        },
    )
    return configure(project, {"run_huey": "worker"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_threads_of_hueys_consumer_use_the_plan(huey: Project, number: Signals) -> None:
    with running(huey.with_tables(), "run_huey", "--workers", "2", "--delay", "0.1") as consumer:
        consumer.wait_for_event("job begins")
        enqueue = "import django; django.setup(); from shop.tasks import fetch; fetch('emma')"
        assert huey.run("-c", enqueue).returncode == 0
        consumer.wait_for_event(FETCHED)
        consumer.signal(number)
        assert consumer.wait() == 0, consumer.output

    assert huey.events() == [*OPENED, FETCHED, "closed"]
    assert [run["status"] for run in huey.runs()] == ["stopped"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_db_worker_that_reloads_opens_its_plan_in_the_child_only(
    django_tasks: Project, number: Signals
) -> None:
    """With DEBUG it reloads without being asked to."""
    django_tasks.settings(DEBUG=True)
    assert django_tasks.manage("migrate").returncode == 0
    with running(django_tasks, "db_worker", "--interval", "0.1", "--no-startup-delay") as worker:
        worker.wait_for_event("job begins")
        worker.signal_group(number)
        worker.wait()

    assert django_tasks.events()[:2] == OPENED
    assert django_tasks.events().count("open worker") == 1


# The end.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_command_without_a_handler_dies_of_the_signal_after_its_plan_is_closed(
    shop: Project, number: Signals
) -> None:
    with running(shop, "work") as work:
        work.wait_for_event(FETCHED)
        work.signal(number)

        assert work.wait() == -number
    assert shop.events() == [*OPENED, FETCHED, "closed"]
    assert "Traceback" not in work.output


def test_two_signals_at_once_close_the_plan(shop: Project) -> None:
    shop.file("shop/management/commands/work.py", ENDS_ITSELF)
    with running(shop, "work") as work:
        assert work.wait() in (-signal.SIGTERM, -signal.SIGHUP)
    assert shop.events() == [*OPENED, "closed"]


ENDS_ITSELF = """
import signal
import threading

from django.core.management.base import BaseCommand

BOTH = {signal.SIGTERM, signal.SIGHUP}


class Command(BaseCommand):
    def handle(self, **options):
        # As systemd sends them with SendSIGHUP=yes.
        signal.pthread_sigmask(signal.SIG_BLOCK, BOTH)
        for number in BOTH:
            signal.pthread_kill(threading.get_ident(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BOTH)
"""


@needs_namespaces
def test_signal_is_in_the_exit_code_of_the_first_process_of_a_container(shop: Project) -> None:
    with Server(shop, in_namespace(command("work")), ready=False) as work:
        work.wait_for_event(FETCHED)
        work.signal_group(signal.SIGTERM)

        assert work.wait() == 128 + signal.SIGTERM
    assert shop.events() == [*OPENED, FETCHED, "closed"]


def test_ctrl_c_ends_it_as_it_ends_any_command(shop: Project) -> None:
    with running(shop, "work") as work:
        work.wait_for_event(FETCHED)
        work.interrupt()

        assert work.wait() == -signal.SIGINT
    assert shop.events() == [*OPENED, FETCHED, "closed"]
    assert "KeyboardInterrupt" in work.output


def test_command_that_returns_closes_its_plan_and_prints_its_output(shop: Project) -> None:
    done = shop.manage("work", "--once")

    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert shop.events() == [*OPENED, FETCHED, "closed"]


def test_signal_during_the_startup_gives_it_up(shop: Project) -> None:
    shop.file("shop/lifespan.py", LIFESPAN + SLOW_START)
    with running(shop, "work") as work:
        work.wait_for_event("slow begins")
        work.signal(signal.SIGTERM)

        assert work.wait() == -signal.SIGTERM
    assert shop.events() == ["open worker", "slow begins", "closed"]


SLOW_START = """
@lifespan.on_start(service_types=["worker"])
async def slow(client):
    journal.write("slow begins")
    await asyncio.Event().wait()
"""


def test_second_signal_hurries_a_stop_that_hangs(shop: Project) -> None:
    shop.file("shop/lifespan.py", LIFESPAN + STUBBORN_STOP)
    configure(shop, {"work": "worker"}, SHUTDOWN_TIMEOUT=600, SHUTDOWN_DEADLINE=600)
    with running(shop, "work") as work:
        work.wait_for_event(FETCHED)
        work.signal(signal.SIGTERM)
        work.wait_for_event("stop hangs")
        work.signal(signal.SIGTERM)

        assert work.wait() == 5
    assert shop.events()[-1] == "closed"


STUBBORN_STOP = """
@lifespan.on_shutdown(service_types=["worker"], depends_on=[client])
async def stubborn():
    journal.write("stop hangs")
    await asyncio.Event().wait()
"""


def test_blocked_loop_keeps_no_command_alive(shop: Project) -> None:
    shop.file("shop/lifespan.py", LIFESPAN + BLOCKING_CLIENT)
    configure(shop, {"work": "worker"}, SHUTDOWN_DEADLINE=1)
    with running(shop, "work") as work:
        work.wait_for_event("blocks")
        work.signal(signal.SIGTERM)

        assert work.wait() == 5
    assert re.search(
        r"blocked, so nothing can be closed.*: shop/lifespan.py:\d+ in block", work.output
    )
    assert work.output.endswith(
        "CommandError: Nothing could be closed: the event loop is blocked.\n"
    )


BLOCKING_CLIENT = """
import threading


def block():
    journal.write("blocks")
    threading.Event().wait()


async def fetch(self, title):
    # Behind the answer to the command.
    self.loop.call_soon(block)
    return f"{title} fetched"


Client.fetch = fetch
"""


def test_job_that_ends_the_process_makes_it_return_1(shop: Project) -> None:
    shop.file("shop/lifespan.py", LIFESPAN + FATAL_JOB)

    done = shop.manage("work")

    assert done.returncode == 1
    assert "'shop.fatal' (shop/lifespan.py:33) crashed, and has on_crash='stop'" in done.stderr
    assert shop.events()[-1] == "closed"


FATAL_JOB = """
@lifespan.background(service_types=["worker"], on_crash="stop")
async def fatal():
    raise OSError("no line")
"""


# The beginning.


def test_failed_start_ends_the_command_with_1_before_it_works(shop: Project) -> None:
    shop.file("shop/lifespan.py", LIFESPAN + FAILING_START)

    done = shop.manage("work")

    assert done.returncode == 1
    assert shop.events() == ["open worker", "closed"]
    assert "hook 'shop.connect'" in done.stderr
    assert "ConnectionError: refused" in done.stderr


FAILING_START = """
@lifespan.on_start(service_types=["worker"])
async def connect(client):
    raise ConnectionError("refused")
"""


@pytest.mark.parametrize("options", [("--help",), ("--no-such-option",)])
def test_command_that_does_not_come_to_work_opens_nothing(
    shop: Project, options: tuple[str, ...]
) -> None:
    shop.manage("work", *options)

    assert shop.events() == []


def test_other_commands_open_nothing(shop: Project) -> None:
    assert shop.manage("migrate").returncode == 0
    assert shop.manage("check").returncode == 0

    assert shop.events() == []


def test_refused_command_opens_nothing_with_any_setting(shop: Project) -> None:
    configure(shop, {"migrate": "worker"})

    done = shop.manage("migrate")

    assert done.returncode == 0, done.stderr
    assert shop.events() == []


# Processes that such a command starts.


def test_under_the_autoreloader_only_the_child_opens_the_plan(shop: Project) -> None:
    shop.file("shop/management/commands/work.py", RELOADING)
    with running(shop, "work", "--reload") as work:
        work.wait_for_event("works")
        assert shop.events() == [*OPENED, "works"]
        work.interrupt()
        work.wait()
    assert shop.events().count("open worker") == 1


RELOADING = """
import threading

import journal
from django.core.management.base import BaseCommand
from django.utils import autoreload


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("--reload", action="store_true")
        parser.add_argument("--batch", action="store_true")

    def handle(self, *, reload, batch, **options):
        if reload and not batch:
            autoreload.run_with_reloader(self.work)
        else:
            from lifespan_app import lifespan
            from shop.lifespan import client

            journal.write(lifespan.call(client.current().fetch, "emma"))

    def work(self):
        journal.write("works")
        threading.Event().wait()
"""


def test_command_that_does_not_reload_after_all_opens_its_plan_at_the_first_use(
    shop: Project,
) -> None:
    shop.file("shop/management/commands/work.py", RELOADING)

    done = shop.manage("work", "--reload", "--batch")

    assert done.returncode == 0, done.stderr
    assert shop.events() == [*OPENED, FETCHED, "closed"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_process_that_the_command_starts_opens_a_plan_of_its_own_and_closes_it(
    shop: Project, method: str
) -> None:
    # What is spawned imports the program, which is not to begin anew by that.
    shop.file("manage.py", f"if __name__ == '__main__':\n{indent(MANAGE, '    ')}")
    shop.file("shop/work.py", FETCH)
    shop.file(
        "shop/management/commands/work.py",
        f"""
        import multiprocessing

        from django.core.management.base import BaseCommand
        from shop.work import fetch


        class Command(BaseCommand):
            def handle(self, **options):
                # It is not waited for here, as by qcluster.
                multiprocessing.get_context({method!r}).Process(target=fetch).start()
        """,
    ).with_tables()

    done = shop.manage("work")

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(shop.events()) == sorted([*OPENED, *OPENED, FETCHED, "closed", "closed"]), (
        done.stderr
    )
    own, child = shop.runs()
    assert (own["status"], child["status"]) == ("stopped", "stopped")
    assert own["launch"] == child["launch"]
    assert own["pid"] != child["pid"]


FETCH = """
import django

django.setup()

import journal
from lifespan_app import lifespan
from shop.lifespan import client


def fetch():
    journal.write(lifespan.call(client.current().fetch, "emma"))
"""


def test_fork_of_the_command_dies_of_a_signal_as_any_process(shop: Project) -> None:
    shop.file(
        "shop/management/commands/work.py",
        """
        import os
        import signal

        import journal
        from django.core.management.base import BaseCommand


        class Command(BaseCommand):
            def handle(self, **options):
                read, write = os.pipe()
                child = os.fork()
                if child == 0:
                    os.write(write, b"!")
                    while True:
                        signal.pause()
                os.read(read, 1)
                os.kill(child, signal.SIGTERM)
                _, status = os.waitpid(child, 0)
                journal.write("child", os.waitstatus_to_exitcode(status))
        """,
    )

    done = shop.manage("work")

    assert done.returncode == 0, done.stderr
    assert shop.events() == [*OPENED, f"child {-signal.SIGTERM}", "closed"]


# Beside a server.


def test_call_command_in_a_server_opens_nothing_and_disturbs_no_thread(project: Project) -> None:
    project.app(
        "shop",
        lifespan=LIFESPAN.replace('service_types=["worker"]', ""),
        views="""
        import threading

        from django.core.management import call_command, execute_from_command_line
        from django.http import HttpResponse
        from .lifespan import client

        def command(request):
            call_command("work", once=True)
            execute_from_command_line(["manage.py", "work", "--once"])
            read = []
            thread = threading.Thread(target=lambda: read.append(client.current()))
            thread.start()
            thread.join()
            return HttpResponse(read[0] is client(request))
        """,
    )
    project.file("shop/management/commands/work.py", WORK)
    configure(project, {"work": "worker"})
    with Server(project) as server:
        answer = server.get("/command/")
        assert (answer.status, answer.text) == (200, "True"), server.output
        server.signal(signal.SIGTERM)
        server.wait()

    assert project.events().count("open app") == 1
    assert project.events().count(FETCHED) == 2
    assert "open worker" not in project.events()


# Checks.


def messages_of(project: Project, commands: object) -> str:
    configure(project, commands)
    return project.manage("check").stderr


def test_w014_suggests_the_command(shop: Project) -> None:
    said = messages_of(shop, {"wrok": "worker"})

    assert "(lifespan_app.W014) LIFESPAN['COMMANDS']['wrok'] names no command" in said
    assert "Did you mean 'work'?" in said
    assert "ERRORS" not in said


@pytest.mark.parametrize(
    "name", ["migrate", "check", "test", "runserver", "shell", "runlifespan", "checklifespan"]
)
def test_e014_refuses_commands_that_need_no_plan(shop: Project, name: str) -> None:
    said = messages_of(shop, {name: "worker"})

    assert re.search(rf"lifespan_app\.E014\) LIFESPAN\['COMMANDS'\]\['{name}'\]", said)


def test_e003_reports_a_service_type_that_is_no_string(shop: Project) -> None:
    assert "LIFESPAN['COMMANDS']['work'] must be a string, not 3" in messages_of(shop, {"work": 3})
    assert "LIFESPAN['COMMANDS'] must be a dictionary" in messages_of(shop, ["work"])


def test_nothing_is_wrapped_without_the_setting(shop: Project) -> None:
    shop.settings(LIFESPAN={})
    look = (
        "import django, sys; django.setup();"
        "from django.core.management.base import BaseCommand;"
        "print(BaseCommand.run_from_argv.__module__, 'lifespan_app.processes.commands' in sys.modules)"
    )

    assert shop.run("-c", look).stdout == "django.core.management.base False\n"
