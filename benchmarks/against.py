"""Compare this version with another one: a thousand empty hooks, and their plans.

`git worktree add /tmp/before COMMIT`, then `python -m benchmarks.against /tmp/before`. Each measurement
is a process of its own, and the two versions take turns. What is shown is how many times as long this
version takes, by the processor's time and by the clock.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent

PROCESSES = 9
"""Processes per version and case."""
RUNS = 5
"""Starts and stops per process; the first is shown separately."""
AT_MOST = 1.05

Sample = tuple[float, float]
"""Microseconds per hook: CPU time and wall-clock time."""
Measured = dict[bool, list[list[Sample]]]
"""The samples of each process, of this version and of the one before."""


def cases() -> dict[str, Callable[[], Sample]]:
    """Return the measurements by name, for the imported version of the package."""
    from benchmarks import hooks

    def run(make: Callable[[], Any]) -> Sample:
        return sample(lambda lifespan: asyncio.run(start_and_stop(lifespan)), make)

    def plan(make: Callable[[], Any]) -> Sample:
        return sample(lambda lifespan: lifespan.plan("app"), make)

    async def start_and_stop(lifespan: Any) -> None:
        async with lifespan.run("app"):
            pass

    def sample(do: Callable[[Any], object], make: Callable[[], Any]) -> Sample:
        lifespan = make()
        gc.collect()
        begun, begun_cpu = time.perf_counter(), time.process_time()
        do(lifespan)
        took_cpu, took = time.process_time() - begun_cpu, time.perf_counter() - begun
        return took_cpu / hooks.HOOKS * 1e6, took / hooks.HOOKS * 1e6

    made = {case.what: case.make for case in (*hooks.CASES, *hooks.THREAD_CASES)}
    return {
        **{what: partial(run, make) for what, make in made.items()},
        **{
            f"plan of {what}": partial(plan, make)
            for what, make in made.items()
            if what.startswith("async")
        },
    }


def measure_here(checkout: str, what: str) -> None:
    """Measure one case with the package of a checkout, and print the samples as JSON."""
    sys.path.insert(0, checkout)
    import lifespan_app

    sys.path[0] = str(HERE)
    assert Path(checkout) in Path(lifespan_app.__file__).parents
    case = cases()[what]
    print(json.dumps([case() for _ in range(RUNS)]))


def measured(what: str, checkouts: dict[bool, str], processes: int) -> Measured:
    """Measure one case with both versions alternately, in changing order."""
    samples: Measured = {True: [], False: []}
    # What a first run imports is compiled already, as that of an installed package is.
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    for number in range(processes):
        for is_new in (True, False) if number % 2 else (False, True):
            command = [sys.executable, __file__, checkouts[is_new], "--case", what]
            output = subprocess.run(command, env=env, capture_output=True, check=True).stdout
            samples[is_new].append(json.loads(output))
    return samples


def rows(samples: Measured) -> Iterator[tuple[str, float, float]]:
    """Return the row of a case: its name, this version, the other version."""
    for clock, name in enumerate(("processor", "clock")):
        for said, pick, of in (
            ("first run", slice(1), statistics.median),
            ("later runs", slice(1, None), statistics.median),
            ("fastest", slice(None), min),
        ):
            new, old = (
                of([taken[clock] for process in samples[is_new] for taken in process[pick]])
                for is_new in (True, False)
            )
            yield f"{name}, {said}", new, old


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__)
    parser.add_argument("checkout", help="a working tree of the version to compare with")
    parser.add_argument("--only", default="", metavar="WORDS", help="cases that hold these words")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    checkout = str(Path(options.checkout).resolve())
    if options.case:
        measure_here(checkout, options.case)
        return
    checkouts = {True: str(HERE), False: checkout}
    sys.path.insert(0, str(HERE))
    print("microseconds a hook".rjust(56), "here".rjust(8), "there".rjust(8), "ratio".rjust(7))
    for what in cases():
        if options.only in what:
            print(what)
            for said, new, old in rows(measured(what, checkouts, options.processes)):
                late = "  above" if new > old * AT_MOST else ""
                print(f"{said:>56} {new:8.2f} {old:8.2f} {new / old:7.2f}{late}", flush=True)


if __name__ == "__main__":
    main()
