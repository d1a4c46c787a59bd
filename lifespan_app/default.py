"""The default ``Lifespan``, which the apps of a project declare their hooks with."""

from __future__ import annotations

from .engine.api import Lifespan

lifespan = Lifespan.get_instance()


def get_lifespan() -> Lifespan:
    """Return the default ``Lifespan``, as ``Lifespan.get_instance()`` does."""
    return lifespan
