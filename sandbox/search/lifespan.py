import logging

import httpx
from django.conf import settings
from library.bookshelf import Bookshelf
from library.lookup import all_books

from lifespan_app import lifespan

from .index import Index
from .spelling import Spelling

logger = logging.getLogger(__name__)

WORDS_AT_A_TIME = 10


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


@lifespan.background(
    every=settings.REFRESH_SECONDS,
    first=2,  # the catalogue may be served by this process, which listens by then
    timeout=30,
    on_crash="restart",
    required=False,
)
async def refresh(http_client: httpx.AsyncClient, bookshelf: Bookshelf, index: Index) -> None:
    """Load the books of the catalogue into the index."""
    index.replace([*await all_books(http_client), *await bookshelf.abooks()])
    logger.info("Index refreshed: %d books can be found", len(index))


@lifespan.on_shutdown
def sum_up(index: Index) -> None:
    logger.info("%d searches answered", index.answered)
