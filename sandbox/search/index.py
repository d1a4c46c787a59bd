from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from library.facts import BookFacts


def words_of(text: str) -> list[str]:
    """Return the words of a text without case and accents: "Misérables" gives "miserables"."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return re.findall(r"\w+", "".join(c for c in plain if not unicodedata.combining(c)))


class Index:
    """Find books by the words of their title and author, by year and by ISBN."""

    def __init__(self, books: Iterable[BookFacts]) -> None:
        self.answered = 0
        self.replace(books)

    def __len__(self) -> int:
        return len(self._books_and_words[0])

    def words(self) -> list[str]:
        """Return all words of the index."""
        return sorted(self._books_and_words[1])

    def replace(self, books: Iterable[BookFacts]) -> None:
        """Index these books and no others."""
        by_isbn = {facts.isbn: facts for facts in books}
        by_word: defaultdict[str, set[str]] = defaultdict(set)
        for facts in by_isbn.values():
            text = f"{facts.title} {facts.author} {facts.year} {facts.isbn}"
            for word in words_of(text):
                by_word[word].add(facts.isbn)
        # One assignment: a concurrent search uses the complete old index, or the new one.
        self._books_and_words = by_isbn, dict(by_word)

    def search(self, query: str) -> list[BookFacts]:
        """Return the books with a matching prefix for each word of the query."""
        self.answered += 1
        words = words_of(query)
        if not words:
            return []
        books, by_word = self._books_and_words
        found = set.intersection(*(_isbns_beginning(by_word, word) for word in words))
        return sorted((books[isbn] for isbn in found), key=lambda facts: words_of(facts.title))


def _isbns_beginning(by_word: dict[str, set[str]], beginning: str) -> set[str]:
    return {isbn for word, isbns in by_word.items() if word.startswith(beginning) for isbn in isbns}
