"""
Four layers of five resources. Each needs all of the layer before, and takes 50 ms to open and 50 ms to close, so the
longest chain takes 200 ms, and nothing that keeps the order can be faster. Two more graphs take time at their end only.
Async resources wait on the loop, blocking ones block a thread. asgi-lifecycle takes sync functions, which block the loop.
The other systems are used as their documentation says; what they open one after the other takes 1,000 ms. The benchmark
looks at the order of what was opened and closed, and says where it was broken.

*By hand* is the same waiting without any system: ``asyncio.gather`` for each layer, or a thread for each resource. What it
takes above 200 ms is the machine's own part.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.processes import answer, race
from benchmarks.results import AGAIN, Row, Table
from benchmarks.systems import DECLARE, IN_ONE, LIFECYCLE, OTHERS, OURS, Work, installed, serve

TITLE = "Resources that take time"
ROUNDS = 7
LAYERS, WIDTH, WAIT = 4, 5, 0.05
CHAIN_MS = LAYERS * WAIT * 1000
AT_MOST = 1.03
HAND = "by hand"
ASYNC, BLOCKING = "async", "blocking"
SLOW_STOP = ", slow stop only"


def works_of(kind: str, happened: list[str]) -> list[Work]:
    """Return the graph, whose resources note when they open and close."""
    enter_seconds = 0 if kind.endswith(SLOW_STOP) else WAIT
    blocking = kind.startswith(BLOCKING)
    make = _blocks if blocking else _waits
    return [
        Work(
            name=f"layer{layer}_{number}",
            enter=make(enter_seconds, "open", layer, happened),
            leave=make(WAIT, "close", layer, happened),
            needs=[f"layer{layer - 1}_{other}" for other in range(WIDTH)] if layer else [],
            blocking=blocking,
        )
        for layer in range(LAYERS)
        for number in range(WIDTH)
    ]


def _waits(seconds: float, what: str, layer: int, happened: list[str]) -> Callable[[], Any]:
    async def wait() -> None:
        happened.append(f"{what} begins {layer}")
        if seconds:
            await asyncio.sleep(seconds)
        happened.append(f"{what} ends {layer}")

    return wait


def _blocks(seconds: float, what: str, layer: int, happened: list[str]) -> Callable[[], Any]:
    def block() -> None:
        happened.append(f"{what} begins {layer}")
        if seconds:
            time.sleep(seconds)
        happened.append(f"{what} ends {layer}")

    return block


def order_broken(happened: Sequence[str]) -> str:
    """Return where a layer began before its neighbour had ended: "", "startup", "shutdown" or both."""
    phases = {"startup": ("open", -1), "shutdown": ("close", 1)}
    return " and ".join(
        phase
        for phase, (what, before) in phases.items()
        if any(
            happened[:at].count(f"{what} ends {int(event[-1]) + before}") < WIDTH
            for at, event in enumerate(happened)
            if event.startswith(f"{what} begins") and 0 <= int(event[-1]) + before < LAYERS
        )
    )


def here(system: str, kind: str) -> dict[str, Any]:
    """Start and stop the graph once. Return the milliseconds, and what was broken."""
    from django.conf import settings

    settings.configure(ROOT_URLCONF="benchmarks.layers", LIFESPAN={"HISTORY": False})
    import django

    django.setup()
    if system == HAND:
        seconds = by_threads() if kind == BLOCKING else asyncio.run(by_gather())
        return {"start": seconds * 1000, "stop": seconds * 1000, "broken": ""}
    # What a first run imports is not what is measured here: see "Startup".
    asyncio.run(serve(DECLARE[system]([])(), time.perf_counter))
    happened: list[str] = []
    application = DECLARE[system](works_of(kind, happened))()
    begun = 0.0

    async def main() -> Any:
        nonlocal begun
        begun = time.perf_counter()
        return await serve(application, time.perf_counter)

    moments = asyncio.run(main())
    assert len(happened) == 4 * LAYERS * WIDTH
    return {
        "start": (moments.complete - begun) * 1000,
        "stop": (moments.stopped - moments.complete) * 1000,
        "broken": order_broken(happened),
    }


async def by_gather() -> float:
    """Wait for the layers one after the other. Return the seconds."""
    begun = time.perf_counter()
    for _ in range(LAYERS):
        await asyncio.gather(*(asyncio.sleep(WAIT) for _ in range(WIDTH)))
    return time.perf_counter() - begun


def by_threads() -> float:
    """Block a thread for each resource, layer by layer. Return the seconds."""
    begun = time.perf_counter()
    for _ in range(LAYERS):
        threads = [threading.Thread(target=time.sleep, args=(WAIT,)) for _ in range(WIDTH)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return time.perf_counter() - begun


def _of_ours() -> dict[str, tuple[str, str]]:
    return {
        f"{OURS}, {kind}": (OURS, kind)
        for kind in (ASYNC, BLOCKING, ASYNC + SLOW_STOP, BLOCKING + SLOW_STOP)
    }


def _of_others() -> dict[str, tuple[str, str]]:
    names = installed([*OTHERS, IN_ONE])
    return {
        **{
            f"{HAND}, {kind}{again}": (HAND, kind)
            for kind in (ASYNC, BLOCKING)
            for again in ("", AGAIN)
        },
        **{name: (name, ASYNC) for name in names},
        **({f"{LIFECYCLE}, {BLOCKING}": (LIFECYCLE, BLOCKING)} if LIFECYCLE in names else {}),
    }


def measure(rounds: int = ROUNDS) -> Sequence[Table]:
    """Measure all graphs in turns."""
    samples = {**_of_ours(), **_of_others()}
    taken = race(
        {
            name: partial(answer, ["-m", "benchmarks.layers", system, kind])
            for name, (system, kind) in samples.items()
        },
        rounds,
    )
    return [_table(phase, taken) for phase in ("start", "stop")]


def _table(phase: str, taken: dict[str, list[dict[str, Any]]]) -> Table:
    rows = []
    for name, each in taken.items():
        if phase == "start" and name.endswith(SLOW_STOP):
            continue
        broken = {found["broken"] for found in each} - {""}
        is_ours = name.startswith(OURS)
        rows.append(
            Row(
                name=name,
                samples=[found[phase] for found in each],
                goal=f"at most {AT_MOST} of the longest chain" if is_ours else "",
                ratio_at_most=AT_MOST,
                holds=not (is_ours and broken),
                note=f"order broken at {min(broken)}" if broken else "",
                why="timers and threads wake up late on this machine: compare with *by hand*",
            )
        )
    words = {"start": "startup", "stop": "shutdown"}
    return Table(
        title=f"{LAYERS} layers of {WIDTH} resources, {WAIT * 1000:.0f} ms each: {words[phase]}",
        unit="ms",
        rows=rows,
        against=CHAIN_MS,
        against_words=f"the longest chain, {CHAIN_MS:.0f} ms",
        noise_at_most=0.02,
    )


if __name__ == "__main__":
    print(json.dumps(here(sys.argv[1], sys.argv[2])))
