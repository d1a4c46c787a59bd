"""Compare this version with another one: a thousand empty hooks.

`git worktree add /tmp/before COMMIT`, then `python -m benchmarks.against /tmp/before`. Each sample is a
process of its own, and the versions take turns. What is shown is how many times as long this version
takes, by the processor's time.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.hooks import CASES, HOOKS
from benchmarks.processes import CHECKOUT, answer, race
from benchmarks.results import quartiles
from benchmarks.systems import OURS

ROUNDS = 9
AT_MOST = 1.05

RUN = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
import lifespan_app
sys.path[0] = sys.argv.pop(1)
runpy.run_module("benchmarks.hooks", run_name="__main__", alter_sys=True)
"""
"""Runs the benchmark of this checkout with the package of another one."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__)
    parser.add_argument("checkout", type=Path, help="a working tree of the version to compare with")
    parser.add_argument("--only", default="", metavar="WORDS", help="cases that hold these words")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args(arguments)
    print("microseconds a hook".rjust(40), "here".rjust(8), "there".rjust(8), "ratio".rjust(7))
    for case in (name for name in CASES if asked.only in name):
        taken = race(
            {
                checkout: partial(
                    answer, ["-c", RUN, checkout, str(CHECKOUT), OURS, case, str(HOOKS)]
                )
                for checkout in (str(CHECKOUT), str(asked.checkout.resolve()))
            },
            asked.rounds,
        )
        here, there = ([us for us, _ in each] for each in taken.values())
        ratios = [own / other for own, other in zip(here, there, strict=True)]
        low, high = quartiles(ratios)
        ratio = statistics.median(ratios)
        late = "  above" if ratio > AT_MOST else ""
        medians = f"{statistics.median(here):8.2f} {statistics.median(there):8.2f}"
        print(f"{case:>40} {medians} {ratio:7.3f} ({low:.3f} to {high:.3f}){late}", flush=True)


if __name__ == "__main__":
    main()
