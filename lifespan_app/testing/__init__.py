"""Tools for a project's tests: a lifespan for a test, with resources replaced or hooks broken.

::

    async with lifespan_running() as running:
        response = await running.async_client.get("/book/1/")

    with override(http_client, fake), lifespan_running() as running:
        response = running.client.get("/book/1/")
"""

from __future__ import annotations

from .aware_client import LifespanAwareAsyncClient
from .patches import InjectedFailure, inject, override
from .running import Running, lifespan_running

__all__ = [
    "InjectedFailure",
    "LifespanAwareAsyncClient",
    "Running",
    "inject",
    "lifespan_running",
    "override",
]
