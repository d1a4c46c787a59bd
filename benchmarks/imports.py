"""Measure `import lifespan_app.asgi` in a process that has imported Django's own `asgi`."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure, median_of, show

BEFORE = "django.core.asgi"
OURS = "lifespan_app.asgi"
# What the earlier packages have in its place, measured too where they are installed.
PEERS = ("django_asgi_lifespan.asgi", "asgi_lifecycle")
ROUNDS = 20
AT_MOST_MS = 4.0

LINE = re.compile(r"import time:\s+\d+ \|\s+(\d+) \| (\s*)(\S+)")


def milliseconds(module: str, bytecode: str) -> float:
    """
    Import a module after Django's in a new process; return what its import took in all.

    `bytecode` is the folder where compiled modules are kept between imports.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
    # Where it is set, each import would compile the module anew.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {BEFORE}; import {module}"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    for line in reversed(run.stderr.splitlines()):
        found = LINE.fullmatch(line.rstrip())
        if found and found[3] == module:
            return int(found[1]) / 1000
    raise RuntimeError(f"-X importtime did not tell about {module}")


def measure() -> Sequence[Figure]:
    """Import the modules alternately, `ROUNDS` times."""
    modules = [OURS, *(peer for peer in PEERS if importlib.util.find_spec(peer.split(".")[0]))]
    taken: dict[str, list[float]] = {module: [] for module in modules}
    with TemporaryDirectory() as bytecode:
        for module in modules:
            milliseconds(module, bytecode)  # compiles
        for _ in range(ROUNDS):
            for module in modules:
                taken[module].append(milliseconds(module, bytecode))
    return [
        median_of(
            "imports",
            f"import {module} after {BEFORE}",
            times,
            "ms",
            AT_MOST_MS if module == OURS else None,
        )
        for module, times in taken.items()
    ]


if __name__ == "__main__":
    show(measure, "Import time")
