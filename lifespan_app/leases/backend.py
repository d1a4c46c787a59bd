"""Leases as rows in the database of the history: what the engine is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lifespan_app import conf
from lifespan_app.engine.lease import (
    ONCE_AT_START,
    ONCE_WHILE_SERVING,
    Refusal,
    Wanted,
)
from lifespan_app.engine.settings import Settings

if TYPE_CHECKING:
    from lifespan_app.engine.lease import Claimant

    from .claim import DatabaseClaim
    from .rows import Key

# Every process of a project imports this module; the others are for those with a hook that runs once.


OFF = Refusal(
    f"{conf.SETTING}['HISTORY'] is False, so there is no table of leases",
    "Leases are rows in HISTORY_DATABASE: set HISTORY to True, or leave out once=.",
)
NO_RELEASE = Refusal(
    "this process knows no release",
    f"Set {conf.SETTING}['RELEASE'], or the environment variable LIFESPAN_RELEASE, for each deployment; "
    "once='launch' needs none.",
)
NO_LAUNCH = Refusal(
    "the launch of this process is unknown",
    f"Start the server with 'manage.py runlifespan', or set the environment variable {conf.LAUNCH}.",
)


class DatabaseLeases:
    """Leases in ``HISTORY_DATABASE``, on PostgreSQL, MariaDB and SQLite."""

    def refusals(self, settings: Settings) -> Mapping[str, Refusal]:
        """Return the values of ``once`` that can't be used, each with the reason."""
        from lifespan_app.history.recording.clock import CLOCKS
        from lifespan_app.history.recording.identity import launch

        everywhere = (*ONCE_AT_START, *ONCE_WHILE_SERVING)
        if not conf.get("HISTORY"):
            return dict.fromkeys(everywhere, OFF)
        vendor = vendor_of_history()
        if vendor not in CLOCKS:
            reason = f"leases work on PostgreSQL, MariaDB and SQLite, not on {vendor}"
            hint = "Set HISTORY_DATABASE to such a database, or leave out once=."
            return dict.fromkeys(everywhere, Refusal(reason, hint))
        refused = {}
        if not settings.release:
            refused["release"] = NO_RELEASE
        if not launch():
            refused["launch"] = NO_LAUNCH
        return refused

    def claim(self, wanted: Wanted, claimant: Claimant) -> DatabaseClaim:
        """Claim a lease for a hook. On the loop of the run."""
        from .claim import DatabaseClaim
        from .keeper import keeper

        claim = DatabaseClaim(
            key_of(wanted),
            claimant,
            keeper.wake,
            is_for_start=wanted.is_for_start,
            seconds=float(conf.get("LEASE_SECONDS")),
        )
        keeper.add(claim)
        return claim


def key_of(wanted: Wanted) -> Key:
    """Return the key of the lease that a hook needs in this process."""
    import socket

    from lifespan_app.history.recording.identity import launch

    from .rows import Key

    if wanted.once == "release":
        value = wanted.release
    elif wanted.once == "launch":
        value = launch()
    else:
        value = socket.gethostname() if wanted.once == "host" else ""
    return Key(wanted.hook, wanted.once, value, wanted.environment)


def vendor_of_history() -> str:
    """Return the vendor of the history's database; that of SQLite if it can't be had, which checks report."""
    from django.core.exceptions import ImproperlyConfigured
    from django.db import connections
    from django.utils.connection import ConnectionDoesNotExist

    try:
        return connections[conf.get("HISTORY_DATABASE")].vendor
    except (ConnectionDoesNotExist, ImproperlyConfigured):
        return "sqlite"
