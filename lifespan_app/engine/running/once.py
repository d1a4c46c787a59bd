"""A hook that runs once where several processes declare it: its lease in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lifespan_app.engine.lease import Lease


class Once:
    """The lease of one hook. It decides nothing."""

    __slots__ = ("lease", "waits_behind")

    def __init__(self) -> None:
        self.lease: Lease | None = None
        """The lease that the hook has now."""
        self.waits_behind = ""
        """Who has the lease that a start waits for, or who has run it; or an empty string."""

    def waits(self, who: str) -> None:
        """Wait: another process has the lease."""
        self.waits_behind = who

    def has(self, lease: Lease | None) -> None:
        """Have the lease; None: have it no more."""
        self.lease = lease
        self.waits_behind = ""
