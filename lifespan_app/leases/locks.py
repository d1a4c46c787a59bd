"""Locks of the database, for a start function that runs once while the table of leases is missing.

``migrate`` can be such a function. The first row of a lease is made with the lock held, too: the
table may come into being while ``migrate`` goes on in another process.

A lock ends with its connection, so also with its process. It is used in one thread only.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.db import connections

from lifespan_app.history.recording.store import alias

PREFIX = "lifespan_app "
"""The beginning of a lock's name in MariaDB."""

taken: set[str] = set()
"""The locks of this process. A database gives a session the same lock again."""


class Lock:
    """The lock of one lease.

    Args:
        lease_id: the id of its key.
    """

    def __init__(self, lease_id: str) -> None:
        self._id = lease_id
        self._session: Any = None
        """The driver's connection that holds it."""
        self._file: sqlite3.Connection | None = None
        self._path: Path | None = None

    def take(self) -> bool:
        """Take it. Returns False if it is taken. Raises ``DatabaseError``."""
        if self._id in taken:
            return False
        vendor = connections[alias()].vendor
        if not TAKE[vendor](self):
            return False
        self._session = connections[alias()].connection
        taken.add(self._id)
        return True

    def is_held(self) -> bool:
        """Return True if it is still held. Raises ``DatabaseError``."""
        if self._file is None:
            ask("SELECT 1")
            return connections[alias()].connection is self._session
        return True

    def give_back(self, *, for_good: bool) -> None:
        """Give it back.

        Args:
            for_good: whether nobody needs it any more. Else a file that is locked stays: of two processes
                one might lock the deleted file, and the other one a new file.

        Raises:
            DatabaseError: the database can't be reached.
        """
        taken.discard(self._id)
        if self._file is not None and self._path is not None:
            if for_good:
                with suppress(OSError):
                    self._path.unlink()
            self._file.close()
            self._file = None
        elif connections[alias()].connection is self._session:
            GIVE_BACK[connections[alias()].vendor](self)

    def _take_in_postgresql(self) -> bool:
        return bool(ask("SELECT pg_try_advisory_lock(%s)", self._number))

    def _give_back_in_postgresql(self) -> None:
        ask("SELECT pg_advisory_unlock(%s)", self._number)

    @property
    def _number(self) -> int:
        return int.from_bytes(bytes.fromhex(self._id)[:8], "big", signed=True)

    def _take_in_mysql(self) -> bool:
        return bool(ask("SELECT GET_LOCK(%s, 0)", self._name))

    def _give_back_in_mysql(self) -> None:
        ask("SELECT RELEASE_LOCK(%s)", self._name)

    @property
    def _name(self) -> str:
        # All databases of a server share its locks, whose names have at most 64 characters:
        # https://mariadb.com/kb/en/get_lock/
        place = f"{connections[alias()].settings_dict['NAME']}\n{self._id}"
        return PREFIX + hashlib.sha256(place.encode()).hexdigest()[:32]

    def _take_in_sqlite(self) -> bool:
        """Take the lock of an SQLite file of its own: such locks end with the process on each system."""
        connection: Any = connections[alias()]
        if connection.is_in_memory_db():
            return True  # no other process can see this database
        database = str(connection.settings_dict["NAME"])
        path = unquote(urlsplit(database).path) if database.startswith("file:") else database
        self._path = lock_file(path, self._id)
        file = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        try:
            file.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            file.close()
            if "locked" in str(error):
                return False
            raise
        self._file = file
        return True


TAKE: dict[str, Callable[[Lock], bool]] = {
    "sqlite": Lock._take_in_sqlite,
    "postgresql": Lock._take_in_postgresql,
    "mysql": Lock._take_in_mysql,
}
GIVE_BACK: dict[str, Callable[[Lock], None]] = {
    "sqlite": lambda lock: None,
    "postgresql": Lock._give_back_in_postgresql,
    "mysql": Lock._give_back_in_mysql,
}


def ask(sql: str, *parameters: int | str) -> Any:
    """Return the answer of the database, one value."""
    with connections[alias()].cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()[0]


def lock_file(database: str, lease_id: str) -> Path:
    """Return the file beside an SQLite database that is locked for a lease."""
    path = Path(database)
    return path.with_name(f"{path.name}-lifespan-{lease_id[:8]}.lock")
