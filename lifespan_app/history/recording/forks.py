"""A fork waits for the records that are at work.

A lock that another thread holds at a fork is held for ever in the child: that of SQLite, one for
the whole process, or one of Python's own modules. So the child would stand still in its first
query, or where it first needs a temporary folder: its own code as well as its record.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 0.25
"""Seconds that a fork waits: a database that does not answer must not keep a process from forking."""


class Forks:
    """Which threads a fork waits for."""

    def __init__(self) -> None:
        self._is_new()
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(
                before=self._before, after_in_parent=self._after, after_in_child=self._is_new
            )

    def _is_new(self) -> None:
        self._changed = threading.Condition()
        self._at_work: set[int] = set()

    @contextmanager
    def wait(self) -> Iterator[None]:
        """Have forks wait for this thread until the block is left."""
        was = self._note(True)
        try:
            yield
        finally:
            self._note(was)

    @contextmanager
    def go_on(self) -> Iterator[None]:
        """Have no fork wait for this thread until the block is left: it waits itself."""
        was = self._note(False)
        try:
            yield
        finally:
            self._note(was)

    def _note(self, at_work: bool) -> bool:
        """Note whether this thread is at work, and return whether it was."""
        me = threading.get_ident()
        with self._changed:
            was = me in self._at_work
            if at_work:
                self._at_work.add(me)
            else:
                self._at_work.discard(me)
                self._changed.notify_all()
        return was

    def _before(self) -> None:
        # Held until the fork is done, so that nobody goes to work meanwhile.
        self._changed.acquire()
        me = threading.get_ident()
        self._changed.wait_for(lambda: self._at_work <= {me}, PATIENCE)

    def _after(self) -> None:
        self._changed.release()


forks = Forks()
