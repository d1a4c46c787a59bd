"""``get_asgi_application``, as in ``django.core.asgi``, with a lifespan."""

from __future__ import annotations

import django

from .serving.handler import LifespanASGIHandler


def get_asgi_application() -> LifespanASGIHandler:
    """Return the project's ASGI application, which answers the lifespan protocol.

    Raises:
        PlanError: the plan can't be made; the error of a broken ``lifespan.py`` is its cause.
    """
    try:
        django.setup(set_prefix=False)
        from .apps import install
        from .integration.default import lifespan
        from .integration.not_installed import warn_not_installed

        install(lifespan)
        warn_not_installed()
        lifespan.plan()
    except Exception as error:
        from .serving.startup_report import report_failure

        report_failure(error)
        raise
    return LifespanASGIHandler()
