"""Functions that hooks and the body of a run spawn at random, and what must hold for them."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from lifespan_app import Lifespan
from lifespan_app.engine.settings import Settings
from lifespan_app.errors import NotRunning, QueueFull
from tests.engine.virtual_clock import VirtualLoop

EARLY = 0.001
"""Seconds that two times may differ which are the same."""
WAYS = ("ok", "ok", "ok", "raise", "exit", "cancels itself", "hang", "ignore once", "ignore")


@dataclass(eq=False)
class Work:
    """One spawned function, and what was seen of it."""

    name: str
    delay: float
    way: str
    timeout: float | None
    accepted_at: float
    began_at: float | None = None
    ended_at: float | None = None
    begins: int = 0

    @property
    def waited(self) -> bool:
        """True if it has begun after another one had ended."""
        return self.began_at is not None and self.began_at > self.accepted_at


class Spawner:
    """Whatever is spawned in one run.

    Args:
        seed: what decides.
        lifespan: that of the run.
        loop: the loop of the run.
        settings: those of the run.
        behave: does what a way says, as hooks do; takes a name, the seconds before and the way.
    """

    def __init__(
        self,
        seed: int,
        lifespan: Lifespan,
        loop: VirtualLoop,
        settings: Settings,
        behave: Callable[[str, float, str], Awaitable[None]],
    ) -> None:
        self.random = random.Random(f"spawned {seed}")
        self.is_used = self.random.random() < 0.25
        self._lifespan = lifespan
        self._loop = loop
        self._settings = settings
        self._behave = behave
        self.works: list[Work] = []
        self.refused_at: list[float] = []
        self.full = 0
        """How often there was no place."""
        self.faults: list[str] = []

    def __str__(self) -> str:
        return "\n".join(f"  spawned {work}" for work in self.works)

    def spawn_some(self) -> None:
        """Spawn up to three functions."""
        if not self.is_used:
            return
        for _ in range(self.random.choice((0, 0, 1, 3))):
            work = Work(
                f"spawned{len(self.works)}",
                self.random.choice((0.0, 0.11, 0.9, 2.7)),
                self.random.choice(WAYS),
                self.random.choice((None, None, 0.5)),
                self._loop.now,
            )
            # Another thread may be refused before spawn() returns here.
            self.works.append(work)
            try:
                self._lifespan.spawn(self._made(work), timeout=work.timeout)
            except NotRunning:
                self.works.remove(work)
                self.refused_at.append(self._loop.now)
            except QueueFull:
                self.works.remove(work)
                self.full += 1
                self._check_that_it_is_full()

    def _made(self, work: Work) -> Callable[[], Awaitable[None]]:
        async def spawned() -> None:
            work.begins += 1
            work.began_at = self._loop.now
            try:
                await self._behave(work.name, work.delay, work.way)
            finally:
                work.ended_at = self._loop.now

        spawned.__name__ = spawned.__qualname__ = work.name
        return spawned

    def _check_that_it_is_full(self) -> None:
        # A place is free once the task has ended, a moment after the function.
        now = self._loop.now
        left = sum(work.ended_at is None or work.ended_at == now for work in self.works)
        most = self._settings.spawn["running"] + self._settings.spawn["waiting"]
        if left < most:
            self.faults.append(f"a place was refused with {left} of {most} taken")

    def task_names(self) -> set[str]:
        """Return the names of functions that ignore their cancellation."""
        return {work.name for work in self.works if work.way == "ignore"}

    def faults_at_the_end(
        self, over: float, stop_begun: float | None, first_leave: float | None, outcome: str | None
    ) -> Iterable[str]:
        """Yield what does not hold.

        Args:
            over: when the run had ended.
            stop_begun: when it began to stop.
            first_leave: when the first hook was told to stop, in order.
            outcome: how the step ended that waits for spawned functions; None: there is no such step.
        """
        yield from self.faults
        for at in self.refused_at:
            if stop_begun is None or at < stop_begun - EARLY:
                yield f"a function was refused at {at:g}, and the run did not stop"
        for work in self.works:
            if work.begins > 1:
                yield f"{work} began {work.begins} times"
            if stop_begun is not None and work.accepted_at > stop_begun + EARLY:
                yield f"{work} was taken after the run had begun to stop"
            if work.began_at is not None and work.began_at > over + EARLY:
                yield f"{work} began after the run's end at {over:g}"
            if work.ended_at is None and work.way != "ignore" and work.begins:
                yield f"{work} never ended"
            if work.begins == 0 and outcome == "ok":
                yield f"{work} never began, and the stop says that all was done"
            if (
                work.ended_at is not None
                and work.ended_at > over + EARLY
                and work.way != "ignore once"
            ):
                yield f"{work} ended after the run's end at {over:g}"
            if first_leave is None or outcome not in ("ok", "failed"):
                continue
            if work.begins and (work.ended_at is None or work.ended_at > first_leave + EARLY):
                yield f"{work} went on, and a hook was told to stop at {first_leave:g}"


def random_limits(seed: int) -> dict[str, int]:
    """Return how many functions run at once, and how many wait."""
    aside = random.Random(f"limits of spawned {seed}")
    return {"running": aside.choice((1, 2, 100)), "waiting": aside.choice((0, 1, 1000))}
