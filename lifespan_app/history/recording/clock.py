"""The clock of the history's database, which several hosts share.

For SQLite it is the clock of the machine: it has no other.
"""

from __future__ import annotations

import time
from typing import Any

from django.db import connections
from django.db.models import BigIntegerField, Func

from lifespan_app import conf

MICROSECONDS = 1_000_000
"""The number in a second."""

EPOCH = "1970-01-01"
MILLISECONDS = "(julianday('now') - 2440587.5) * 86400000"
"""The SQL of the milliseconds since the epoch, for SQLite."""

CLOCKS = {
    # Neither is the time of the transaction's begin, nor depends on a session's time zone.
    "postgresql": f"(EXTRACT(EPOCH FROM clock_timestamp()) * {MICROSECONDS})::bigint",
    "mysql": f"TIMESTAMPDIFF(MICROSECOND, '{EPOCH}', UTC_TIMESTAMP(6))",
    "sqlite": f"CAST(ROUND({MILLISECONDS}) AS INTEGER) * 1000",
}
"""The SQL of the time in microseconds since 1970, by vendor; MariaDB's is ``mysql``."""


class Clock(Func):
    """The time of the database in microseconds since 1970, in UTC, for a query."""

    output_field = BigIntegerField()

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the SQL of the database."""
        return CLOCKS[connection.vendor], ()


def database_time() -> float:
    """Return the time of the database's clock, in seconds since the epoch.

    For SQLite and unknown vendors it is the clock of this machine.
    """
    connection = connections[conf.get("HISTORY_DATABASE")]
    sql = CLOCKS.get(connection.vendor)
    if sql is None or connection.vendor == "sqlite":
        return time.time()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql}")
        return float(cursor.fetchone()[0]) / MICROSECONDS
