"""What a process has at a moment, and what each start or minute leaves behind of it."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence

from tests.torture.results import table

NAMES = ("memory, KiB", "blocks", "objects", "threads", "tasks", "descriptors")
OF_MEMORY = NAMES[:3]
"""What caches fill, and what rises and falls a little."""
WARM_UP = 0.3
"""The share of the samples that is left out, in which caches fill."""

MODULE = """
import asyncio
import gc
import os
import sys
import threading


def counts():
    gc.collect()
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return [
        pages * os.sysconf("SC_PAGE_SIZE") / 1024,
        sys.getallocatedblocks(),
        len(gc.get_objects()),
        threading.active_count(),
        len(asyncio.all_tasks()),
        len(os.listdir("/proc/self/fd")),
    ]
"""
"""A module of the process that is looked at; ``blocks`` are those of Python's own allocator."""

Slopes = dict[str, tuple[float, float]]
"""What is left behind of each, with its standard error."""


def slopes(samples: Sequence[Sequence[float]], of_each: float = 1.0) -> Slopes:
    """Fit a line to each count.

    Args:
        samples: the counts, in the order of ``NAMES``.
        of_each: how many samples there were in what the slopes are of.
    """
    columns = zip(*samples[int(len(samples) * WARM_UP) :], strict=True)
    return {
        name: (left * of_each, error * of_each)
        for name, (left, error) in zip(NAMES, map(slope, columns), strict=True)
    }


def slope(counts: Sequence[float]) -> tuple[float, float]:
    """Return the slope of the line through counts, and its standard error."""
    number = len(counts)
    middle, mean = (number - 1) / 2, sum(counts) / number
    spread = sum((index - middle) ** 2 for index in range(number))
    found = sum((index - middle) * (one - mean) for index, one in enumerate(counts)) / spread
    rest = sum((one - mean - found * (index - middle)) ** 2 for index, one in enumerate(counts))
    return found, math.sqrt(rest / (number - 2) / spread)


def left_behind(
    what: str, found: Slopes, most: Mapping[str, float], control: Slopes | None = None
) -> tuple[str, list[str]]:
    """Print the slopes; return them as a text, and those that are too much as faults.

    Args:
        what: what they are of.
        most: what may be left behind, beyond three standard errors; others are printed only.
        control: the slopes of a process without lifespan_app; what it leaves behind is not ours.
    """
    own = {name: told(found[name]) for name in NAMES}
    others = {name: told(control[name]) if control else "" for name in NAMES}
    rows = [(name, own[name], others[name]) for name in NAMES]
    sys.stdout.write(f"\n{table(('left by ' + what, 'lifespan_app', 'control'), rows)}\n")
    faults = []
    for name, limit in most.items():
        (left, error), (of_control, its_error) = found[name], (control or {}).get(name, (0.0, 0.0))
        if left - 3 * error > limit + max(0.0, of_control + 3 * its_error):
            faults.append(f"each {what.removeprefix('one ')} leaves {own[name]} behind: {name}")
    texts = [
        f"{name} {own[name]}{f' (control {others[name]})' if control else ''}" for name in NAMES
    ]
    return f"left by {what}: {', '.join(texts)}", faults


def told(found: tuple[float, float]) -> str:
    """Return a slope and its error as text."""
    return f"{found[0]:.3f} ± {found[1]:.3f}"
