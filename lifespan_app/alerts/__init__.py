"""Alerts on changes of runs: mails, webhooks, and functions of a project. May import ``history``.

The functions here are values of ``to`` in ``LIFESPAN["ALERTS"]``. A project's own has the same
arguments: ``run``, a ``LifespanRun``; ``change`` and ``previous``, two words; then its options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lifespan_app.models import LifespanRun

__all__ = ["email_admins", "webhook"]

WEBHOOK_TIMEOUT = 10.0


def email_admins(run: LifespanRun, change: str, previous: str) -> None:
    """Send a mail about a change to ``ADMINS``, with Django's mail settings.

    Args:
        run: the run that has changed.
        change: what has changed.
        previous: the state before.

    Raises:
        OSError: the mail can't be sent.
    """
    from django.core.mail import mail_admins

    from . import texts

    mail_admins(texts.subject(run, change), texts.body(run))


def webhook(
    run: LifespanRun,
    change: str,
    previous: str,
    *,
    url: str,
    headers: Mapping[str, str] | None = None,
    timeout: float = WEBHOOK_TIMEOUT,
) -> None:
    """Post a change as JSON, which receivers that are compatible with Slack show.

    Args:
        run: the run that has changed.
        change: what has changed.
        previous: the state before.
        url: the address, ``http`` or ``https``.
        headers: further headers of the request.
        timeout: seconds for the connection, and for each read.

    Raises:
        OSError: the receiver can't be reached, or answers with an error.
        ValueError: the address is neither ``http`` nor ``https``.
    """
    import json
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from . import texts

    if not url.startswith(("http://", "https://")):
        raise ValueError("the url of the webhook must begin with http:// or https://")
    data = json.dumps(texts.payload(run, change, previous)).encode()
    sent = Request(url, data, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urlopen(sent, timeout=timeout):
            pass
    except HTTPError as error:
        # It is the answer too, and holds the connection.
        error.close()
        raise
