"""Run a project's script in a fork of a process that has imported Django.

Three quarters of the time that a management command takes go into the import of Django, and tests run
hundreds of commands. A fork is a process like any other: it has its own process ID, signals and exit code,
imports this package and the project itself, and ends as Python ends. Only Django is there before, which
is not what the tests are about.

The idea is that of ``multiprocessing``'s "forkserver", whose processes run a function and not a script.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

IMPORTED_BEFORE = (
    "django.conf.urls",
    "django.core.cache.backends.locmem",
    "django.core.handlers.asgi",
    "django.core.management.commands.check",
    "django.core.management.commands.migrate",
    "django.core.management.commands.runserver",
    "django.db.backends.sqlite3.base",
    "django.db.models.sql.compiler",
    "django.middleware.csrf",
    "django.utils.translation.reloader",
    "django.views.csrf",
)
"""What Django's commands import of Django itself. None of it reads the settings."""
READ_AT_START = ("LANG", "LC_", "LD_", "PYTHON", "TZ")
"""How environment variables begin that Python, or its C library, reads as it starts."""
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
ENVIRONMENT["PYTHONUNBUFFERED"] = "1"
LARGEST_REQUEST = 1 << 17
NUMBER = struct.Struct("=i")


def is_fit_for(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> bool:
    """Return whether a fork runs Python with these arguments as a new process would."""
    return (
        sys.platform == "linux"
        and arguments[0].endswith(".py")
        # Python imports it as it starts.
        and not (folder / "sitecustomize.py").exists()
        # coverage begins to measure, and writes what it has found, once per process that starts.
        and not any(name.startswith("COVERAGE_") for name in environment)
        and read_at_start(environment) == read_at_start(ENVIRONMENT)
    )


def read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a fork can't be given; it finds modules in its own PYTHONPATH."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(READ_AT_START) and name != "PYTHONPATH"
    }


def run(
    arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], limit: float
) -> subprocess.CompletedProcess[str]:
    """Run a script, as ``subprocess.run`` does with ``capture_output=True`` and ``text=True``.

    Args:
        arguments: the script's file, and its arguments.
        folder: the working directory.
        environment: the environment variables, all of them.
        limit: seconds after which the process is killed.

    Raises:
        subprocess.TimeoutExpired: it was killed.
    """
    request = {"arguments": arguments, "folder": str(folder), "environment": environment}
    with _output() as stdout, _output() as stderr:
        status = fork_server().run(request, (stdout.fileno(), stderr.fileno()), limit)
        said = _written(stdout), _written(stderr)
    command = [sys.executable, *arguments]
    if status is None:
        raise subprocess.TimeoutExpired(command, limit, *(text.encode() for text in said))
    return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status), *said)


def _output() -> TextIO:
    # Not in a temporary folder: a test may have none.
    return os.fdopen(os.memfd_create("output"), encoding="utf-8")


def _written(output: TextIO) -> str:
    output.seek(0)
    return output.read()


class ForkServer:
    """The process that is forked. It ends when this process does."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._end)

    def run(self, request: Mapping[str, Any], output: tuple[int, int], limit: float) -> int | None:
        """Run a script in a fork; return its status as ``os.wait`` does, None past the limit."""
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb", buffering=0) as result:
            try:
                socket.send_fds(self._socket, [json.dumps(request).encode()], [*output, writing])
            finally:
                os.close(writing)
            pid = _number_of(result.read(NUMBER.size))
            ended: list[Any] = []
            try:
                ended, _, _ = select.select([result], [], [], limit)
            finally:
                # Past its limit, or the test's.
                if not ended:
                    os.kill(pid, signal.SIGKILL)
            status = _number_of(result.read(NUMBER.size))
            return status if ended else None

    def _end(self) -> None:
        # A child of this process that goes on may have the socket, too: closing it here would not end it.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._process.wait()


@cache
def fork_server() -> ForkServer:
    """Return the one of this process."""
    return ForkServer()


def _number_of(read: bytes) -> int:
    assert read, "The fork server has ended."
    return int(NUMBER.unpack(read)[0])


def let_children_hear_signals() -> None:
    """Undo what a shell has ignored. A server does so as it starts, in the main thread."""
    # A shell starts background jobs with SIGINT and SIGQUIT ignored, nohup with SIGHUP, and children
    # inherit that: a server would never see Ctrl+C when the test suite runs in the background.
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


# What follows runs in the server, and in its forks.


def serve(requests: socket.socket) -> dict[str, Any]:
    """Fork for each request, until the other end of the socket closes. Returns in the forks."""
    running: dict[int, tuple[int, int]] = {}
    while True:
        ready, _, _ = select.select([requests.fileno(), *running], [], [])
        for ended in running.keys() & ready:
            pid, result = running.pop(ended)
            _, status = os.waitpid(pid, 0)
            with suppress(BrokenPipeError):  # the test has given up
                os.write(result, NUMBER.pack(status))
            os.close(result)
            os.close(ended)
        if requests.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, 3)
            if not message:
                sys.exit()
            *output, result = descriptors
            pid = os.fork()
            if pid == 0:
                for number, stream in enumerate(output, start=1):
                    os.dup2(stream, number)
                inherited = [*output, result, *running, *(pipe for _, pipe in running.values())]
                for descriptor in (*inherited, requests.detach()):
                    os.close(descriptor)
                return dict(json.loads(message))
            for stream in output:
                os.close(stream)
            os.write(result, NUMBER.pack(pid))
            running[os.pidfd_open(pid)] = pid, result


def run_script(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Run a script as Python runs the main program."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    script = os.path.realpath(arguments[0])
    sys.argv = arguments
    sys.orig_argv = [sys.executable, *arguments]
    places = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [str(Path(script).parent), *dict.fromkeys([*filter(None, places), *sys.path])]
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__file__ = script
    try:
        exec(compile(Path(script).read_bytes(), script, "exec"), main.__dict__)
    except Exception as error:
        # The traceback begins in the script.
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)


if __name__ == "__main__":
    del sys.path[0]  # this folder, of which "django" is a part
    let_children_hear_signals()
    for module in IMPORTED_BEFORE:
        import_module(module)
    gc.collect()
    gc.freeze()
    run_script(**serve(socket.socket(fileno=int(sys.argv[1]))))
