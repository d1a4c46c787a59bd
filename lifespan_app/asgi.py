"""``get_asgi_application``, as in ``django.core.asgi``, with a lifespan."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import django
from django.apps import apps

from . import _boot
from .serving.handler import LifespanASGIHandler


def get_asgi_application(
    mounts: Mapping[str, Callable[[Any, Any, Any], Awaitable[None]]] | None = None,
) -> LifespanASGIHandler:
    """Return the project's ASGI application, which answers the lifespan protocol.

    ::

        application = get_asgi_application(mounts={"/api": fastapi_app})

    Args:
        mounts: other ASGI applications in this process, by the prefix of their paths. The longest one
            that fits is used: ``/api`` is for that path, and for all below it. Their own lifespans open
            after all hooks, side by side, and close before them.

    Raises:
        PlanError: the plan can't be made; the error of a broken ``lifespan.py`` is its cause.
        TypeError: ``mounts`` is no mapping, or a value is no ASGI application.
        ValueError: a prefix begins without a slash, ends with one, or is there twice.
    """
    try:
        were_ready = apps.ready
        django.setup(set_prefix=False)
        if not were_ready:
            # The ready() of other apps may come after ours.
            _boot["apps_ready"] = time.time()
        from .apps import install
        from .integration.default import lifespan
        from .integration.not_installed import warn_not_installed

        install(lifespan)
        warn_not_installed()
        lifespan.plan()
        _boot["application"] = time.time()
        if mounts:
            from .serving.mounted import MountLocation
            from .serving.routing import MountingASGIHandler

            caller = sys._getframe(1)
            place = MountLocation(
                str(caller.f_globals.get("__name__")), caller.f_code.co_filename, caller.f_lineno
            )
            return MountingASGIHandler(mounts, place)
    except Exception as error:
        from .serving.startup_report import report_failure

        report_failure(error)
        raise
    return LifespanASGIHandler()
