"""What commands have in common: exit codes below their help, and colours only where they are wanted."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter
from django.core.management.color import no_style

from .terminal import has_colour


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

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Take the colours away where they are not wanted, and run."""
        wishes = {name: options[name] for name in ("no_color", "force_color")}
        if not has_colour(options.get("stdout") or self.stdout, **wishes):
            self.style = no_style()
        if not has_colour(self.stderr, **wishes):
            self.stderr.style_func = None
        return super().execute(*args, **options)
