"""What a start does for runs that are gone: those that fell silent, left a file, or are too old."""

from __future__ import annotations

from functools import partial

from django.utils import timezone

from lifespan_app.engine.logger import logger

from . import spool
from .failures import may_pass
from .lost import mark_lost
from .pruning import prune_some
from .writing import Writer, patiently

PATIENCE = 5.0
"""Seconds that each write waits for others who start at the same time."""


def look_after_others() -> None:
    """Import what waits in files, write who is lost, delete what is too old.

    It is done in the thread of a record, when the database has just taken something. What fails
    here is left to the next start.
    """
    try:
        for waiting in spool.claimed(spool.folder()):
            import_spooled(waiting)
        patiently(lambda: mark_lost(timezone.now()), PATIENCE)
        patiently(prune_some, PATIENCE)
    except Exception as error:
        logger.warning("Runs that are gone were not looked after: %s.", error)


def import_spooled(waiting: spool.Claimed) -> None:
    """Write what waits in a file into the database, and remove the file.

    Raises:
        DatabaseError: the database does not take it; the file stays.
    """
    writer = Writer(waiting.uuid, late=True)
    for entry in waiting.entries():
        try:
            patiently(partial(writer.write, entry), PATIENCE)
        except Exception as error:
            if may_pass(error):
                raise
            logger.error("A part of the record of run %s is left out.", waiting.uuid, error=error)
    waiting.done()
