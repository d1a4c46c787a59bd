"""How durations, numbers of things and misspelt words are written, wherever people read them.

What the admin shows is translated, and has ``history.story`` for that.
"""

from __future__ import annotations

from collections.abc import Iterable


def time_limit(seconds: float) -> str:
    """Return seconds that somebody has set, as they were set: "5 s", "0.2 s"."""
    return f"{seconds:g} s"


def time_taken(seconds: float) -> str:
    """Return seconds that were measured, to the millisecond: "0.213 s"."""
    return f"{seconds:.3f} s"


def count(number: int, one: str, many: str = "") -> str:
    """Return a number of things: "1 hook", "1,000 hooks".

    Args:
        number: how many there are.
        one: what stands behind the number 1.
        many: what stands behind any other number; "": ``one`` and an "s".
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return a question that names the word probably meant, or an empty string.

    It begins with a space, to stand behind a sentence. Upper and lower case are alike.
    """
    # Imported where a word is wrong: a process that starts well needs none of it.
    import difflib

    names = {str(name).lower(): name for name in known}
    close = difflib.get_close_matches(str(word).lower(), list(names), n=1)
    return f" Did you mean '{names[close[0]]}'?" if close else ""
