"""One way to write durations, counts and misspelt words for people.

The admin's texts are translated: ``history.reading.describe``.
"""

from __future__ import annotations

from collections.abc import Iterable


def time_limit(seconds: float) -> str:
    """Return a duration as somebody has set it: "5 s", "0.2 s"."""
    return f"{seconds:g} s"


def time_taken(seconds: float) -> str:
    """Return seconds that were measured, to the millisecond: "0.213 s"."""
    return f"{seconds:.3f} s"


def count(number: int, one: str, many: str = "") -> str:
    """Return a number of things: "1 hook", "1,000 hooks".

    Args:
        number: the number.
        one: the word after the number 1.
        many: the word after any other number; "": ``one`` and an "s".
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return a question that names the most similar word, or an empty string.

    It begins with a space, to follow a sentence. Upper and lower case are equal.
    """
    if not isinstance(word, str):
        return ""
    # Imported only for a wrong word.
    import difflib

    names = {str(name).lower(): name for name in known}
    close = difflib.get_close_matches(str(word).lower(), list(names), n=1)
    return f" Did you mean '{names[close[0]]}'?" if close else ""
