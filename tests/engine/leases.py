"""A backend of leases whose test says who has which."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lifespan_app.engine.lease import Lease, Refusal, Wanted
from lifespan_app.engine.settings import Settings

if TYPE_CHECKING:
    from lifespan_app.engine.lease import Claimant


class Claim:
    """A claim of one hook.

    Args:
        wanted: the lease.
        claimant: the hook.
    """

    def __init__(self, wanted: Wanted, claimant: Claimant) -> None:
        self.wanted = wanted
        self.claimant = claimant
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: dict[str, object] | None = None

    def end(self, *, success: bool, error: str, still_runs: bool) -> None:
        """Note how it has ended."""
        self.ended = {"success": success, "error": error, "still_runs": still_runs}
        self.over.set_result(None)


class Board:
    """The claims of all hooks, the oldest first.

    Args:
        at_once: whether each claim is granted at once.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.claims: list[Claim] = []
        self.refused: Mapping[str, Refusal] = {}
        self._at_once = at_once
        self._number = 0

    def refusals(self, settings: Settings) -> Mapping[str, Refusal]:
        """Return what the test refuses."""
        return self.refused

    def claim(self, wanted: Wanted, claimant: Claimant) -> Claim:
        """Note a claim."""
        claim = Claim(wanted, claimant)
        self.claims.append(claim)
        if self._at_once:
            asyncio.get_running_loop().call_soon(self.grant)
        return claim

    @property
    def last(self) -> Claim:
        """The last claim."""
        return self.claims[-1]

    def grant(self) -> None:
        """Give the last claim its lease."""
        self._number += 1
        self.last.claimant.has_turn(Lease(self.last.wanted.hook, self._number))
