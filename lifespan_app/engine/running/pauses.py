"""Pauses between attempts: each twice as long as the one before it, up to the longest one."""

from __future__ import annotations

JITTER = 0.1
"""The share of a pause by which it is shorter or longer, at most."""


class Pauses:
    """The pauses between the attempts of one job, or of one start.

    Args:
        first: the first pause, in seconds.
        longest: the longest pause, in seconds.
    """

    __slots__ = ("_first", "_longest", "_next")

    def __init__(self, first: float, longest: float) -> None:
        self._first = self._next = first
        self._longest = longest

    def next(self, chance: float) -> float:
        """Return the next pause, in seconds.

        Args:
            chance: a random number from 0 to 1, for the jitter.
        """
        pause = self._next
        self._next = min(2 * pause, self._longest)
        return jittered(pause, JITTER, chance)

    def start_over(self) -> None:
        """Begin with the first pause again."""
        self._next = self._first


def jittered(seconds: float, share: float, chance: float) -> float:
    """Return a time that is shorter or longer by a share of it at most."""
    return seconds * (1 + share * (2 * chance - 1))
