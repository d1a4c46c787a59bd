"""Try for long what must never fail, and print one table.

    python -m tests.torture --part model --seed 1 --plans 100000

Without ``--part`` all parts run, one after the other. Whatever is chosen at random comes from
``--seed``, which is printed. The exit code is 1 if something has happened that should not.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Sequence

from tests.torture.results import HEAD, Row, table
from tests.torture.systems import PEERS

LEASE_SECONDS, LEASE_SECONDS_QUICK = 600.0, 60.0


def model(asked: argparse.Namespace) -> Row:
    """Run random plans."""
    from tests.torture.model import PLANS, PLANS_QUICK, model

    return model(asked.seed, asked.plans or (PLANS_QUICK if asked.quick else PLANS))


def servers(asked: argparse.Namespace) -> Row:
    """Stop real servers under load."""
    from tests.torture.servers import ALL_CELLS, QUICK_CELLS, beside, servers

    if asked.system:
        return beside(PEERS[asked.system])
    return servers(QUICK_CELLS if asked.quick else ALL_CELLS)


def restarts(asked: argparse.Namespace) -> Row:
    """Restart the workers of real servers under load."""
    from tests.torture.restarts import RESTARTS, RESTARTS_QUICK, restarts

    return restarts(RESTARTS_QUICK if asked.quick else RESTARTS)


def databases(asked: argparse.Namespace) -> Row:
    """Have the database fail under servers that answer requests."""
    from tests.torture.databases import (
        ALL_CELLS,
        QUICK_CELLS,
        SECONDS,
        SECONDS_QUICK,
        databases,
    )

    if asked.quick:
        return databases(QUICK_CELLS, SECONDS_QUICK)
    return databases(ALL_CELLS, SECONDS)


def soak(asked: argparse.Namespace) -> Row:
    """Start and stop a thousand times in one process."""
    from tests.torture.soak import STARTS, STARTS_QUICK, soak

    return soak(STARTS_QUICK if asked.quick else STARTS)


def load(asked: argparse.Namespace) -> Row:
    """Serve under load, with jobs that crash, spawned functions and leases."""
    from tests.torture.long_load import SECONDS, SECONDS_QUICK, load

    seconds = asked.seconds or (SECONDS_QUICK if asked.quick else SECONDS)
    return load(asked.database, seconds)


def leases(asked: argparse.Namespace) -> Row:
    """Kill, pause and restart servers that lead a job in turn, and their database."""
    from tests.leases.torture import leases

    seconds = asked.seconds or (LEASE_SECONDS_QUICK if asked.quick else LEASE_SECONDS)
    return leases(asked.database, seconds, asked.seed)


def bad_input(asked: argparse.Namespace) -> Row:
    """Give random and hostile input to whatever takes some."""
    from tests.torture.suites import MORE, MORE_QUICK, suite

    return suite("input", "bad_input", asked.seed, MORE_QUICK if asked.quick else MORE)


def security(asked: argparse.Namespace) -> Row:
    """Crawl the pages as each kind of user, and look for planted secrets."""
    from tests.torture.suites import MORE_QUICK, suite

    return suite("security", "security", asked.seed, MORE_QUICK)


PARTS: dict[str, Callable[[argparse.Namespace], Row]] = {
    "model": model,
    "servers": servers,
    "restarts": restarts,
    "databases": databases,
    "soak": soak,
    "load": load,
    "leases": leases,
    "input": bad_input,
    "security": security,
}


def main(arguments: Sequence[str]) -> int:
    """Run the parts, and print what came of them. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--part", choices=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="five minutes in all")
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
    sys.stderr.write(f"seed {asked.seed}\n")
    rows = [PARTS[part](asked) for part in ([asked.part] if asked.part else PARTS)]
    sys.stdout.write(f"\n{table(HEAD, [row.cells for row in rows])}\n")
    for row in rows:
        sys.stdout.writelines(f"{row.part}: {fault}\n" for fault in row.faults)
    return 1 if any(row.faults for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
