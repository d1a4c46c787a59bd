"""What a benchmark has measured: samples, and everything that is computed from them.

Only samples are stored. Medians, quartiles, ratios and verdicts are computed when they are shown.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

DISTRIBUTIONS = (
    "Django",
    "asgiref",
    "django-lifespan-app",
    "django-asgi-lifespan",
    "asgi-lifecycle",
    "aiodrf-asgi-lifespan",
    "starlette",
    "uvicorn",
)

AGAIN = ", again"
"""The end of the name of a row that measures the system of another row a second time."""

FEWEST_ROUNDS = 3
"""With less there is no spread, and so no verdict."""

Verdict = Literal["", "reached", "missed", "too noisy to tell"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One system in a table, with one sample for each round."""

    name: str
    samples: Sequence[float]
    """In the unit of the table."""
    ratios: Sequence[float] = field(default_factory=list)
    """One for each round, to the table's `against`. Empty: they are computed from the samples."""
    goal: str = ""
    """The goal in words, as in "at most 1.3 of asgi-lifecycle"."""
    ratio_at_most: float | None = None
    """The highest median ratio that reaches the goal."""
    value_at_most: float | None = None
    """The highest median that reaches the goal. With `ratio_at_most`, one of both is enough."""
    holds: bool = True
    """False if a part of the goal that is no number does not hold: see `note`."""
    why: str = ""
    """One sentence, shown if the goal is missed: the reason."""
    drawn: bool = True
    """False if the plot of ratios leaves the row out, as it would lie far outside."""
    note: str = ""
    """What else was observed."""

    @property
    def median(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Systems that were measured in turn, in the same rounds."""

    title: str
    unit: str
    rows: Sequence[Row]
    against: str | float = ""
    """The name of the row that ratios are formed to, or a constant. Empty: no ratios."""
    against_words: str = ""
    """What the constant is."""
    noise_at_most: float = 0.1
    """The widest range between the quartiles of a control's ratios with which a verdict is given."""
    control: Sequence[float] = field(default_factory=list)
    """Ratios of a system to itself, where those of the row `again` are to something else."""
    plot: Literal["median", "ratio", ""] = "median"
    text: str = ""
    """An explanation, in reStructuredText."""

    def row(self, name: str) -> Row:
        """Return the row of a name."""
        return next(row for row in self.rows if row.name == name)

    def ratios(self, row: Row) -> Sequence[float]:
        """Return the ratios of a row by round. Empty if the table has none."""
        if row.ratios or self.against == "":
            return row.ratios
        if isinstance(self.against, str):
            return [
                own / other
                for own, other in zip(row.samples, self.row(self.against).samples, strict=True)
            ]
        return [own / self.against for own in row.samples]

    def ratio(self, row: Row) -> float:
        """Return the median of the ratios of a row."""
        return statistics.median(self.ratios(row))

    @property
    def noise(self) -> float | None:
        """The range between the quartiles of the controls' ratios, None without a control."""
        controls = [self.control] if self.control else map(self._control, self.rows)
        spreads = [high - low for ratios in controls if ratios for low, high in [quartiles(ratios)]]
        return max(spreads, default=None)

    def _control(self, row: Row) -> Sequence[float]:
        if not row.name.endswith(AGAIN):
            return []
        # Ratios that were measured in small blocks, one beside the other, are more exact.
        first = self.row(row.name.removesuffix(AGAIN)).samples
        return row.ratios or [own / other for own, other in zip(row.samples, first, strict=True)]

    @property
    def too_noisy(self) -> bool:
        """True if the control's ratios lie too far apart, or are too few."""
        return self.too_few or (self.noise is not None and self.noise > self.noise_at_most)

    @property
    def too_few(self) -> bool:
        """True if there are too few rounds for a verdict."""
        return len(self.rows[0].samples) < FEWEST_ROUNDS

    def verdict(self, row: Row) -> Verdict:
        """Return whether the goal of a row is reached."""
        if not row.goal:
            return ""
        if not row.holds:
            return "missed"
        if row.ratio_at_most is None and row.value_at_most is None:
            return "reached"
        if self.too_noisy:
            return "too noisy to tell"
        reached = [
            *([self.ratio(row) <= row.ratio_at_most] if row.ratio_at_most is not None else []),
            *([row.median <= row.value_at_most] if row.value_at_most is not None else []),
        ]
        return "reached" if any(reached) else "missed"


def versions(distributions: Sequence[str] = DISTRIBUTIONS) -> dict[str, str]:
    """Return the versions of Python and of distributions; those that are not installed are left out."""
    found = {"Python": platform.python_version()}
    for distribution in distributions:
        try:
            found[distribution] = version(distribution)
        except PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """Return a short description of the machine."""
    name = platform.processor() or platform.machine()
    about = Path("/proc/cpuinfo")
    if about.exists():
        models = [line for line in about.read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":")[1].strip() if models else name
    return f"{os.cpu_count()} processors, {' '.join(name.split())}, {platform.system()}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """All tables of one benchmark, and where and when they were measured."""

    name: str
    tables: Sequence[Table]
    seconds: float
    """How long the measurement took."""
    date: str = field(
        default_factory=lambda: f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d %H:%M}"
    )
    versions: dict[str, str] = field(default_factory=versions)
    machine: str = field(default_factory=machine)
    quick: bool = False
    """True if there was one round only, to see that it runs."""
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    """The machine's load in the minute before the end."""

    def write(self, folder: Path) -> None:
        """Write the result as JSON."""
        text = json.dumps(asdict(self), indent=1, default=list)
        (folder / f"{self.name}.json").write_text(f"{text}\n")

    @classmethod
    def read(cls, file: Path) -> Result:
        """Read a result from its JSON."""
        found: dict[str, Any] = json.loads(file.read_text())
        tables = [
            Table(**{**table, "rows": [Row(**row) for row in table["rows"]]})
            for table in found.pop("tables")
        ]
        return cls(tables=tables, **found)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the first and the third quartile."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high
