"""The boot record: the steps of a start that come before its hooks.

Of the first run of a process only: what came before a later one is no part of its start.
"""

from __future__ import annotations

import os

from lifespan_app.engine import proc

MOMENTS = ("process", "imported", "app_ready", "apps_ready", "application")
"""The keys of a boot record: the process began, lifespan_app was imported, its ``ready()`` had run, that
of all apps had run, the ASGI application was made. The last two are known where ``get_asgi_application``
is called."""

times: dict[str, float] = {}
"""The times of the moments in this process, since the epoch; ``apps.py`` sets them."""

_first_runs: dict[int, str] = {}
"""The UUID of the first run, by process: a fork inherits the entry of its parent."""


def boot_record(uuid: str, started_at: float) -> dict[str, float]:
    """Return the steps of a start by the seconds between them and the startup of a run.

    Args:
        uuid: the UUID of the run.
        started_at: the time at which its startup began, since the epoch.

    Returns:
        Seconds by ``MOMENTS``, without those that are unknown or did not happen; empty for a run that
        is not the first of its process. In a forked process, a step that took more seconds than
        ``process`` happened in its parent.
    """
    if _first_runs.setdefault(os.getpid(), uuid) != uuid:
        return {}
    known = {"process": proc.began(), **times}
    return {
        name: round(started_at - at, 3)
        for name in MOMENTS
        # An application may be made after the startup, such as that of a command.
        if (at := known.get(name)) is not None and at <= started_at
    }
