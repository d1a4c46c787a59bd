"""Delay of forks while a recording thread is writing.

A lock that another thread holds at a fork stays locked in the child: SQLite's global mutex, or a lock
in a module such as ``tempfile`` (https://bugs.python.org/issue6721). The child would hang in its first
query or at its first temporary file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 0.25
"""The longest delay of a fork in seconds, so that a database that hangs does not prevent forks."""


class Forks:
    """The threads that forks wait for."""

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(
                before=self._before, after_in_parent=self._after, after_in_child=self._reset
            )

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._writing: set[int] = set()

    @contextmanager
    def wait(self) -> Iterator[None]:
        """Make forks wait for this thread inside the block."""
        was = self._set_writing(True)
        try:
            yield
        finally:
            self._set_writing(was)

    @contextmanager
    def go_on(self) -> Iterator[None]:
        """Let forks proceed inside the block, in which this thread only waits."""
        was = self._set_writing(False)
        try:
            yield
        finally:
            self._set_writing(was)

    def _set_writing(self, writing: bool) -> bool:
        """Set the state of this thread, and return the previous one."""
        me = threading.get_ident()
        with self._changed:
            was = me in self._writing
            if writing:
                self._writing.add(me)
            else:
                self._writing.discard(me)
                self._changed.notify_all()
        return was

    def _before(self) -> None:
        # Held until the fork is done, so that no thread begins to write meanwhile.
        self._changed.acquire()
        me = threading.get_ident()
        self._changed.wait_for(lambda: self._writing <= {me}, PATIENCE)

    def _after(self) -> None:
        self._changed.release()


forks = Forks()
