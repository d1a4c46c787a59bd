"""Rows into the database. Each entry may be written twice, and is there once."""

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
from lifespan_app.models import LifespanRun, LifespanStep, RunQuerySet

from .forks import forks
from .rows import Entry, Row
from .sanitize import ascii_only, sanitize, sanitize_json
from .store_errors import is_in_the_way

T = TypeVar("T")

MOST_BYTES = 14_000_000
"""How much text one query carries at most: MariaDB's ``max_allowed_packet`` is 16 MiB."""

YIELDS_AFTER = 50
"""Milliseconds that a write waits for an SQLite file that somebody else uses."""

CANT_STORE = ("incorrect string value", "character with byte sequence", "invalid byte sequence")
"""What databases say of a character that the encoding of a column does not have."""


class Unstorable(ValueError):
    """A value that no database could keep in its column."""


class Writer:
    """Writes the entries of one run, in their order.

    Args:
        uuid: whose they are.
        late: whether they come from a spool file.
    """

    def __init__(self, uuid: str, *, late: bool = False) -> None:
        self._uuid = uuid
        self._run: Row = {"recorded_late": True} if late else {}
        """All that is known of the run's row."""
        self._pk: int | None = None

    def write(self, entry: Entry) -> None:
        """Write one entry. Raises ``DatabaseError`` when the database does not take it."""
        try:
            self._write(entry)
        except DatabaseError as error:
            if not any(words in str(error).lower() for words in CANT_STORE):
                raise
            self._write(ascii_only(entry))

    def beat(self, sign_of_life: Row) -> None:
        """Write that the run lives; also where it stands, which another start may have judged."""
        self._write_run({"status": self._run["status"], **sign_of_life})

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
            runs = self._not_newer(LifespanRun.objects.filter(pk=self._pk))
            if runs.update(**fitted(LifespanRun, row)):
                return
        self._pk = self._insert_run()

    def _insert_run(self) -> int:
        """Write the whole row anew, or find the one that is there; return its key."""
        values = fitted(LifespanRun, self._run)
        run = LifespanRun(**values)
        try:
            # Without the signals of save(): the project's receivers are not ours to call.
            with transaction.atomic(using=alias()):
                LifespanRun.objects.bulk_create([run])
        except IntegrityError:
            # It was written before: by this process, or by the one that has left a spool file.
            runs = LifespanRun.objects.filter(uuid=self._run["uuid"])
            self._not_newer(runs).update(**values)
            pk = runs.values_list("pk", flat=True).first()
            if pk is None:
                raise
            return int(pk)
        return run.pk

    def _not_newer(self, runs: RunQuerySet) -> RunQuerySet:
        """Leave out a run that the database knows more of than a file: it was killed in between."""
        if self._run.get("recorded_late") and "last_seen_at" in self._run:
            return runs.filter(last_seen_at__lte=moment(self._run["last_seen_at"]))
        return runs

    def _key_of_run(self) -> int:
        if "uuid" in self._run:
            return self._insert_run()
        runs = LifespanRun.objects.filter(uuid=self._uuid)
        if self._run:
            # Of its row nothing may have waited, only steps; they come late all the same.
            runs.update(**self._run)
        return int(runs.values_list("pk", flat=True).get())

    def _replace(self, outdated: models.QuerySet[LifespanStep], rows: list[Row]) -> None:
        """Write steps in the place of others of this run."""
        if self._pk is None:
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
    """Return a row as the model takes it: times as Django has them, texts that have room.

    Columns that the model does not have are left out: a newer version may have written the row.

    Raises:
        Unstorable: a value has no place in its column.
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
        # Without USE_TZ a clock that goes back in between would have the run lost at once.
        values["lost_after"] = moment_after(seen, row)
    return values


def moment_after(seen: datetime, row: Row) -> datetime:
    """Return until when a run that was seen is not lost, by a clock that nobody sets back."""
    return seen + timedelta(seconds=row["lost_after"] - row["last_seen_at"])


def value_for(field: Any, value: Any) -> Any:
    """Return a plain value as a field takes it."""
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
    """Return a time of day as Django keeps it, by ``USE_TZ``."""
    at = datetime.fromtimestamp(seconds, UTC)
    return at if settings.USE_TZ else timezone.make_naive(at)


def by_size(rows: list[Row]) -> Iterator[list[Row]]:
    """Yield rows in as few lists as there is room for in a query."""
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
    """Return how long a text may become: in JSON, with backslashes before its backslashes."""
    if not text.isascii():
        return 14 * len(text)  # an emoji is two escapes of six characters
    return (4 if text.isprintable() else 7) * len(text)


def with_retries(work: Callable[[], T], seconds: float) -> T:
    """Do something with the database, again and again for a while where somebody is in the way.

    Args:
        work: what is done. It may be done more than once, also in part.
        seconds: for how long.

    Returns:
        What it returns.

    Raises:
        DatabaseError: the database does not do it, or somebody was in the way for all that time.
    """
    give_up_at = time.monotonic() + seconds
    while True:
        try:
            return on_a_living_connection(work)
        except DatabaseError as error:
            if not is_in_the_way(error) or time.monotonic() > give_up_at:
                raise
            with forks.go_on():
                time.sleep(random.uniform(0.01, 0.1))


def on_a_living_connection(work: Callable[[], T]) -> T:
    """Do something, with a new connection where the one at hand has broken since it was used."""
    connection = connections[alias()]
    was_open = connection.connection is not None
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
    """Open a connection that commits by itself, and that yields to the application."""
    connection.ensure_connection()
    if not connection.settings_dict["AUTOCOMMIT"]:
        connection.set_autocommit(True)
    if connection.vendor == "sqlite":
        # While it waits to commit, nobody else can read or write: better to try again.
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {YIELDS_AFTER}")


def release_connection() -> None:
    """Close this thread's connection, unless ``CONN_MAX_AGE`` lets it live on."""
    connections[alias()].close_if_unusable_or_obsolete()


def forget_connection() -> None:
    """Close this thread's connection to the history's database, whatever state it is in."""
    with suppress(Exception):
        connections[alias()].close()
