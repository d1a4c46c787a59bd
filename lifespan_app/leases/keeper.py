"""The thread of a process that takes leases, renews them, and gives them back."""

from __future__ import annotations

import os
import threading
import time

from django.db import connections

from lifespan_app.history.recording.forks import forks
from lifespan_app.history.recording.store import (
    alias,
    forget_connection,
    with_retries,
)

from .claim import DatabaseClaim
from .locks import taken

LOCK_PATIENCE = 1.0
"""Seconds for which a query is repeated while another process holds a lock of the database."""


class Keeper:
    """The claims of this process. The thread runs while there are some."""

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """Have no claims: a fork has none of its parent's."""
        taken.clear()
        self._changed = threading.Condition()
        self._claims: list[DatabaseClaim] = []
        self._thread: threading.Thread | None = None

    def add(self, claim: DatabaseClaim) -> None:
        """Care for a claim until it is over."""
        with self._changed:
            self._claims.append(claim)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._keep, name="lifespan leases", daemon=True
                )
                self._thread.start()

    def wake(self) -> None:
        """Look at all claims now."""
        with self._changed:
            self._changed.notify()

    # In the thread.

    @forks.wait()
    def _keep(self) -> None:
        try:
            while (claim := self._next()) is not None:
                try:
                    with_retries(claim.step, LOCK_PATIENCE)
                except Exception as error:
                    forget_connection()
                    claim.fails(error)
        finally:
            forget_connection()

    def _next(self) -> DatabaseClaim | None:
        """Wait for the next claim with something to do; return None if there are no claims any more."""
        with forks.go_on(), self._changed:
            while True:
                self._claims = [claim for claim in self._claims if not claim.is_over]
                if not self._claims:
                    self._thread = None
                    return None
                claim = min(self._claims, key=lambda one: one.due)
                wait = claim.due - time.monotonic()
                if wait <= 0:
                    return claim
                self._share_connection()
                self._changed.wait(min(wait, threading.TIMEOUT_MAX))

    def _share_connection(self) -> None:
        """Give the connection back to its pool, unless a lock depends on it."""
        # The settings, since the alias may have no entry, or its driver may be missing.
        options = connections.settings.get(alias(), {}).get("OPTIONS", {})
        is_pooled = bool(options.get("pool"))
        if is_pooled and not any(claim.needs_connection for claim in self._claims):
            forget_connection()


keeper = Keeper()
