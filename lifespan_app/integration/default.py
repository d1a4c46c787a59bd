"""The default ``Lifespan``, which the apps of a project declare their hooks with."""

from __future__ import annotations

import sys

from lifespan_app.engine.lifespan import Lifespan

from .server import ServerAdapter

lifespan = Lifespan.get_instance()
lifespan.adapter = ServerAdapter().changed(**vars(lifespan.adapter))

if "django.core.checks" in sys.modules:
    # Where lifespan_app is not installed, nothing else of it is imported before the checks run.
    from . import not_installed  # noqa: F401


def get_lifespan() -> Lifespan:
    """Return the default ``Lifespan``, as ``Lifespan.get_instance()`` does."""
    return lifespan
