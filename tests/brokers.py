"""A Redis of the test's own, which brings tasks to workers and takes their results.

with Redis() as redis:
    Celery(broker=redis.for_celery)
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.needs import REDIS


class Redis:
    """Run Redis in a folder of its own, as a context manager."""

    def __enter__(self) -> Self:
        # Not in pytest's folders: a socket's path must be short.
        self._folder = tempfile.TemporaryDirectory(prefix="redis-")
        self.socket = Path(self._folder.name) / "socket"
        self._process = subprocess.Popen(
            [
                *(str(REDIS.path()), "--port", "0", "--unixsocket", str(self.socket)),
                *("--save", "", "--appendonly", "no", "--dir", self._folder.name),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "ready to accept connections" in line.lower():
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    @property
    def url(self) -> str:
        """Its address, as Redis's own client takes it."""
        return f"unix://{self.socket}"

    @property
    def for_celery(self) -> str:
        """Its address, as Celery takes it."""
        return f"redis+socket://{self.socket}"
