"""What came of a part of ``make torture``: one row of the table at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

HEAD = ("part", "tried", "result", "seed", "seconds")


class Row(NamedTuple):
    """One row of the table.

    Args:
        part: the name of the part.
        tried: what was tried, with its number.
        result: what came of it.
        faults: what should not have happened, one text each.
        seed: what the random choices came from, or an empty string.
        seconds: how long it took.
    """

    part: str
    tried: str
    result: str
    faults: Sequence[str]
    seed: str
    seconds: float

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of the row."""
        verdict = f"{len(self.faults)} faults: {self.result}" if self.faults else self.result
        return (self.part, self.tried, verdict, self.seed, f"{self.seconds:,.0f}")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows as text, in columns."""
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([texts[0], "  ".join("-" * width for width in widths), *texts[1:]])
