"""Problems of the alerts in ``LIFESPAN["ALERTS"]``."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from lifespan_app import conf
from lifespan_app.engine.error_text import one_line

EMAIL_ADMINS = "lifespan_app.alerts.email_admins"
ALERTS = f"{conf.SETTING}['ALERTS']"


def alert_messages() -> Iterator[CheckMessage]:
    """E017: no function for an alert; W016: no history to tell of; W017: a mail to nobody."""
    if not conf.get("HISTORY"):
        yield Warning(
            f"{ALERTS} sends nothing, as {conf.SETTING}['HISTORY'] is False: alerts tell of recorded "
            "changes.",
            hint="Set HISTORY to True, or remove ALERTS.",
            id="lifespan_app.W016",
        )
    for number, alert in enumerate(conf.alerts()):
        place = f"{ALERTS}[{number}]['to']"
        if (refusal := refusal_of(alert.to)) is not None:
            yield Error(
                f"{place} is '{alert.to}', {refusal}.",
                hint=f"Name a function, such as '{EMAIL_ADMINS}' or 'lifespan_app.alerts.webhook'.",
                id="lifespan_app.E017",
            )
        elif alert.to == EMAIL_ADMINS and not settings.ADMINS:
            yield Warning(
                f"{place} is '{EMAIL_ADMINS}', and ADMINS is empty: nobody gets the mails.",
                hint="Add an address to ADMINS.",
                id="lifespan_app.W017",
            )


def refusal_of(path: str) -> str | None:
    """Return the reason that a dotted path is no function; None if it is one."""
    try:
        found = import_string(path)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"which can't be imported: {one_line(error).rstrip('.')}"
    return None if callable(found) else "which can't be called"
