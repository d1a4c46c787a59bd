"""How the startup of each run went, told by the processes of a server to the one that started it.

uvicorn with workers and hypercorn return 0 when every worker's startup has failed, so their exit
code says nothing. The launcher names a file in their environment, and each run adds a line to it.
It works without a database, and with nobody listening.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lifespan_app.conf import STARTS_FILE
from lifespan_app.engine.error_text import one_line
from lifespan_app.engine.reporting.report import Mode, Observer, Phase, Report, Status

LONGEST = 1000
"""Characters of an error at most: a line is written in one go."""


OF_SERVERS = frozenset({Mode.SERVER, Mode.RELOAD, Mode.THREAD})
"""How runs come about whose startup a server answers for. A test, or a command that opens a plan for
a block, is told of a failure by an exception, and what it makes of it is its own business."""


class StartupReporter(Observer):
    """Tell how the startup of each run of a server in this process went.

    Args:
        path: the file that is told.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._told: set[str] = set()

    def watches_steps(self, phase: Phase) -> bool:
        """Tell that steps are of no interest."""
        return False

    def run_changed(self, report: Report) -> None:
        """Write, once a run, whether it came up."""
        if report.mode not in OF_SERVERS:
            return
        came_up = report.status in (Status.SERVING, Status.DEGRADED)
        if (came_up or report.status is Status.STARTUP_FAILED) and report.uuid not in self._told:
            self._told.add(report.uuid)
            write(self._path, report.uuid, came_up, report.error)


def tell_failure(error: BaseException) -> None:
    """Tell that a run could not even be made, if anybody wants to know."""
    if path := os.environ.get(STARTS_FILE):
        write(path, str(uuid.uuid4()), False, one_line(error))


def write(path: str, run: str, came_up: bool, error: str) -> None:
    """Add one line. A file that is gone, with the process that wanted it, is no error."""
    line = json.dumps({"run": run, "came_up": came_up, "error": error[:LONGEST]}) + "\n"
    with suppress(OSError):
        # It has to be there: what it belonged to may be over, and its folder cleaned up.
        file = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0))
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)


class StartupReports:
    """What the runs of other processes have told.

    Args:
        path: the file that they write to; None where there can be none.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that is to tell."""
        return {} if self.path is None else {STARTS_FILE: str(self.path)}

    def starts(self) -> tuple[int, list[str]]:
        """Return how many runs came up, and the error of each one that did not."""
        came_up = 0
        errors: list[str] = []
        if self.path is None:
            return came_up, errors
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                told = json.loads(line)
                if told["came_up"]:
                    came_up += 1
                else:
                    errors.append(str(told["error"]))
            except (ValueError, TypeError, KeyError):
                # Cut short: the process was killed while it wrote.
                continue
        return came_up, errors


@contextmanager
def listening() -> Iterator[StartupReports]:
    """Return, for a ``with`` block, what other processes tell in a file of this user's own.

    Where no temporary folder can be used, as in a read-only container, they tell nothing.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="lifespan-"))
    except OSError:
        yield StartupReports(None)
        return
    try:
        path = folder / "starts"
        path.touch(mode=0o600)
        yield StartupReports(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
