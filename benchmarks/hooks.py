"""Measure the overhead of the engine: a thousand empty hooks, and graphs that only wait.

Where everything happens in one thread, time is the processor's: what else the machine does doesn't
count. Where threads hand work over, and where hooks wait, it is the wall's.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

from benchmarks.figures import Figure, median_of, show
from lifespan_app import Lifespan

Clock = Callable[[], float]
Make = Callable[..., Lifespan]

HOOKS = 1_000
ROUNDS = 9

LAYERS, WIDTH, WAIT = 4, 5, 0.05
GRAPH_ROUNDS = 5
LONGEST_CHAIN = LAYERS * WAIT
GRAPH_AT_MOST = 1.03

# Microseconds a hook.
ASYNC_AT_MOST = 15
SYNC_FUNCTIONS_AT_MOST = 25
PLAN_AT_MOST = 5
# Times what a bare thread costs.
SYNC_RESOURCES_AT_MOST = 2.0

# Limits that never end anything: a hook that has one costs more than one that has none.
LIMIT = 60.0


# A thousand hooks that do nothing


async def async_function() -> None:
    """Do nothing, as an async start function."""


def sync_function() -> None:
    """Do nothing, as a sync start function."""


async def async_resource() -> AsyncIterator[int]:
    """Do nothing, as an async resource."""
    yield 1


def sync_resource() -> Iterator[int]:
    """Do nothing, as a sync resource."""
    yield 1


def functions(function: Callable[..., Any], *, chain: bool) -> Lifespan:
    """Return a lifespan of start functions: sequential in one module, concurrent in several."""
    lifespan = Lifespan()
    for number in range(HOOKS):
        hook = _copy(function, number, module="one" if chain else f"app_{number}")
        lifespan.on_start(timeout=LIMIT)(hook)
    return lifespan


def resources(function: Callable[..., Any], *, chain: bool) -> Lifespan:
    """Return a lifespan of resources; in a chain each needs the one before."""
    lifespan = Lifespan()
    before: list[Any] = []
    for number in range(HOOKS):
        hook = _copy(function, number, module=f"app_{number}")
        declare = lifespan.resource(depends_on=list(before), timeout=LIMIT, shutdown_timeout=LIMIT)
        handle = declare(hook)
        before = [handle] if chain else []
    return lifespan


def _copy(function: Any, number: int, *, module: str) -> Callable[..., Any]:
    # The registry tells functions apart by module and name, as they are written in files.
    copied = FunctionType(function.__code__, function.__globals__, f"hook_{number}")
    copied.__qualname__ = copied.__name__
    copied.__module__ = module
    return copied


@dataclass(frozen=True)
class Case:
    """One kind of thousand hooks."""

    what: str
    make: Callable[[], Lifespan]
    clock: Clock
    at_most: float | None = None


def _case(
    what: str, make: Make, hook: Callable[..., Any], clock: Clock, at_most: float | None
) -> Iterator[Case]:
    for shape, chain in (("no edges", False), ("a chain", True)):
        yield Case(f"{what}, {shape}", partial(make, hook, chain=chain), clock, at_most)


CPU, WALL = time.process_time, time.perf_counter
CASES = (
    *_case("async functions", functions, async_function, CPU, ASYNC_AT_MOST),
    *_case("async resources", resources, async_resource, CPU, ASYNC_AT_MOST),
    Case(
        "sync functions, no edges",
        partial(functions, sync_function, chain=False),
        WALL,
        SYNC_FUNCTIONS_AT_MOST,
    ),
    Case("sync functions, a chain", partial(functions, sync_function, chain=True), WALL),
)
THREAD_CASES = tuple(_case("sync resources", resources, sync_resource, WALL, None))


async def run_once(lifespan: Lifespan, clock: Clock) -> tuple[float, float]:
    """Start and stop. Return the seconds of both."""
    began = clock()
    async with lifespan.run("app"):
        up = clock()
    return up - began, clock() - up


def bare_threads() -> float:
    """
    Start a thread for each hook, let all of them go, join them; return the seconds.

    All live at once, each waiting for a lock of its own, as the threads of sync resources do.
    """
    locks = [threading.Lock() for _ in range(HOOKS)]
    for lock in locks:
        lock.acquire()
    began = time.perf_counter()
    threads = [threading.Thread(target=lock.acquire, daemon=True) for lock in locks]
    for thread in threads:
        thread.start()
    for lock in locks:
        lock.release()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def lone_threads() -> float:
    """Start and join a thread for each hook, one after the other. Return the seconds."""
    began = time.perf_counter()
    for _ in range(HOOKS):
        thread = threading.Thread(target=sync_function, daemon=True)
        thread.start()
        thread.join()
    return time.perf_counter() - began


def plan_seconds(lifespan: Lifespan, clock: Clock) -> float:
    """Make the plan; return the seconds."""
    began = clock()
    lifespan.plan("app")
    return clock() - began


# Graphs that only wait


def graph(hook: Callable[..., Any]) -> Lifespan:
    """Return layers of resources. Each resource needs all of the layer before."""
    lifespan = Lifespan()
    before: list[Any] = []
    number = 0
    for _ in range(LAYERS):
        layer = []
        for _ in range(WIDTH):
            copied = _copy(hook, number, module=f"app_{number}")
            layer.append(lifespan.resource(depends_on=before)(copied))
            number += 1
        before = layer
    return lifespan


async def waits_async() -> AsyncIterator[int]:
    """Wait on the loop at startup and shutdown."""
    await asyncio.sleep(WAIT)
    yield 1
    await asyncio.sleep(WAIT)


def waits_blocking() -> Iterator[int]:
    """Block a thread at startup and shutdown."""
    time.sleep(WAIT)
    yield 1
    time.sleep(WAIT)


def bare_layers() -> float:
    """Block threads like one phase of the blocking graph, without the engine. Return the seconds."""
    began = time.perf_counter()
    for _ in range(LAYERS):
        layer = [threading.Thread(target=time.sleep, args=(WAIT,)) for _ in range(WIDTH)]
        for thread in layer:
            thread.start()
        for thread in layer:
            thread.join()
    return time.perf_counter() - began


async def bare_sleeps() -> float:
    """Sleep on the loop like one phase of the async graph, without the engine. Return the seconds."""
    began = time.perf_counter()
    for _ in range(LAYERS):
        await asyncio.gather(*(asyncio.sleep(WAIT) for _ in range(WIDTH)))
    return time.perf_counter() - began


async def leaves_async() -> AsyncIterator[int]:
    """Wait on the loop at shutdown only."""
    yield 1
    await asyncio.sleep(WAIT)


def leaves_blocking() -> Iterator[int]:
    """Block a thread at shutdown only."""
    yield 1
    time.sleep(WAIT)


GRAPHS = (
    ("async", waits_async, True),
    ("blocking", waits_blocking, True),
    ("empty enter, async exit", leaves_async, False),
    ("empty enter, blocking exit", leaves_blocking, False),
)


# Measuring


def measure() -> Sequence[Figure]:
    """Measure all cases, those of a group alternately."""
    with asyncio.Runner() as runner:
        return [
            *_thousand_async_and_functions(runner),
            *_thousand_sync_resources(runner),
            *_plans(),
            *_graphs(runner),
        ]


def _run(runner: asyncio.Runner, lifespan: Lifespan, clock: Clock) -> tuple[float, float]:
    gc.collect()
    return runner.run(run_once(lifespan, clock))


def _start_and_stop(runner: asyncio.Runner, case: Case) -> float:
    # Seconds of one start and stop of new hooks, without what their plan takes.
    lifespan = case.make()
    lifespan.plan("app")
    gc.collect()
    planning = plan_seconds(lifespan, case.clock)
    return sum(_run(runner, lifespan, case.clock)) - planning


def _thousand_async_and_functions(runner: asyncio.Runner) -> Iterator[Figure]:
    taken: dict[str, list[float]] = {case.what: [] for case in CASES}
    for _ in range(ROUNDS):
        for case in CASES:
            taken[case.what].append(_start_and_stop(runner, case))
    for case in CASES:
        each = [seconds / HOOKS * 1e6 for seconds in taken[case.what]]
        yield median_of("hooks", f"{HOOKS} {case.what}, start and stop", each, "us", case.at_most)


def _thousand_sync_resources(runner: asyncio.Runner) -> Iterator[Figure]:
    taken: dict[str, list[float]] = {case.what: [] for case in THREAD_CASES}
    bare: list[float] = []
    lone: list[float] = []
    for _ in range(ROUNDS):
        gc.collect()
        bare.append(bare_threads())
        lone.append(lone_threads())
        for case in THREAD_CASES:
            taken[case.what].append(_start_and_stop(runner, case))
    for case in THREAD_CASES:
        each = [seconds / HOOKS * 1e6 for seconds in taken[case.what]]
        ratios = [ours / theirs for ours, theirs in zip(taken[case.what], bare, strict=True)]
        yield Figure(
            benchmark="hooks",
            what=f"{HOOKS} {case.what}, to bare threads' start and join",
            value=statistics.median(ratios),
            unit="ratio",
            at_most=SYNC_RESOURCES_AT_MOST,
            note=f"median of {ROUNDS}; {statistics.median(each):.0f} us a hook, a thread"
            f" {statistics.median(bare) / HOOKS * 1e6:.0f} among {HOOKS},"
            f" {statistics.median(lone) / HOOKS * 1e6:.0f} alone",
        )


def _plans() -> Iterator[Figure]:
    shapes = {
        "no edges": partial(resources, async_resource, chain=False),
        "a chain": partial(resources, async_resource, chain=True),
        "one module": partial(functions, async_function, chain=True),
    }
    for what, make in shapes.items():
        each = []
        for _ in range(ROUNDS):
            lifespan = make()
            gc.collect()
            each.append(plan_seconds(lifespan, CPU) / HOOKS * 1e6)
        yield median_of("hooks", f"the plan of {HOOKS} hooks, {what}", each, "us", PLAN_AT_MOST)


def _graphs(runner: asyncio.Runner) -> Iterator[Figure]:
    # Everything in turn: what the machine adds to each wait changes from minute to minute.
    taken: dict[str, list[float]] = {"bare asyncio": [], "bare threads": []}
    graphs = [(what, graph(hook), starts_slowly) for what, hook, starts_slowly in GRAPHS]
    for _ in range(GRAPH_ROUNDS):
        taken["bare asyncio"].append(runner.run(bare_sleeps()))
        taken["bare threads"].append(bare_layers())
        for what, lifespan, starts_slowly in graphs:
            start, stop = _run(runner, lifespan, WALL)
            if starts_slowly:
                taken.setdefault(f"start, {what}", []).append(start)
            taken.setdefault(f"stop, {what}", []).append(stop)
    for what, seconds in taken.items():
        is_bare = what.startswith("bare")
        floor = statistics.median(taken[f"bare {'threads' if 'blocking' in what else 'asyncio'}"])
        middle = statistics.median(seconds)
        beside = "the machine's own part" if is_bare else f"{middle / floor:.3f} of the bare waits"
        yield Figure(
            benchmark="hooks",
            what=f"{LAYERS} x {WIDTH} x {WAIT * 1000:.0f} ms: {what}",
            value=middle / LONGEST_CHAIN,
            unit="ratio",
            at_most=None if is_bare else GRAPH_AT_MOST,
            note=f"median of {GRAPH_ROUNDS}, to the longest chain's"
            f" {LONGEST_CHAIN * 1000:.0f} ms; from {min(seconds) / LONGEST_CHAIN:.3f} to"
            f" {max(seconds) / LONGEST_CHAIN:.3f}; {beside}",
        )


if __name__ == "__main__":
    show(measure, "Hooks")
