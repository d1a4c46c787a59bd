"""Queries for the newest matching runs that neither count nor read the whole table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

from django.db import connections
from django.db.models import Max, Q, QuerySet

from lifespan_app import conf
from lifespan_app.models import LifespanRun

WINDOW = 10_000
"""The number of newest rows that are searched first."""

CANDIDATES = 2_000
"""The number of rows per column that a search reads first."""

AFTER_ALL = "\U0010ffff"


def newest_pk() -> int:
    """Return the primary key of the newest run, or 0."""
    return LifespanRun.objects.aggregate(newest=Max("pk"))["newest"] or 0


def in_window(newest: int) -> Q:
    """Return the condition that a run is among the newest rows."""
    return Q(pk__gt=newest - WINDOW, pk__lte=newest)


def newest_pks(
    runs: QuerySet[LifespanRun], most: int, skip: int = 0, parts: Sequence[Q] = ()
) -> list[int]:
    """Return the primary keys of runs, newest first.

    Frequent rows are found in a window over the newest rows, without sorting. Rare ones are found by
    the index of the filtered column.

    Args:
        runs: the runs, in any order.
        most: the largest number of keys to return.
        skip: the number of newer runs to leave out.
        parts: conditions of which one must hold; each has an index, their disjunction has none.
    """
    keys = runs.order_by("-pk").values_list("pk", flat=True)
    in_view = keys.filter(in_window(newest_pk()), any_of(parts))
    found = list(in_view[skip : skip + most])
    if len(found) == most:
        return found
    if not parts:
        return list(keys[skip : skip + most])
    merged = {key for part in parts for key in keys.filter(part)[: skip + most]}
    return sorted(merged, reverse=True)[skip : skip + most]


def any_of(parts: Sequence[Q]) -> Q:
    """Return the disjunction of conditions; without any, a condition that always holds."""
    return reduce(or_, parts, Q())


def search_pks(runs: QuerySet[LifespanRun], prefix: str, most: int, skip: int = 0) -> list[int]:
    """Return the primary keys of runs by the prefix of their host or release, newest first.

    An index of host or release and primary key returns the newest candidates without reading the
    table; the other filters are applied to these, if they are enough.

    Args:
        runs: the runs that match the other filters.
        prefix: the text.
        most: the largest number of keys to return.
        skip: the number of newer runs to leave out.
    """
    keys = runs.filter(either_begins_with(prefix)).order_by("-pk").values_list("pk", flat=True)
    found = list(keys.filter(in_window(newest_pk()))[skip : skip + most])
    if len(found) == most:
        return found
    fitting: set[int] = set()
    is_all = True
    for column in ("host", "release"):
        some = LifespanRun.objects.filter(begins_with(column, prefix)).order_by("-pk")
        newest = list(some.values_list("pk", flat=True)[:CANDIDATES])
        is_all = is_all and len(newest) < CANDIDATES
        fitting.update(newest)
    newest = sorted(fitting, reverse=True)[:CANDIDATES]
    among = runs.filter(pk__in=newest).order_by("-pk").values_list("pk", flat=True)
    found = list(among[skip : skip + most])
    return found if is_all or len(found) == most else list(keys[skip : skip + most])


def begins_with(column: str, prefix: str) -> Q:
    """Return the condition that a text begins with a prefix, as an index of the column serves it.

    SQLite uses no index for ``LIKE ... ESCAPE``, which Django writes, so it gets a range:
    https://www.sqlite.org/optoverview.html#the_like_optimization

    MariaDB and MySQL use none for Django's ``LIKE BINARY``, so case and accents are ignored there
    (Django 6.1, db/backends/mysql/base.py, ``operators``).
    """
    vendor = connections[conf.get("HISTORY_DATABASE")].vendor
    if vendor == "sqlite":
        return Q((f"{column}__gte", prefix), (f"{column}__lt", prefix + AFTER_ALL))
    return Q((f"{column}__{'istartswith' if vendor == 'mysql' else 'startswith'}", prefix))


def either_begins_with(prefix: str) -> Q:
    """Return the condition that the host or the release of a run begins with a prefix."""
    return begins_with("host", prefix) | begins_with("release", prefix)


def tables_exist() -> bool:
    """Return True if the tables of the history exist. Raises ``DatabaseError``."""
    alias = conf.get("HISTORY_DATABASE")
    if alias not in _migrated:
        connection: Any = connections[alias]
        with connection.cursor() as cursor:
            names = connection.introspection.table_names(cursor)
        if LifespanRun._meta.db_table not in names:
            return False
        _migrated.add(alias)
    return True


_migrated: set[str] = set()
"""Aliases of databases with existing tables; these are not dropped while a process runs."""
