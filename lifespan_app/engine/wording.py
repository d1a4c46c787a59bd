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
    names = {str(name).lower(): name for name in known}
    meant = " or ".join(f"'{names[name]}'" for name in most_similar(word.lower(), list(names)))
    return f" Did you mean {meant}?" if meant else ""


def most_similar(word: str, names: list[str]) -> list[str]:
    """Return the name that a wrong word probably stands for; two if that is not clear; or none."""
    # Imported only for a wrong word.
    from difflib import get_close_matches

    close = get_close_matches(word, names, n=1)
    parts = word.split("_")
    first = parts[0]
    if not close or get_close_matches(first, [close[0].partition("_")[0]]):
        return close
    # By its letters alone, "startup_timeout" is most similar to "shutdown_timeout", its opposite.
    related = [name for name in names if name.partition("_")[0].startswith(first)]
    if related:
        return get_close_matches(word, related, n=1, cutoff=0)
    return [*dict.fromkeys([*(name for name in names if name in parts), *close])][:2]
