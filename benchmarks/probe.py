"""Measure `python -m lifespan_app.probe`, in comparison with `python -c 'import json'`."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure, show
from lifespan_app.engine.proc import started

ROUNDS = 41
AT_MOST = 1.5
BARE = ("-c", "import json")


def milliseconds(arguments: Sequence[str]) -> float:
    """Run Python. Return the seconds."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - begun) * 1000


def measure() -> Sequence[Figure]:
    """Run both alternately, in changing order."""
    taken: dict[tuple[str, ...], list[float]] = {}
    with TemporaryDirectory() as folder:
        file = Path(folder, "status.json")
        status = {
            "reason": "ok",
            "ready": True,
            "started": True,
            "pid": os.getpid(),
            "process_started": started(os.getpid()),
            "written_at": time.time() + 3600,
            "every": 5.0,
            "pending": [],
        }
        file.write_text(json.dumps(status))
        probe = ("-m", "lifespan_app.probe", "ready", str(file))
        for arguments in (BARE, probe):
            milliseconds(arguments)  # compiles
        for number in range(ROUNDS):
            for arguments in ((BARE, probe), (probe, BARE))[number % 2]:
                taken.setdefault(arguments, []).append(milliseconds(arguments))
    bare, ours = statistics.median(taken[BARE]), statistics.median(taken[probe])
    note = f"medians of {ROUNDS}: {ours:.1f} and {bare:.1f} ms"
    return [
        Figure(
            benchmark="probe",
            what="python -m lifespan_app.probe ready, beside python -c 'import json'",
            value=ours / bare,
            unit="ratio",
            at_most=AT_MOST,
            note=note,
        )
    ]


if __name__ == "__main__":
    show(measure, "The probe")
