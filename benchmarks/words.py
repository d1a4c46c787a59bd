"""How numbers are written."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.results import quartiles


def number(value: float) -> str:
    """Return a number with three digits that count, at least."""
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{decimals}f}"


def ratio_number(value: float) -> str:
    """Return a ratio: the nearer to one, the more digits count."""
    return f"{value:.3f}" if 0.5 < value < 2 else f"{value:,.2f}"


def between(values: Sequence[float], *, as_ratio: bool = False) -> str:
    """Return the quartiles, as "1.2 to 1.4"."""
    write = ratio_number if as_ratio else number
    low, high = quartiles(values)
    return f"{write(low)} to {write(high)}"


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
