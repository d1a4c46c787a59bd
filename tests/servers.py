"""Real ASGI servers, each in a process group of its own, for tests.

    with Server(project) as server:
        assert server.get("/book/").text == "..."
        server.signal(signal.SIGTERM)
        assert server.wait() == -signal.SIGTERM

Nothing here sleeps for a while and hopes: a server is ready when it answers, and a wait ends as
soon as the thing is there, the process has gone, or the limit has passed. The two last ones
raise, with all that the server said.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from signal import Signals
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.fork_server import let_children_hear_signals
from tests.projects import Project

T = TypeVar("T")

HOST = "127.0.0.1"
POLL_SECONDS = 0.02
READY_PATH = "/is-it-ready/"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How one server is told to serve an application at a port."""

    name: str
    """What tests call it."""
    command: tuple[str, ...]
    """Arguments for Python; `{application}` and `{port}` are filled in."""
    needs: tuple[str, ...]
    """Modules without which it can't be started."""
    has_lifespan: bool = True
    """Whether it sends lifespan messages at all."""

    def installed(self) -> bool:
        """Say whether this server can be started here."""
        return all(importlib.util.find_spec(module) for module in self.needs)

    def arguments(self, application: str, port: int) -> list[str]:
        """Return the command line, without options."""
        words = (word.format(application=application, port=port) for word in self.command)
        return [sys.executable, *words]


UVICORN = Kind(
    name="uvicorn",
    command=("-m", "uvicorn", "{application}", "--host", HOST, "--port", "{port}"),
    needs=("uvicorn",),
)
HYPERCORN = Kind(
    name="hypercorn",
    command=("-m", "hypercorn", "{application}", "-b", HOST + ":{port}"),
    needs=("hypercorn",),
)
GRANIAN = Kind(
    name="granian",
    command=(
        *("-m", "granian", "{application}", "--interface", "asgi"),
        *("--host", HOST, "--port", "{port}"),
    ),
    needs=("granian",),
)
GRANIAN_WITHOUT_LIFESPAN = Kind(
    name="granian asginl",
    command=(
        *("-m", "granian", "{application}", "--interface", "asginl"),
        *("--host", HOST, "--port", "{port}"),
    ),
    needs=("granian",),
    has_lifespan=False,
)
GUNICORN = Kind(
    name="gunicorn",
    command=(
        *("-m", "gunicorn", "{application}", "-k", "asgi"),
        *("-b", HOST + ":{port}", "--no-control-socket"),
    ),
    needs=("gunicorn",),
)
GUNICORN_UVICORN = Kind(
    name="gunicorn with uvicorn-worker",
    command=(
        *("-m", "gunicorn", "{application}", "-k", "uvicorn_worker.UvicornWorker"),
        *("-b", HOST + ":{port}", "--no-control-socket"),
    ),
    needs=("gunicorn", "uvicorn_worker"),
)
DAPHNE = Kind(
    name="daphne",
    command=("-m", "daphne", "{application}", "-b", HOST, "-p", "{port}"),
    needs=("daphne",),
    has_lifespan=False,
)

RUNSERVER = Kind(
    name="runserver",
    command=("manage.py", "runserver", HOST + ":{port}"),
    needs=("django",),
    has_lifespan=False,
)
GUNICORN_WSGI = Kind(
    name="gunicorn, WSGI",
    command=("-m", "gunicorn", "wsgi:application", "-b", HOST + ":{port}", "--no-control-socket"),
    needs=("gunicorn",),
    has_lifespan=False,
)

KINDS = {
    kind.name: kind
    for kind in (
        UVICORN,
        HYPERCORN,
        GRANIAN,
        GRANIAN_WITHOUT_LIFESPAN,
        GUNICORN,
        GUNICORN_UVICORN,
        DAPHNE,
    )
}


@dataclass(frozen=True)
class Answer:
    """What a server answered to one request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """Return what the body says as JSON."""
        return json.loads(self.body)


class ServerFailed(AssertionError):
    """A server did not do what the test waits for."""

    def __init__(self, what: str, server: Server) -> None:
        code = server.exit_code
        state = "still running" if code is None else f"exited with {code}"
        super().__init__(
            f"{what}\n"
            f"  server: {server.kind.name}, {state}\n"
            f"  command: {' '.join(server.command)}\n"
            f"--- its output ---\n{server.output}\n"
            f"--- journal ---\n" + "\n".join(server.project.events())
        )


class Server:
    """
    Run a server over a project, as a context manager.

    Entering starts it and waits until it answers; with `ready=False` it only starts it. Leaving
    kills whatever is left of its process group.

    `options` are further command line arguments, `environment` further variables. `limit` is how
    many seconds any one wait may take.
    """

    def __init__(
        self,
        project: Project,
        kind: Kind = UVICORN,
        *,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        application: str = "asgi:application",
        ready: bool = True,
        limit: float = 30,
    ) -> None:
        self.project = project
        self.kind = kind
        self.port = _free_port()
        self.command = [*kind.arguments(application, self.port), *options]
        self.limit = limit
        self._environment = dict(environment or {})
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None
        self._output_path = project.folder / f"output-{self.port}.txt"

    def __enter__(self) -> Self:
        self.start()
        try:
            if self._ready:
                self.wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    # Its life

    def start(self) -> None:
        """Start the process, without waiting for anything."""
        let_children_hear_signals()
        with self._output_path.open("wb") as output:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.project.folder,
                env={**self.project.environment, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until the server answers a request, whatever the answer is."""
        self.until(self.answers, "The server did not come to answer requests")

    def signal(self, number: Signals) -> None:
        """Send a signal to the main process, as `kill`, Docker and Kubernetes do."""
        self.process.send_signal(number)

    def signal_group(self, number: Signals) -> None:
        """Send a signal to every process of the server, as systemd does by default."""
        os.killpg(self.process.pid, number)

    def interrupt(self) -> None:
        """Press Ctrl+C: a terminal sends SIGINT to the whole process group."""
        self.signal_group(signal.SIGINT)

    def wait(self) -> int:
        """Wait until the main process has ended, and return its exit code."""
        try:
            return self.process.wait(self.limit)
        except subprocess.TimeoutExpired:
            raise ServerFailed("The server did not end", self) from None

    def wait_unanswered(self) -> int:
        """
        Ask again and again until the main process has ended, and return its exit code.

        Raises ServerFailed as soon as a request is answered.
        """

        def gone() -> bool:
            if self.answers():
                raise ServerFailed("The server answered a request", self)
            return self.exit_code is not None

        self.until(gone, "The server did not end", may_end=True)
        return self.wait()

    def kill(self) -> None:
        """End every process of the server at once."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self.signal_group(signal.SIGKILL)
        self._process.wait()

    # What can be seen of it

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The main process."""
        assert self._process is not None, "the server was not started"
        return self._process

    @property
    def exit_code(self) -> int | None:
        """The exit code of the main process, None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def output(self) -> str:
        """All that the server has written to stdout and stderr."""
        return self._output_path.read_text(errors="replace") if self._output_path.exists() else ""

    def wait_for_output(self, pattern: str, *, count: int = 1) -> list[str]:
        """Wait until `pattern` has been written `count` times; return what it matched."""

        def found() -> list[str]:
            matches = [match.group() for match in re.finditer(pattern, self.output, re.MULTILINE)]
            return matches if len(matches) >= count else []

        return self.until(found, f"{pattern!r} did not come {count} times", may_end=True)

    def wait_for_event(self, event: str, *, count: int = 1) -> list[str]:
        """Wait until the project's journal holds `event` `count` times; return the journal."""

        def found() -> list[str]:
            events = self.project.events()
            return events if events.count(event) >= count else []

        return self.until(found, f"{event!r} did not happen {count} times", may_end=True)

    def until(self, look: Callable[[], T], otherwise: str, *, may_end: bool = False) -> T:
        """
        Look again and again until there is something true to return.

        Raises ServerFailed, saying `otherwise`, when the limit passes or the process ends. With
        `may_end` a process that ended is looked at once more first.
        """
        give_up_at = time.monotonic() + self.limit
        while True:
            ended = self.exit_code is not None
            if (not ended or may_end) and (seen := look()):
                return seen
            if ended or time.monotonic() > give_up_at:
                raise ServerFailed(otherwise, self)
            time.sleep(POLL_SECONDS)

    # Requests

    def get(self, path: str, **headers: str) -> Answer:
        """Send a GET request; underscores in the names of headers become hyphens."""
        return self.request("GET", path, headers=headers)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request on a connection of its own and return the whole answer."""
        connection = HTTPConnection(HOST, self.port, timeout=self.limit)
        named = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        try:
            connection.request(method, path, body=body, headers=named)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def answers(self) -> bool:
        """Say whether the server answers requests now."""
        try:
            self.get(READY_PATH)
        except (OSError, HTTPException):
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
