"""The work of ``checklifespan --run``: start a plan, stop it, and show times, leaks and problems."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from signal import SIGINT
from typing import Any

from django.core.checks import Warning
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, connections
from django.utils.connection import ConnectionDoesNotExist

from lifespan_app.checks.places import Location
from lifespan_app.engine.reporting.report import Step, why
from lifespan_app.engine.wording import count
from lifespan_app.integration.default import lifespan

from . import as_json, budget
from .check import ALL, Checked, fail_for_problems, show
from .command import BAD_ARGUMENT, CommandWithExitCodes, as_argument, whole_number
from .problems import Found, gathered, problem_lines
from .terminal import width_of_page
from .trial_run import TrialRun, bounded, trial_run
from .trial_run_text import Result, ResultText

INTERRUPTED = 128 + SIGINT
TOO_SLOW, LEFT_BEHIND, RUN_FAILED = 3, 4, 5
"""Exit codes, in addition to those of all commands."""
OPTIONS = ("repeat", "budget", "compare", "fail_slower", "timeout")
"""Options that need ``--run``."""


def factor(text: str) -> float:
    """Return the factor of ``--fail-slower``. Raises ``ValueError``."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise ValueError(f"'{text}' is not a number above 0.")
    return value


def add_options(parser: CommandParser) -> None:
    """Add the options of a trial run."""
    runs = parser.add_argument_group("a run, for real")
    runs.add_argument(
        "--run", action="store_true", help="Start the plan and stop it, and measure both."
    )
    runs.add_argument(
        "--repeat",
        type=whole_number(1),
        metavar="N",
        help="Do so N times, and show the median and the worst.",
    )
    runs.add_argument(
        "--budget",
        type=as_argument(budget.budget),
        metavar="BUDGET",
        help="How long the startup may take, such as 2s, and hooks: "
        "total=2s,library.http_client=300ms. The median counts. With --boot: how long all before "
        "the hooks may take.",
    )
    runs.add_argument(
        "--compare",
        action="store_true",
        help="Show the recorded median of each hook beside what it took.",
    )
    runs.add_argument(
        "--fail-slower",
        type=as_argument(factor),
        metavar="FACTOR",
        help="Fail when a hook takes so many times its recorded median, such as 1.5.",
    )
    runs.add_argument(
        "--timeout",
        type=as_argument(budget.seconds),
        metavar="TIME",
        help="How long all of it may take, such as 60s; what is running then is stopped.",
    )


def refuse(options: Mapping[str, Any]) -> None:
    """Raise ``CommandError`` for options that can't be combined."""
    text = ""
    if not options["run"]:
        given = [f"--{name.replace('_', '-')}" for name in OPTIONS if options[name]]
        text = f"{given[0]} is about a run: add --run." if given else ""
    elif options["service_type"] == ALL:
        text = "--run opens one plan: name one service type."
    elif options["format"] in ("mermaid", "dot"):
        text = f"--format {options['format']} draws the plan, which needs no --run."
    if text:
        raise CommandError(text, returncode=BAD_ARGUMENT)


def run(command: CommandWithExitCodes, found: Checked, options: dict[str, Any]) -> None:
    """Start the plan and stop it, show the results, and raise ``CommandError`` for failures."""
    [plan] = found.plans
    if message := budget.unknown(options["budget"] or (), [hook.key for hook in plan.hooks]):
        raise CommandError(f"--budget: {message}", returncode=BAD_ARGUMENT)
    recorded = recorded_medians(command, plan.service_type, options)
    if options["format"] == "text" and options["verbosity"] > 1:
        show(command, found, "text", 1)
    trial = run_live(command, plan.service_type, options)
    over = [*budget.over_budget(trial, options["budget"] or {})]
    if options["fail_slower"]:
        over += budget.slower(trial, recorded or {}, options["fail_slower"])
    result = Result(trial, tuple(over), recorded)
    if not trial.failure:
        warnings = map(warning_of, trial.failed_steps())
        found = found._replace(problems=tuple(gathered([*found.problems, *warnings])))
    if options["format"] == "json":
        command.stdout.write(as_json.document(found, result))
    else:
        width = width_of_page()
        lines = [*ResultText(command.style, width).lines(result)]
        lines += ["", *problem_lines(found.problems, command.style, width)]
        command.stdout.write("\n".join(lines))
    fail_for_run(result)
    fail_for_problems(found, options["fail_level"])


def run_live(
    command: CommandWithExitCodes, service_type: str, options: Mapping[str, Any]
) -> TrialRun:
    """Start the plan and stop it, with a line per hook on the terminal."""

    def give_up(message: str) -> None:
        command.stderr.write(command.style.ERROR(f"CommandError: {message}"))
        os._exit(RUN_FAILED)

    def begins(number: int) -> None:
        # Only the first run is shown line by line.
        if number > 1:
            live.close()

    with bounded(options["timeout"], give_up), ExitStack() as live:
        if options["format"] == "text" and options["verbosity"]:
            live.enter_context(command.live(options).watching(lifespan))
        try:
            return trial_run(
                lifespan,
                service_type,
                repeat=options["repeat"] or 1,
                timeout=options["timeout"],
                begins=begins,
                clean_up=close_databases,
            )
        except KeyboardInterrupt:
            live.close()
            sys.exit(INTERRUPTED)


def recorded_medians(
    command: CommandWithExitCodes, service_type: str, options: Mapping[str, Any]
) -> Mapping[str, float] | None:
    """Return the recorded medians, or None if no option needs them."""
    if not (options["compare"] or options["fail_slower"]):
        return None
    from lifespan_app.history.reading.statistics import recorded_starts
    from lifespan_app.history.recording.store_errors import failure_of

    try:
        recorded = recorded_starts(service_type)
    except (DatabaseError, ConnectionDoesNotExist) as error:
        failure = failure_of(error)
        raise CommandError(
            f"There is nothing to compare with, since the history can't be read: "
            f"{failure.what}. {failure.advice}",
            returncode=BAD_ARGUMENT,
        ) from error
    if not recorded:
        command.warn(f"No run of service type '{service_type}' is recorded to compare with.")
    return recorded


def fail_for_run(result: Result) -> None:
    """Raise ``CommandError`` for a failure, a leak, or a time that is too long."""
    if result.trial.failure:
        raise CommandError(result.trial.failure, returncode=RUN_FAILED)
    if left := len(result.trial.left_behind):
        what = count(left, "thing was", "things were")
        raise CommandError(f"{what} left behind.", returncode=LEFT_BEHIND)
    if over := len(result.over):
        what = count(over, "time is", "times are")
        raise CommandError(f"{what} longer than allowed.", returncode=TOO_SLOW)


def close_databases() -> None:
    """Close Django's own database connections and their pools."""
    for connection in connections.all():
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()


def warning_of(step: Step) -> Found:
    """Return the problem of an optional hook that has failed."""
    outcome = step.outcome.replace("_", " ") if step.outcome else ""
    warning = Warning(
        f"'{step.key}' {outcome}: {why(step)}",
        hint="The process serves without it, degraded.",
        obj=Location(step.file, step.line),
    )
    return Found(warning)
