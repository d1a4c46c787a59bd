"""The model check: random plans and fates on a virtual clock, and what must hold for each."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence

from tests.engine.random_plans import run_world
from tests.torture.results import Row

PLANS, PLANS_QUICK = 100_000, 5_000
WITH_THREADS = 20
"""One plan in so many has sync hooks in real threads as well."""
A_DOT = 1_000
"""One line of progress for so many plans."""


def model(seed: int, plans: int) -> Row:
    """Run the plans of so many seeds; each fault is printed at once, with its seed and the plan.

    Args:
        seed: the first one; the others follow it.
        plans: how many.
    """
    begun = time.monotonic()
    faults: list[str] = []
    logging.disable(logging.CRITICAL)
    try:
        for number in range(plans):
            threads = number % WITH_THREADS == 0
            faults += faults_of(seed + number, threads=threads)
            if number % A_DOT == A_DOT - 1:
                say(f"model: {number + 1:,} of {plans:,} plans, {len(faults)} faults")
    finally:
        logging.disable(logging.NOTSET)
    return Row(
        "model",
        f"{plans:,} random plans",
        "every rule holds" if not faults else faults[0],
        faults,
        f"{seed} to {seed + plans - 1}",
        time.monotonic() - begun,
    )


def faults_of(seed: int, *, threads: bool) -> Sequence[str]:
    """Return what does not hold for the plan of one seed."""
    try:
        run_world(seed, threads=threads)
    except Exception as error:
        told = f"seed {seed}, threads={threads}: {error!r}\n{error}"
        say(told)
        return [told.splitlines()[0][:200]]
    return []


def say(text: str) -> None:
    """Print a line at once."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
