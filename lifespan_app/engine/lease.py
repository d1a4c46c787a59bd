"""Leases: which process runs a hook that runs once where many processes declare it.

The engine knows no database. ``Adapter.leases`` is the backend, which the program around it gives.
"""

# Without "from __future__ import annotations": a named tuple compiles each annotation that is a
# string, which takes most of the time that its class does.

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import asyncio

    from .settings import Settings

ONCE_AT_START = ("release", "launch")
ONCE_WHILE_SERVING = ("cluster", "host")
"""The values of the option ``once``: of a start function, and of a background job."""


class Lease(NamedTuple):
    """The right to run a hook, which one process at a time has."""

    name: str
    """The hook, and where it runs once: ``books.poll, cluster, production``."""
    number: int
    """Grows with each holder, so that a service can refuse writes of an earlier one."""


class Wanted(NamedTuple):
    """The lease that a hook needs."""

    hook: str
    """The key of the hook."""
    once: str
    """Where it runs once: a word of ``ONCE_AT_START`` or ``ONCE_WHILE_SERVING``."""
    environment: str
    release: str

    @property
    def is_for_start(self) -> bool:
        """True for a start function, whose success counts for all."""
        return self.once in ONCE_AT_START


class Refusal(NamedTuple):
    """Why ``once`` can't have a value here."""

    reason: str
    """As the end of a sentence."""
    hint: str
    """The remedy."""


if TYPE_CHECKING:
    # A protocol is expensive to create, and only type checkers read these.

    class Claimant(Protocol):
        """The hook that wants a lease. Its methods are called on the loop of the run."""

        def waits_behind(self, who: str) -> None:
            """Receive the reason to wait, as a clause: who has the lease, such as "process 5 leads"."""

        def has_turn(self, lease: Lease) -> None:
            """Receive the lease."""

        def loses_lease(self, reason: str) -> None:
            """Stop: the lease is lost. The claim has ended."""

        def is_answered(self, who: str, error: BaseException | None) -> None:
            """Take the result of a start function. The claim has ended.

            Args:
                who: the process that has run it.
                error: its failure, or why the lease can't be had; None if it has succeeded.
            """

    class Claim(Protocol):
        """A claim to a lease, until it ends."""

        over: asyncio.Future[None]
        """Done once the end of the claim is stored, or can't be stored."""

        def end(self, *, success: bool, error: str, still_runs: bool) -> None:
            """Give the lease back, or wait for it no longer. On the loop of the run.

            Args:
                success: whether a start function has succeeded, which counts for the key from now on.
                error: the failure of a start function, for those who wait; or an empty string.
                still_runs: whether the hook's code may still run: then the lease has to run out.
            """

    class Leases(Protocol):
        """A backend of leases."""

        def refusals(self, settings: Settings) -> Mapping[str, Refusal]:
            """Return the values of ``once`` that can't be used, each with the reason."""

        def claim(self, wanted: Wanted, claimant: Claimant) -> Claim:
            """Claim a lease for a hook. On the loop of the run."""


NO_BACKEND = Refusal(
    "nothing gives leases to this program",
    "Give the Lifespan an adapter with leases, or leave out once=.",
)


def refusals(leases: "Leases | None", settings: "Settings") -> Mapping[str, Refusal]:
    """Return the values of ``once`` that can't be used, each with the reason."""
    if leases is None:
        return dict.fromkeys((*ONCE_AT_START, *ONCE_WHILE_SERVING), NO_BACKEND)
    return leases.refusals(settings)
