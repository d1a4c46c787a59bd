"""The values of options: seconds, shares and words, read and refused."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from lifespan_app.engine.context import plain


def words(value: Iterable[str] | str | None) -> frozenset[str] | None:
    """Return service types as a set of plain strings; None stays None: all of them."""
    if value is None:
        return None
    if isinstance(value, str):
        value = (value,)
    return frozenset(map(plain, value))


def number(value: object, what: str) -> int:
    """Return ``value``, an integer. Raises ``TypeError`` if it is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} must be an integer, not {value!r}.")
    return value


def text(value: object, what: str) -> str:
    """Return ``value``, a string. Raises ``TypeError`` if it is none."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string, not {value!r}.")
    return value


def is_seconds(value: object) -> bool:
    """Return True for a time limit: a number of seconds above 0 that Python can wait for."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # 292 years, the limit of threading.TIMEOUT_MAX: infinity and larger integers are refused.
    return is_number and 0 < value <= threading.TIMEOUT_MAX  # type: ignore[operator]


def seconds(value: object, what: str) -> float | None:
    """Return ``value``, a time limit in seconds. Raises if it is none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} is a number of seconds, not {value!r}.")
    if not is_seconds(value):
        raise ValueError(f"{what} is a number of seconds above 0, not {value!r}.")
    return value


def share(value: object, what: str) -> float:
    """Return ``value``, a share of something. Raises for what is no number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} is a number from 0 to 1, not {value!r}.")
    if not 0 <= value <= 1:
        raise ValueError(f"{what} is a number from 0 to 1, not {value!r}.")
    return value


def crashes_within(value: object) -> tuple[int, float] | None:
    """Return ``value``, a number of crashes and the seconds within which they count.

    Raises:
        TypeError, ValueError: it is no pair of a whole number and seconds.
    """
    if value is None:
        return None
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(
            f"give_up is a number of crashes and the seconds within which they count, such as "
            f"(5, 300), not {value!r}."
        )
    crashes, within = value
    if number(crashes, "The number of crashes in give_up") < 1:
        raise ValueError(f"The number of crashes in give_up is above 0, not {crashes!r}.")
    if within is None:
        raise TypeError("The time in give_up is a number of seconds, not None.")
    return crashes, float(seconds(within, "The time in give_up") or 0.0)


def one_of(words: tuple[str, ...], word: object, what: str) -> None:
    """Raise ``ValueError`` for a word that is not among the known ones."""
    if word not in words:
        raise ValueError(f"{what} is one of {', '.join(words)}, not {word!r}.")
