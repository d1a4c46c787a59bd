"""What came of a fault, and its row in the table."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tests.torture.databases.cells import Cell
from tests.torture.load import Asked, failed, median, worst

Pair = tuple[list[Asked], list[Asked]]
"""Requests before a fault, and in it."""

HEAD = (
    *("database", "fault", "done", "answers without it", "median ms", "worst ms", "control"),
    *("control's worst", "with it", "starts s", "stops s", "runs", "files", "recovered s"),
    *("warnings", "lost", "times", "faults"),
)


@dataclass
class Seen:
    """What came of a cell; times are seconds."""

    cell: Cell
    done: str = ""
    plain: Pair = ([], [])
    """Requests without the database."""
    control: Pair = ([], [])
    """The same requests to a server without a history."""
    books: Pair = ([], [])
    """Requests with the database."""
    starts: list[float] = field(default_factory=list)
    """How long two starts at once took, before the fault and in it."""
    stops: list[float] = field(default_factory=list)
    """How long stops took, the first before the fault, the others in it."""
    runs: int = 0
    late: int = 0
    waited: int = 0
    """How many records waited in files at the end of the fault."""
    recovered: float = math.nan
    warnings: int = 0
    lost: int = 0
    """How often a server that had started after the fault called a run lost that went on."""
    too_busy: bool = False
    """True if answers were slower, but no more than those of the control."""
    faults: list[str] = field(default_factory=list)

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of its row."""
        return (
            *(self.cell.database, self.cell.fault.__name__, self.done),
            f"{len(self.plain[1]):,}, {failed(self.plain[1])} failed",
            *_times(self.plain),
            *_times(self.control),
            f"{len(self.books[1]) - failed(self.books[1]):,} of {len(self.books[1]):,}",
            *(" / ".join(f"{one:.1f}" for one in some) for some in (self.starts, self.stops)),
            f"{self.runs}, {self.late} late",
            *(str(self.waited), f"{self.recovered:.1f}", str(self.warnings), str(self.lost)),
            "too busy to tell" if self.too_busy else "",
            "; ".join(self.faults),
        )


def _times(pair: Pair) -> tuple[str, str]:
    # The median and the slowest, in milliseconds.
    median_ms, worst_ms = (
        " / ".join(f"{of(asked) * 1e3:.0f}" for asked in pair) for of in (median, worst)
    )
    return median_ms, worst_ms
