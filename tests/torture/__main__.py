"""Try for long what must never fail, and print one table.

    python -m tests.torture --part model --seed 1 --plans 100000

Without ``--part`` all parts run, some of them side by side. Whatever is chosen at random comes from
``--seed``, which is printed. The exit code is 1 if something has happened that should not.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import sys
import time
from collections.abc import Sequence

from benchmarks.results import machine, versions
from tests.torture.parts import PARTS, SIDE_BY_SIDE, tried
from tests.torture.results import HEAD, table
from tests.torture.systems import PEERS

DISTRIBUTIONS = ("Django", "uvicorn", "hypercorn", "granian", "gunicorn", "uvicorn-worker")


def main(arguments: Sequence[str]) -> int:
    """Run the parts, and print what came of them. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="five minutes in all")
    parser.add_argument("--jobs", type=int, default=2, help="how many run side by side (2)")
    parser.add_argument("--seed", type=int)
    parser.add_argument(
        "--system", choices=list(PEERS), help="what the servers serve instead of lifespan_app"
    )
    parser.add_argument("--plans", type=int, help="of the model check")
    parser.add_argument("--seconds", type=float, help="of the load and the leases")
    parser.add_argument(
        "--database",
        choices=("postgresql", "mariadb"),
        default="postgresql",
        help="of the load and the leases",
    )
    asked = parser.parse_args(arguments)
    if asked.seed is None:
        asked.seed = random.SystemRandom().randrange(1_000_000_000)
    begun = time.monotonic()
    sys.stderr.write(f"seed {asked.seed}\n")
    rows = [row for together in SIDE_BY_SIDE for row in tried(together, asked)]
    seconds = time.monotonic() - begun
    sys.stdout.write(
        f"\n{table(HEAD, [row.cells for row in rows])}\n\n{where(asked.jobs, seconds)}\n"
    )
    for row in rows:
        sys.stdout.writelines(f"{row.part}: {fault}\n" for fault in row.faults)
    return 1 if any(row.faults for row in rows) else 0


def where(jobs: int, seconds: float) -> str:
    """Return the date, the versions and the machine."""
    found = ", ".join(f"{name} {one}" for name, one in versions(DISTRIBUTIONS).items())
    now = datetime.datetime.now(tz=datetime.UTC)
    return (
        f"{now:%Y-%m-%d %H:%M} UTC, {seconds:,.0f} s with {jobs} jobs and a load of "
        f"{os.getloadavg()[0]:.1f} on {machine()}. {found}."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
