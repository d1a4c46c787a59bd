"""The receiver of ``run_changed`` that sends the alerts of ``LIFESPAN["ALERTS"]``."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from django.db import connections
from django.utils.module_loading import import_string

from lifespan_app import conf
from lifespan_app.engine.logger import logger
from lifespan_app.history.recording.changes import fields_of, run_changed
from lifespan_app.history.recording.forks import forks
from lifespan_app.models import OF_DEVELOPMENT, LifespanRun

from . import claims
from .claims import Claim


def connect() -> None:
    """Have alerts sent, from now on."""
    run_changed.connect(alert, sender=LifespanRun, dispatch_uid="lifespan_app.alerts")


def alert(
    sender: type[LifespanRun], run: LifespanRun, change: str, previous: str, **kwargs: object
) -> threading.Thread | None:
    """Send the alerts on a change in a new thread, unless another process has sent them.

    Runs of reloading development servers, checks and tests send none.

    Returns:
        The thread; None if nothing is sent.
    """
    wanted = [one for one in conf.alerts() if change in one.on]
    if not wanted or run.mode in OF_DEVELOPMENT:
        return None
    claim = Claim(change, run.environment, run.service_type, run.fingerprint)
    if not claims.claim(claim, in_database=run.pk is not None):
        return None
    words = (wanted, run, change, previous, claim)
    thread = threading.Thread(target=deliver, args=words, name="lifespan alert", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # Python 3.12 gives no new thread to a process that ends
        deliver(*words)
        return None
    return thread


def deliver(
    wanted: Sequence[conf.Alert], run: LifespanRun, change: str, previous: str, claim: Claim
) -> None:
    """Call the function of each alert, and log its failure."""
    try:
        sent = [send(one, run, change, previous) for one in wanted]
        if any(sent):
            with forks.wait():
                claims.was_sent(claim, in_database=run.pk is not None)
    finally:
        connections.close_all()


def send(one: conf.Alert, run: LifespanRun, change: str, previous: str) -> bool:
    """Call the function of an alert. Returns False if it fails, which is logged."""
    try:
        import_string(one.to)(run=run, change=change, previous=previous, **one.options)
    # A SystemExit would end the thread, and with it the other alerts.
    except BaseException as error:
        logger.error(
            "The alert to '%s' that run %s is '%s' failed.",
            one.to,
            run.shown_id,
            change,
            error=error,
            about=fields_of(run),
        )
        return False
    return True
