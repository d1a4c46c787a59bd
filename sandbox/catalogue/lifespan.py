import json
from pathlib import Path
from typing import Any

from lifespan_app import lifespan

BOOKS_FILE = Path(__file__).with_name("books.json")


@lifespan.resource(state_name="catalogue_books")
def books() -> dict[str, dict[str, Any]]:
    """Read the catalogue once, so that a broken file fails the start and no request."""
    return {book["isbn"]: book for book in json.loads(BOOKS_FILE.read_text(encoding="utf-8"))}
