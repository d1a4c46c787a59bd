"""Measured figures with their targets, as a table or JSON."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

SHOWN_VERSIONS = ("Django", "asgiref", "django-lifespan-app")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number."""

    benchmark: str
    """The script that measured it."""
    what: str
    """The subject of the measurement."""
    value: float
    """The number in `unit`: the median described in `note`."""
    unit: str
    """`ratio`, `us` (microseconds per hook) or `ms`."""
    at_most: float | None = None
    """The upper limit, or None."""
    at_least: float | None = None
    """The lower limit, or None."""
    note: str = ""
    """The spread of the measurements, and other remarks."""

    @property
    def reached(self) -> bool | None:
        """True if the target is met; None without a target."""
        if self.at_most is None and self.at_least is None:
            return None
        above = self.at_most is not None and self.value > self.at_most
        below = self.at_least is not None and self.value < self.at_least
        return not above and not below

    @property
    def target(self) -> str:
        """The target in words."""
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        return ", ".join(f"{word} {bound:.4g}" for word, bound in bounds if bound is not None)


def median_of(
    benchmark: str,
    what: str,
    measured: Sequence[float],
    unit: str,
    at_most: float | None = None,
) -> Figure:
    """Return the median of repeated measurements, with the lowest in its note."""
    return Figure(
        benchmark=benchmark,
        what=what,
        value=statistics.median(measured),
        unit=unit,
        at_most=at_most,
        note=f"median of {len(measured)}, fastest {min(measured):.2f}",
    )


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a table, one line each."""
    words = {True: "yes", False: "NO", None: ""}
    rows = [("what", "figure", "target", "reached", "note")]
    rows += [
        (
            figure.what,
            f"{figure.value:.4g}" if figure.unit != "ratio" else f"{figure.value:.4f}",
            f"{figure.target} {figure.unit}" if figure.target else figure.unit,
            words[figure.reached],
            figure.note,
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def surroundings() -> dict[str, str]:
    """Return the environment of the measurement: versions and machine."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for distribution in SHOWN_VERSIONS:
        try:
            found[distribution] = version(distribution)
        except PackageNotFoundError:
            continue
    return found


def as_json(figures: Sequence[Figure]) -> str:
    """Return the figures and their environment as JSON."""
    measured: list[dict[str, Any]] = [
        {**asdict(figure), "target": figure.target, "reached": figure.reached} for figure in figures
    ]
    return json.dumps({"on": surroundings(), "figures": measured}, indent=2)


def show(measure: Callable[[], Sequence[Figure]], about: str) -> None:
    """
    Run a benchmark as a script: measure, print, end.

    A missed target does not change the exit code: a figure is to be read, on a quiet machine.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    wants_json = parser.parse_args().json
    figures = measure()
    if wants_json:
        print(as_json(figures))
    else:
        on = ", ".join(f"{name} {found}" for name, found in surroundings().items())
        print(f"{about}\n{on}\n\n{table(figures)}\n")
    sys.stdout.flush()
