import asyncio
import logging

import httpx
from library.bookshelf import Bookshelf
from library.lookup import CatalogueError, all_books

from lifespan_app import LifespanContext, lifespan

from .index import Index
from .spelling import Spelling

logger = logging.getLogger(__name__)

WORDS_AT_A_TIME = 10
FIRST_RETRY_SECONDS = 0.1
QUIET_FAILURES = 5  # the first attempts may happen before the server listens


@lifespan.resource
def index(bookshelf: Bookshelf) -> Index:
    """Index the local books. The catalogue may be served by this process, later."""
    return Index(bookshelf.books())


@lifespan.resource(wait=False, required=False)
def spelling(index: Index) -> Spelling:
    """Learn the words of the index while the process serves already."""
    learnt, words = Spelling(), index.words()
    for number, word in enumerate(words, start=1):
        learnt.learn(word)
        if number % WORDS_AT_A_TIME == 0 or number == len(words):
            lifespan.progress(number / len(words), f"learnt {number} of {len(words)} words")
    return learnt


@lifespan.on_start
def announce(index: Index) -> None:
    logger.info("%d books can be found", len(index))


@lifespan.background(required=False)
async def refresh(
    http_client: httpx.AsyncClient, bookshelf: Bookshelf, index: Index, context: LifespanContext
) -> None:
    """Load the books of the catalogue into the index, now and every `refresh_seconds`."""
    seconds = max(1.0, context.get_config("refresh_seconds", 300.0))
    failures, retry = 0, FIRST_RETRY_SECONDS
    while True:
        try:
            found = await all_books(http_client)
        except CatalogueError as error:
            failures, pause, retry = failures + 1, retry, min(2 * retry, seconds)
            level = logging.DEBUG if failures <= QUIET_FAILURES else logging.WARNING
            logger.log(level, "%s Next try in %.1f s.", error, pause)
        else:
            index.replace([*found, *await bookshelf.abooks()])
            logger.info("Index refreshed: %d books can be found", len(index))
            failures, pause, retry = 0, seconds, FIRST_RETRY_SECONDS
        await asyncio.sleep(pause)


@lifespan.on_shutdown
def sum_up(index: Index) -> None:
    logger.info("%d searches answered", index.answered)
