"""A fork waits for the records that are inside a database driver.

A lock that another thread holds at a fork is held for ever in the child: SQLite has one for the
whole process. So the child would stand still at its first query, its own code as well as its record.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 0.25
"""Seconds that a fork waits: a database that does not answer must not keep a process from forking."""


class Drivers:
    """How many threads of records are inside a database driver."""

    def __init__(self) -> None:
        self._is_new()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._wait, after_in_parent=self._go_on, after_in_child=self._is_new
            )

    def _is_new(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Have forks wait until the block is left."""
        with self._changed:
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def _wait(self) -> None:
        # Held until the fork is done, so that nobody goes in meanwhile.
        self._changed.acquire()
        self._changed.wait_for(lambda: not self._inside, PATIENCE)

    def _go_on(self) -> None:
        self._changed.release()


drivers = Drivers()
