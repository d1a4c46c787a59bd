"""``get_wsgi_application``, as in ``django.core.wsgi``, with the lifespan in a background thread."""

from __future__ import annotations

import django

from .integration.default import lifespan
from .serving.wsgi_handler import LifespanWSGIHandler


def get_wsgi_application() -> LifespanWSGIHandler:
    """Return the project's WSGI application, which opens the plan in a background thread.

    It is opened at its first use in each process, and closed when that ends. The setting
    ``WITHOUT_SERVER_LIFESPAN`` wins, where a project has it.

    Raises:
        PlanError: the plan can't be made; the error of a broken ``lifespan.py`` is its cause.
    """
    django.setup(set_prefix=False)
    from .apps import install
    from .integration.adapter import DjangoAdapter
    from .integration.not_installed import warn_not_installed

    install(lifespan)
    warn_not_installed()
    lifespan.plan()
    if isinstance(lifespan.adapter, DjangoAdapter):
        lifespan.adapter.background.enabled = True
    return LifespanWSGIHandler()
