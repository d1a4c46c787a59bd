"""The default ``Lifespan``, which the apps of a project declare their hooks with."""

from __future__ import annotations

from .engine.api import Lifespan

lifespan = Lifespan()
