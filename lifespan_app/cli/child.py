"""A child process inside an open plan, usually a server with its workers."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from signal import Signals

from lifespan_app.engine.running.run_log import AROUND
from lifespan_app.processes.capture_signals import ENDING, signals_called
from lifespan_app.serving import startup_report

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes for a command that can't be run: POSIX, Shell Command Language, 2.8.2."""
FORWARDED = signals_called("SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU", "SIGWINCH")
"""Signals that servers handle, beside SIGINT, SIGTERM and SIGHUP."""
FROM_TERMINAL = frozenset(signals_called("SIGINT", "SIGQUIT", "SIGHUP", "SIGWINCH", "SIGBREAK"))
"""Signals that a terminal sends to its whole foreground process group: ``termios(3)``."""
PATIENCE = 2
"""Signals to stop before the next one kills the command."""


class CannotRun(Exception):
    """A command can't be run.

    Args:
        message: the reason.
        code: the exit code.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Child:
    """Run a command, forward signals to it, and return its exit code.

    In the foreground of a terminal, the command stays in our process group: Ctrl+C reaches both, and
    a debugger can read the keyboard. Otherwise it has its own process group, so that it receives a
    signal to our group only once, from us.

    Args:
        command: the program and its arguments.
        around: the service type of the plan around it.
        say: writes a line.
    """

    signals = FORWARDED

    def __init__(self, command: Sequence[str], around: str, say: Callable[[str], None]) -> None:
        self._command = list(command)
        self._around = around
        self._say = say
        self._shares_terminal = in_foreground()
        self._process: Process | None = None
        self._early: list[Signals] = []
        self._asked = 0
        self._ends_by: set[int] = set()
        """The signals to stop that it has received."""
        self.ended_by = "no command"
        self.message = ""

    def __str__(self) -> str:
        return shlex.join(self._command)

    def check(self) -> None:
        """Raise ``CannotRun`` if there is no such program."""
        program = self._command[0]
        if shutil.which(program) is not None:
            return
        is_path = os.sep in program
        if is_path and Path(program).exists():
            raise CannotRun(f"'{program}' can't be run: it is not a program.", NOT_EXECUTABLE)
        where = "" if is_path else " in any folder of PATH"
        raise CannotRun(f"The command '{program}' was not found{where}.", NOT_FOUND)

    async def live(self, ready: Callable[[], None]) -> int:
        """Run the command until it ends.

        Args:
            ready: called after the start of the command.

        Returns:
            The exit code, or 128 + the signal that killed the command, or 0 if that signal asked it
            to stop. 1 instead of 0 if the startup of its runs failed.
        """
        if asked := [number for number in self._early if number in ENDING]:
            self.ended_by = asked[0].name
            return 128 + asked[0]
        with startup_report.listening() as starts:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    env={**os.environ, AROUND: self._around, **starts.environment},
                    process_group=None if self._shares_terminal else 0,
                )
            except OSError as error:
                self.message = f"'{self._command[0]}' can't be run: {error}."
                return NOT_EXECUTABLE
            try:
                ready()
                for number in self._early:
                    self._forward(number)
                code = await self._process.wait()
            finally:
                await self._end()
            if code < 0:
                # uvicorn shuts down in order, and then raises the signal again:
                # https://github.com/encode/uvicorn/pull/1600
                code = 0 if -code in self._ends_by else 128 - code
            self.ended_by = f"its command ended with {code}"
            return code or self._judge(*starts.starts())

    def on_signal(self, number: Signals) -> bool:
        """Forward a signal to the command. Return True if it asks the command to stop."""
        if self._process is None:
            self._early.append(number)
        else:
            if number in ENDING:
                self._ends_by.add(number)
            self._forward(number)
        return number in ENDING

    def _forward(self, number: Signals) -> None:
        assert self._process is not None
        if self._process.returncode is not None:
            return
        self._asked += number in ENDING
        if self._asked > PATIENCE:
            self._say(
                f"{number.name} once more: the command (process {self._process.pid}) is killed."
            )
            self._kill()
            return
        if self._shares_terminal and number in FROM_TERMINAL and in_foreground():
            # The terminal has sent it to the command as well.
            return
        if number in ENDING:
            last = " Once more kills it." if self._asked == PATIENCE else ""
            self._say(
                f"{number.name} is passed on to the command (process {self._process.pid}).{last}"
            )
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _kill(self) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            if self._shares_terminal or not hasattr(os, "killpg"):
                self._process.kill()
            else:
                os.killpg(self._process.pid, Signals.SIGKILL)

    async def _end(self) -> None:
        """Stop the command if an error ends this process."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()

    def _judge(self, came_up: int, errors: Sequence[str]) -> int:
        if not errors or (came_up and self._asked):
            return 0
        total = came_up + len(errors)
        self.message = (
            f"{len(errors)} of {total} runs of the command failed to start, and its exit code is "
            f"0: that counts as 1. The first error: {errors[0]}"
        )
        return 1


def in_foreground() -> bool:
    """Return True if this process is in the foreground of a terminal, which sends it Ctrl+C."""
    if not hasattr(os, "ctermid"):
        # A console of Windows sends it to all its processes.
        return True
    try:
        terminal = os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
