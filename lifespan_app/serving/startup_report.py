"""The result of each run's startup, reported by a server's processes to their launcher.

uvicorn with workers and hypercorn return 0 even when every worker's startup has failed (uvicorn 0.54,
main.py, ``run``, https://github.com/Kludex/uvicorn/issues/1115; hypercorn 0.18, run.py, ``run``). So the
launcher names a file in their environment, and each run adds a line to it.
It works without a database, and without a reader.
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


SERVER_MODES = frozenset({Mode.SERVER, Mode.RELOAD, Mode.THREAD})
"""The modes of runs that a server answers for. A test or a command gets an exception instead."""


class StartupReporter(Observer):
    """Report the startup of each run of a server in this process.

    Args:
        path: the file for the reports.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._reported: set[str] = set()

    def watches_steps(self, phase: Phase) -> bool:
        """Return False: steps are not reported."""
        return False

    def run_changed(self, report: Report) -> None:
        """Report the result of the startup, once per run."""
        if report.mode not in SERVER_MODES:
            return
        came_up = report.status in (Status.SERVING, Status.DEGRADED)
        if (
            came_up or report.status is Status.STARTUP_FAILED
        ) and report.uuid not in self._reported:
            self._reported.add(report.uuid)
            write(self._path, report.uuid, came_up, report.error)


def report_failure(error: BaseException) -> None:
    """Report that a run could not be made, if a launcher waits for it."""
    if path := os.environ.get(STARTS_FILE):
        write(path, str(uuid.uuid4()), False, one_line(error))


def write(path: str, run: str, came_up: bool, error: str) -> None:
    """Add one line. A file that is gone, with the process that wanted it, is no error."""
    line = json.dumps({"run": run, "came_up": came_up, "error": error[:LONGEST]}) + "\n"
    with suppress(OSError):
        # Without O_CREAT: the launcher may have ended, and removed the file with its folder.
        file = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0))
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)


class StartupReports:
    """The startups that other processes have reported.

    Args:
        path: the file for the reports; None if there can be none.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a process that is to report."""
        return {} if self.path is None else {STARTS_FILE: str(self.path)}

    def starts(self) -> tuple[int, list[str]]:
        """Return the number of runs that came up, and the error of each one that did not."""
        came_up = 0
        errors: list[str] = []
        if self.path is None:
            return came_up, errors
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                if entry["came_up"]:
                    came_up += 1
                else:
                    errors.append(str(entry["error"]))
            except (ValueError, TypeError, KeyError):
                # The process was killed while it wrote the line.
                continue
        return came_up, errors


@contextmanager
def listening() -> Iterator[StartupReports]:
    """Yield a file of this user's own, for other processes' reports.

    Without a temporary folder, as in a read-only container, there are no reports.
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
