"""``manage.py checklifespan``: the plan and its problems, before anything runs; and a rehearsal."""

from __future__ import annotations

import argparse
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from signal import SIGINT
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, connections
from django.utils.connection import ConnectionDoesNotExist

from lifespan_app import budget
from lifespan_app.console import checked, document, graphs
from lifespan_app.console.command import CommandWithExitCodes
from lifespan_app.console.page import width_of_page
from lifespan_app.console.problems import LEVELS, gathered, severity_of
from lifespan_app.console.text import Text
from lifespan_app.default import lifespan
from lifespan_app.engine.wording import count, did_you_mean

if TYPE_CHECKING:
    from lifespan_app.console.live import Live
    from lifespan_app.console.rehearsed import Rehearsed

Number = TypeVar("Number", int, float)
T = TypeVar("T")

INTERRUPTED = 128 + SIGINT
FOUND, BAD_ARGUMENT, TOO_SLOW, LEFT_BEHIND, FAILED = 1, 2, 3, 4, 5
FORMATS = ("text", "json", "mermaid", "dot")
OF_RUNS = {
    "repeat": "--repeat",
    "budget": "--budget",
    "compare": "--compare",
    "fail_slower": "--fail-slower",
    "timeout": "--timeout",
}
"""Options that mean nothing without ``--run``."""

EXIT_CODES = """\
exit codes:
  0  nothing is wrong
  1  a problem at or over --fail-level
  2  an argument that can't be used
with --run also, the highest one where there are several:
  3  over the budget, or slower than before
  4  something was left behind
  5  a required hook failed, or the shutdown; or it took longer than --timeout
"""


class Command(CommandWithExitCodes):
    """Shows the plan of a service type, and everything that is wrong with it."""

    help = (
        "Shows the plan of a service type: which hooks open in which order and why, which are "
        "left out; then everything that is wrong with it. Runs nothing, unless --run is given: "
        "then it starts the plan for real, stops it, and shows what that took and left behind."
    )
    exit_codes = EXIT_CODES

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--service-type",
            metavar="TYPE",
            help="Whose plan to show; 'all' for each one that a hook names. Default: that of the "
            "setting LIFESPAN.",
        )
        parser.add_argument(
            "--format",
            choices=FORMATS,
            default="text",
            help="How to show it. Mermaid and dot draw the plan, and leave the problems out. "
            "Default: %(default)s.",
        )
        parser.add_argument(
            "--fail-level",
            choices=LEVELS,
            default="ERROR",
            help="From which level on a problem makes the exit code 1. Default: %(default)s.",
        )
        parser.add_argument(
            "--asgi",
            metavar="PATH",
            help="The ASGI application that is asked whether it answers lifespan, as "
            "'module:name'. Default: ASGI_APPLICATION, else 'application' in the asgi.py beside "
            "the URLconf.",
        )
        runs = parser.add_argument_group("a run, for real")
        runs.add_argument(
            "--run", action="store_true", help="Start the plan and stop it, and measure both."
        )
        runs.add_argument(
            "--repeat",
            type=number_of_runs,
            metavar="N",
            help="Do so N times, and show the median and the worst.",
        )
        runs.add_argument(
            "--budget",
            type=budget_of,
            metavar="BUDGET",
            help="How long the startup may take, such as 2s, and hooks: "
            "total=2s,library.http_client=300ms. The median counts.",
        )
        runs.add_argument(
            "--compare",
            action="store_true",
            help="Show the recorded median of each hook beside what it took.",
        )
        runs.add_argument(
            "--fail-slower",
            type=factor,
            metavar="FACTOR",
            help="Fail when a hook takes so many times its recorded median, such as 1.5.",
        )
        runs.add_argument(
            "--timeout",
            type=duration,
            metavar="TIME",
            help="How long all of it may take, such as 60s; what is running then is stopped.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Look, run if asked to, show, and fail where something is wrong."""
        self.refuse_what_has_no_meaning(options)
        self.warn_of_mistake(options["service_type"])
        try:
            found = checked.check(options["service_type"], options["asgi"])
        except LookupError as error:
            raise CommandError(
                f"{error}\nName the application with --asgi as 'module:name', such as "
                "--asgi mysite.asgi:application.",
                returncode=BAD_ARGUMENT,
            ) from error
        if options["run"] and found.plans and all(plan.complete for plan in found.plans):
            self.run_for_real(found, options)
        else:
            self.show(found, options["format"], options["verbosity"])
            self.fail_for_problems(found, options["fail_level"])

    # The plan.

    def show(self, found: checked.Checked, form: str, verbosity: int) -> None:
        """Write what was found in one of the formats."""
        if form == "json":
            self.stdout.write(document.document(found))
        elif form == "mermaid":
            self.stdout.write(graphs.mermaid(found.plans))
        elif form == "dot":
            self.stdout.write(graphs.dot(found.plans))
        else:
            text = Text(self.style, width_of_page())
            lines: list[str] = []
            for plan in found.plans if verbosity else ():
                lines += [*text.plan(plan), ""]
            if verbosity and found.excluded:
                lines += [*text.excluded(found.excluded), ""]
            lines += text.problems(found.problems)
            self.stdout.write("\n".join(lines))
            if verbosity > 1:
                self.show_tracebacks()

    def show_tracebacks(self) -> None:
        """Write why modules can't be imported."""
        for problem in lifespan.broken.values():
            if problem.cause is not None:
                self.stdout.write("\n" + "".join(traceback.format_exception(problem.cause)))

    def fail_for_problems(self, found: checked.Checked, level: str) -> None:
        """Raise where there are problems of a level, or of a graver one."""
        wrong = found.at_or_over(severity_of(level))
        if not wrong:
            return
        if len(wrong) == 1:
            raise CommandError(f"1 problem is {level} or graver.", returncode=FOUND)
        raise CommandError(
            f"{len(wrong)} of these problems are {level} or graver.", returncode=FOUND
        )

    # A run.

    def run_for_real(self, found: checked.Checked, options: dict[str, Any]) -> None:
        """Start the plan and stop it, show what that has shown, and fail accordingly."""
        from lifespan_app.console.rehearsed import Rehearsed, problem_of
        from lifespan_app.rehearsal import bounded, rehearse

        [plan] = found.plans
        self.refuse_unknown_hooks(options["budget"], [hook.key for hook in plan.hooks])
        recorded = self.recorded(plan.service_type, options)
        as_text = options["format"] == "text"
        if as_text and options["verbosity"] > 1:
            self.show(found, "text", 1)
        with bounded(options["timeout"], self.give_up), ExitStack() as live:
            if as_text and options["verbosity"]:
                live.enter_context(self.live(options).watching(lifespan))

            def begins(number: int) -> None:
                # What the first run has told line by line is not told again.
                if number > 1:
                    live.close()

            try:
                rehearsal = rehearse(
                    lifespan,
                    plan.service_type,
                    repeat=options["repeat"] or 1,
                    timeout=options["timeout"],
                    begins=begins,
                    tidy=close_databases,
                )
            except KeyboardInterrupt:
                live.close()
                sys.exit(INTERRUPTED)
        over = [*budget.over_budget(rehearsal, options["budget"] or {})]
        if options["fail_slower"]:
            over += budget.slower(rehearsal, recorded or {}, options["fail_slower"])
        rehearsed = Rehearsed(rehearsal, tuple(over), recorded)
        if not rehearsal.failure:
            problems = [problem_of(step) for step in rehearsal.not_well()]
            found = found._replace(problems=tuple(gathered([*found.problems, *problems])))
        self.show_rehearsed(found, rehearsed, options)
        self.fail_for_run(rehearsed)
        self.fail_for_problems(found, options["fail_level"])

    def give_up(self, message: str) -> None:
        """End the process, which can't be stopped."""
        self.stderr.write(self.style.ERROR(f"CommandError: {message}"))
        os._exit(FAILED)

    def live(self, options: dict[str, Any]) -> Live:
        """Return what writes a line a hook."""
        from lifespan_app.console.live import Live

        return Live(
            self.stdout,
            no_color=options["no_color"],
            force_color=options["force_color"],
            every=options["verbosity"] > 1,
        )

    def recorded(self, service_type: str, options: dict[str, Any]) -> Mapping[str, float] | None:
        """Return the recorded medians, where they are asked for."""
        if not (options["compare"] or options["fail_slower"]):
            return None
        from lifespan_app.history.failures import failure_of
        from lifespan_app.history.statistics import recorded_starts

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
            self.warn(f"No run of service type '{service_type}' is recorded to compare with.")
        return recorded

    def show_rehearsed(
        self, found: checked.Checked, rehearsed: Rehearsed, options: dict[str, Any]
    ) -> None:
        """Write what the run has shown."""
        if options["format"] == "json":
            self.stdout.write(document.document(found, rehearsed))
            return
        from lifespan_app.console.rehearsed import RehearsedText

        width = width_of_page()
        lines = [*RehearsedText(self.style, width).lines(rehearsed)]
        lines += ["", *Text(self.style, width).problems(found.problems)]
        self.stdout.write("\n".join(lines))

    def fail_for_run(self, rehearsed: Rehearsed) -> None:
        """Raise where the run has not gone as it should."""
        if rehearsed.rehearsal.failure:
            raise CommandError(rehearsed.rehearsal.failure, returncode=FAILED)
        if left := len(rehearsed.rehearsal.left_behind):
            what = count(left, "thing was", "things were")
            raise CommandError(f"{what} left behind.", returncode=LEFT_BEHIND)
        if over := len(rehearsed.over):
            what = count(over, "time is", "times are")
            raise CommandError(f"{what} longer than allowed.", returncode=TOO_SLOW)

    # Arguments.

    def refuse_what_has_no_meaning(self, options: dict[str, Any]) -> None:
        """Raise for options that don't go together."""
        if not options["run"]:
            for name, option in OF_RUNS.items():
                if options[name]:
                    raise CommandError(
                        f"{option} is about a run: add --run.", returncode=BAD_ARGUMENT
                    )
        elif options["service_type"] == checked.ALL:
            raise CommandError(
                "--run opens one plan: name one service type.", returncode=BAD_ARGUMENT
            )
        elif options["format"] in ("mermaid", "dot"):
            raise CommandError(
                f"--format {options['format']} draws the plan, which needs no --run.",
                returncode=BAD_ARGUMENT,
            )

    def refuse_unknown_hooks(self, allowed: Mapping[str, float] | None, keys: list[str]) -> None:
        """Raise for a budget that names a hook which the plan does not hold."""
        if message := budget.unknown(allowed or (), keys):
            raise CommandError(f"--budget: {message}", returncode=BAD_ARGUMENT)

    def warn_of_mistake(self, service_type: str | None) -> None:
        """Say so where a service type looks like a misspelt one: any word may be one."""
        if not service_type or service_type in checked.known():
            return
        if meant := did_you_mean(service_type, checked.known()):
            self.warn(f"No hook names service type '{service_type}'.{meant}")

    def warn(self, text: str) -> None:
        """Write a warning."""
        self.stderr.write(self.style.WARNING(text))


def close_databases() -> None:
    """Close what Django itself keeps open from one use to the next: connections, and their pools."""
    for connection in connections.all():
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()


def as_argument(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return what reads an argument, and has argparse say what is wrong with it."""

    def reading(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return reading


def above_zero(text: str, kind: Callable[[str], Number], what: str) -> Number:
    """Return a number above 0. Raises ``ValueError``, which says what it has to be."""
    try:
        value = kind(text)
    except ValueError:
        value = kind("0")
    if not 0 < value < math.inf:
        raise ValueError(f"'{text}' is no {what} above 0.")
    return value


@as_argument
def number_of_runs(text: str) -> int:
    """Read how often to run."""
    return above_zero(text, int, "whole number")


@as_argument
def factor(text: str) -> float:
    """Read how many times slower a hook may be."""
    return above_zero(text, float, "number")


duration = as_argument(budget.seconds)
budget_of = as_argument(budget.budget)
