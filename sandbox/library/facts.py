from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class BookFacts:
    """The facts about a book, from any source."""

    isbn: str
    title: str
    author: str
    year: int

    @classmethod
    def from_json(cls, data: Any) -> BookFacts:
        """Read one book of the catalogue; raise ValueError if it is invalid."""
        match data:
            case {"isbn": str(isbn), "title": str(title), "author": str(author), "year": int(year)}:
                return cls(isbn=isbn, title=title, author=author, year=year)
        raise ValueError(f"not a book: {data!r}")
