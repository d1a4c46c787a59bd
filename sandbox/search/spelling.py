from __future__ import annotations

from collections import defaultdict

from .index import words_of


class Spelling:
    """Correct words that differ by one letter from a known one."""

    def __init__(self) -> None:
        self._known: defaultdict[str, set[str]] = defaultdict(set)

    def learn(self, word: str) -> None:
        """Add a word, under all its variants without one letter."""
        for rest in (word, *_without_a_letter(word)):
            self._known[rest].add(word)

    def corrected(self, query: str) -> str:
        """Return a query with corrected words, or "" if one is unknown."""
        found = [self._closest(word) for word in words_of(query)]
        return " ".join(found) if all(found) else ""

    def _closest(self, word: str) -> str:
        rests = (word, *_without_a_letter(word))
        candidates = {known for rest in rests for known in self._known.get(rest, ())}
        return word if word in candidates else min(candidates, default="")


def _without_a_letter(word: str) -> list[str]:
    return [word[:at] + word[at + 1 :] for at in range(len(word))]
