"""Leases as rows in the database of the history: what the engine is given."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.connection import ConnectionDoesNotExist

from lifespan_app import conf
from lifespan_app.engine.lease import (
    ONCE_AT_START,
    ONCE_WHILE_SERVING,
    Claimant,
    Refusal,
    Wanted,
)
from lifespan_app.engine.settings import Settings
from lifespan_app.history.recording.identity import launch
from lifespan_app.history.recording.store import alias

from .claim import DatabaseClaim
from .keeper import keeper
from .rows import VENDORS, Key

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
        everywhere = (*ONCE_AT_START, *ONCE_WHILE_SERVING)
        if not conf.get("HISTORY"):
            return dict.fromkeys(everywhere, OFF)
        vendor = ""
        with suppress(ConnectionDoesNotExist, ImproperlyConfigured):  # other checks report these
            vendor = connections[alias()].vendor
        if vendor and vendor not in VENDORS:
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
    if wanted.once == "release":
        value = wanted.release
    elif wanted.once == "launch":
        value = launch()
    else:
        value = socket.gethostname() if wanted.once == "host" else ""
    return Key(wanted.hook, wanted.once, value, wanted.environment)
