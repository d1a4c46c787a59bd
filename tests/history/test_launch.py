"""All processes that one start of a server makes are one launch, and no others are."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from threading import Thread

import pytest

from lifespan_app.history.recording.identity import launch
from tests.projects import Project
from tests.servers import (
    GRANIAN,
    GUNICORN,
    GUNICORN_UVICORN,
    HYPERCORN,
    UVICORN,
    Kind,
    Server,
)

SAY_LAUNCH = """
import os

from journal import write

from lifespan_app import lifespan
from lifespan_app.history.recording.identity import launch


@lifespan.on_start
async def say():
    write("up", os.getpid(), launch())
"""

SERVERS = [UVICORN, HYPERCORN, GRANIAN, GUNICORN, GUNICORN_UVICORN]

OFTEN = {
    UVICORN.name: ["--limit-max-requests", "3"],
    HYPERCORN.name: ["--max-requests", "3"],
    GUNICORN.name: ["--max-requests", "3"],
    GUNICORN_UVICORN.name: ["--max-requests", "3"],
}
"""Options with which workers are replaced after three requests."""


@dataclass(frozen=True)
class Up:
    """A process that has begun to serve."""

    pid: int
    launch: str


def ups(project: Project) -> list[Up]:
    """Return who has begun to serve in a project, in that order."""
    said = [event.split() for event in project.events() if event.startswith("up ")]
    return [Up(int(pid), "".join(launch)) for _, pid, *launch in said]


def wait_for(count: int, server: Server) -> list[Up]:
    """Wait until so many processes have begun to serve."""

    def found() -> list[Up]:
        seen = ups(server.project)
        return seen if len(seen) >= count else []

    return server.until(found, f"There were no {count} processes")


def launches(seen: list[Up]) -> set[str]:
    """Return the launches that processes belong to; there is more than one process."""
    assert len({up.pid for up in seen}) == len(seen) > 1
    assert all(up.launch for up in seen)
    return {up.launch for up in seen}


@pytest.fixture
def talking(project: Project) -> Project:
    """Return a project that writes down who begins to serve, and in which launch."""
    return project.app("books", lifespan=SAY_LAUNCH)


def workers(kind: Kind, *options: str) -> list[str]:
    """Return the options for three workers."""
    return [*("-w" if "gunicorn" in kind.name else "--workers", "3"), *options]


# Workers.


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.name)
def test_workers_are_one_launch_before_and_after_a_reload(kind: Kind, talking: Project) -> None:
    with Server(talking, kind, options=workers(kind)) as server:
        before = wait_for(3, server)
        server.signal(signal.SIGHUP)
        after = wait_for(6, server)

    assert len(launches(before)) == 1
    assert launches(after) == launches(before)


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
@pytest.mark.parametrize(
    "kind", [kind for kind in SERVERS if kind.name in OFTEN], ids=lambda kind: kind.name
)
def test_workers_that_replace_others_are_of_their_launch(kind: Kind, talking: Project) -> None:
    with Server(talking, kind, options=workers(kind, *OFTEN[kind.name])) as server:
        wait_for(3, server)

        def replaced() -> list[Up]:
            server.answers()
            seen = ups(talking)
            return seen if len(seen) >= 6 else []

        seen = server.until(replaced, "No worker was replaced")

    assert len(launches(seen)) == 1


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
@pytest.mark.parametrize("kind", [UVICORN, GRANIAN, GUNICORN], ids=lambda kind: kind.name)
def test_worker_that_replaces_a_killed_one_is_of_its_launch(kind: Kind, talking: Project) -> None:
    respawn = ["--respawn-failed-workers", "--respawn-interval", "0.1"]
    with Server(
        talking, kind, options=workers(kind, *(respawn if kind is GRANIAN else []))
    ) as server:
        os.kill(wait_for(3, server)[0].pid, signal.SIGKILL)
        seen = wait_for(4, server)

    assert len(launches(seen)) == 1


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
def test_workers_of_an_application_that_was_loaded_before_are_one_launch(talking: Project) -> None:
    with Server(talking, GUNICORN, options=workers(GUNICORN, "--preload")) as server:
        assert len(launches(wait_for(3, server))) == 1


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
def test_process_that_reloads_stays_in_its_launch(talking: Project) -> None:
    with Server(talking, UVICORN, options=["--reload"]) as server:
        wait_for(1, server)

        def reloaded() -> list[Up]:
            # Its watcher may begin after it has answered, and sees only what changes then.
            if "Reloading" not in server.output:
                talking.file("books/models.py", "# changed")
            seen = ups(talking)
            return seen if len(seen) >= 2 else []

        seen = server.until(reloaded, "The server did not reload")

    assert len(launches(seen)) == 1


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
@pytest.mark.parametrize("kind", [UVICORN, GUNICORN], ids=lambda kind: kind.name)
def test_workers_whose_server_died_before_they_asked_join_nobody(
    kind: Kind, talking: Project
) -> None:
    talking.asgi("""
        import os
        import time

        from journal import write

        from lifespan_app.asgi import get_asgi_application

        parent = os.getppid()
        write("imported", parent)
        while os.getppid() == parent:
            time.sleep(0.01)
        application = get_asgi_application()
    """)
    begin = " ".join(kind.arguments("asgi:application", 0) + workers(kind))
    with Server(talking, shell(f"{begin}; sleep 60"), ready=False) as server:
        imported = server.until(
            lambda: found if len(found := talking.events()) == 3 else [], "Nobody has begun"
        )
        os.kill(int(imported[0].split()[1]), signal.SIGKILL)
        seen = wait_for(3, server)

    assert len(launches(seen)) == 3


# Servers.

SERVE = "uvicorn asgi:application --port 0"

BY_FORK = """
import os

import gunicorn.arbiter
import uvicorn

import lifespan_app.history.recording.identity

# As a supervisor may have asked, for its own sake.
lifespan_app.history.recording.identity.launch()

for _ in range(2):
    if os.fork() == 0:
        uvicorn.run("asgi:application", port=0)
        os._exit(0)
os.wait()
"""

BY_SUBPROCESS = f"""
import subprocess
import sys

servers = [subprocess.Popen([sys.executable, "-m", *"{SERVE}".split()]) for _ in range(2)]
for server in servers:
    server.wait()
"""

BY_MULTIPROCESSING = """
import multiprocessing

import uvicorn

if __name__ == "__main__":
    how = multiprocessing.get_context("{how}")
    for _ in range(2):
        how.Process(target=uvicorn.run, args=["asgi:application"], kwargs={{"port": 0}}).start()
"""


def shell(line: str) -> Kind:
    """Return how a line of a shell is run."""
    become_shell = "import os, sys; os.execvp('sh', sys.argv[1:])"
    return Kind(name="sh", command=("-c", become_shell, "sh", "-c", line), needs=())


SUPERVISOR = Kind(name="supervisor", command=("begin.py",), needs=("uvicorn",))


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
def test_two_servers_that_one_shell_has_started_are_two_launches(talking: Project) -> None:
    serve = f"{sys.executable} -m {SERVE}"
    with Server(talking, shell(f"{serve} & {serve} & wait"), ready=False) as server:
        assert len(launches(wait_for(2, server))) == 2


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(BY_FORK, id="fork"),
        pytest.param(BY_SUBPROCESS, id="subprocess"),
        pytest.param(BY_MULTIPROCESSING.format(how="fork"), id="multiprocessing fork"),
        pytest.param(BY_MULTIPROCESSING.format(how="spawn"), id="multiprocessing spawn"),
    ],
)
def test_two_servers_that_one_supervisor_has_started_are_two_launches(
    program: str, talking: Project
) -> None:
    talking.file("begin.py", program)
    with Server(talking, SUPERVISOR, ready=False) as server:
        assert len(launches(wait_for(2, server))) == 2


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.name)
def test_server_that_is_started_again_is_another_launch(kind: Kind, talking: Project) -> None:
    for count in (1, 2):
        with Server(talking, kind) as server:
            seen = wait_for(count, server)

    assert len(launches(seen)) == 2


# What it is called.


def test_environment_says_what_a_launch_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFESPAN_LAUNCH", " deploy 42 ")

    assert launch() == "deploy 42"


def test_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIFESPAN_LAUNCH", raising=False)
    unnamed = launch()
    monkeypatch.setenv("LIFESPAN_LAUNCH", " ")

    assert launch() == unnamed != ""


@pytest.mark.parametrize(
    "name",
    ["x" * 65, "two\nlines", "\udcff", "\u202egnp", "\x1b[31m"],
    ids=["long", "lines", "bytes", "direction", "escape"],
)
def test_name_that_could_not_be_kept_is_known_by_its_hash(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFESPAN_LAUNCH", name)
    hashed = launch()
    monkeypatch.setenv("LIFESPAN_LAUNCH", f"{name}!")

    assert len(hashed) == 32
    assert int(hashed, 16)
    assert launch() != hashed


def test_launch_is_found_from_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIFESPAN_LAUNCH", raising=False)
    seen: list[str] = []
    thread = Thread(target=lambda: seen.append(launch()))
    thread.start()
    thread.join()

    assert seen == [launch()]
