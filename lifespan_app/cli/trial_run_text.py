"""The results of a trial run as text for a terminal: times, longest chains, leaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from django.core.management.color import Style

from lifespan_app.engine.reporting.report import IN_STARTUP
from lifespan_app.engine.wording import count, time_taken

from .budget import TOTAL, Excess
from .leaks import Leak
from .tables import Table
from .terminal import folded, printable
from .trial_run import Measured, TrialRun

MOST = 20
"""The number of slowest hooks in the table."""
LONGEST = 10
"""The longest chain that is shown whole; of a longer one, the first and the last three hooks."""
WAITED_FOR, NOT_WAITED_FOR = "* ", "~ "


class Result(NamedTuple):
    """A trial run, with its times that are too long."""

    trial: TrialRun
    over: tuple[Excess, ...] = ()
    recorded: Mapping[str, float] | None = None
    """The recorded medians of the hooks' starts, in seconds by key; None: not requested."""


class ResultText:
    """The results of a trial run as lines for a terminal.

    Args:
        style: Django's colours.
        width: columns of the terminal.
    """

    def __init__(self, style: Style, width: int) -> None:
        self.style = style
        self.width = width

    def lines(self, result: Result) -> Iterator[str]:
        """Yield all of it."""
        trial = result.trial
        if not trial.failure:
            yield from self.times(result)
        yield ""
        yield from self.left_behind(trial.left_behind)
        if result.over:
            yield ""
            yield self.style.ERROR("Too slow")
        for over in result.over:
            yield from folded(printable(said_of(over)), self.width, "    ", "      ")

    def times(self, result: Result) -> Iterator[str]:
        """Yield the times of startup, shutdown and hooks."""
        trial = result.trial
        runs = "" if len(trial.reports) == 1 else f" (median of {len(trial.reports)} runs)"
        started, stopped = several(trial.startup()), several(trial.shutdown())
        yield ""
        yield self.style.MIGRATE_HEADING(f"Startup {started}, shutdown {stopped}{runs}")
        hooks = trial.measured()
        slowest = sorted(hooks, key=lambda hook: -(hook.start or 0.0))
        if hooks:
            yield from self.table(slowest[:MOST], result)
        if rest := slowest[MOST:]:
            most = max(hook.start or 0.0 for hook in rest)
            yield f"    {count(len(rest), 'more hook')}, each up in {figure(most)} or less"
        yield ""
        yield from self.chain("startup", trial.last.longest_chain)
        yield from self.chain("shutdown", trial.last.longest_stop)

    def chain(self, phase: str, keys: Sequence[str]) -> Iterator[str]:
        """Yield the longest chain of a phase."""
        if keys:
            shown = [printable(key) for key in keys]
            if len(shown) > LONGEST:
                shown[3:-3] = [f"{len(shown) - 6} more"]
            text = f"The {phase} has waited for {' -> '.join(shown)}."
            yield from folded(text, self.width, "", "  ")

    def table(self, hooks: Sequence[Measured], result: Result) -> Iterator[str]:
        """Yield a line per hook."""
        repeated = len(result.trial.reports) > 1
        recorded = result.recorded
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

    def left_behind(self, leaks: Sequence[Leak]) -> Iterator[str]:
        """Yield the leaks."""
        if not leaks:
            yield self.style.SUCCESS("Nothing was left behind.")
            return
        yield self.style.ERROR("Left behind")
        for leak in leaks:
            whose = f" of {leak.hook}" if leak.hook else ", of an unknown hook"
            what = f"{leak.kind} {leak.what}{whose}"
            yield from folded(printable(what), self.width, "    ", "      ")
            if leak.where:
                yield from folded(printable(leak.where), self.width, "      ")


def mark_of(hook: Measured) -> str:
    """Return the mark of a hook: waited for by the startup, not waited for, or none."""
    if IN_STARTUP in hook.on_chain:
        return WAITED_FOR
    return "  " if hook.wait else NOT_WAITED_FOR


def said_of(over: Excess) -> str:
    """Return the sentence about a time that is too long."""
    what = "The startup" if over.what == TOTAL else f"'{over.what}'"
    if over.why == "budget":
        return f"{what} took {figure(over.took)}; its budget is {figure(over.allowed)}."
    return f"{what} took {figure(over.took)} to start, slower than {figure(over.allowed)}."


def figure(value: float | None) -> str:
    """Return a measured time, or a dash for None."""
    return "-" if value is None else time_taken(value)


def several(values: Sequence[float]) -> str:
    """Return the median of some times, and the maximum of several."""
    text = figure(median(values))
    return text if len(values) == 1 else f"{text} (worst {figure(max(values))})"
