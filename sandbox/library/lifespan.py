import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
from django.conf import settings
from django.utils import timezone

from lifespan_app import lifespan

from .bookshelf import Bookshelf
from .models import Book

logger = logging.getLogger(__name__)

KEPT_FOR = timedelta(days=365)


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


@lifespan.background(every=3600, first=10, once="cluster", required=False)
async def forget_books() -> None:
    """Remove books that were stored long ago. All processes share the database, so one of them does it."""
    long_ago = timezone.now() - KEPT_FOR
    count, _ = await Book.objects.filter(kept_at__lt=long_ago).adelete()
    logger.info("%d old books removed", count)
