"""The claims to leases of one run's hooks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from lifespan_app.engine.error_text import one_line
from lifespan_app.engine.errors import HookError
from lifespan_app.engine.lease import Lease, Wanted
from lifespan_app.engine.reporting.report import OK, Outcome

from .hook_run import HookRun
from .scheduler import Scheduler

if TYPE_CHECKING:
    from lifespan_app.engine.lease import Claim, Leases

GIVE_BACK_TIME = 1.0
"""Seconds that the end of a run waits until its leases are given back; after it they run out."""

FAILURES = (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.ABANDONED)


class Turns:
    """The claims of a run's hooks, and their events for the scheduler.

    Args:
        leases: the backend.
        scheduler: receives the events.
        handle: passes an event to the scheduler.
        environment: that of the run.
        release: that of the run.
    """

    def __init__(
        self,
        leases: Leases,
        scheduler: Scheduler,
        handle: Callable[..., None],
        environment: str,
        release: str,
    ) -> None:
        self.scheduler = scheduler
        self.handle = handle
        self._leases = leases
        self._environment = environment
        self._release = release
        self._turns: dict[HookRun, Turn] = {}
        self._ending: list[Claim] = []

    def claim(self, hook_run: HookRun) -> None:
        """Claim the lease of a hook."""
        node = hook_run.node
        wanted = Wanted(node.key, node.options.once or "", self._environment, self._release or "")
        turn = self._turns[hook_run] = Turn(self, hook_run)
        turn.claim = self._leases.claim(wanted, turn)

    def give_back(self, hook_run: HookRun, still_runs: bool) -> None:
        """Give the lease of a hook back, or wait for it no longer."""
        turn = self._turns.pop(hook_run, None)
        if turn is None or turn.claim is None:
            return
        step = None if hook_run.is_job else hook_run.startup
        failed = step is not None and step.outcome in FAILURES
        turn.claim.end(
            success=step is not None and step.outcome is OK,
            error=(one_line(hook_run.error) or "it has failed") if failed else "",
            still_runs=still_runs,
        )
        self._ending = [claim for claim in self._ending if not claim.over.done()]
        self._ending.append(turn.claim)

    def owns(self, turn: Turn) -> bool:
        """Return True if a claim of a hook goes on, and is its last one."""
        return self._turns.get(turn.hook_run) is turn

    def forget(self, turn: Turn) -> None:
        """Forget a claim that has ended by itself."""
        del self._turns[turn.hook_run]

    async def close(self) -> None:
        """Give all leases back, and wait for that a moment."""
        for hook_run in list(self._turns):
            self.give_back(hook_run, hook_run.lives or hook_run.abandoned)
        waits = [claim.over for claim in self._ending if not claim.over.done()]
        if waits:
            await asyncio.wait(waits, timeout=GIVE_BACK_TIME)

    @property
    def is_used(self) -> bool:
        """True if there is something to give back, or to wait for."""
        return bool(self._turns) or any(not claim.over.done() for claim in self._ending)


class Turn:
    """One claim of one hook: the ``Claimant`` of the backend."""

    __slots__ = ("_turns", "claim", "hook_run")

    def __init__(self, turns: Turns, hook_run: HookRun) -> None:
        self._turns = turns
        self.hook_run = hook_run
        self.claim: Claim | None = None

    def waits_behind(self, who: str) -> None:
        """Tell the scheduler who has the lease."""
        if self._turns.owns(self):
            self._turns.handle(self._turns.scheduler.waits_behind, self.hook_run, who)

    def has_turn(self, lease: Lease) -> None:
        """Tell the scheduler that the hook has its lease."""
        if self._turns.owns(self):
            self._turns.handle(self._turns.scheduler.has_turn, self.hook_run, lease)

    def loses_lease(self, reason: str) -> None:
        """Tell the scheduler that the lease is lost."""
        if self._turns.owns(self):
            self._turns.forget(self)
            self._turns.handle(self._turns.scheduler.loses_lease, self.hook_run, reason)

    def is_answered(self, who: str, error: BaseException | None) -> None:
        """Tell the scheduler how the start has ended in another process."""
        if not self._turns.owns(self):
            return
        self._turns.forget(self)
        if isinstance(error, HookError):
            error = HookError(f"{self.hook_run} has failed in {who}: {one_line(error)}")
        self._turns.handle(self._turns.scheduler.is_answered, self.hook_run, who, error)
