"""The checks of ``manage.py showlifespan --now --expect ... --fail-on ...``, for cron and Nagios."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from django.core.management.base import CommandError
from django.db import DatabaseError
from django.utils import timezone

from lifespan_app.history.reading.as_json import document
from lifespan_app.history.reading.monitoring import FAIL_ON, problems
from lifespan_app.history.reading.queries import tables_exist
from lifespan_app.integration.redaction import masked

from .command import BAD_ARGUMENT, CommandWithExitCodes, as_argument
from .run_text import RunText
from .show import from_database
from .terminal import printable, width_of_page

CRITICAL, UNKNOWN = 2, 3
"""Exit codes: https://nagios-plugins.org/doc/guidelines.html#AEN78"""


@as_argument
def expectation(text: str) -> tuple[str, int]:
    """Read a service type and a number of processes, as ``app=3``."""
    service_type, equals, number = text.rpartition("=")
    if not service_type or not equals or not number.isdecimal():
        raise ValueError(f"'{text}' is not a service type and a number, such as app=3.")
    return service_type, int(number)


@as_argument
def states(text: str) -> list[str]:
    """Read states that are separated by commas."""
    found = [word.strip().replace("-", "_") for word in text.split(",")]
    if unknown := [word for word in found if word not in list(FAIL_ON)]:
        known = ", ".join(word.replace("_", "-") for word in FAIL_ON)
        raise ValueError(f"'{unknown[0]}' is not one of {known}.")
    return found


def judge(command: CommandWithExitCodes, options: Mapping[str, Any]) -> None:
    """Print the result of the checks in one line, and then the running processes.

    Raises:
        CommandError: the option ``--now`` is missing.
        SystemExit: not all is as expected, or that is not known.
    """
    if not options["now"]:
        raise CommandError("--expect and --fail-on need --now.", returncode=BAD_ARGUMENT)
    try:
        if not tables_exist():
            unknown(command, "The history has no tables yet: run 'manage.py migrate lifespan_app'.")
        found = problems(dict(options["expect"]), options["fail_on"])
        runs = from_database(options)
    except DatabaseError as error:
        why = masked(str(error)).strip()
        unknown(command, f"The database of the history does not respond: {why}")
    now = timezone.now()
    verdict = f"CRITICAL: {printable('; '.join(found))}" if found else "OK: all is as expected"
    if options["format"] == "json":
        command.stdout.write(json.dumps([document(*one, now) for one in runs], indent=2))
        command.stderr.write(verdict)
    else:
        command.stdout.write(verdict)
        text = RunText(command.style, width_of_page(), now)
        for line in text.list(runs) if runs else ():
            command.stdout.write(line)
    if found:
        raise SystemExit(CRITICAL)


def unknown(command: CommandWithExitCodes, why: str) -> NoReturn:
    """Print that the result is not known, and end the command."""
    # Nagios reads the first line of standard output.
    command.stdout.write(f"UNKNOWN: {why}")
    raise SystemExit(UNKNOWN)
