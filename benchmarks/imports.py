"""
``import lifespan_app.asgi`` in a process that has imported ``django.core.asgi``, as ``-X importtime`` reports
it, with compiled modules. It is what our names add to the imports of an ``asgi.py``. The other systems import what
their documentation imports there.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from functools import partial

from benchmarks.processes import environment, race
from benchmarks.results import AGAIN, Row, Table
from benchmarks.systems import AIODRF, LIFECYCLE, MANAGERS, OURS, STARLETTE, installed

TITLE = "Import time"
ROUNDS = 20
BEFORE = "django.core.asgi"
IMPORTS = {
    OURS: "lifespan_app.asgi",
    OURS + AGAIN: "lifespan_app.asgi",
    MANAGERS: "django_asgi_lifespan.asgi",
    LIFECYCLE: "asgi_lifecycle",
    AIODRF: "aiodrf_asgi_lifespan.asgi",
    STARLETTE: "starlette.applications",
}
AT_MOST_MS, RATIO_AT_MOST = 4.0, 1.3

LINE = re.compile(r"import time:\s+\d+ \|\s+(\d+) \|\s+(\S+)")


def milliseconds(module: str) -> float:
    """Import a module after Django's in a new process. Return what its import took in all."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {BEFORE}; import {module}"],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    for line in reversed(run.stderr.splitlines()):
        found = LINE.fullmatch(line.rstrip())
        if found and found[2] == module:
            return int(found[1]) / 1000
    raise RuntimeError(f"-X importtime did not report {module}")


def measure(rounds: int = ROUNDS) -> Sequence[Table]:
    """Import in turns."""
    names = installed(list(IMPORTS))
    taken = race({name: partial(milliseconds, IMPORTS[name]) for name in names}, rounds)
    goal = {
        "goal": f"at most {AT_MOST_MS:.0f} ms, or {RATIO_AT_MOST} of {MANAGERS}",
        "value_at_most": AT_MOST_MS,
        "ratio_at_most": RATIO_AT_MOST if MANAGERS in names else None,
        "why": "it imports the engine's registry, whose modules are many and small",
    }
    rows = [
        Row(name=name, samples=taken[name], **(goal if name == OURS else {}))  # type: ignore[arg-type]
        for name in names
    ]
    against = MANAGERS if MANAGERS in names else ""
    return [Table(title=TITLE, unit="ms", rows=rows, against=against, noise_at_most=0.2)]
