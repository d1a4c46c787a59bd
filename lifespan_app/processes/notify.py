"""Notifications that a process is ready or stopping: the ready file, and systemd."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.report import Observer, Phase, Report
from lifespan_app.health import atomic_file

SYSTEMD = "NOTIFY_SOCKET"
"""The environment variable with the address of systemd's socket: ``sd_notify(3)``."""


class Notifier(Observer):
    """Notify of the readiness of one process.

    As an observer of the run it removes the file while a required hook has crashed.

    Args:
        file: exists while the process is ready; None: no file.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._run = ""
        self._stopping = False

    def begin(self) -> None:
        """Remove the file of an earlier process.

        Raises:
            OSError: the file can't be written or removed.
        """
        if self._file is not None:
            self._write(self._file)
            self._file.unlink()

    def ready(self, report: Report) -> None:
        """Notify that the process is ready."""
        if self._stopping:
            return
        self._run = report.uuid
        self._show(report.ready)
        self._notify(f"READY=1\nSTATUS=Lifespan '{report.service_type}' is {report.status}")

    def stopping(self) -> None:
        """Notify, once, that the process is stopping."""
        if self._stopping:
            return
        self._stopping = True
        self._show(False)
        self._notify("STOPPING=1\nSTATUS=Stopping")

    def watches_steps(self, phase: Phase) -> bool:
        """Return False: steps are not needed."""
        return False

    def run_changed(self, report: Report) -> None:
        """Update the file: a required hook may crash, and restart."""
        if report.uuid == self._run and not self._stopping:
            if report.stopping_at is not None:
                self.stopping()
            else:
                self._show(report.ready)

    def _show(self, is_ready: bool) -> None:
        if self._file is None:
            return
        try:
            if is_ready:
                self._write(self._file)
            else:
                self._file.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("The ready file can't be written or taken away: %s.", error)

    def _write(self, file: Path) -> None:
        atomic_file.write(file, f"{os.getpid()}\n")

    def _notify(self, message: str) -> None:
        address = os.environ.get(SYSTEMD, "")
        if not address.startswith(("/", "@")):
            return
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(1)
                sender.connect(address)
                sender.sendall(message.encode(errors="backslashreplace"))
        except OSError as error:
            logger.warning("systemd can't be told '%s': %s.", message.partition("\n")[0], error)
