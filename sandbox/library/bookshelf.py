from __future__ import annotations

import json
from pathlib import Path

from .facts import BookFacts
from .models import Book


class Bookshelf:
    """
    Read the books of the house: those that stand here from the start, and those that were kept.

    `file` is a JSON list of books. It is read once, the database each time.
    """

    def __init__(self, file: Path) -> None:
        items = json.loads(file.read_text(encoding="utf-8"))
        self._first = {facts.isbn: facts for facts in map(BookFacts.from_json, items)}

    def books(self) -> list[BookFacts]:
        """Return every book once; a stored book wins."""
        kept = {book.isbn: book.facts for book in Book.objects.all()}
        return list({**self._first, **kept}.values())

    async def abooks(self) -> list[BookFacts]:
        """Return every book once, without blocking the loop."""
        kept = {book.isbn: book.facts async for book in Book.objects.all()}
        return list({**self._first, **kept}.values())
