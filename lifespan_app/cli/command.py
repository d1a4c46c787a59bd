"""What commands have in common: exit codes below their help, and colours only where they are wanted."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
)
from django.core.management.color import no_style

from lifespan_app.checks import system_checks

from .terminal import has_colour

FAILED, BAD_ARGUMENT = 1, 2
"""Exit codes that all commands have; a setting that can't be used counts as an argument."""
NOBODY_READS = 128 + 13
"""The exit code of what SIGPIPE ends, which Windows does not have."""

if TYPE_CHECKING:
    from .live import Live

T = TypeVar("T")


class AsWritten(DjangoHelpFormatter):
    """Leaves the table of exit codes as it is written."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        is_table = text.startswith("exit codes:\n")
        return text if is_table else super()._fill_text(text, width, indent)


class CommandWithExitCodes(BaseCommand):
    """A management command that tells its exit codes, and honours ``NO_COLOR``."""

    exit_codes = ""
    """A table, which begins with ``exit codes:``."""
    # What these commands are for is to show what is wrong, or to begin at once.
    requires_system_checks = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return the parser, with the exit codes below the options."""
        kwargs |= {"epilog": self.exit_codes, "formatter_class": AsWritten}
        return super().create_parser(prog_name, subcommand, **kwargs)

    def refuse_wrong_settings(self) -> None:
        """Raise an error with the words of the checks, where the history could not be looked for."""
        if wrong := [*system_checks.check_types(), *system_checks.check_history_database()]:
            texts = (f"{message.msg} {message.hint}" for message in wrong)
            raise CommandError("\n".join(texts), returncode=BAD_ARGUMENT)

    def warn(self, text: str) -> None:
        """Write a warning to standard error."""
        self.stderr.write(self.style.WARNING(text))

    def live(self, options: Mapping[str, Any]) -> Live:
        """Return what writes a line a hook to standard output."""
        from .live import Live

        return Live(
            self.stdout,
            no_color=options["no_color"],
            force_color=options["force_color"],
            every=options["verbosity"] > 1,
        )

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as a program does.

        Who reads the output may have seen enough, as ``head`` has: then nothing is said of that, and
        the exit code is that of a program which SIGPIPE ends.
        """
        try:
            try:
                super().run_from_argv(argv)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()
        except BrokenPipeError:
            # Python flushes it once more at the end, and would complain:
            # https://docs.python.org/3/library/signal.html#note-on-sigpipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(NOBODY_READS)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Take the colours away where they are not wanted, and run."""
        wishes = {name: options[name] for name in ("no_color", "force_color")}
        if not has_colour(options.get("stdout") or self.stdout, **wishes):
            self.style = no_style()
        if not has_colour(self.stderr, **wishes):
            self.stderr.style_func = None
        return super().execute(*args, **options)


def as_argument(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return what reads an argument, and has argparse say what is wrong with it."""

    def reading(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return reading


def whole_number(least: int) -> Callable[[str], int]:
    """Return what reads a whole number from ``least`` on."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ValueError(f"'{text}' is no whole number, {least} or more.")
        return int(text)

    return as_argument(read)
