"""The status file: the health of a process, for ``python -m lifespan_app.probe``.

It is written on each change, and every few seconds, by the event loop itself: while
the loop is blocked the file grows old, and the probe does not trust it any more.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from lifespan_app.engine.logger import logger
from lifespan_app.engine.proc import started
from lifespan_app.engine.reporting.report import NOT_STARTED, Mode, Observer, Phase, Report
from lifespan_app.probe import PID, read

from . import atomic_file

EVERY = 5.0
"""Seconds between two signs of life."""
SELDOM = 0.5
"""The least seconds between two writes for progress alone."""
WITHOUT_WRITER = frozenset({"no_file", "unreadable", "gone"})
"""The probe's reasons for a file that no living process writes."""


class StatusFile(Observer):
    """Keep the status file of this process.

    Args:
        path: the file; ``{pid}`` in its name is replaced by the process id.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._followed: dict[str, _Followed] = {}

    @property
    def every(self) -> float:
        """The seconds between two signs of life."""
        return EVERY

    def watches_steps(self, phase: Phase) -> bool:
        """Return False: steps are not written."""
        return False

    def beat(self, report: Report) -> None:
        """Write a sign of life."""
        followed = self._followed.get(report.uuid)
        if followed is not None:
            followed.write(report)

    def run_changed(self, report: Report) -> None:
        """Write the run's status; remove the file when the run has ended."""
        if report.mode in (Mode.TEST, Mode.CHECK):
            return
        followed = self._followed.get(report.uuid)
        if report.stopped_at is not None:
            if followed is not None:
                del self._followed[report.uuid]
                followed.end()
        elif followed is not None:
            followed.write(report)
        elif (file := self._claimed()) is not None:
            followed = self._followed[report.uuid] = _Followed(file)
            followed.write(report)

    def progressed(self, report: Report) -> None:
        """Write the progress of the hooks that have not come up yet."""
        followed = self._followed.get(report.uuid)
        if followed is not None:
            followed.write_soon(report)

    def _claimed(self) -> Path | None:
        """Return the file of this process, or None if another living process writes it."""
        folder, name = os.path.split(self._path)
        file = Path(folder, name.replace(PID, str(os.getpid())))
        known = read(os.fspath(file))
        if known.get("reason") in WITHOUT_WRITER or known.get("pid") in (None, os.getpid()):
            return file
        logger.warning(
            "The status file %s belongs to process %s, so this one writes none. Name it with {pid} "
            "where several processes have one: LIFESPAN['STATUS_FILE'] = '/run/mysite/{pid}.json'.",
            file,
            known["pid"],
        )
        return None


def pending_of(report: Report) -> list[dict[str, Any]]:
    """Return the hooks that have not come up yet, for JSON."""
    return [
        {
            "hook": pending.key,
            "seconds": round(pending.seconds, 3),
            "progress": pending.progress,
            "doing": pending.doing,
        }
        for pending in report.pending
    ]


class _Followed:
    """The file of one run."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._loop = asyncio.get_running_loop()
        self._started = started(os.getpid())
        self._timer: asyncio.TimerHandle | None = None
        self._has_warned = False
        self._written_at = 0.0

    def write(self, report: Report) -> None:
        """Write the status now."""
        self._written_at = self._loop.time()
        self._cancel()
        try:
            atomic_file.write(self._file, json.dumps(self._status(report)))
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                logger.warning("The status file can't be written: %s.", error)

    def write_soon(self, report: Report) -> None:
        """Write the status, but not more often than readers need."""
        self._cancel()
        delay = max(0.0, self._written_at + SELDOM - self._loop.time())
        self._timer = self._loop.call_later(delay, self.write, report)

    def end(self) -> None:
        """Take the file away."""
        self._cancel()
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("The status file can't be taken away: %s.", error)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _status(self, report: Report) -> dict[str, Any]:
        return {
            "reason": report.readiness,
            "ready": report.ready,
            "started": report.readiness not in NOT_STARTED,
            "status": report.status,
            "service_type": report.service_type,
            "run": report.uuid,
            "pid": os.getpid(),
            "process_started": self._started,
            "written_at": time.time(),
            "every": EVERY,
            "pending": pending_of(report),
        }
