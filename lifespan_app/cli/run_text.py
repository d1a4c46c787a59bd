"""A recorded run, and a list of runs, as text for a terminal, like the pages of the admin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from django.core.management.color import Style

from lifespan_app.engine.wording import count
from lifespan_app.history.reading import advice, describe, time_text
from lifespan_app.history.reading.against_last_good import Comparison
from lifespan_app.history.reading.boot import boot_of
from lifespan_app.history.reading.jobs import Job, jobs_of
from lifespan_app.history.reading.migrations import unapplied
from lifespan_app.history.reading.spooled import Recorded
from lifespan_app.history.reading.tracebacks import innermost, parts_of
from lifespan_app.models import LifespanRun, LifespanStep, Outcome, Phase, Status

from .tables import Table
from .terminal import folded, printable

MOST_LINES = 20
"""The most steps of a phase, and the most lines of a log, that are listed."""
HEADS = ("Hook", "Outcome", "Started at", "Took", "Defined at")
JOB_HEADS = ("Job", "State", "Count", "Next")
CHAIN = "* is on the longest chain, which determines the total time of the phase."
GOOD = frozenset({Outcome.OK, Outcome.FINISHED, ""})


class RunText:
    """Lines of text for a terminal.

    Args:
        style: Django's colours.
        width: columns of the terminal.
        now: the time from which ages are counted.
    """

    def __init__(self, style: Style, width: int, now: datetime) -> None:
        self.style = style
        self.width = width
        self.now = now

    def run(
        self, run: LifespanRun, steps: Sequence[LifespanStep], against: Comparison | None = None
    ) -> Iterator[str]:
        """Yield a run: its head, the comparison, failed hooks, jobs and steps."""
        yield from self.head(run, steps)
        if against is not None:
            yield ""
            yield from self.against(against)
        for step in describe.broken(steps)[:MOST_LINES]:
            yield ""
            yield from self.trouble(step)
        yield from self.boot(run)
        jobs = jobs_of(run)
        known = {job.key for job in jobs}
        for phase, title in self.phases(run):
            found = describe.in_phase(steps, phase)
            if phase == Phase.SERVING and jobs:
                yield ""
                yield from self.jobs(run, jobs)
                found = [step for step in found if step.key not in known]
            if found:
                yield ""
                yield from self.phase(run, found, title)
        if any(step.on_critical_chain for step in steps):
            yield ""
            yield from folded(CHAIN, self.width)

    def head(self, run: LifespanRun, steps: Sequence[LifespanStep]) -> Iterator[str]:
        """Yield the result of the run, its process, and the advice."""
        status = run.status_at(self.now)
        yield f"{printable(str(run))}  {self.colour_of(status)(describe.status(run, self.now))}"
        yield from folded(printable(describe.headline(run, steps, self.now)), self.width)
        yield ""
        yield from folded(printable(self.line_of(run)), self.width, "  ")
        began = (
            f"started {time_text.clock(run.started_at)}, {time_text.ago(run.started_at, self.now)}"
        )
        yield f"  {began}"
        yield f"  UUID {run.uuid}"
        if run.loop_blocks:
            longest = time_text.duration(run.longest_block)
            yield f"  event loop: blocked {count(run.loop_blocks, 'time')}, for {longest} at most"
        if run.left_out:
            keys = ", ".join(printable(key) for key, _reason in run.left_out)
            yield from folded(f"LIFESPAN_SKIP leaves out {keys}", self.width, "  ")
        if sentences := [*advice.for_run(run, steps, self.now), *unapplied(steps)]:
            yield ""
            yield self.style.MIGRATE_HEADING("What to do")
            for sentence in sentences:
                yield from folded(printable(sentence), self.width, "  - ", "    ")

    def against(self, found: Comparison) -> Iterator[str]:
        """Yield the differences from the last good run."""
        yield self.style.MIGRATE_HEADING("Compared with the last good run")
        yield from folded(printable(found.headline), self.width, "  ")
        for difference in found.differences:
            yield from folded(printable(difference.text), self.width, "  - ", "    ")

    def boot(self, run: LifespanRun) -> Iterator[str]:
        """Yield the time before the hooks, if it is recorded."""
        boot = boot_of(run)
        if boot is None:
            return
        yield ""
        yield from folded(boot.summary, self.width)
        for part in boot.parts:
            yield f"  {part.took:>8}  {part.text}"

    def line_of(self, run: LifespanRun) -> str:
        """Return the process of a run, in a line."""
        words = [f"{run.service_type} {run.release}".strip(), run.environment, run.host]
        return ", ".join(word for word in [*words, f"pid {run.pid}", run.server] if word)

    def phases(self, run: LifespanRun) -> list[tuple[Phase, str]]:
        """Return the phases, each with its title, which has the duration."""
        stop = "Rollback" if run.status == Status.STARTUP_FAILED else "Shutdown"
        titles = {
            Phase.STARTUP: ("Startup", run.startup_duration),
            Phase.SERVING: ("While serving", describe.served_for(run, self.now)),
            Phase.SHUTDOWN: (stop, run.shutdown_duration),
        }
        return [
            (phase, title if taken is None else f"{title}: {time_text.duration(taken)}")
            for phase, (title, taken) in titles.items()
        ]

    def trouble(self, step: LifespanStep) -> Iterator[str]:
        """Yield all that is known of a step that went wrong."""
        yield self.style.ERROR(printable(describe.failure_text(step)))
        if step.explanation:
            yield from folded(printable(step.explanation), self.width, "  ")
        if place := describe.place(step):
            yield f"  defined at {printable(place)}"
        yield from self.attempts(step)
        if step.waiting_at:
            yield from folded(f"it waited at {printable(step.waiting_at)}", self.width, "  ")
        if raised := innermost(step.traceback):
            yield from folded(f"raised at {printable(raised)} (in your code)", self.width, "  ")
        if step.exception or step.error:
            error = f"{step.exception}: {step.error}".strip(": ")
            text = "\n".join(printable(line) for line in error.splitlines())
            yield from folded(text, self.width, "  ")
        for part in parts_of(step.traceback):
            lines = [f"  ({part.summary})"] if part.libraries else part.lines
            for line in lines:
                yield f"  | {printable(line)}"
        for _offset, level, logger, text in step.log[-MOST_LINES:]:
            yield from folded(printable(f"{level} {logger}: {text}"), self.width, "  > ", "    ")

    def attempts(self, step: LifespanStep) -> Iterator[str]:
        """Yield the errors of the attempts that failed before, the last ones."""
        first = len(step.errors) - len(step.errors[-MOST_LINES:]) + 1
        for number, error in enumerate(step.errors[-MOST_LINES:], start=first):
            text = f"failed attempt {number}: {error}"
            yield from folded(printable(text), self.width, "    ", "      ")

    def phase(self, run: LifespanRun, steps: Sequence[LifespanStep], title: str) -> Iterator[str]:
        """Yield the steps of a phase as a table; of many, the most important ones."""
        yield self.style.MIGRATE_HEADING(title)
        heaviest = sorted(steps, key=describe.weight)[:MOST_LINES]
        shown = [step for step in steps if step in heaviest]
        rows = [self.cells(step) for step in shown]
        table = Table(rows, self.width, HEADS, gutter=2, places=True)
        yield table.head()
        for row, step in zip(rows, shown, strict=True):
            yield from table.row(row, style=str if step.outcome in GOOD else self.style.ERROR)
            if step.reason:
                yield from folded(printable(step.reason), self.width, "    ")
            if step.waiting_at and not step.outcome:
                yield from folded(f"it waits at {printable(step.waiting_at)}", self.width, "    ")
            if step.outcome in GOOD:
                yield from self.attempts(step)
        if more := len(steps) - len(rows):
            yield f"  and {describe.hooks(more)} more, which took less"

    def jobs(self, run: LifespanRun, jobs: Sequence[Job]) -> Iterator[str]:
        """Yield the background jobs as a table; of many, the failed and stalled ones, and some others."""
        yield self.style.MIGRATE_HEADING("Jobs")
        worst = sorted(jobs, key=lambda job: not job.is_unwell)[:MOST_LINES]
        shown = [job for job in jobs if job in worst]
        is_over = run.is_over or run.is_lost(self.now)
        rows = [
            [
                printable(job.key),
                job.label,
                job.counts,
                "" if is_over else describe.next_begin(job, self.now),
            ]
            for job in shown
        ]
        table = Table(rows, self.width, JOB_HEADS, gutter=2)
        yield table.head()
        for row, job in zip(rows, shown, strict=True):
            yield from table.row(row, style=self.style.ERROR if job.is_unwell else str)
            for text in self.about(job):
                yield from folded(printable(text), self.width, "    ")
        if more := len(jobs) - len(rows):
            yield f"  and {more} more"

    def about(self, job: Job) -> Iterator[str]:
        """Yield the details of a job, a line each."""
        if job.leads:
            yield "this process leads"
        if job.reason:
            yield job.reason
        if job.last_success_at:
            yield f"last success {time_text.clock(job.last_success_at)}"
        if job.last_crash_at:
            yield f"last crash {time_text.clock(job.last_crash_at)}: {job.last_crash}"

    def cells(self, step: LifespanStep) -> list[str]:
        """Return the cells of a step."""
        mark = " *" if step.on_critical_chain else ""
        return [
            printable(step.key) + mark,
            describe.outcome(step),
            f"+{time_text.duration(step.offset)}",
            time_text.duration(step.duration),
            printable(describe.place(step)),
        ]

    def list(self, runs: Sequence[Recorded]) -> Iterator[str]:
        """Yield a line a run, and the reasons for which a process is degraded or not ready."""
        rows = [
            [
                describe.status(run, self.now),
                printable(run.service_type),
                printable(run.release),
                printable(f"{run.host} pid {run.pid}".strip()),
                time_text.ago(run.started_at, self.now),
                run.shown_id,
            ]
            for run, _steps in runs
        ]
        table = Table(rows, self.width)
        for (run, steps), row in zip(runs, rows, strict=True):
            status = run.status_at(self.now)
            yield from table.row(row, style=self.colour_of(status))
            reasons: Sequence[str] = ()
            if status == Status.DEGRADED:
                reasons = describe.degraded_by(run, steps)
            elif status == Status.NOT_READY:
                reasons = run.readiness_reason.splitlines()
            for reason in reasons:
                yield from folded(printable(reason), self.width, "    ")

    def colour_of(self, status: Status) -> Callable[[str], str]:
        """Return the function that gives a text the colour of a status."""
        colours = {
            Status.SERVING: self.style.SUCCESS,
            Status.DEGRADED: self.style.WARNING,
            Status.NOT_READY: self.style.ERROR,
            Status.STARTUP_FAILED: self.style.ERROR,
            Status.SHUTDOWN_FAILED: self.style.ERROR,
            Status.LOST: self.style.ERROR,
        }
        found: Callable[[str], str] = colours.get(status, self.style.NOTICE)
        return found
