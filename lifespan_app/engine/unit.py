"""A unit: one hook in one run, with where it stands and what is known of it."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .error_text import add_note, is_a, one_line
from .errors import HookError
from .hooks import BACKGROUND, ONLY_AT_END
from .loglines import LogSink
from .report import IN_SERVICE, IN_SHUTDOWN, IN_STARTUP, OK, Outcome, Phase

if TYPE_CHECKING:
    from .life import NextTurn
    from .plan import Node
    from .runner import Run
    from .threads import Work


NOTHING: Mapping[str, Any] = {}
"""The arguments of a hook that asks for none."""
NO_LOGS: dict[Phase, LogSink] = {}
NO_PLACES: dict[Phase, str] = {}


class State(StrEnum):
    """Where one hook stands in its run."""

    PENDING = "pending"
    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    DOWN = "down"


# Quick to look up, as those in hooks.py.
PENDING, STARTING, UP, STOPPING, DOWN = State


class Unit:
    """One hook in one run; without a hook, a place where others meet (a barrier)."""

    __slots__ = (
        "abandoned",
        "arguments",
        "aside",
        "at_end",
        "attempt",
        "begun",
        "crashed_at",
        "due",
        "ended",
        "error",
        "followers",
        "gate",
        "holds",
        "hook",
        "is_job",
        "leaders",
        "logs",
        "node",
        "on_loop",
        "outcome",
        "reason",
        "released",
        "run",
        "served_from",
        "served_to",
        "serving_error",
        "serving_outcome",
        "settled",
        "state",
        "stop_asked",
        "stop_begun",
        "stop_ended",
        "stop_error",
        "stop_outcome",
        "strikes",
        "task",
        "thread",
        "value",
        "waited_at",
        "waiting",
        "waker",
        "work",
    )

    def __init__(self, run: Run, node: Node) -> None:
        self.run = run
        self.node = node
        self.hook: Any = node.hook
        self.aside = not node.wait
        """Whether the startup does not wait for it: the process may serve before it is up."""
        self.is_job = node.hook is not None and node.hook.kind is BACKGROUND
        self.at_end = node.hook is not None and node.hook.kind in ONLY_AT_END
        """Whether it does nothing at startup, and is called at the end."""
        self.leaders: list[Unit] = []
        self.followers: list[Unit] = []
        self.state: State = PENDING
        self.arguments: Mapping[str, Any] = NOTHING
        self.waiting = 0
        self.settled = False
        self.released = False
        self.value: Any = None
        self.holds = False
        self.on_loop = False
        self.stop_asked = False
        self.strikes = 0
        self.abandoned = False
        self.due = math.inf
        self.logs: dict[Phase, LogSink] = NO_LOGS
        self.task: asyncio.Task[Any] | None = None
        self.waker: asyncio.Future[None] | None = None
        self.gate: threading.Lock | NextTurn | None = None
        self.work: Work | None = None
        self.thread: int | None = None
        self.begun = 0.0
        self.ended = 0.0
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.reason = ""
        self.attempt = 1
        self.served_from = 0.0
        self.served_to = 0.0
        self.serving_outcome: Outcome | None = None
        self.serving_error: BaseException | None = None
        self.crashed_at = 0.0
        self.stop_begun = 0.0
        self.stop_ended = 0.0
        self.stop_outcome: Outcome | None = None
        self.stop_error: BaseException | None = None
        self.waited_at: dict[Phase, str] = NO_PLACES

    @property
    def running_now(self) -> bool:
        """Whether one of the hook's own steps is running; service does not count."""
        return self.state is STARTING or self.state is STOPPING

    @property
    def failed(self) -> bool:
        """Whether the hook is not what it should be: failed, skipped, crashed."""
        started, serving = self.outcome, self.serving_outcome
        return (started is not None and started is not OK) or (
            serving is not None and serving is not OK and serving is not Outcome.FINISHED
        )

    def __str__(self) -> str:
        if self.hook is None:
            return self.node.key
        return f"'{self.node.key}' ({short(self.hook.file)}:{self.hook.line})"

    async def told_to_stop(self) -> None:
        """Wait, in the hook's own task, until it is the hook's turn to stop."""
        while not self.stop_asked:
            # A cancellation that is taken back has cancelled the future too: a new one each time.
            self.waker = self.run.loop.create_future()
            try:
                await self.waker
            except asyncio.CancelledError:
                self.take_back_or_raise()

    def take_back_or_raise(self) -> None:
        """Take a cancellation back, inside its ``except``, or raise it on.

        A loop that ends cancels every task at once; the order of the shutdown is kept all the same.
        Else it is the limit of the hook's stop, or the hook's own task group that has crashed.
        """
        if not self.strikes:
            if self.run.loop_is_ending():
                assert self.task is not None
                self.task.uncancel()
                return
            if self.stop_asked:
                return
        raise  # noqa: PLE0704  # called inside an except clause

    def sink(self) -> LogSink | None:
        """Return where the log lines of the step go that is running now; None where none is."""
        phase = self.phase
        if phase is None:
            return None
        sink = self.logs.get(phase)
        if sink is None:
            begun = {
                IN_STARTUP: self.begun,
                IN_SERVICE: self.served_from,
                IN_SHUTDOWN: self.stop_begun,
            }[phase]
            sink = LogSink(begun, self.run.clock)
            self.logs = {**self.logs, phase: sink}
        return sink

    @property
    def phase(self) -> Phase | None:
        """The phase of the step that is running now; None where none is."""
        if self.is_job:
            return IN_SERVICE if self.task is not None else None
        if self.state is STARTING:
            return IN_STARTUP
        return IN_SHUTDOWN if self.state is STOPPING else None

    def stay_up(self, value: Any) -> None:
        """Hand over the value of a sync resource, and hold its thread until it is to stop."""
        self.value = value
        if not self.abandoned and self.run.workers.post_came_up(self, value):
            assert self.gate is not None
            self.gate.acquire()


def short(path: str) -> str:
    """Return a path as it is told to people: from the working directory, where it is inside."""
    try:
        return path.removeprefix(f"{Path.cwd()}/")
    except OSError:  # the directory was removed
        return path


def what_befell(unit: Unit) -> str:
    """Return how a hook failed, as the end of a sentence."""
    if unit.outcome is Outcome.SKIPPED:
        return "was skipped"
    if unit.error is not None:
        return f"failed: {one_line(unit.error)}"
    if unit.serving_error is not None:
        return f"crashed: {one_line(unit.serving_error)}"
    return "is closing or closed" if unit.outcome is OK else "did not come up"


def is_cancellation(error: BaseException) -> bool:
    """Return True if an error is asyncio's cancellation."""
    return is_a(error, asyncio.CancelledError)


def named(unit: Unit, error: BaseException, when: str) -> BaseException:
    """Return a hook's error with a note that names the hook."""
    if is_cancellation(error):
        # Raised on, it would be taken for a cancellation of the caller.
        cause = error
        error = HookError(f"{unit} was cancelled by its own code.")
        error.__cause__ = cause
    add_note(error, f"Raised by lifespan hook {unit} {when}.")
    return error
