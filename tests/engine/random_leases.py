"""A backend of leases that grants, answers and takes them back at random times, and what must hold.

It notes at once what a hook does without its lease, and what a run does with a claim that is over.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from lifespan_app.engine.errors import HookError
from lifespan_app.engine.lease import Lease, Refusal, Wanted
from lifespan_app.engine.settings import Settings
from tests.engine.virtual_clock import VirtualLoop

if TYPE_CHECKING:
    from lifespan_app.engine.lease import Claimant

OTHER = "process 5 on host web-1"
DELAYS = (0.0, 0.0, 0.13, 0.7, 2.3)
"""Seconds until a claim hears something; odd ones, which fall together with no limit."""


class RandomClaim:
    """One claim of one hook.

    Args:
        board: the backend.
        wanted: the lease.
        claimant: the hook.
    """

    def __init__(self, board: RandomBoard, wanted: Wanted, claimant: Claimant) -> None:
        self.board = board
        self.name = wanted.hook.rpartition(".")[2]
        self.wanted = wanted
        self.claimant = claimant
        self.over: asyncio.Future[None] = board.loop.create_future()
        self.granted_at: float | None = None
        self.is_over = False
        self.still_runs = False

    def end(self, *, success: bool, error: str, still_runs: bool) -> None:
        """Note how it has ended."""
        board = self.board
        if self.is_over:
            board.faults.append(f"{self.name} gave back a claim that had ended")
        if board.runs(self.name) and not still_runs:
            board.faults.append(f"{self.name} gave its lease back and ran on")
        if success and (self.granted_at is None or not board.is_up(self.name)):
            board.faults.append(f"{self.name} is said to have succeeded, and did not")
        if success and error:
            board.faults.append(f"{self.name} is said to have succeeded and failed")
        self.is_over, self.still_runs = True, still_runs
        delay = board.random.choice((0.0, 0.0, 0.4, None))
        if delay == 0:
            self.over.set_result(None)
        elif delay is not None:
            board.loop.call_later(delay, self.over.set_result, None)

    def hears_of_another(self) -> None:
        """Wait behind another process, and hear more later."""
        self.claimant.waits_behind(f"{OTHER} has it")
        self.board.loop.call_later(self.board.random.choice(DELAYS), self.gets_turn)

    def gets_turn(self) -> None:
        """Get the lease, and perhaps lose it later. A claim that is over is told sometimes as well."""
        if self.is_over and self.board.random.random() < 0.5:
            return
        if not self.is_over:
            self.granted_at = self.board.loop.now
            self.board.grants.append((self.board.loop.now, self.name))
        self.board.number += 1
        self.claimant.has_turn(Lease(self.wanted.hook, self.board.number))
        if self.board.random.random() < 0.4:
            self.board.loop.call_later(self.board.random.choice(DELAYS), self.loses)

    def loses(self) -> None:
        """Lose the lease."""
        if not self.is_over:
            self.board.lost.add(self.name)
        self.is_over = True
        self.claimant.loses_lease("could not be renewed")

    def is_answered(self) -> None:
        """Hear how a start function has ended in another process."""
        failed = self.board.random.random() < 0.3
        if not self.is_over and not failed:
            self.board.answered.add(self.name)
        self.is_over = True
        self.claimant.is_answered(OTHER, HookError("OSError: no space") if failed else None)


class RandomBoard:
    """The backend: all claims, the oldest first.

    Args:
        seed: what decides.
        loop: the loop of the run.
        runs: whether the code of a hook is running.
        is_up: whether a start function has come to its end.
    """

    def __init__(
        self,
        seed: int,
        loop: VirtualLoop,
        runs: Callable[[str], bool],
        is_up: Callable[[str], bool],
    ) -> None:
        self.random = random.Random(f"leases {seed}")
        self.loop = loop
        self.runs = runs
        self.is_up = is_up
        self.number = 0
        self.claims: list[RandomClaim] = []
        self.grants: list[tuple[float, str]] = []
        self.answered: set[str] = set()
        self.lost: set[str] = set()
        self.faults: list[str] = []

    def refusals(self, settings: Settings) -> Mapping[str, Refusal]:
        """Refuse nothing: a plan that is refused has no run."""
        return {}

    def claim(self, wanted: Wanted, claimant: Claimant) -> RandomClaim:
        """Note a claim, and decide what comes of it."""
        claim = RandomClaim(self, wanted, claimant)
        if any(one.name == claim.name and not one.is_over for one in self.claims):
            self.faults.append(f"{claim.name} has two claims at once")
        if self.runs(claim.name):
            self.faults.append(f"{claim.name} claims a lease while it runs")
        self.claims.append(claim)
        fates = [claim.gets_turn, claim.gets_turn, claim.gets_turn, claim.hears_of_another, None]
        if wanted.is_for_start:
            fates += [claim.is_answered]
        fate = self.random.choice(fates)
        if fate is not None:
            self.loop.call_later(self.random.choice(DELAYS), fate)
        return claim

    def begins(self, name: str, *, in_thread: bool) -> None:
        """Note that the code of a hook begins, which needs the lease.

        A thread to which it was handed over can't be cancelled: the lease may be lost before it begins.
        """
        mine = [claim for claim in self.claims if claim.name == name]
        if not mine or mine[-1].granted_at is None:
            self.faults.append(f"{name} began without its lease")
        elif in_thread and mine[-1].granted_at == self.loop.now:
            return
        elif mine[-1].is_over and not mine[-1].still_runs:
            self.faults.append(f"{name} began after it had lost its lease")

    def was_granted(self, name: str, after: float, until: float) -> bool:
        """Return True if a hook has received a lease since that with which it had begun."""
        mine = [at for at, of in self.grants if of == name and after <= at <= until]
        return len(mine) > mine.count(after) or len(mine) > 1

    def faults_at_the_end(self) -> Iterable[str]:
        """Yield what does not hold: each claim has ended, once."""
        yield from self.faults
        for claim in self.claims:
            if not claim.is_over:
                yield f"a lease of {claim.name} was never given back"
