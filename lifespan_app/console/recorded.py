"""A recorded run as text, as the admin's page shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from django.core.management.color import Style

from lifespan_app.history import story
from lifespan_app.history.tracebacks import innermost
from lifespan_app.models import LifespanRun, LifespanStep, Outcome, Phase, Status

from .page import folded, padded
from .terminal import columns_of, printable

MOST_LINES = 20
"""How many steps of a phase are listed, and how many lines of a log."""
HEADS = ("Hook", "Outcome", "After", "Took", "Where")
GOOD = frozenset({Outcome.OK, Outcome.FINISHED, ""})


class RunText:
    """Lines of text for a terminal.

    Args:
        style: Django's colours.
        width: columns of the terminal.
        now: what "ago" counts from.
    """

    def __init__(self, style: Style, width: int, now: datetime) -> None:
        self.style = style
        self.width = width
        self.now = now

    def run(self, run: LifespanRun, steps: Sequence[LifespanStep]) -> Iterator[str]:
        """Yield all that there is to say of a run."""
        yield from self.head(run, steps)
        for step in story.broken(steps)[:MOST_LINES]:
            yield ""
            yield from self.trouble(step)
        for phase, title in self.phases(run):
            if found := story.in_phase(steps, phase):
                yield ""
                yield from self.phase(run, found, title)

    def head(self, run: LifespanRun, steps: Sequence[LifespanStep]) -> Iterator[str]:
        """Yield what happened, where, and what to do."""
        status = run.status_at(self.now)
        yield f"{printable(str(run))}  {self.coloured(status, story.status(run, self.now))}"
        yield from folded(printable(story.headline(run, steps, self.now)), self.width)
        yield ""
        yield from folded(printable(self.line_of(run)), self.width, "  ")
        began = f"started {story.clock(run.started_at)}, {story.ago(run.started_at, self.now)}"
        yield f"  {began}"
        yield f"  UUID {run.uuid}"
        if advice := story.advice(run, steps, self.now):
            yield ""
            yield self.style.MIGRATE_HEADING("What to do")
            for sentence in advice:
                yield from folded(printable(sentence), self.width, "  - ", "    ")

    def line_of(self, run: LifespanRun) -> str:
        """Return which process a run is of."""
        words = [f"{run.service_type} {run.release}".strip(), run.environment, run.host]
        return ", ".join(word for word in [*words, f"pid {run.pid}", run.server] if word)

    def phases(self, run: LifespanRun) -> list[tuple[Phase, str]]:
        """Return the phases, each with what it is called and how long it took."""
        stop = "Rollback" if run.status == Status.STARTUP_FAILED else "Shutdown"
        titles = {
            Phase.STARTUP: ("Startup", run.startup_duration),
            Phase.SERVING: ("While serving", story.served_for(run, self.now)),
            Phase.SHUTDOWN: (stop, run.shutdown_duration),
        }
        return [
            (phase, title if taken is None else f"{title}: {story.duration(taken)}")
            for phase, (title, taken) in titles.items()
        ]

    def trouble(self, step: LifespanStep) -> Iterator[str]:
        """Yield all that is known of a step that went wrong."""
        yield self.style.ERROR(printable(story.what_befell(step)))
        if place := story.place(step):
            yield f"  written at {printable(place)}"
        if step.waiting_at:
            yield from folded(f"it waited at {printable(step.waiting_at)}", self.width, "  ")
        if raised := innermost(step.traceback):
            yield from folded(f"raised below {printable(raised)}", self.width, "  ")
        if step.exception or step.error:
            said = f"{step.exception}: {step.error}".strip(": ")
            text = "\n".join(printable(line) for line in said.splitlines())
            yield from folded(text, self.width, "  ")
        for line in step.traceback.splitlines():
            yield f"  | {printable(line)}"
        for _offset, level, logger, text in step.log[-MOST_LINES:]:
            yield from folded(printable(f"{level} {logger}: {text}"), self.width, "  > ", "    ")

    def phase(self, run: LifespanRun, steps: Sequence[LifespanStep], title: str) -> Iterator[str]:
        """Yield the steps of a phase as a table, those that matter where there are many."""
        yield self.style.MIGRATE_HEADING(title)
        shown = sorted(steps, key=weight)[:MOST_LINES]
        rows = [self.cells(step) for step in steps if step in shown]
        columns = list(zip(HEADS, *rows, strict=True))
        widths = [max(columns_of(cell) for cell in column) for column in columns]
        # Files stand on lines of their own where they don't fit beside the rest.
        is_wide = sum(widths) + 2 * len(widths) <= self.width
        last = len(HEADS) if is_wide else len(HEADS) - 1
        yield "  " + "  ".join(map(padded, HEADS[:last], widths)).rstrip()
        for row, step in zip(rows, (step for step in steps if step in shown), strict=True):
            line = "  ".join(map(padded, row[:last], widths)).rstrip()
            yield "  " + (line if step.outcome in GOOD else self.style.ERROR(line))
            if not is_wide:
                yield f"    {row[-1]}"
            if step.reason:
                yield from folded(printable(step.reason), self.width, "    ")
        if more := len(steps) - len(rows):
            yield f"  and {story.hooks(more)} more, which took less"

    def cells(self, step: LifespanStep) -> list[str]:
        """Return what stands in the columns of a step."""
        mark = " *" if step.on_critical_chain else ""
        return [
            printable(step.key) + mark,
            story.outcome(step),
            story.duration(step.offset),
            story.duration(step.duration),
            printable(story.place(step)),
        ]

    def list(self, runs: Sequence[LifespanRun]) -> Iterator[str]:
        """Yield a line a run."""
        rows = [
            [
                story.status(run, self.now),
                printable(run.service_type),
                printable(run.release),
                printable(f"{run.host} pid {run.pid}".strip()),
                story.ago(run.started_at, self.now),
                str(run.uuid)[:8],
            ]
            for run in runs
        ]
        widths = [max(columns_of(cell) for cell in column) for column in zip(*rows, strict=True)]
        for run, row in zip(runs, rows, strict=True):
            first, *others = map(padded, row, widths)
            yield f"{self.coloured(run.status_at(self.now), first)}  {'  '.join(others).rstrip()}"

    def coloured(self, status: Status, text: str) -> str:
        """Return a text in the colour of a status."""
        colours = {
            Status.SERVING: self.style.SUCCESS,
            Status.DEGRADED: self.style.WARNING,
            Status.STARTUP_FAILED: self.style.ERROR,
            Status.SHUTDOWN_FAILED: self.style.ERROR,
            Status.LOST: self.style.ERROR,
        }
        return colours.get(status, self.style.NOTICE)(text)


def weight(step: LifespanStep) -> tuple[bool, bool, float]:
    """Return what sorts first what a reader has to see."""
    return (step.outcome in GOOD, not step.on_critical_chain, -step.duration.total_seconds())
