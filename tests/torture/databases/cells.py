"""What is tried: each fault of each database that can have it."""

from __future__ import annotations

from typing import NamedTuple

from tests.torture.databases.faults import (
    Fault,
    cut,
    dropped,
    full,
    locked,
    migrated,
    paused,
    restarted,
    stopped,
)

SERVED: tuple[Fault, ...] = (stopped, restarted, paused, cut, full, locked, migrated, dropped)
"""What happens to PostgreSQL and MariaDB."""


class Cell(NamedTuple):
    """One thing that is tried."""

    database: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.database}, {self.fault.__name__}"


ALL_CELLS = (
    *(Cell(kind, fault) for kind in ("postgresql", "mariadb") for fault in SERVED),
    *(Cell("sqlite", fault) for fault in (locked, full, migrated, dropped)),
)
QUICK_CELLS = (Cell("postgresql", stopped), Cell("sqlite", locked))
