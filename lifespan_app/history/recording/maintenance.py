"""What a start does for runs that are gone: those that left a file, fell silent, or are too old.

It is done in the thread of a record, a piece at a time: what the run of that record has to say, its
signs of life and its end, goes in between.
"""

from __future__ import annotations

import random
import shlex
import time
from collections.abc import Callable, Generator
from functools import partial

from django.db import DatabaseError, connections

from lifespan_app.engine.logger import logger
from lifespan_app.engine.wording import count
from lifespan_app.models import LifespanRun

from . import spool
from .database_id import database_ids, project_id
from .pruning import prune_some
from .stalled import mark_lost
from .store import Writer, alias, forget_connection, moment, on_a_living_connection, with_retries
from .store_errors import failure_of, is_in_the_way, is_of_database, is_refusal

PATIENCE = 5.0
"""Seconds that each write waits for others who start at the same time."""

DAY = 86_400.0
CLOCKS_DIFFER = DAY
"""Seconds from which on nothing is deleted: it can't be had back, and a clock may be years ahead."""

CLOCKS = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    "mysql": "SELECT UNIX_TIMESTAMP()",
}
"""What asks a database for its time, by vendor. MariaDB's is ``mysql``."""

Pieces = Generator[float, None, None]
"""Work that is done by iterating: after each piece comes how many seconds the next one may wait."""


def maintain() -> Pieces:
    """Import what waits in files, write who is lost, delete what is too old.

    It begins when the database has just taken something. What fails is left to the next start, and
    keeps nothing else from being done.
    """
    for step, what in STEPS.items():
        try:
            yield from step()
        except Exception as error:
            logger.warning("%s: %s. The next start tries again.", what, failure_of(error).what)


def import_waiting() -> Pieces:
    """Import each file whose process is gone.

    Raises:
        Exception: the database does not do it now; the files stay.
    """
    for waiting in spool.claimed(spool.folder_if_any()):
        try:
            yield from import_spooled(waiting)
        except Exception as error:
            if is_of_database(error) or not answers():
                raise
            logger.warning(
                "The record of run %s can't be imported now: %s. The next start tries again.",
                waiting.uuid,
                failure_of(error).what,
            )


def name_what_strayed() -> Pieces:
    """Say once which files of this project wait for a database that it has no more."""
    folder = spool.folder_if_any()
    for known_by, number in spool.newly_strayed(folder).items():
        logger.warning(
            "%s in %s for another database than this project's history has now. If it has moved, "
            "this has them imported by the next start: "
            'cd %s && for file in *-%s-%s-*; do mv "$file" "$(echo "$file" | sed s/%s/%s/)"; done',
            count(number, "record of a run waits", "records of runs wait"),
            folder,
            shlex.quote(str(folder)),
            known_by,
            project_id(),
            known_by,
            database_ids()[0],
        )
    yield 0.0


def import_spooled(waiting: spool.Claimed) -> Pieces:
    """Write what waits in a file into the database, and remove the file.

    A file with something in it that the database can't take is set aside.

    Raises:
        Exception: another attempt may go better; the file stays.
    """
    writer = Writer(waiting.uuid, late=True)
    refusal: Exception | None = None
    for entry in waiting.entries():
        try:
            yield from done(partial(writer.write, entry))
        except LifespanRun.DoesNotExist:
            # Its row was deleted since: these are steps of a run that nobody wants any more.
            break
        except Exception as error:
            if not is_refusal(error):
                raise
            refusal = refusal or error
    if refusal is None:
        waiting.done()
    else:
        logger.error(
            "The database refuses a part of the record of run %s: %s. Its file is now "
            "%s/%s, and is not imported again. Remove it, or correct it and take '%s' off its name.",
            waiting.uuid,
            failure_of(refusal).what,
            spool.folder(),
            waiting.set_aside(),
            spool.SET_ASIDE,
        )


def mark_who_is_lost() -> Pieces:
    """Write who is lost, by the database's clock: this machine's may be ahead."""
    yield from done(lambda: mark_lost(moment(database_time())))


def delete_what_is_old() -> Pieces:
    """Delete some of the runs that are too old, unless one of two clocks is wrong."""
    yield from done(prune_by_two_clocks)


def prune_by_two_clocks() -> None:
    """Delete old runs, by the database's clock, where this machine's agrees with it."""
    now = database_time()
    ahead = time.time() - now
    if abs(ahead) < CLOCKS_DIFFER:
        prune_some(now=moment(now))
    else:
        logger.warning(
            "Old runs are not deleted: the clock of this machine is %s days %s that of the "
            "database '%s'. Set the clock that is wrong.",
            f"{abs(ahead) / DAY:,.0f}",
            "ahead of" if ahead > 0 else "behind",
            alias(),
        )


STEPS = {
    import_waiting: "Records that wait in files can't be imported",
    name_what_strayed: "Files of this project can't be read",
    mark_who_is_lost: "Lost runs can't be marked",
    delete_what_is_old: "Old runs can't be deleted",
}
"""What is done, in this order, and what is said where it fails. Who is lost may have left a file."""


def database_time() -> float:
    """Return the time of day by the database's clock, in seconds since the epoch.

    SQLite has none but this machine's, which also stands in for those of databases not known here.
    """
    connection = connections[alias()]
    if (question := CLOCKS.get(connection.vendor)) is None:
        return time.time()
    with connection.cursor() as cursor:
        cursor.execute(question)
        return float(cursor.fetchone()[0])


def done(work: Callable[[], object]) -> Pieces:
    """Do something with the database, again and again for a while where somebody is in the way.

    Raises:
        DatabaseError: the database does not do it, or somebody was in the way for all that time.
    """
    give_up_at = time.monotonic() + PATIENCE
    while True:
        try:
            on_a_living_connection(work)
        except DatabaseError as error:
            if not is_in_the_way(error) or time.monotonic() > give_up_at:
                raise
            yield random.uniform(0.01, 0.1)
        else:
            yield 0.0
            return


def answers() -> bool:
    """Return True if the history's database can be read."""
    forget_connection()
    try:
        with_retries(LifespanRun.objects.order_by().values_list("pk").first, PATIENCE)
    except Exception:
        return False
    return True
