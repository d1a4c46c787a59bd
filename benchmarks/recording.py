"""
The startup of a project with ``HISTORY`` on, to the same startup with it off: a new process each time, with an SQLite
file, where the thread that records has most to do by itself. The run is recorded with its boot record, steps and readiness.
Four layers of five resources that take 50 ms each, with fifty that take no time, are a usual start; ten resources that take
no time show what the recording costs by itself. Time is on the wall.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.layers import ASYNC, works_of
from benchmarks.processes import answer, environment, race, turns
from benchmarks.projects import django_admin, write_project
from benchmarks.results import AGAIN, Row, Table
from benchmarks.systems import OURS, Work, serve

TITLE = "History"
ROUNDS = 21
AT_MOST = 1.02
NO_TIME, FEW = 50, 10
OFF, ON = "HISTORY off", "HISTORY on"

SETTINGS = """
import os
INSTALLED_APPS += ["lifespan_app"]
LIFESPAN = {"HISTORY": os.environ.get("HISTORY") == "on"}
"""


def here(case: str) -> float:
    """Return the milliseconds of a startup."""
    import django

    django.setup()
    from benchmarks.systems import DECLARE

    no_time = [Work(name=f"no_time_{number}") for number in range(NO_TIME)]
    works = {"layers": [*works_of(ASYNC, []), *no_time], "no time": no_time[:FEW]}[case]
    application = DECLARE[OURS](works)()

    async def main() -> float:
        begun = time.perf_counter()
        return (await serve(application, time.perf_counter)).complete - begun

    return asyncio.run(main()) * 1000


def measure(rounds: int = ROUNDS) -> Sequence[Table]:
    """Measure both cases, and look whether all runs were recorded."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "project"
        write_project(folder, [], SETTINGS, {})
        env = partial(environment, [folder], DJANGO_SETTINGS_MODULE="mysite.settings")
        django_admin(folder, "migrate", "--verbosity=0")

        def sample(case: str, history: str) -> partial[Any]:
            return partial(answer, ["-m", "benchmarks.recording", case], env(HISTORY=history))

        cases = ("layers", "no time")
        taken = {
            case: race(
                {
                    OFF: sample(case, "off"),
                    OFF + AGAIN: sample(case, "off"),
                    ON: sample(case, "on"),
                },
                rounds,
            )
            for case in cases
        }
        count = "from lifespan_app.models import LifespanRun as R; print(R.objects.count())"
        recorded = answer(["-m", "django", "shell", "--no-imports", "-c", count], env(HISTORY="on"))
    expected = len(cases) * turns(rounds)
    if recorded != expected:
        raise RuntimeError(f"{recorded} runs were recorded, not {expected}")
    usual = f"Startup of {LAYERS_WORDS}"
    return [
        _table(usual, taken["layers"], f"at most {AT_MOST} of {OFF}"),
        _table(f"Startup of {FEW} resources that take no time", taken["no time"], ""),
    ]


LAYERS_WORDS = f"4 layers of 5 resources, 50 ms each, and {NO_TIME} that take no time"


def _table(title: str, taken: dict[str, list[float]], goal: str) -> Table:
    rows = [
        Row(
            name=name,
            samples=samples,
            goal=goal if name == ON else "",
            ratio_at_most=AT_MOST,
            why="the thread that records needs the interpreter while the hooks start",
        )
        for name, samples in taken.items()
    ]
    return Table(
        title=title,
        unit="ms",
        rows=rows,
        against=OFF,
        noise_at_most=0.03 if goal else 0.2,
        plot="" if not goal else "median",
    )


if __name__ == "__main__":
    print(json.dumps(here(sys.argv[1])))
