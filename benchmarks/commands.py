"""
Whole processes: ``manage.py check`` of one project with ten resources, with ``lifespan_app`` in ``INSTALLED_APPS`` and
without; ``manage.py checklifespan`` with a thousand hooks of twenty apps, to ``check`` on the same project; and
``python -m lifespan_app.probe ready``, which a container's health check calls, to a Python that imports ``json``. Time is
the processor's. No other system has commands or checks.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import answer, environment, processor_ms, race
from benchmarks.projects import write_project
from benchmarks.results import AGAIN, Row, Table
from benchmarks.start import LIFESPAN
from lifespan_app.engine.proc import started

TITLE = "Commands"
ROUNDS, FEW_ROUNDS = 21, 9
CHECK_AT_MOST, PROBE_AT_MOST, MANY_AT_MOST = 1.05, 1.5, 1.5
WITHOUT, WITH = "without lifespan_app", "with lifespan_app"
APPS, HOOKS_AN_APP, LAYERS = 20, 50, 5
INSTALLED = 'INSTALLED_APPS += ["lifespan_app"]\n'

CONNECTIONS = """
import json
import django
from django.core.management import call_command
from django.db.backends.signals import connection_created

opened = []
connection_created.connect(lambda **named: opened.append(1), weak=False)
django.setup()
call_command("check")
print(json.dumps(len(opened)))
"""
"""Prints how many database connections a check opens."""


def measure(rounds: int = ROUNDS) -> Sequence[Table]:
    """Measure the three commands."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        return [
            _check(folder, rounds),
            _many_hooks(folder, min(rounds, FEW_ROUNDS)),
            _probe(folder, rounds),
        ]


def _command(folder: Path, *command: str) -> partial[float]:
    env = environment([folder], DJANGO_SETTINGS_MODULE="mysite.settings")
    return partial(processor_ms, ["manage.py", *command], env, folder)


def _check(folder: Path, rounds: int) -> Table:
    settings = {WITHOUT: "", WITH: INSTALLED}
    of = {WITHOUT: folder / "without", WITH: folder / "with"}
    opened = {}
    for name, project in of.items():
        write_project(project, ["books"], settings[name], {"books/lifespan.py": LIFESPAN})
        env = environment([project], DJANGO_SETTINGS_MODULE="mysite.settings")
        opened[name] = answer(["-c", CONNECTIONS], env)
    taken = race(
        {
            WITHOUT: _command(of[WITHOUT], "check"),
            WITHOUT + AGAIN: _command(of[WITHOUT], "check"),
            WITH: _command(of[WITH], "check"),
        },
        rounds,
    )
    rows = [
        Row(
            name=name,
            samples=samples,
            goal=f"at most {CHECK_AT_MOST} of {WITHOUT}, no more connections"
            if name == WITH
            else "",
            ratio_at_most=CHECK_AT_MOST,
            holds=opened[WITHOUT] == opened[WITH],
            note="" if name.endswith(AGAIN) else f"{opened[name]} database connections",
            why="it imports the models, the admin's lists, the engine and the hooks, and makes the plan",
        )
        for name, samples in taken.items()
    ]
    return Table(
        title="manage.py check", unit="ms", rows=rows, against=WITHOUT, noise_at_most=0.05, plot=""
    )


HOOK = """

@lifespan.resource(timeout=5)
async def {name}({needs}):
    yield "{name}"
"""


def _source(app: int) -> str:
    # Each hook needs two of the layer before, except in the first layer.
    width = HOOKS_AN_APP // LAYERS
    hooks = []
    for number in range(HOOKS_AN_APP):
        layer, place = divmod(number, width)
        first = (layer - 1) * width
        needs = [first + place, first + (place + 1) % width] if layer else []
        names = ", ".join(f"resource_{app}_{needed}" for needed in needs)
        hooks.append(HOOK.format(name=f"resource_{app}_{number}", needs=names))
    return "from lifespan_app import lifespan\n" + "".join(hooks)


def _many_hooks(folder: Path, rounds: int) -> Table:
    project = folder / "many"
    apps = [f"app_{number}" for number in range(APPS)]
    sources = {f"{app}/lifespan.py": _source(number) for number, app in enumerate(apps)}
    write_project(project, apps, INSTALLED, sources)
    check, checklifespan = "check", "checklifespan"
    taken = race(
        {
            check: _command(project, check),
            check + AGAIN: _command(project, check),
            checklifespan: _command(project, checklifespan),
        },
        rounds,
    )
    title = f"manage.py checklifespan with {APPS * HOOKS_AN_APP:,} hooks"
    return _table(title, taken, MANY_AT_MOST, why="it prints a line for each hook")


def _probe(folder: Path, rounds: int) -> Table:
    file = folder / "status.json"
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
    bare, probe = "python -c 'import json'", "python -m lifespan_app.probe"
    taken = race(
        {
            bare: partial(processor_ms, ["-c", "import json"]),
            bare + AGAIN: partial(processor_ms, ["-c", "import json"]),
            probe: partial(processor_ms, ["-m", "lifespan_app.probe", "ready", str(file)]),
        },
        rounds,
    )
    why = "it is a package's module, which Python has to find and to run"
    return _table(f"{probe} ready", taken, PROBE_AT_MOST, why=why, noise_at_most=0.2)


def _table(
    title: str,
    taken: Mapping[str, Sequence[float]],
    at_most: float,
    *,
    why: str,
    noise_at_most: float = 0.1,
) -> Table:
    # What is compared, its control, and ours.
    against, _, ours = taken
    rows = [
        Row(
            name=name,
            samples=samples,
            goal=f"at most {at_most} of {against}" if name == ours else "",
            ratio_at_most=at_most,
            why=why,
        )
        for name, samples in taken.items()
    ]
    return Table(
        title=title,
        unit="ms",
        rows=rows,
        against=against,
        noise_at_most=noise_at_most,
        plot="",
    )
