"""A unit: one hook in one run, with where it stands and what is known of it."""

from __future__ import annotations

import asyncio
import math
import threading
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .hooks import Kind
from .report import Outcome

if TYPE_CHECKING:
    from .plan import Node
    from .runner import Run
    from .threads import Work


class State(StrEnum):
    """Where one hook stands in its run."""

    PENDING = "pending"
    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    DOWN = "down"


class Unit:
    """One hook in one run; without a hook, a place where others meet (a barrier)."""

    # What a unit has not come to yet is a class attribute: a thousand units are made at once.
    state = State.PENDING
    waiting = 0
    settled = False
    released = False
    value: Any = None
    holds = False
    on_loop = False
    stop_asked = False
    strikes = 0
    abandoned = False
    due = math.inf
    limit = math.inf
    task: asyncio.Task[Any] | None = None
    waker: asyncio.Future[None] | None = None
    gate: threading.Lock | None = None
    work: Work | None = None
    thread: int | None = None
    begun = 0.0
    ended = 0.0
    outcome: Outcome | None = None
    error: BaseException | None = None
    reason = ""
    attempt = 1
    served_from = 0.0
    served_to = 0.0
    serving_outcome: Outcome | None = None
    serving_error: BaseException | None = None
    crashed_at = 0.0
    stop_begun = 0.0
    stop_ended = 0.0
    stop_outcome: Outcome | None = None
    stop_error: BaseException | None = None
    waiting_at = ""

    def __init__(self, run: Run, node: Node) -> None:
        self.run = run
        self.node = node
        self.hook: Any = node.hook
        self.leaders: list[Unit] = []
        self.followers: list[Unit] = []
        self.arguments: dict[str, Any] = {}

    @property
    def running_now(self) -> bool:
        """Whether one of the hook's own steps is running; service does not count."""
        return self.state is State.STARTING or self.state is State.STOPPING

    @property
    def is_job(self) -> bool:
        """Whether this is a background job."""
        return self.hook is not None and self.hook.kind is Kind.BACKGROUND

    @property
    def failed(self) -> bool:
        """Whether the hook is not what it should be: failed, skipped, crashed."""
        return self.outcome in FAILED or self.serving_outcome in FAILED

    def __str__(self) -> str:
        if self.hook is None:
            return self.node.key
        return f"'{self.node.key}' ({short(self.hook.file)}:{self.hook.line})"

    async def told_to_stop(self) -> None:
        """Wait, in the hook's own task, until it is the hook's turn to stop."""
        run = self.run
        while not self.stop_asked:
            # A cancellation that is taken back has cancelled the future too: a new one each time.
            self.waker = run.loop.create_future()
            try:
                await self.waker
            except asyncio.CancelledError:
                if self.strikes:
                    raise
                if run.loop_is_ending():
                    # A loop that ends cancels every task at once. The order is kept all the same.
                    assert self.task is not None
                    self.task.uncancel()
                elif not self.stop_asked:  # type: ignore[redundant-expr,unused-ignore]
                    raise

    def stay_up(self, value: Any) -> None:
        """Hand over the value of a sync resource, and hold its thread until it is to stop."""
        self.value = value
        if not self.abandoned and self.run.post_came_up(self, value):
            assert self.gate is not None
            self.gate.acquire()


FAILED = frozenset(
    {
        Outcome.FAILED,
        Outcome.TIMED_OUT,
        Outcome.SKIPPED,
        Outcome.CRASHED,
        Outcome.ABANDONED,
        Outcome.CANCELLED,
    }
)


def short(path: str) -> str:
    """Return a path as it is told to people: from the working directory, where it is inside."""
    return path.removeprefix(f"{Path.cwd()}/")
