"""``manage.py runlifespan`` as a real process, for tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from tests.projects import Project
from tests.servers import Kind, Server
from tests.terminals import Terminal

RUNLIFESPAN = Kind(name="runlifespan", command=("manage.py", "runlifespan"), needs=())

SHOP = """
from lifespan_app import lifespan
import journal

@lifespan.resource(service_types=["app", "server"])
async def client():
    journal.write("client opens")
    yield "client"
    journal.write("client closes")
"""
"""A plan of one resource, of both service types, that writes down its begin and end."""


def running(
    project: Project,
    *options: str,
    environment: Mapping[str, str] | None = None,
    limit: float = 30,
) -> Server:
    """Return the command, to be entered; it is not waited for."""
    return Server(
        project, RUNLIFESPAN, options=options, environment=environment, ready=False, limit=limit
    )


def script(project: Project, name: str, source: str) -> list[str]:
    """Write a program that is to be run as a child, and return its command."""
    project.file(name, source)
    return [sys.executable, name]


# A session without a terminal gets the one on its standard input.
TAKE_TERMINAL = """
import fcntl, os, sys, termios

fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class AtTerminal:
    """Run a command in front of a terminal, as a shell does."""

    def __init__(
        self,
        project: Project,
        terminal: Terminal,
        *options: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        project.file("at_terminal.py", TAKE_TERMINAL)
        self.process = subprocess.Popen(
            [
                sys.executable,
                "at_terminal.py",
                sys.executable,
                "manage.py",
                "runlifespan",
                *options,
            ],
            cwd=project.folder,
            env={**project.environment, "TERM": "xterm", **(environment or {})},
            stdin=terminal.slave,
            stdout=terminal.slave,
            stderr=terminal.slave,
            start_new_session=True,
        )

    def wait(self, limit: float = 30) -> int:
        """Wait for the end, and return the exit code."""
        return self.process.wait(limit)

    def __enter__(self) -> AtTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
