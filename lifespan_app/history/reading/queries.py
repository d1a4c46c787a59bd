"""Queries for the newest matching runs that neither count nor read the whole table.

The newest runs are those that started last: a run that was imported late has a high primary key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import Q, QuerySet

from lifespan_app import conf
from lifespan_app.models import SHORT_ID, LifespanRun, LifespanStep, RunQuerySet

WINDOW = 10_000
"""The number of newest rows that are searched first."""

CANDIDATES = 2_000
"""The number of rows per condition that a search reads first."""

BY_START = ("-started_at", "-pk")
"""The order of runs, newest first."""

AFTER_ALL = "\U0010ffff"

LONGEST_LABEL = 100
"""The most characters of an app label in the history."""

MOST_PID = 2**63 - 1


def in_window() -> Q:
    """Return the condition that a run is among the newest rows, with one query."""
    starts = LifespanRun.objects.order_by(*BY_START).values_list("started_at", flat=True)
    oldest = starts[WINDOW : WINDOW + 1].first()
    return Q() if oldest is None else Q(started_at__gt=oldest)


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
    found = keys_of(runs.filter(in_window(), any_of(parts)))[skip : skip + most]
    if len(found) == most:
        return list(found)
    if not parts:
        return list(keys_of(runs)[skip : skip + most])
    merged: dict[int, datetime] = {}
    for part in parts:
        merged.update(
            runs.filter(part).order_by(*BY_START).values_list("pk", "started_at")[: skip + most]
        )
    return newest_of(merged)[skip : skip + most]


def keys_of(runs: QuerySet[LifespanRun]) -> Any:
    """Return the primary keys of runs, newest first, as a queryset."""
    return runs.order_by(*BY_START).values_list("pk", flat=True)


def newest_of(starts: dict[int, datetime]) -> list[int]:
    """Return primary keys by their starts, newest first."""
    return sorted(starts, key=lambda pk: (starts[pk], pk), reverse=True)


def before(run: LifespanRun, *, with_it: bool = False) -> RunQuerySet:
    """Return the runs that started before a run, newest first.

    Args:
        run: the run.
        with_it: True to begin with the run itself.
    """
    own = Q(pk__lte=run.pk) if with_it else Q(pk__lt=run.pk)
    earlier = Q(started_at__lt=run.started_at) | Q(own, started_at=run.started_at)
    # The first condition is for the index.
    runs = LifespanRun.objects.filter(earlier, started_at__lte=run.started_at)
    return runs.order_by(*BY_START)


def any_of(parts: Sequence[Q]) -> Q:
    """Return the disjunction of conditions; without any, a condition that always holds."""
    return reduce(or_, parts, Q())


def conditions_of(term: str) -> list[Q]:
    """Return the conditions of a search, of which one must hold; each has an index.

    A search finds the beginning of a host or of a release, the id of a run, a process id, the class of
    an error, and the runs of a hook by its key.

    Args:
        term: the text of the search.
    """
    term = term.strip()
    if not term:
        return []
    if uuid := uuid_of(term):
        return [Q(uuid=uuid)]
    parts = [begins_with("host", term), begins_with("release", term)]
    parts.append(Q(error_class=term.rpartition(".")[2]))
    if len(term) == SHORT_ID:
        parts.append(Q(short_id=term.lower()))
    if term.isascii() and term.isdigit() and int(term) <= MOST_PID:
        parts.append(Q(pid=int(term)))
    if keys := runs_of_hook(term):
        parts.append(Q(pk__in=keys))
    return parts


def uuid_of(term: str) -> UUID | None:
    """Return the UUID in a search term; None for another text."""
    try:
        return UUID(term.strip())
    except ValueError:
        return None


def runs_of_hook(key: str) -> Iterable[int]:
    """Return the primary keys of the newest runs with a hook; none if the text is no hook's key."""
    steps = steps_of_hook(key)
    return set(steps.order_by("-pk").values_list("run", flat=True)[:CANDIDATES])


def steps_of_hook(key: str) -> QuerySet[LifespanStep]:
    """Return the steps of a hook, of all runs.

    Any dot of the key may be the one behind the app label: names have dots, and so has the label of a
    module outside of the apps. Each possible pair is looked up by the index.
    """
    # SQLite allows 1,000 parts in a condition: https://www.sqlite.org/limits.html#max_expr_depth
    beginning = key[: LONGEST_LABEL + 1]
    parts = [
        Q(app_label=key[:at], name=key[at + 1 :])
        for at, letter in enumerate(beginning)
        if letter == "."
    ]
    return LifespanStep.objects.filter(any_of(parts)) if parts else LifespanStep.objects.none()


def search_pks(
    runs: QuerySet[LifespanRun], parts: Sequence[Q], most: int, skip: int = 0
) -> list[int]:
    """Return the primary keys of runs that match a search, newest first.

    An index returns the newest candidates of each condition without reading the table; the other
    filters are applied to these, if they are enough.

    Args:
        runs: the runs that match the other filters.
        parts: the conditions of the search, of which one must hold.
        most: the largest number of keys to return.
        skip: the number of newer runs to leave out.
    """
    keys = keys_of(runs.filter(any_of(parts)))
    found = list(keys.filter(in_window())[skip : skip + most])
    if len(found) == most:
        return found
    starts: dict[int, datetime] = {}
    is_all = True
    for part in parts:
        some = LifespanRun.objects.filter(part).order_by(*BY_START).values_list("pk", "started_at")
        newest = list(some[:CANDIDATES])
        is_all = is_all and len(newest) < CANDIDATES
        starts.update(newest)
    candidates = newest_of(starts)
    is_all = is_all and len(candidates) <= CANDIDATES
    found = list(keys_of(runs.filter(pk__in=candidates[:CANDIDATES]))[skip : skip + most])
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
