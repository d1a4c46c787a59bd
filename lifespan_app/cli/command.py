"""The base class of the commands: exit codes in their help, and optional colours."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping
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
"""Exit codes of all commands; an invalid setting counts as an argument."""
BROKEN_PIPE = 128 + 13
"""The exit code of a process that SIGPIPE ends. Windows has no SIGPIPE."""

if TYPE_CHECKING:
    from .live import Live

T = TypeVar("T")


class HelpFormatter(DjangoHelpFormatter):
    """A formatter that keeps the line breaks in the table of exit codes."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        is_table = text.startswith("exit codes:\n")
        return text if is_table else super()._fill_text(text, width, indent)


class CommandWithExitCodes(BaseCommand):
    """A management command with exit codes in its help, and support for ``NO_COLOR``."""

    exit_codes = ""
    """A table, which begins with ``exit codes:``."""
    # The commands report problems themselves, or must start at once.
    requires_system_checks = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return the parser, with the exit codes below the options."""
        kwargs |= {"epilog": self.exit_codes, "formatter_class": HelpFormatter}
        return super().create_parser(prog_name, subcommand, **kwargs)

    def refuse_wrong_settings(self) -> None:
        """Raise ``CommandError`` for settings with which the history can't be found."""
        if wrong := [*system_checks.check_types(), *system_checks.check_history_database()]:
            texts = (f"{message.msg} {message.hint}" for message in wrong)
            raise CommandError("\n".join(texts), returncode=BAD_ARGUMENT)

    def warn(self, text: str) -> None:
        """Write a warning to standard error."""
        self.stderr.write(self.style.WARNING(text))

    def live(self, options: Mapping[str, Any]) -> Live:
        """Return an observer that writes a line per hook to standard output."""
        from .live import Live

        return Live(
            self.stdout,
            no_color=options["no_color"],
            force_color=options["force_color"],
            every=options["verbosity"] > 1,
        )

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as a program.

        If the reader closes the pipe, as ``head`` does, there is no error message, and the exit code is
        that of a program that SIGPIPE ends.
        """
        try:
            try:
                super().run_from_argv(argv)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()
        except BrokenPipeError:
            # Python flushes stdout again at exit, and would print an error:
            # https://docs.python.org/3/library/signal.html#note-on-sigpipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(BROKEN_PIPE)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run, without colours unless they are wanted."""
        wishes = {name: options[name] for name in ("no_color", "force_color")}
        if not has_colour(options.get("stdout") or self.stdout, **wishes):
            self.style = no_style()
        if not has_colour(self.stderr, **wishes):
            self.stderr.style_func = None
        return super().execute(*args, **options)


def refuse_pairs(given: Mapping[str, object], pairs: Iterable[tuple[str, str]]) -> None:
    """Raise ``CommandError`` if two options are given that don't go together.

    Args:
        given: the options by their names; a false value: it is not given.
        pairs: the names of two options each.
    """
    for one, other in pairs:
        if given[one] and given[other]:
            raise CommandError(f"{one} and {other} don't go together.", returncode=BAD_ARGUMENT)


def as_argument(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return a function for argparse, which turns ``ValueError`` into an error of the argument."""

    def reading(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return reading


def whole_number(least: int) -> Callable[[str], int]:
    """Return a function for argparse that reads an integer of at least ``least``."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ValueError(f"'{text}' is not an integer, {least} or more.")
        return int(text)

    return as_argument(read)
