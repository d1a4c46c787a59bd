import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from django.conf import settings

from lifespan_app import lifespan

from .bookshelf import Bookshelf

logger = logging.getLogger(__name__)


@lifespan.resource(shutdown_timeout=3)
async def http_client() -> AsyncIterator[httpx.AsyncClient]:
    """Share one client and its open connections between all requests and hooks."""
    client = httpx.AsyncClient(
        base_url=settings.CATALOGUE_URL,
        timeout=5,
        # A proxy from the environment can't reach this machine.
        mounts=dict.fromkeys((settings.SITE_URL, "all://127.0.0.1", "all://localhost")),
    )
    async with client:
        yield client
    logger.info("HTTP client closed")


@lifespan.resource
def bookshelf() -> Bookshelf:
    return Bookshelf(Path(__file__).with_name("shelf.json"))
