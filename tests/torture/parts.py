"""The parts of ``make torture``, and how they run: side by side, in processes of their own."""

from __future__ import annotations

import argparse
import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from tests.torture.results import Row
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
    from tests.torture.databases.cells import ALL_CELLS, QUICK_CELLS
    from tests.torture.databases.part import SECONDS, SECONDS_QUICK, databases

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
    "leases": leases,
    "servers": servers,
    "input": bad_input,
    "model": model,
    "restarts": restarts,
    "security": security,
    "load": load,
    "soak": soak,
    "databases": databases,
}
SIDE_BY_SIDE = (
    ("leases", "servers", "input", "model", "restarts", "security"),
    ("load", "soak"),
    ("databases",),
)
"""What may run at the same time. The longest are first, and those that mostly wait are together.
``databases`` looks at times, and is alone."""


def tried(together: Iterable[str], asked: argparse.Namespace) -> Sequence[Row]:
    """Run those of some parts that are asked for, side by side."""
    parts = [part for part in together if part in asked.part]
    if asked.jobs == 1 or len(parts) == 1:
        return [row_of(part, asked) for part in parts]
    # A fork would have the threads' locks of the parts before it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(asked.jobs, context, max_tasks_per_child=1) as pool:
        return list(pool.map(row_of, parts, repeat(asked)))


def row_of(part: str, asked: argparse.Namespace) -> Row:
    """Run a part; an error of its own is a fault, and the others run on."""
    begun = time.monotonic()
    try:
        return PARTS[part](asked)
    except Exception as error:
        traceback.print_exc()
        fault = f"{error!r}".splitlines()[0][:300]
        return Row(part, "", "it broke off", [fault], "", time.monotonic() - begun)
