"""Writing of entries to the database, idempotent."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist
from django.db import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connections,
    models,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from lifespan_app import conf
from lifespan_app.models import LifespanRun, LifespanStep, RunQuerySet, Status

from .forks import forks
from .rows import Entry, Row
from .sanitize import ascii_only, sanitize, sanitize_json
from .store_errors import is_about_a_character, is_lock_error

T = TypeVar("T")

MOST_BYTES = 14_000_000
"""The most text in one query: MariaDB's ``max_allowed_packet`` is 16 MiB
(https://mariadb.com/kb/en/server-system-variables/#max_allowed_packet)."""

LOCK_TIMEOUT_MS = 50
"""Milliseconds that a write waits for a locked SQLite file."""


class Unstorable(ValueError):
    """A value that does not fit its column in any database."""


class Writer:
    """A writer of the entries of one run, in their order.

    Args:
        uuid: the UUID of the run.
        late: True if they come from a spool file.
    """

    def __init__(self, uuid: str, *, late: bool = False) -> None:
        self._uuid = uuid
        self._run: Row = {"recorded_late": True} if late else {}
        """The known columns of the run's row."""
        self._pk: int | None = None
        self._has_lost_steps = False

    def write(self, entry: Entry) -> None:
        """Write one entry. Raises ``DatabaseError``."""
        in_any_encoding(lambda plain: self._write(plain(entry)))

    @property
    def row(self) -> Row:
        """The known columns of the run."""
        return self._run

    @property
    def pk(self) -> int | None:
        """The primary key of the run; None before its first write."""
        return self._pk

    def has_lost_steps(self) -> bool:
        """Return True, once, if the row of the run had gone, with its steps, and was inserted again."""
        has_lost_steps, self._has_lost_steps = self._has_lost_steps, False
        return has_lost_steps

    def beat(self, heartbeat: Row) -> bool:
        """Write a heartbeat. Returns True if another process had marked the run as lost."""
        found = self._found()
        if found.exclude(status=Status.LOST).update(**fitted(LifespanRun, heartbeat)):
            self._run |= heartbeat
            return False
        was_lost = found.filter(status=Status.LOST).exists()
        self._write_run({"status": self._run["status"], **heartbeat})
        return was_lost

    def _write(self, entry: Entry) -> None:
        if "run" in entry:
            self._write_run(entry["run"])
        elif entry["phases"]:
            self._replace(LifespanStep.objects.filter(phase__in=entry["phases"]), entry["steps"])
        else:
            for step in entry["steps"]:
                same = {name: step[name] for name in ("phase", "app_label", "name", "kind")}
                of_hook = LifespanStep.objects.filter(**fitted(LifespanStep, same))
                self._replace(of_hook, [step])

    def _write_run(self, row: Row) -> None:
        self._run |= row
        if self._pk is not None:
            if self._not_newer(self._found()).update(**fitted(LifespanRun, row)):
                return
        self._pk = self._insert_run()

    def _found(self) -> RunQuerySet:
        """Return the row of the run. After a restore or a new migration, its key may be another run's."""
        return LifespanRun.objects.filter(pk=self._pk, uuid=self._uuid)

    def _insert_run(self) -> int:
        """Insert the row, or update an existing one; return its primary key."""
        values = fitted(LifespanRun, self._run)
        run = LifespanRun(**values)
        try:
            # Without the signals of save(): the project's receivers are not ours to call.
            with transaction.atomic(using=alias()):
                LifespanRun.objects.bulk_create([run])
        except IntegrityError:
            # The row exists, from this process or from the one that left a spool file.
            runs = LifespanRun.objects.filter(uuid=self._run["uuid"])
            self._not_newer(runs).update(**values)
            pk = runs.values_list("pk", flat=True).first()
            if pk is None:
                raise
            return int(pk)
        self._has_lost_steps = self._has_lost_steps or self._pk is not None
        return run.pk

    def _not_newer(self, runs: RunQuerySet) -> RunQuerySet:
        """Exclude a run with a row that is newer than its spool file."""
        if self._run.get("recorded_late") and "last_seen_at" in self._run:
            return runs.filter(last_seen_at__lte=moment(self._run["last_seen_at"]))
        return runs

    def _key_of_run(self) -> int:
        if "uuid" in self._run:
            return self._insert_run()
        runs = LifespanRun.objects.filter(uuid=self._uuid)
        if self._run:
            # The file may hold steps only; the run is recorded late all the same.
            runs.update(**self._run)
        return int(runs.values_list("pk", flat=True).get())

    def _replace(self, outdated: models.QuerySet[LifespanStep], rows: list[Row]) -> None:
        """Replace steps of this run.

        One more query by the primary key, so that no step is written to another run: see ``_found``.
        """
        if self._pk is None or not self._found().exists():
            self._pk = self._key_of_run()
        with transaction.atomic(using=alias()):
            outdated.filter(run_id=self._pk)._raw_delete(alias())
            for some in by_size(rows):
                LifespanStep.objects.bulk_create(
                    LifespanStep(run_id=self._pk, **fitted(LifespanStep, row)) for row in some
                )


def alias() -> str:
    """Return the alias of the history's database."""
    return str(conf.get("HISTORY_DATABASE"))


def fitted(model: type[models.Model], row: Row) -> Row:
    """Return a row with values for the model's fields.

    Unknown columns, of a newer version, are left out.

    Raises:
        Unstorable: a value does not fit its column.
    """
    values = {}
    for name, value in row.items():
        try:
            field = model._meta.get_field(name)
        except FieldDoesNotExist:
            continue
        try:
            values[name] = value_for(field, value)
        # datetime raises OSError for a time that the C library can't represent.
        except (ArithmeticError, AttributeError, OSError, TypeError, ValueError) as error:
            raise Unstorable(f"'{name}' can't be {value!r}") from error
    seen, lost = values.get("last_seen_at"), values.get("lost_after")
    if seen and lost and lost < seen < moment_after(seen, row):
        # Without USE_TZ, a clock change in between would make the run lost at once.
        values["lost_after"] = moment_after(seen, row)
    return values


def moment_after(seen: datetime, row: Row) -> datetime:
    """Return the time after which a run is lost, regardless of clock changes."""
    return seen + timedelta(seconds=row["lost_after"] - row["last_seen_at"])


def value_for(field: Any, value: Any) -> Any:
    """Return a plain value as a value for a field."""
    if value is None:
        return None
    if isinstance(field, models.DateTimeField):
        return moment(value)
    if isinstance(field, models.DurationField):
        return timedelta(seconds=value)
    if isinstance(field, models.JSONField):
        return sanitize_json(value)
    if isinstance(field, models.CharField | models.TextField):
        return sanitize(value, field.max_length) if field.max_length else sanitize(value)
    return value


def moment(seconds: float) -> datetime:
    """Return a time as Django stores it, by ``USE_TZ``."""
    at = datetime.fromtimestamp(seconds, UTC)
    return at if settings.USE_TZ else timezone.make_naive(at)


def in_any_encoding(write: Callable[[Callable[[Any], Any]], T]) -> T:
    """Write texts as they are, or without special characters where the columns have an old encoding.

    Args:
        write: gets the function that makes each text storable.
    """
    try:
        return write(lambda text: text)
    except DatabaseError as error:
        if not is_about_a_character(error):
            raise
        return write(ascii_only)


def by_size(rows: list[Row]) -> Iterator[list[Row]]:
    """Yield rows in lists that fit one query each."""
    some: list[Row] = []
    size = 0
    for row in rows:
        length = sum(map(bytes_in_a_query, texts(row)))
        if some and size + length > MOST_BYTES:
            yield some
            some, size = [], 0
        some.append(row)
        size += length
    if some:
        yield some


def texts(row: Row) -> Iterator[str]:
    """Yield the texts in a row, also those in its lists of lists."""
    for value in row.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            for items in value:
                yield from (item for item in items if isinstance(item, str))


def bytes_in_a_query(text: str) -> int:
    """Return the largest size of a text in a query: as JSON, with escaped backslashes."""
    if not text.isascii():
        return 14 * len(text)  # an emoji is two escapes of six characters
    return (4 if text.isprintable() else 7) * len(text)


def with_retries(work: Callable[[], T], seconds: float) -> T:
    """Call a function that uses the database, and retry while another process holds a lock.

    Args:
        work: the function; it may be called several times, also after a partial success.
        seconds: the longest time of retries.

    Returns:
        The result of the function.

    Raises:
        DatabaseError: the call failed, or the lock was held for all that time.
    """
    give_up_at = time.monotonic() + seconds
    while True:
        try:
            return with_reconnect(work)
        except DatabaseError as error:
            if not is_lock_error(error) or time.monotonic() > give_up_at:
                raise
            with forks.go_on():
                time.sleep(random.uniform(0.01, 0.1))


def with_reconnect(work: Callable[[], T]) -> T:
    """Call a function, again with a new connection if the old one was broken."""
    connection = connections[alias()]
    was_open = connection.connection is not None
    if was_open and not (connection.autocommit or connection.in_atomic_block):
        # An alert, or a receiver of ``run_changed``, has opened it, or has left a transaction open.
        forget_connection()
        was_open = False
    if not was_open:
        prepare(connection)
    try:
        return work()
    except (OperationalError, InterfaceError):
        if not was_open:
            raise
        forget_connection()
        prepare(connection)
        return work()


def prepare(connection: BaseDatabaseWrapper) -> None:
    """Open a connection with autocommit and, on SQLite, a short lock timeout."""
    if not connection.get_autocommit():
        connection.set_autocommit(True)
    if connection.vendor == "sqlite":
        # While it waits to commit, others can't read or write, so it retries instead:
        # https://www.sqlite.org/lockingv3.html#writer_starvation
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_MS}")


def release_connection() -> None:
    """Close this thread's connection, unless ``CONN_MAX_AGE`` keeps it open."""
    connections[alias()].close_if_unusable_or_obsolete()


def forget_connection() -> None:
    """Close this thread's connection to the history's database, in any state."""
    with suppress(Exception):
        connections[alias()].close()
