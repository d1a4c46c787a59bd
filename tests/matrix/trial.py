"""A server of one cell: what is done to it, and what can be seen of it from outside."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from os import kill
from time import monotonic, sleep
from typing import Any

import pytest

from lifespan_app.engine.proc import stat
from lifespan_app.history.recording.identity import is_gone
from lifespan_app.models import LIVE, LifespanRun
from tests.history.served import wait_for_record
from tests.matrix.columns import Column
from tests.matrix.shop import GO_ON, WHOLE
from tests.projects import Project
from tests.servers import HOST, POLL_SECONDS, Answer, Server, ServerFailed

OPENED = ["opens connection", "opens shelf"]
CLOSED = ["closes shelf of Emma", "closes connection"]


@dataclass(frozen=True, kw_only=True)
class Worker:
    """What one process has done, as it says itself, and what is recorded of it."""

    pid: int
    events: list[str]
    run: LifespanRun

    @property
    def closed(self) -> bool:
        """Whether all that it has opened was closed: in reverse, and with all that it held."""
        done = opened_and_closed(self.events)
        assert done in ([*OPENED, *CLOSED], OPENED), done
        return done != OPENED

    @property
    def told(self) -> bool:
        """Whether the server has told it of the end, by a message or by a cancellation."""
        return self.run.ended_by == "lifespan.shutdown" or self.cancelled

    @property
    def cancelled(self) -> bool:
        """Whether its lifespan was cancelled."""
        return "cancelled" in self.events

    @property
    def state(self) -> list[str]:
        """What was in the server's state when the shelf was closed."""
        [event] = [event for event in self.events if event.startswith("state")]
        return event.split()[1:]


class Trial:
    """A server while it is tried."""

    def __init__(self, column: Column, server: Server, clients: ThreadPoolExecutor) -> None:
        self.column = column
        self.server = server
        self._clients = clients
        self._request: Future[Answer] | None = None
        self._idle: HTTPConnection | None = None

    # What is done to it

    def wait_until_all_serve(self) -> None:
        """Wait until every worker serves: before, some servers lose signals."""
        self.server.wait_for_output(self.column.serves, count=self.column.workers)
        self.server.wait_until_ready()

    def begin_request(self) -> None:
        """Send a request that is answered when the file is there, and wait until it is begun."""
        if not self.column.waits:
            self._idle = HTTPConnection(HOST, self.server.port, timeout=self.server.limit)
            self._idle.request("GET", "/in_async/")
            self._idle.getresponse().read()
        self._request = self._clients.submit(self.server.get, "/slow/")
        self._wait(lambda: self.busy is not None, "No request was begun")

    def wait_until_heard(self) -> None:
        """Wait until the server has begun to stop."""
        self._wait(
            lambda: (
                self._is_cut
                or self.server.exit_code is not None
                or (self._says_it_waits() if self.column.waits else self._idle_is_closed())
            ),
            "The server has not begun to stop",
        )

    def interrupt(self) -> None:
        """
        Press Ctrl+C: every process gets SIGINT.

        Where the main process sends SIGTERM after it, workers get theirs first. Under load both may
        wait for a worker, which may then be given SIGTERM first, and take SIGINT for a second one.
        """
        if not self.column.passes_interrupts_on:
            self.server.interrupt()
            return
        for pid in {event.split()[0] for event in self.server.project.events()}:
            kill(int(pid), signal.SIGINT)
        self._wait_for_all("hears SIGINT")
        self.server.signal(signal.SIGINT)

    def interrupt_again(self) -> None:
        """Press Ctrl+C once more, when all has come of the first time that comes of it."""
        if self.column.passes_interrupts_on:
            self.server.wait_for_event(f"{self.busy} hears SIGTERM")
        stopped = LifespanRun.objects.filter(status="stopped")
        wait_for_record(
            self.server,
            lambda: stopped.count() >= self.column.workers - 1 or self.server.exit_code is not None,
        )
        if self.server.exit_code is None:
            self.server.interrupt()

    def wait_for_holds(self) -> None:
        """Wait until every worker is in its slow hook, and has a run."""
        self._wait_for_all("holds")
        wait_for_record(self.server, lambda: LifespanRun.objects.count() == self.column.workers)

    def wait_until_workers_hear(self) -> None:
        """Wait until SIGTERM has come to every worker, where that can be seen."""
        if self.column.hears_sigterm:
            self._wait_for_all("hears SIGTERM")

    def wait_until_cut_or_blocked(self) -> bool:
        """Wait until the request is cut off, or its worker is blocked for ever; tell which."""
        assert self.busy is not None
        busy = self.busy
        blocked = False

        def look() -> bool:
            nonlocal blocked
            if self._is_cut:
                return True
            blocked = self._is_blocked(busy)
            return blocked

        self._wait(look, "A second Ctrl+C has changed nothing")
        return blocked

    def wait_until_blocked(self) -> None:
        """Wait until a worker that starts is blocked for ever."""
        one, *_ = (event.split()[0] for event in self.server.project.events())
        self._wait(lambda: self._is_blocked(int(one)), "No worker was blocked")

    def has_locked_itself_up(self) -> bool:
        """Tell whether a worker is blocked for ever by its server's own defect."""
        pids = {int(event.split()[0]) for event in self.server.project.events()}
        alive = [pid for pid in pids if (found := stat(pid)) and not found.is_dead]
        with suppress(ServerFailed, ProcessLookupError):
            return any(self._is_blocked(pid) for pid in alive)
        return False

    def go_on(self) -> None:
        """Let all that is slow go on."""
        self.server.project.file(GO_ON, "")

    def close(self) -> None:
        """Close the connection that was left open."""
        if self._idle is not None:
            self._idle.close()

    # What is seen of it

    @property
    def requested(self) -> bool:
        """Whether there was a request in flight."""
        return self._request is not None

    @property
    def busy(self) -> int | None:
        """The process that has begun the request."""
        for event in self.server.project.events():
            if event.endswith(" begins"):
                return int(event.split()[0])
        return None

    def answered(self) -> bool:
        """Tell whether the client has got the whole answer; after the end of the server."""
        assert self._request is not None
        try:
            answer = self._request.result(self.server.limit)
        except (OSError, HTTPException):
            return False
        return answer.status == 200 and answer.text == WHOLE

    def recorded(self) -> list[Worker]:
        """
        Return what has become of every worker, after the end of the main process.

        Runs without an end are lost: the next start finds that. A server is started for it.
        """
        self._wait_for_workers()
        self.server.kill()
        events = self.server.project.events()
        runs = LifespanRun.objects.filter(
            pk__in=list(LifespanRun.objects.values_list("pk", flat=True))
        )
        live = runs.filter(status__in=LIVE)
        if live.exists():
            self.go_on()
            with Server(self.server.project) as next_one:
                wait_for_record(next_one, lambda: not live.exists())
        return [
            Worker(pid=run.pid, events=of_process(run.pid, events), run=run)
            for run in runs.order_by("pk")
        ]

    def _wait_for_workers(self) -> None:
        """Wait until the workers of a main process that has ended have ended too."""
        if self.server.exit_code is None:
            return
        give_up_at = monotonic() + self.server.limit
        live = LifespanRun.objects.filter(status__in=LIVE)
        while not all(is_gone(run.process, run.pid) for run in live.all()):
            assert monotonic() < give_up_at, "a worker has outlived its main process"
            sleep(POLL_SECONDS)

    @property
    def _is_cut(self) -> bool:
        return (
            any(event.endswith(" is cut off") for event in self.server.project.events())
            or (self._request is not None and self._request.done())
            or self.server.exit_code is not None
        )

    def _wait_for_all(self, what: str) -> None:
        def all_did() -> bool:
            events = (event.split(maxsplit=1) for event in self.server.project.events())
            return len({pid for pid, event in events if event == what}) == self.column.workers

        self._wait(all_did, f"Not all workers wrote {what!r}")

    def _says_it_waits(self) -> bool:
        output = self.server.output
        return all(re.search(words, output) for words in self.column.waits)

    def _idle_is_closed(self) -> bool:
        assert self._idle is not None
        assert self._idle.sock is not None
        self._idle.sock.settimeout(0.01)
        try:
            return self._idle.sock.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def _is_blocked(self, pid: int) -> bool:
        """Tell whether a process stands in the file that blocks: three looks in a row."""
        return self.column.blocks_in is not None and all(self._stands_there(pid) for _ in range(3))

    def _stands_there(self, pid: int) -> bool:
        """Ask a process for its stack, and tell whether it is in the file that blocks."""
        assert self.column.blocks_in is not None
        before = len(self.server.output)
        kill(pid, signal.SIGUSR2)
        # The outermost frame is the last line.
        self._wait(
            lambda: " in <module>" in self.server.output[before:] or self._is_cut, "No stack came"
        )
        return self.column.blocks_in in self.server.output[before:]

    def _wait(self, look: Callable[[], Any], otherwise: str) -> None:
        self.server.until(look, otherwise, may_end=True)


@contextmanager
def tried(column: Column, project: Project, *, serves: bool = True) -> Iterator[Trial]:
    """Start the server of a column, and wait until all of it serves if that is expected."""
    server = Server(project, column.kind, options=column.options, ready=False)
    # The server is left first: a client gives up when it is gone.
    with ThreadPoolExecutor(1) as clients, server:
        trial = Trial(column, server, clients)
        if serves:
            trial.wait_until_all_serve()
        try:
            yield trial
        except ServerFailed:
            if trial.has_locked_itself_up():
                # Seldom, and then nothing can be seen of what the cell is about.
                pytest.skip(f"a worker of {column} stands for ever in its own {column.blocks_in}")
            raise
        finally:
            trial.close()


def of_process(pid: int, events: list[str]) -> list[str]:
    """Return what one process has written."""
    split = (event.split(maxsplit=1) for event in events)
    return [event for number, event in split if number == str(pid)]


def opened_and_closed(events: list[str]) -> list[str]:
    """Return what a process has opened and closed, in that order."""
    return [event for event in events if event.startswith(("opens", "closes"))]
