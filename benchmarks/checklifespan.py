"""Measure `manage.py checklifespan` with 1,000 hooks, in comparison with `manage.py check`.

Both are whole processes, in turns, on one project: what `startproject` makes, with twenty apps of
fifty hooks each.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from django.core.management import call_command

import lifespan_app
from benchmarks.figures import Figure, show

APPS, HOOKS_AN_APP, LAYERS = 20, 50, 5
ROUNDS = 15
AT_MOST = 1.5

HEAD = "from lifespan_app import lifespan\n"
HOOK = """

@lifespan.resource(timeout=5)
async def {name}({needs}):
    yield "{name}"
"""


def source_of(app: int) -> str:
    """Return the hooks of an app. Each needs two hooks of the layer before, except in the first layer."""
    a_layer = HOOKS_AN_APP // LAYERS
    hooks = []
    for number in range(HOOKS_AN_APP):
        layer = number // a_layer
        first = (layer - 1) * a_layer
        needs = [first + number % a_layer, first + (number + 1) % a_layer] if layer else []
        hooks.append(
            HOOK.format(
                name=f"resource_{app}_{number}",
                needs=", ".join(f"resource_{app}_{needed}" for needed in needs),
            )
        )
    return HEAD + "".join(hooks)


def make_project(folder: Path) -> None:
    """Write the project."""
    call_command("startproject", "site_of_many", str(folder))
    apps = [f"app_{number}" for number in range(APPS)]
    for number, app in enumerate(apps):
        (folder / app).mkdir()
        (folder / app / "__init__.py").touch()
        (folder / app / "lifespan.py").write_text(source_of(number))
    settings = folder / "site_of_many" / "settings.py"
    settings.write_text(f"{settings.read_text()}\nINSTALLED_APPS += {['lifespan_app', *apps]}\n")
    (folder / "site_of_many" / "asgi.py").write_text(
        "from lifespan_app.asgi import get_asgi_application\n\napplication = get_asgi_application()\n"
    )


def seconds(folder: Path, command: str) -> float:
    """Run a command of the project. Return the seconds of the whole process."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "site_of_many.settings",
        "PYTHONPATH": os.pathsep.join(
            [str(Path(lifespan_app.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        ),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "manage.py", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


def measure() -> Sequence[Figure]:
    """Run both commands alternately, `ROUNDS` times."""
    taken: dict[str, list[float]] = {"check": [], "checklifespan": []}
    with TemporaryDirectory() as name:
        folder = Path(name)
        make_project(folder)
        commands = list(taken)
        for command in commands:
            seconds(folder, command)  # compiles
        order = random.Random(1)
        for _ in range(ROUNDS):
            order.shuffle(commands)
            for command in commands:
                taken[command].append(seconds(folder, command))
    ratios = [
        ours / theirs for ours, theirs in zip(taken["checklifespan"], taken["check"], strict=True)
    ]
    hooks = APPS * HOOKS_AN_APP
    return [
        Figure(
            benchmark="checklifespan",
            what=f"manage.py checklifespan on {hooks:,} hooks, to manage.py check",
            value=statistics.median(ratios),
            unit="ratio",
            at_most=AT_MOST,
            note=f"median of {ROUNDS}; {min(ratios):.2f} to {max(ratios):.2f}; "
            f"{statistics.median(taken['checklifespan']) * 1000:.0f} ms, and "
            f"{statistics.median(taken['check']) * 1000:.0f} ms",
        )
    ]


if __name__ == "__main__":
    show(measure, "The plan in a terminal")
