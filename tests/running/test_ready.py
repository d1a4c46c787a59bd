"""Saying that a process is ready: a file, and systemd's socket."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.projects import Project
from tests.running.processes import running, script


class Systemd:
    """The socket on which systemd hears of its services."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(30)
        self._socket.bind(address.replace("@", "\0"))

    def hear(self) -> list[str]:
        """Wait for a message, and return its lines."""
        return self._socket.recv(4096).decode().splitlines()

    def heard_all(self) -> list[str]:
        """Return the first lines of what has come so far."""
        self._socket.setblocking(False)
        messages = []
        while True:
            try:
                messages.append(self.hear()[0])
            except BlockingIOError:
                return messages

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


@pytest.fixture(params=["a path", "an abstract address"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    kind = request.param
    heard = Systemd(str(tmp_path / "notify") if kind == "a path" else f"@lifespan-{os.getpid()}")
    yield heard
    heard.close()


# A file.


def test_ready_file_is_there_until_the_stop_begins(project: Project) -> None:
    project.app(
        "shop",
        lifespan="""
        from pathlib import Path
        from lifespan_app import lifespan
        import journal

        def look(when):
            journal.write(when, "ready" if Path("ready").exists() else "not ready")

        @lifespan.resource
        def client():
            look("startup")
            yield
            look("shutdown")
        """,
    )
    ready = project.folder / "ready"
    ready.write_text("left by a process that was killed")

    def names(pid: int) -> bool:
        with suppress(FileNotFoundError):  # the one that was left is removed first
            return ready.read_text() == f"{pid}\n"
        return False

    with running(project, "--ready-file", "ready") as command:
        command.until(lambda: names(command.process.pid), "no file of its own")
        command.signal(signal.SIGTERM)

        assert command.wait() == 0
    assert project.events() == ["startup not ready", "shutdown not ready"]
    assert sorted(path.name for path in project.folder.glob("*ready*")) == []


def test_ready_file_goes_when_a_required_hook_crashes(project: Project) -> None:
    project.app(
        "shop",
        lifespan="""
        import asyncio
        from pathlib import Path
        from lifespan_app import lifespan

        @lifespan.background
        async def work():
            while not Path("crash").exists():
                await asyncio.sleep(0.01)
            raise OSError("no work")
        """,
    )
    ready = project.folder / "ready"
    with running(project, "--ready-file", "ready") as command:
        command.until(ready.exists, "no file")
        project.file("crash", "")
        command.until(lambda: not ready.exists(), "the file stayed")

        assert command.exit_code is None


def test_folder_in_place_of_the_ready_file_is_left_alone(shop: Project) -> None:
    (shop.folder / "ready").mkdir()

    done = shop.manage("runlifespan", "--ready-file", "ready")

    assert done.returncode == 2
    assert "--ready-file can't be written: " in done.stderr
    assert [path.name for path in shop.folder.glob("*ready*")] == ["ready"]
    assert shop.events() == []


def test_ready_file_is_missing_where_the_startup_fails(project: Project) -> None:
    project.app(
        "shop",
        lifespan="from lifespan_app import lifespan\n"
        "@lifespan.on_start\ndef fail():\n    raise OSError('no')\n",
    )
    (project.folder / "ready").write_text("left")

    project.manage("runlifespan", "--ready-file", "ready")

    assert not (project.folder / "ready").exists()


def test_ready_file_is_there_once_the_command_runs(shop: Project) -> None:
    source = """
        import os, signal, sys, time, journal
        while not os.path.exists("ready"):
            time.sleep(0.01)
        journal.write("ready")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0 if os.path.exists("ready") else 3))
        journal.write("waits")
        signal.pause()
    """
    child = script(shop, "child.py", source)
    with running(shop, "--ready-file", "ready", "--", *child) as command:
        command.wait_for_event("waits")
        command.signal(signal.SIGTERM)

        assert command.wait() in (0, 3)
    assert "ready" in shop.events()
    assert not (shop.folder / "ready").exists()


# systemd.


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(
    shop: Project, systemd: Systemd
) -> None:
    with running(shop, environment={"NOTIFY_SOCKET": systemd.address}) as command:
        assert systemd.hear() == ["READY=1", "STATUS=Lifespan 'app' is serving"]
        assert shop.events() == ["client opens"]
        command.signal(signal.SIGTERM)

        assert systemd.hear()[0] == "STOPPING=1"
        assert command.wait() == 0
    assert systemd.heard_all() == []


def test_systemd_is_told_of_the_stop_while_a_command_still_drains(
    shop: Project, systemd: Systemd
) -> None:
    source = """
        import os, signal, sys, time, journal
        signal.signal(signal.SIGTERM, lambda *_: None)
        journal.write("waits")
        while not os.path.exists("drained"):
            time.sleep(0.01)
    """
    child = script(shop, "child.py", source)
    environment = {"NOTIFY_SOCKET": systemd.address}
    with running(shop, "--", *child, environment=environment) as command:
        assert systemd.hear()[0] == "READY=1"
        command.wait_for_event("waits")
        command.signal(signal.SIGTERM)

        assert systemd.hear()[0] == "STOPPING=1"
        assert "client closes" not in shop.events()
        shop.file("drained", "")
        assert command.wait() == 0


def test_systemd_is_never_told_ready_where_the_startup_fails(
    project: Project, systemd: Systemd
) -> None:
    project.app(
        "shop",
        lifespan="from lifespan_app import lifespan\n"
        "@lifespan.on_start\ndef fail():\n    raise OSError('no')\n",
    )

    project.manage("runlifespan", NOTIFY_SOCKET=systemd.address)

    assert "READY=1" not in systemd.heard_all()


def test_socket_that_is_not_there_is_a_warning(shop: Project) -> None:
    done = shop.manage("runlifespan", "--once", NOTIFY_SOCKET="/no/such/socket")

    assert done.returncode == 0
    assert "systemd can't be told 'READY=1'" in done.stderr
