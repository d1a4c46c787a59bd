"""
A thousand hooks that do nothing, in a new process: from the declared hooks to the end of the shutdown, with the plan
and the report. Time is the processor's, of all threads. asgi-lifecycle runs a thousand functions at each end where we have
resources, the others enter a thousand context managers. *In one module* our functions run in the order in which they are
written; in *a module each* they run side by side, as resources do that do not need each other. Our sync functions run
in threads, asgi-lifecycle's block the loop.

A cost that grows faster than the number of hooks would show in ten thousand hooks: each would take longer than one of
a thousand. What sorting takes grows by a third, a loop in a loop by ten times.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.processes import answer, race
from benchmarks.results import AGAIN, Row, Table
from benchmarks.systems import DECLARE, LIFECYCLE, OTHERS, OURS, Work, installed, serve

TITLE = "A thousand hooks"
ROUNDS = 9
HOOKS, MANY = 1_000, 10_000
RATIO_AT_MOST = 1.3
GROWTH_AT_MOST = 1.33
"""Times the cost of one hook: sorting grows by log(10,000) / log(1,000), a loop in a loop by 10."""
THREADS_AT_MOST = 2.0
THREADS = "bare threads"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of hooks."""

    hooks: int = HOOKS
    functions: bool = False
    blocking: bool = False
    one_module: bool = True
    chain: bool = False

    def works(self, threads: set[int]) -> list[Work]:
        """Return the hooks. Blocking ones note the threads that they run in."""

        def note() -> None:
            threads.add(threading.get_ident())

        return [
            Work(
                name=f"hook_{number}",
                enter=note if self.blocking else None,
                needs=[f"hook_{number - 1}"] if self.chain and number else [],
                blocking=self.blocking,
                only_start=self.functions,
                module="benchmarks" if self.one_module else f"app_{number}",
            )
            for number in range(self.hooks)
        ]


FUNCTIONS = Case(functions=True)
APART = Case(functions=True, one_module=False)
RESOURCES = Case()
CHAIN = Case(chain=True)
SYNC_FUNCTIONS = Case(functions=True, blocking=True)
SYNC_APART = Case(functions=True, blocking=True, one_module=False)
SYNC_RESOURCES = Case(blocking=True)
CASES = {
    "functions": FUNCTIONS,
    "functions, a module each": APART,
    "resources": RESOURCES,
    "resources, a chain": CHAIN,
    "sync functions": SYNC_FUNCTIONS,
    "sync functions, a module each": SYNC_APART,
    "sync resources": SYNC_RESOURCES,
}


def here(system: str, case: Case) -> tuple[float, bool]:
    """Return the processor's microseconds that one hook takes, and whether one blocked the loop."""
    from django.conf import settings

    settings.configure(ROOT_URLCONF="benchmarks.hooks", LIFESPAN={"HISTORY": False})
    import django

    django.setup()
    if system == THREADS:
        return bare_threads(case.hooks) / case.hooks * 1e6, False
    # What a first run imports is no cost of a hook.
    asyncio.run(serve(DECLARE[system]([])(), time.process_time))
    threads: set[int] = set()
    make = DECLARE[system](case.works(threads))
    gc.collect()
    begun = time.process_time()
    moments = asyncio.run(serve(make(), time.process_time))
    taken = (moments.stopped - begun) / case.hooks * 1e6
    return taken, threading.get_ident() in threads


def bare_threads(hooks: int) -> float:
    """Start a thread for each hook, let all of them go, join them. Return the processor's seconds."""
    go = threading.Event()
    begun = time.process_time()
    threads = [threading.Thread(target=go.wait) for _ in range(hooks)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    return time.process_time() - begun


def _race(
    samples: dict[str, tuple[str, str, int]], rounds: int
) -> tuple[dict[str, list[float]], set[str]]:
    """Return the microseconds of each, and the names of those that have blocked the loop."""
    taken = race(
        {
            name: partial(answer, ["-m", "benchmarks.hooks", system, case, str(hooks)])
            for name, (system, case, hooks) in samples.items()
        },
        rounds,
    )
    blocked = {name for name, each in taken.items() if any(on_loop for _, on_loop in each)}
    return {name: [taken for taken, _ in each] for name, each in taken.items()}, blocked


def measure(rounds: int = ROUNDS, hooks: int = HOOKS, many: int = MANY) -> Sequence[Table]:
    """Measure all kinds."""
    kinds = [_kind(kind, rounds, hooks) for kind in KINDS]
    return [*kinds, _threads(rounds, hooks), _growth(rounds, hooks, many)]


KINDS = {
    "functions": ("functions", "functions, a module each"),
    "resources": ("resources", "resources, a chain"),
    "sync functions": ("sync functions", "sync functions, a module each"),
}


def _kind(kind: str, rounds: int, hooks: int) -> Table:
    others = OTHERS if not kind.startswith("sync") else [LIFECYCLE]
    ours = {f"{OURS}, {how(case)}": (OURS, case, hooks) for case in KINDS[kind]}
    samples = {
        **ours,
        **{name: (name, kind, hooks) for name in installed(others)},
    }
    control = LIFECYCLE if LIFECYCLE in samples else next(iter(ours))
    samples[control + AGAIN] = samples[control]
    is_sync = kind.startswith("sync")
    goal = f"at most {RATIO_AT_MOST} of {LIFECYCLE}" if LIFECYCLE in samples else ""
    taken, blocked = _race(samples, rounds)
    rows = [
        Row(
            name=name,
            samples=each,
            goal="" if name not in ours else "never on the loop" if is_sync else goal,
            ratio_at_most=None if is_sync else RATIO_AT_MOST,
            holds=not (name in ours and name in blocked),
            note="blocks the loop" if name in blocked else "",
            why="each hook has a task of its own, a state, a limit and two steps in the report;"
            f" {LIFECYCLE} awaits one function after the other",
        )
        for name, each in taken.items()
    ]
    return Table(
        title=f"{hooks:,} {kind if kind.startswith('sync') else f'async {kind}'}, start and stop",
        unit="us a hook",
        rows=rows,
        against=control,
        noise_at_most=0.15,
    )


def how(case: str) -> str:
    """Return how the hooks of a case stand to each other."""
    return {
        "functions": "in one module",
        "resources": "side by side",
        "sync functions": "in one module",
    }.get(case, case.partition(", ")[2])


def _threads(rounds: int, hooks: int) -> Table:
    samples = {
        f"{OURS}, a thread for each resource": (OURS, "sync resources", hooks),
        THREADS: (THREADS, "sync resources", hooks),
        THREADS + AGAIN: (THREADS, "sync resources", hooks),
    }
    rows = [
        Row(
            name=name,
            samples=taken,
            goal="" if name.startswith(THREADS) else f"at most {THREADS_AT_MOST:.0f} of {THREADS}",
            ratio_at_most=THREADS_AT_MOST,
            why="a resource hands over to its thread twice, a bare thread only starts and ends",
        )
        for name, taken in _race(samples, rounds)[0].items()
    ]
    return Table(
        title=f"{hooks:,} sync resources, start and stop",
        unit="us a hook",
        rows=rows,
        against=THREADS,
        noise_at_most=0.3,
        text="A sync resource keeps a thread of its own, as what it opens may belong to that thread. No other"
        " system has one.",
    )


def _growth(rounds: int, hooks: int, many: int) -> Table:
    kinds = ("functions", "resources", "resources, a chain", "sync functions, a module each")
    samples = {
        f"{kind}, {number:,}{again}": (OURS, kind, number)
        for kind in kinds
        for number, again in ((hooks, ""), (hooks, AGAIN), (many, ""))
    }
    taken, _ = _race(samples, max(1, rounds // 2))
    rows = []
    for name, each in taken.items():
        kind = name.rpartition(", ")[0]
        is_many = name == f"{kind}, {many:,}"
        rows.append(
            Row(
                name=name,
                samples=each,
                ratios=[
                    own / few for own, few in zip(each, taken[f"{kind}, {hooks:,}"], strict=True)
                ]
                if is_many
                else [],
                goal=f"at most {GROWTH_AT_MOST} of {hooks:,}, a hook: as sorting grows"
                if is_many
                else "",
                ratio_at_most=GROWTH_AT_MOST,
                why="more objects fit the processor's caches less well, and the collector looks at all of them",
            )
        )
    return Table(
        title=f"{many:,} hooks against {hooks:,}",
        unit="us a hook",
        rows=rows,
        noise_at_most=0.15,
        plot="",
    )


if __name__ == "__main__":
    asked = CASES[sys.argv[2]]
    print(json.dumps(here(sys.argv[1], Case(**{**vars(asked), "hooks": int(sys.argv[3])}))))
