"""Maintenance of earlier runs at each start: import of spool files, lost runs, deletion of old ones.

It runs in the recording thread of the new run, in small pieces between that run's own writes.
"""

from __future__ import annotations

import math
import random
import shlex
import time
from collections.abc import Callable, Generator
from functools import partial

from django.db import DatabaseError
from django.db.models import Q

from lifespan_app.engine.logger import logger
from lifespan_app.engine.wording import count
from lifespan_app.models import LifespanRun

from . import spool
from .clock import database_time
from .database_id import database_ids, project_id
from .lost import ended_runs, lost_runs, mark_lost
from .pruning import prune_some
from .rows import NOT_LOST_FOR
from .store import Writer, alias, forget_connection, moment, with_reconnect, with_retries
from .store_errors import failure_of, is_lock_error, is_of_database, is_refusal

PATIENCE = 5.0
"""Seconds for which a write is retried while another process holds a lock."""

DAY = 86_400.0
CLOCKS_DIFFER = DAY
"""The difference of clocks in seconds from which nothing is deleted: one of them is wrong."""

Pieces = Generator[float, None, None]
"""Work in pieces; each yields the seconds to wait before the next."""


class Maintenance:
    """The maintenance that one process does: all of it once, and later what its heartbeats find.

    Args:
        heartbeat: the seconds between two heartbeats of the process.
    """

    def __init__(self, heartbeat: float) -> None:
        self.due_at = 0.0
        """The time of the next piece, by the monotonic clock; infinite when nothing is left to do."""
        self._silence_counts_from = 0.0
        """The time from which a silent process is a lost one; 0 if no write was late since the last look."""
        self._not_lost_for = NOT_LOST_FOR * heartbeat
        self._pieces = maintain(self._silence_counts)

    def _silence_counts(self) -> bool:
        return time.monotonic() >= self._silence_counts_from

    def database_is_late(self) -> None:
        """Give other processes time before they count as lost: their writes may be late too."""
        self._silence_counts_from = time.monotonic() + self._not_lost_for

    def heartbeat_is_written(self) -> None:
        """Begin to look for lost runs, unless something is left to do."""
        if self.due_at == math.inf and self._silence_counts():
            # First: a run that ended without the database waits in a file, and is not lost.
            self._pieces = maintain() if self._silence_counts_from else look_for_lost()
            self.due_at = self._silence_counts_from = 0.0

    def go_on(self, may_go_on: Callable[[], bool]) -> None:
        """Do the next pieces, while a function says that there is time for another one."""
        for pause in self._pieces:
            if pause or not may_go_on():
                self.due_at = time.monotonic() + pause
                return
        self.due_at = math.inf

    def close(self) -> None:
        """Leave the rest to the next start, with the locks of spool files."""
        self._pieces.close()


def maintain(silence_counts: Callable[[], bool] = lambda: True) -> Pieces:
    """Import spool files, mark lost runs, delete old ones.

    It begins after the first successful write. A failed part is logged and left to the next start; the
    others are done.

    Args:
        silence_counts: returns False if other processes may be silent because of the database.
    """
    for step in STEPS:
        part = partial(step, silence_counts()) if step is mark_lost_runs else step
        yield from logged(part, STEPS[step])


def look_for_lost() -> Pieces:
    """Mark lost runs, at a heartbeat."""
    yield from logged(mark_lost_runs, STEPS[mark_lost_runs])


def logged(step: Callable[[], Pieces], failure: str) -> Pieces:
    """Do one part, and log its failure."""
    try:
        yield from step()
    except Exception as error:
        what = failure_of(error).what
        logger.warning("%s: %s. The next start tries again.", failure, what)


def import_waiting() -> Pieces:
    """Import the spool files of ended processes.

    Raises:
        Exception: the database can't be written to now; the files stay.
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


def name_stray_files() -> Pieces:
    """Log once the files of this project that belong to another database."""
    folder = spool.folder_if_any()
    for known_by, number in spool.new_stray_files(folder).items():
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
    """Write the entries of a file to the database, and remove the file.

    A file with an entry that the database refuses is renamed.

    Raises:
        Exception: another attempt may go better; the file stays.
    """
    writer = Writer(waiting.uuid, late=True)
    refusal: Exception | None = None
    # Steps may come before the row of their run: it had been written already, and went with its table.
    for entry in sorted(waiting.entries(), key=lambda entry: "run" not in entry):
        try:
            yield from done(partial(writer.write, entry))
        except LifespanRun.DoesNotExist:
            # The run was deleted meanwhile, so its steps are not needed.
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


def mark_lost_runs(silence_counts: bool = True) -> Pieces:
    """Mark lost runs, by the database's clock, since this machine's may be ahead."""
    found: dict[int, Q] = {}
    search = lost_runs if silence_counts else ended_runs
    yield from done(lambda: found.update(search(moment(database_time()))))
    if found:
        # A run that ended without the database is not lost: it waits in a file, or is being imported.
        yield from logged(import_waiting, STEPS[import_waiting])
    waiting = spool.uuids(spool.folder_if_any()) if found else []
    for pk, condition in found.items():
        yield from done(partial(mark_lost, pk, condition & ~Q(uuid__in=waiting)))


def delete_old_runs() -> Pieces:
    """Delete some old runs, unless the two clocks differ."""
    yield from done(prune_by_two_clocks)


def prune_by_two_clocks() -> None:
    """Delete old runs by the database's clock, if this machine's agrees with it."""
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


STEPS: dict[Callable[..., Pieces], str] = {
    import_waiting: "Records that wait in files can't be imported",
    name_stray_files: "Files of this project can't be read",
    mark_lost_runs: "Lost runs can't be marked",
    delete_old_runs: "Old runs can't be deleted",
}
"""The parts in their order, each with its log message. Imports come first: a lost run may have a file."""


def done(work: Callable[[], object]) -> Pieces:
    """Call a function that uses the database, and retry while another process holds a lock.

    Raises:
        DatabaseError: the call failed, or the lock was held for all that time.
    """
    give_up_at = time.monotonic() + PATIENCE
    while True:
        try:
            with_reconnect(work)
        except DatabaseError as error:
            if not is_lock_error(error) or time.monotonic() > give_up_at:
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
