"""The newest runs of whatever is asked for, without counting and without reading the whole table."""

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
"""How many of the newest rows are looked at first, in the order of the table."""

CANDIDATES = 2_000
"""How many of those that a search fits are read at first."""

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

    What is common is found in a window over the newest rows, which no database has to sort. What
    is rare there is found by the index of what was asked for.

    Args:
        runs: which runs, in any order.
        most: how many at most.
        skip: how many newer ones are left out.
        parts: conditions, one of which has to hold: each has an index, all together have none.
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
    """Return the condition that one of some conditions holds; without any, that all is well."""
    return reduce(or_, parts, Q())


def search_pks(runs: QuerySet[LifespanRun], prefix: str, most: int, skip: int = 0) -> list[int]:
    """Return the primary keys of runs whose host or release begins with a text, newest first.

    An index of host and primary key, or release and primary key, gives the newest that fit without
    a look at the table; what else was asked for is left to these few, if that is enough.

    Args:
        runs: which runs, by what else was asked for.
        prefix: the text.
        most: how many at most.
        skip: how many newer ones are left out.
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

    SQLite uses none for the LIKE that Django writes, so it gets a range; MariaDB and MySQL none for
    ``LIKE BINARY``, so case and accents do not matter there.
    """
    vendor = connections[conf.get("HISTORY_DATABASE")].vendor
    if vendor == "sqlite":
        return Q((f"{column}__gte", prefix), (f"{column}__lt", prefix + AFTER_ALL))
    return Q((f"{column}__{'istartswith' if vendor == 'mysql' else 'startswith'}", prefix))


def either_begins_with(prefix: str) -> Q:
    """Return the condition that the host or the release of a run begins with a prefix."""
    return begins_with("host", prefix) | begins_with("release", prefix)


def tables_are_there() -> bool:
    """Tell whether the tables of the history have been migrated. Raises ``DatabaseError``."""
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
"""Databases whose tables have been seen. They don't go away while a process lives."""
