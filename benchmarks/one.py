"""Measure one benchmark, and store its result: `python -m benchmarks.one NAME FOLDER [--quick]`."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.results import Result

QUICK: dict[str, dict[str, Any]] = {
    "first_request": {"hundredth": range(4, 6)},
    "history": {
        "count": 2_000,
        "small": 1_000,
        "vendors": ("sqlite",),
        "wanted": "^(overview|list|newest run)$",
    },
    "hooks": {"hooks": 100, "many": 1_000},
}
"""What a quick run makes less of, beside the rounds."""


def main(name: str, folder: str, *options: str) -> None:
    """Measure, with one round if it is to be quick."""
    quick = "--quick" in options
    module = import_module(f"benchmarks.{name}")
    begun = time.monotonic()
    tables = module.measure(1, **QUICK.get(name, {})) if quick else module.measure()
    seconds = time.monotonic() - begun
    Result(name=name, tables=tables, seconds=seconds, quick=quick).write(Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
