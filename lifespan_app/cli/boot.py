"""The work of ``checklifespan --boot``: measure a start up to its hooks, in a fresh process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from django.conf import ENVIRONMENT_VARIABLE
from django.core.management.base import CommandError

from lifespan_app.engine.error_text import one_line
from lifespan_app.engine.wording import count, time_taken

from .budget import TOTAL
from .command import BAD_ARGUMENT, FAILED, CommandWithExitCodes
from .problems import FAIL_LEVEL
from .tables import Table
from .terminal import printable, width_of_page

VERSION = 1
"""The document's version, increased when a key is removed or changes its meaning."""
MOST = 10
"""The number of apps and packages in the tables."""
MOST_LINES = 30
"""The number of lines that are shown of a process that has failed."""

IMPORT = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \| *(\S+)\n", re.MULTILINE)
"""A line of ``-X importtime``: microseconds without nested imports, microseconds with them, and the module.
https://docs.python.org/3/using/cmdline.html#cmdoption-X"""

TEXTS = {
    "python": "Python",
    "django": "import of Django",
    "settings": "import of the settings",
    "apps": "import of the apps",
    "ready": "ready() of the apps",
    "application": "import of the ASGI application",
    "other": "other",
}


class App(NamedTuple):
    """The times of one app, in seconds."""

    name: str
    imported: float
    """Its module, its ``AppConfig`` and its models, with the modules that they are the first to import."""
    ready: float


class Package(NamedTuple):
    """The imports of one package."""

    name: str
    seconds: float
    """The time of its own modules, without their imports of other packages."""
    modules: int
    slowest: str
    """The module that took longest."""


class Boot(NamedTuple):
    """A start of the project up to its hooks."""

    seconds: float
    parts: Mapping[str, float]
    """Seconds by the keys of ``TEXTS``, which add up to the whole."""
    apps: Sequence[App]
    """The slowest first."""
    packages: Sequence[Package]
    """The slowest first."""


def refuse(options: Mapping[str, Any]) -> None:
    """Raise ``CommandError`` for options that can't be combined with ``--boot``."""
    text = ""
    names = ("run", "repeat", "compare", "fail_slower", "timeout", "service_type")
    given = [name for name in names if options[name]]
    if options["fail_level"] != FAIL_LEVEL:
        given.append("fail_level")
    if given:
        name = given[0].replace("_", "-")
        text = f"--{name} is about a plan, and --boot stops before it: leave one out."
    elif set(options["budget"] or ()) - {TOTAL}:
        text = "--boot has one budget, for all of it, such as --budget 6s."
    elif options["format"] in ("mermaid", "dot"):
        text = f"--format {options['format']} draws the plan, and --boot stops before it: leave one out."
    if text:
        raise CommandError(text, returncode=BAD_ARGUMENT)


def boot(application: str | None) -> Boot:
    """Prepare the project in a fresh process, and return the times.

    Args:
        application: the path of the ASGI application; None: that of the settings.

    Raises:
        CommandError: the project has no settings module, or can't be prepared.
    """
    module = os.environ.get(ENVIRONMENT_VARIABLE)
    if not module:
        raise CommandError(
            f"--boot needs a settings module: set {ENVIRONMENT_VARIABLE}.", returncode=BAD_ARGUMENT
        )
    with TemporaryDirectory() as folder:
        file = Path(folder, "boot.json")
        command = [sys.executable, "-X", "importtime", "-P", "-m", "lifespan_app.cli.boot_child"]
        began = time.time()
        done = subprocess.run(
            [*command, str(file), *([application] if application else [])],
            # manage.py may have added to the path of this process.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            lines = done.stderr.strip().splitlines()
            said = [line for line in lines if not line.startswith("import time:")]
            why = "\n".join(map(printable, said[-MOST_LINES:])) or one_line(error)
            raise CommandError(
                f"The project can't be prepared in a fresh process, which ended with "
                f"{done.returncode}:\n{why}",
                returncode=FAILED,
            ) from error
    return boot_of(result, began, done.stderr)


def boot_of(result: Mapping[str, Any], began: float, stderr: str) -> Boot:
    """Return the results of the process.

    Args:
        result: what it has measured.
        began: the time at which it was started, since the epoch.
        stderr: its standard error.
    """
    apps = [App(name, times["import"], times["ready"]) for name, times in result["apps"].items()]
    parts = {
        "python": result["began"] - began,
        **result["parts"],
        "apps": sum(app.imported for app in apps),
        "ready": sum(app.ready for app in apps),
    }
    whole = result["ended"] - began
    parts["other"] = max(whole - sum(parts.values()), 0.0)
    return Boot(
        whole,
        {name: parts[name] for name in TEXTS},
        sorted(apps, key=lambda app: -app.imported - app.ready),
        packages_of(stderr),
    )


def packages_of(stderr: str) -> list[Package]:
    """Return the packages in the output of ``-X importtime``, the slowest first."""
    modules: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for taken, module in IMPORT.findall(stderr):
        modules[module.partition(".")[0]].append((int(taken), module))
    packages = (
        Package(name, sum(taken for taken, _ in some) / 1e6, len(some), max(some)[1])
        for name, some in modules.items()
    )
    return sorted(packages, key=lambda package: -package.seconds)


# For the command.


def run(command: CommandWithExitCodes, options: Mapping[str, Any]) -> None:
    """Measure, show the results, and raise ``CommandError`` if they exceed the budget."""
    found = boot(options["asgi"])
    allowed = (options["budget"] or {}).get(TOTAL)
    if options["format"] == "json":
        command.stdout.write(document(found, allowed))
    else:
        command.stdout.write("\n".join(lines_of(command, found)))
    if allowed is not None and found.seconds > allowed:
        raise CommandError(
            f"The start before the hooks took {time_taken(found.seconds)}; its budget is "
            f"{time_taken(allowed)}.",
            returncode=FAILED,
        )


def document(found: Boot, allowed: float | None) -> str:
    """Return the results as JSON, in seconds."""
    fields = {
        **found._asdict(),
        "budget": allowed,
        "apps": [
            {"name": app.name, "import": app.imported, "ready": app.ready} for app in found.apps
        ],
        "packages": [package._asdict() for package in found.packages],
    }
    return json.dumps({"version": VERSION, "boot": fields}, indent=2)


def lines_of(command: CommandWithExitCodes, found: Boot) -> Iterator[str]:
    """Yield the results for a terminal."""
    yield command.style.MIGRATE_HEADING(f"{time_taken(found.seconds)} before the hooks")
    parts = [[TEXTS[name], time_taken(taken)] for name, taken in found.parts.items()]
    yield from table(("Part", "Took"), parts, "part")
    apps = [
        [printable(app.name), time_taken(app.imported), time_taken(app.ready)] for app in found.apps
    ]
    yield from table(("App", "Import", "ready()"), apps, "app")
    packages = [
        [
            printable(package.name),
            time_taken(package.seconds),
            count(package.modules, "module"),
            printable(package.slowest),
        ]
        for package in found.packages
    ]
    yield from table(("Package", "Imports", "Modules", "Slowest"), packages, "package")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], what: str) -> Iterator[str]:
    """Yield a table of the first rows, below an empty line."""
    shown = rows[:MOST]
    drawn = Table(shown, width_of_page(), heads, gutter=2)
    yield ""
    yield drawn.head()
    for row in shown:
        yield from drawn.row(row)
    if more := len(rows) - len(shown):
        yield f"  and {count(more, f'more {what}')}, which took less"
