"""What ``checklifespan --run`` does: start a plan for real, stop it, and show what that has shown."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from signal import SIGINT
from statistics import median
from typing import Any, NamedTuple

from django.core.checks import Warning
from django.core.management.base import CommandError, CommandParser
from django.core.management.color import Style
from django.db import DatabaseError, connections
from django.utils.connection import ConnectionDoesNotExist

from lifespan_app.checks.places import Location
from lifespan_app.engine.reporting.report import IN_STARTUP, Step, why
from lifespan_app.engine.wording import count, time_taken
from lifespan_app.integration.default import lifespan

from . import as_json, budget
from .budget import TOTAL, Over
from .check import ALL, Checked, fail_for_problems, show
from .command import BAD_ARGUMENT, CommandWithExitCodes, as_argument, whole_number
from .leaks import Leak
from .page import folded, width_of_page
from .problems import Found, gathered, problem_lines
from .tables import Table
from .terminal import printable
from .trial_run import Measured, TrialRun, bounded, trial_run

INTERRUPTED = 128 + SIGINT
TOO_SLOW, LEFT_BEHIND, RUN_FAILED = 3, 4, 5
"""Exit codes, beside those of all commands."""
OPTIONS = ("repeat", "budget", "compare", "fail_slower", "timeout")
"""Options that mean nothing without ``--run``."""

MOST = 20
"""So many hooks have a line: those that took longest."""
LONGEST = 10
"""So many hooks of a chain are named; of a longer one the first and the last three."""
WAITED_FOR, NOT_WAITED_FOR = "* ", "~ "


def factor(text: str) -> float:
    """Read how many times slower a hook may be. Raises ``ValueError``."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise ValueError(f"'{text}' is no number above 0.")
    return value


def add_options(parser: CommandParser) -> None:
    """Add the options of a run."""
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
        "total=2s,library.http_client=300ms. The median counts.",
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
    """Raise ``CommandError`` for options that don't go together."""
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


class Rehearsed(NamedTuple):
    """A rehearsal, with what was said against it."""

    rehearsal: TrialRun
    over: tuple[Over, ...] = ()
    recorded: Mapping[str, float] | None = None
    """The recorded medians of the hooks' starts, in seconds by key; None: they were not asked for."""


def run(command: CommandWithExitCodes, found: Checked, options: dict[str, Any]) -> None:
    """Start the plan and stop it, show what that has shown, and fail accordingly."""
    [plan] = found.plans
    if message := budget.unknown(options["budget"] or (), [hook.key for hook in plan.hooks]):
        raise CommandError(f"--budget: {message}", returncode=BAD_ARGUMENT)
    recorded = recorded_medians(command, plan.service_type, options)
    if options["format"] == "text" and options["verbosity"] > 1:
        show(command, found, "text", 1)
    rehearsal = rehearse_live(command, plan.service_type, options)
    over = [*budget.over_budget(rehearsal, options["budget"] or {})]
    if options["fail_slower"]:
        over += budget.slower(rehearsal, recorded or {}, options["fail_slower"])
    rehearsed = Rehearsed(rehearsal, tuple(over), recorded)
    if not rehearsal.failure:
        warnings = map(warning_of, rehearsal.not_well())
        found = found._replace(problems=tuple(gathered([*found.problems, *warnings])))
    if options["format"] == "json":
        command.stdout.write(as_json.document(found, rehearsed))
    else:
        width = width_of_page()
        lines = [*RehearsedText(command.style, width).lines(rehearsed)]
        lines += ["", *problem_lines(found.problems, command.style, width)]
        command.stdout.write("\n".join(lines))
    fail_for_run(rehearsed)
    fail_for_problems(found, options["fail_level"])


def rehearse_live(
    command: CommandWithExitCodes, service_type: str, options: Mapping[str, Any]
) -> TrialRun:
    """Start the plan and stop it, as often as is asked for, with a line a hook for people."""

    def give_up(message: str) -> None:
        command.stderr.write(command.style.ERROR(f"CommandError: {message}"))
        os._exit(RUN_FAILED)

    def begins(number: int) -> None:
        # What the first run has told line by line is not told again.
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
                tidy=close_databases,
            )
        except KeyboardInterrupt:
            live.close()
            sys.exit(INTERRUPTED)


def recorded_medians(
    command: CommandWithExitCodes, service_type: str, options: Mapping[str, Any]
) -> Mapping[str, float] | None:
    """Return the recorded medians, where they are asked for."""
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


def fail_for_run(rehearsed: Rehearsed) -> None:
    """Raise ``CommandError`` where the run has not gone as it should."""
    if rehearsed.rehearsal.failure:
        raise CommandError(rehearsed.rehearsal.failure, returncode=RUN_FAILED)
    if left := len(rehearsed.rehearsal.left_behind):
        what = count(left, "thing was", "things were")
        raise CommandError(f"{what} left behind.", returncode=LEFT_BEHIND)
    if over := len(rehearsed.over):
        what = count(over, "time is", "times are")
        raise CommandError(f"{what} longer than allowed.", returncode=TOO_SLOW)


def close_databases() -> None:
    """Close what Django itself keeps open from one use to the next: connections, and their pools."""
    for connection in connections.all():
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()


def warning_of(step: Step) -> Found:
    """Return a hook that has failed, and need not have come up, as a problem."""
    outcome = step.outcome.replace("_", " ") if step.outcome else ""
    warning = Warning(
        f"'{step.key}' {outcome}: {why(step)}",
        hint="The process serves without it, degraded.",
        obj=Location(step.file, step.line),
    )
    return Found(warning)


class RehearsedText:
    """A rehearsal as lines for a terminal.

    Args:
        style: Django's colours.
        width: columns of the terminal.
    """

    def __init__(self, style: Style, width: int) -> None:
        self.style = style
        self.width = width

    def lines(self, rehearsed: Rehearsed) -> Iterator[str]:
        """Yield all of it."""
        rehearsal = rehearsed.rehearsal
        if not rehearsal.failure:
            yield from self.times(rehearsed)
        yield ""
        yield from self.left_behind(rehearsal.left_behind)
        if rehearsed.over:
            yield ""
            yield self.style.ERROR("Too slow")
        for over in rehearsed.over:
            yield from folded(printable(said_of(over)), self.width, "    ", "      ")

    def times(self, rehearsed: Rehearsed) -> Iterator[str]:
        """Yield what startup, shutdown and hooks took."""
        rehearsal = rehearsed.rehearsal
        runs = "" if len(rehearsal.reports) == 1 else f" (median of {len(rehearsal.reports)} runs)"
        started, stopped = several(rehearsal.startup()), several(rehearsal.shutdown())
        yield ""
        yield self.style.MIGRATE_HEADING(f"Startup {started}, shutdown {stopped}{runs}")
        hooks = rehearsal.measured()
        slowest = sorted(hooks, key=lambda hook: -(hook.start or 0.0))
        if hooks:
            yield from self.table(slowest[:MOST], rehearsed)
        if rest := slowest[MOST:]:
            most = max(hook.start or 0.0 for hook in rest)
            yield f"    {count(len(rest), 'more hook')}, each up in {figure(most)} or less"
        yield ""
        yield from self.chain("startup", rehearsal.last.longest_chain)
        yield from self.chain("shutdown", rehearsal.last.longest_stop)

    def chain(self, phase: str, keys: Sequence[str]) -> Iterator[str]:
        """Yield the hooks that a phase has waited for."""
        if keys:
            shown = [printable(key) for key in keys]
            if len(shown) > LONGEST:
                shown[3:-3] = [f"{len(shown) - 6} more"]
            text = f"The {phase} has waited for {' -> '.join(shown)}."
            yield from folded(text, self.width, "", "  ")

    def table(self, hooks: Sequence[Measured], rehearsed: Rehearsed) -> Iterator[str]:
        """Yield a line a hook."""
        repeated = len(rehearsed.rehearsal.reports) > 1
        recorded = rehearsed.recorded
        heads = ["Hook", "Start", *(["Worst"] if repeated else []), "Stop"]
        heads += ["Recorded"] if recorded is not None else []
        rows = []
        for hook in hooks:
            row = [printable(hook.key), figure(hook.start)]
            row += [figure(max(hook.starts, default=None))] if repeated else []
            row.append(figure(hook.stop))
            row += [figure(recorded.get(hook.key))] if recorded is not None else []
            rows.append(row)
        table = Table(rows, self.width, heads, gutter=len(WAITED_FOR), figures=True)
        marks = [mark_of(hook) for hook in hooks]
        yield table.head()
        for mark, row in zip(marks, rows, strict=True):
            yield from table.row(row, mark)
        if WAITED_FOR in marks:
            yield "* the startup has waited for it: making any other hook faster changes nothing"
        if NOT_WAITED_FOR in marks:
            yield "~ the startup has not waited for it: the process serves before it is up"

    def left_behind(self, leftovers: Sequence[Leak]) -> Iterator[str]:
        """Yield what was left behind."""
        if not leftovers:
            yield self.style.SUCCESS("Nothing was left behind.")
            return
        yield self.style.ERROR("Left behind")
        for leftover in leftovers:
            whose = f" of {leftover.hook}" if leftover.hook else ", of an unknown hook"
            what = f"{leftover.kind} {leftover.what}{whose}"
            yield from folded(printable(what), self.width, "    ", "      ")
            if leftover.where:
                yield from folded(printable(leftover.where), self.width, "      ")


def mark_of(hook: Measured) -> str:
    """Return what stands before a hook: whether the startup has waited for it."""
    if IN_STARTUP in hook.on_chain:
        return WAITED_FOR
    return "  " if hook.wait else NOT_WAITED_FOR


def said_of(over: Over) -> str:
    """Return that something took too long."""
    what = "The startup" if over.what == TOTAL else f"'{over.what}'"
    if over.why == "budget":
        return f"{what} took {figure(over.took)}; its budget is {figure(over.allowed)}."
    return f"{what} took {figure(over.took)} to start, slower than {figure(over.allowed)}."


def figure(value: float | None) -> str:
    """Return a time that was measured, or a dash for none."""
    return "-" if value is None else time_taken(value)


def several(values: Sequence[float]) -> str:
    """Return the median of some times, and the worst where there are several."""
    text = figure(median(values))
    return text if len(values) == 1 else f"{text} (worst {figure(max(values))})"


def as_data(rehearsed: Rehearsed) -> dict[str, Any]:
    """Return a rehearsal as it stands in JSON."""
    rehearsal = rehearsed.rehearsal
    recorded = rehearsed.recorded or {}
    return {
        "uuids": [report.uuid for report in rehearsal.reports],
        "failure": rehearsal.failure or None,
        "status": str(rehearsal.last.status),
        "startup": {"median": median(rehearsal.startup()), "worst": max(rehearsal.startup())},
        "shutdown": {"median": median(rehearsal.shutdown()), "worst": max(rehearsal.shutdown())},
        "longest_chain": list(rehearsal.last.longest_chain),
        "longest_stop": list(rehearsal.last.longest_stop),
        "hooks": [
            {
                "key": hook.key,
                "wait": hook.wait,
                "start": spread(hook.starts),
                "stop": spread(hook.stops),
                "recorded_start": recorded.get(hook.key),
            }
            for hook in rehearsal.measured()
        ],
        "left_behind": [
            {**leftover._asdict(), "hook": leftover.hook or None, "where": leftover.where or None}
            for leftover in rehearsal.left_behind
        ],
        "over": [over._asdict() for over in rehearsed.over],
    }


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Return the median and the worst of some times; None where there are none."""
    return {"median": median(values), "worst": max(values)} if values else None
