"""What a rehearsal has shown, as text and as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from django.core.management.color import Style

from lifespan_app.budget import TOTAL, Over
from lifespan_app.engine.error_text import line_of
from lifespan_app.engine.report import IN_STARTUP, Step
from lifespan_app.engine.wording import count, time_taken
from lifespan_app.leftovers import Leftover
from lifespan_app.rehearsal import Measured, Rehearsal

from .page import folded, padded
from .problems import Problem
from .terminal import columns_of, printable

MOST = 20
"""So many hooks have a line: those that took longest."""
LONGEST = 10
"""So many hooks of a chain are named; of a longer one the first and the last three."""
GAP = "  "
WAITED_FOR, NOT_WAITED_FOR = "* ", "~ "


class Rehearsed(NamedTuple):
    """A rehearsal, with what was said against it."""

    rehearsal: Rehearsal
    over: tuple[Over, ...] = ()
    recorded: Mapping[str, float] | None = None
    """The recorded medians of the hooks' starts, in seconds by key; None: they were not asked for."""


def problem_of(step: Step) -> Problem:
    """Return a hook that has failed, and need not have come up, as a problem."""
    said = step.reason or line_of(step.exception, step.error)
    return Problem(
        level="WARNING",
        id="",
        message=f"'{step.key}' {step.outcome.replace('_', ' ') if step.outcome else ''}: {said}",
        hint="The process serves without it, degraded.",
        where=f"{step.file}:{step.line}",
        file=step.file,
        line=step.line,
    )


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
        compared = rehearsed.recorded is not None
        heads = ["Hook", "Start", *(["Worst"] if repeated else []), "Stop"]
        heads += ["Recorded"] if compared else []
        rows = [heads]
        for hook in hooks:
            row = [printable(hook.key), figure(hook.start)]
            row += [figure(max(hook.starts, default=None))] if repeated else []
            row.append(figure(hook.stop))
            if rehearsed.recorded is not None:
                row.append(figure(rehearsed.recorded.get(hook.key)))
            rows.append(row)
        widths = [max(columns_of(cell) for cell in column) for column in zip(*rows, strict=True)]
        others = sum(widths[1:]) + len(GAP) * len(widths)
        widths[0] = min(widths[0], max(self.width - 2 - others, len(heads[0])))
        marks = ["  ", *(mark_of(hook) for hook in hooks)]
        for mark, (key, *figures) in zip(marks, rows, strict=True):
            line = GAP.join(
                " " * (width - columns_of(cell)) + cell
                for cell, width in zip(figures, widths[1:], strict=True)
            )
            if columns_of(key) > widths[0]:
                yield f"{mark}{key}"
                yield f"  {' ' * widths[0]}{GAP}{line}"
            else:
                yield f"{mark}{padded(key, widths[0])}{GAP}{line}"
        if WAITED_FOR in marks:
            yield "* the startup has waited for it: making any other hook faster changes nothing"
        if NOT_WAITED_FOR in marks:
            yield "~ the startup has not waited for it: the process serves before it is up"

    def left_behind(self, leftovers: Sequence[Leftover]) -> Iterator[str]:
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
