"""What a start does for runs that are gone: those that fell silent, left a file, or are too old."""

from __future__ import annotations

from functools import partial

from django.utils import timezone

from lifespan_app.engine.log import logger
from lifespan_app.models import LifespanRun

from . import spool
from .failures import failure_of, is_of_database, may_pass
from .lost import mark_lost
from .pruning import prune_some
from .writing import Writer, forget_connection, patiently

PATIENCE = 5.0
"""Seconds that each write waits for others who start at the same time."""


def look_after_others() -> None:
    """Import what waits in files, write who is lost, delete what is too old.

    It is done in the thread of a record, when the database has just taken something. What fails
    here is left to the next start.
    """
    try:
        import_waiting()
        patiently(lambda: mark_lost(timezone.now()), PATIENCE)
        patiently(prune_some, PATIENCE)
    except Exception as error:
        logger.warning("Runs that are gone were not looked after: %s.", error)


def import_waiting() -> None:
    """Import each file whose process is gone.

    Raises:
        Exception: the database does not do it now; the files stay.
    """
    for waiting in spool.claimed(spool.folder()):
        try:
            import_spooled(waiting)
        except Exception as error:
            if is_of_database(error) or not answers():
                raise
            logger.warning(
                "The record of run %s can't be imported now: %s. The next start tries again.",
                waiting.uuid,
                failure_of(error).what,
            )


def import_spooled(waiting: spool.Claimed) -> None:
    """Write what waits in a file into the database, and remove the file.

    A file with something in it that the database can't take is set aside.

    Raises:
        Exception: another attempt may go better; the file stays.
    """
    writer = Writer(waiting.uuid, late=True)
    refusal: Exception | None = None
    for entry in waiting.entries():
        try:
            patiently(partial(writer.write, entry), PATIENCE)
        except LifespanRun.DoesNotExist:
            # Its row was deleted since: these are steps of a run that nobody wants any more.
            break
        except Exception as error:
            if may_pass(error):
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


def answers() -> bool:
    """Return True if the history's database can be read."""
    forget_connection()
    try:
        patiently(LifespanRun.objects.order_by().values_list("pk").first, PATIENCE)
    except Exception:
        return False
    return True
