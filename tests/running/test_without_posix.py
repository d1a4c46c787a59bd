"""Processes on a system like Windows: without fork, fcntl, /proc, most signals, and file descriptors of folders.

A module that Python imports first takes all this away. Real Windows differs in more.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

from lifespan_app.engine.adapter import Adapter
from tests.projects import Project
from tests.servers import RUNSERVER, Server

LIKE_WINDOWS = """
import asyncio
import os
import signal
import sys

for name in ("fcntl", "grp", "pwd", "resource", "termios", "pty", "tty"):
    sys.modules[name] = None

GONE = (
    "O_NOFOLLOW O_DIRECTORY O_NOCTTY chown ctermid fchmod fchown fork forkpty geteuid "
    "getgid getpgid getpgrp getsid getuid initgroups killpg mkfifo register_at_fork setpgid setsid "
    "statvfs sysconf tcgetpgrp uname"
)
for name in GONE.split():
    if hasattr(os, name):
        delattr(os, name)

KEPT = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM"}
for name in list(signal.Signals.__members__):
    if name not in KEPT and name not in ("SIGCHLD", "SIGKILL"):  # Python needs those here
        number = signal.Signals._member_map_.pop(name)
        if hasattr(signal, name):
            delattr(signal, name)


def not_here(*arguments, **options):
    raise NotImplementedError


import asyncio.base_events
import asyncio.unix_events

asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler = not_here
asyncio.unix_events._UnixSelectorEventLoop.remove_signal_handler = not_here

replace = os.replace


def replace_a_closed_file(source, target, **options):
    # Windows refuses to rename a file that is open.
    for number in os.listdir("/proc/self/fd"):
        try:
            opened = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if opened == os.path.abspath(source):
            raise PermissionError(13, "The process cannot access the file", str(source))
    return replace(source, target, **options)


os.replace = replace_a_closed_file


def refuse_proc(event, arguments):
    if event == "open" and str(arguments[0]).startswith("/proc/") and "/fd" not in str(arguments[0]):
        raise FileNotFoundError(2, "There is no /proc", arguments[0])


sys.addaudithook(refuse_proc)
print("like Windows", file=sys.stderr)
"""

LIFESPAN = """
import sys

from lifespan_app import lifespan

from journal import write


@lifespan.resource
async def client():
    write("opened")
    yield "client"
    write("closed")


@lifespan.on_start
def warm_up(client):
    write("warm")
"""

AROUND = """
from lifespan_app import lifespan

from journal import write


@lifespan.resource(service_types=["server"])
async def around():
    write("opened")
    yield "around"
    write("closed")
"""

CHILD = """
import os
import signal

from journal import write



def ask_parent(*arguments):
    os.kill(os.getppid(), signal.SIGTERM)


signal.signal(signal.SIGTERM, ask_parent)
write("child")
ask_parent()
while True:
    signal.pause()
"""


NOTICE = """
from lifespan_app import lifespan

from journal import write


@lifespan.on_drain
async def drain():
    write("drained")
"""

VIEWS = """
from books.lifespan import client
from django.http import HttpResponse


async def read(request):
    return HttpResponse(client(request))
"""


@pytest.fixture
def windows(project: Project) -> Project:
    """Return a project with an app, on a system like Windows."""
    project.file("sitecustomize.py", LIKE_WINDOWS).app("books", lifespan=LIFESPAN)
    return project


pytestmark = pytest.mark.slow


def run(project: Project, *arguments: str) -> str:
    """Run a management command that has to succeed; return what it prints."""
    ran = project.manage(*arguments)
    assert (ran.returncode, ran.stderr) == (0, "like Windows\n"), ran.stdout
    return ran.stdout


def test_run_is_opened_closed_and_recorded(windows: Project) -> None:
    status = windows.folder / "status.json"
    windows.settings(LIFESPAN={"STATUS_FILE": str(status)})
    run(windows, "migrate", "--verbosity", "0")

    run(windows, "runlifespan", "--once")

    assert windows.events() == ["opened", "warm", "closed"]
    assert [found["status"] for found in windows.runs()] == ["stopped"]
    shown = json.loads(run(windows, "showlifespan", "--last", "--format", "json"))
    assert "books.client" in json.dumps(shown)


def test_checks_and_rehearsal_find_no_problem(windows: Project) -> None:
    run(windows, "migrate", "--verbosity", "0")
    run(windows, "check", "--fail-level", "WARNING")
    run(windows, "checklifespan", "--run")

    assert windows.events() == ["opened", "warm", "closed"]


def test_entries_for_a_missing_database_are_logged(windows: Project) -> None:
    ran = windows.manage("runlifespan", "--once")

    assert ran.returncode == 0, ran.stderr
    assert "this system has no fcntl" in ran.stderr
    assert windows.events() == ["opened", "warm", "closed"]


def test_command_inside_a_plan_is_killed_by_the_third_signal(windows: Project) -> None:
    windows.file("child.py", CHILD).app("servers", lifespan=AROUND)
    windows.settings(LIFESPAN={"HISTORY": False})

    ran = windows.manage("runlifespan", "--", sys.executable, "-S", "child.py")

    assert "is killed" in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr, ran.stderr
    assert windows.events() == ["opened", "child", "closed"]


def test_server_announces_its_stop_and_closes_everything(windows: Project) -> None:
    windows.app("shop", lifespan=NOTICE)
    windows.settings(LIFESPAN={"SHUTDOWN_NOTICE": True, "DRAIN_SECONDS": 0.1})
    windows.manage("migrate", "--verbosity", "0")

    # uvloop does not run on Windows.
    with Server(windows, options=["--lifespan", "on", "--loop", "asyncio"]) as server:
        server.interrupt()
        server.wait()

    assert "Traceback" not in server.output
    assert windows.events() == ["opened", "warm", "drained", "closed"]
    assert [run["status"] for run in windows.runs()] == ["stopped"]


def test_development_server_opens_the_plan_at_its_first_use(windows: Project) -> None:
    windows.app("shop", views=VIEWS)
    windows.manage("migrate", "--verbosity", "0")

    with Server(windows, RUNSERVER, options=["--noreload"]) as server:
        assert server.get("/read/").text == "client"
        server.interrupt()
        server.wait()

    assert windows.events() == ["opened", "warm", "closed"]


def test_server_that_is_to_stop_gets_its_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with monkeypatch.context() as windows:
            windows.setattr(os, "name", "nt")
            windows.delattr(os, "kill")  # it would end the process
            Adapter().stop_server("uvicorn 0.54.0")
    finally:
        signal.signal(signal.SIGTERM, before)

    assert heard == [signal.SIGTERM]
