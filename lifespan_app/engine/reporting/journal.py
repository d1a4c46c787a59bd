"""The journal of a run: frozen entries, only ever added. A report is the journal up to a point."""

# Without "from __future__ import annotations": a named tuple compiles each annotation that is a
# string, which takes most of the time that its class does.

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from lifespan_app.engine.error_text import masked
from lifespan_app.engine.hooks.hook import ONLY_AT_END, Kind
from lifespan_app.engine.planning.plan import Node, edges_into

from .failure import Failure, failure_of, short
from .log_capture import LogLine, LogSink
from .report import (
    IN_SERVICE,
    IN_SHUTDOWN,
    IN_STARTUP,
    WELL,
    JobReport,
    Outcome,
    Pending,
    Phase,
    Step,
)

HAS_STARTUP = frozenset({Kind.START, Kind.RESOURCE, Kind.MANAGER, Kind.STAGE})
NOT_RUN = frozenset({Outcome.SKIPPED, Outcome.CANCELLED})
"""The outcomes of hooks that did not fail themselves: another one did, or the process was stopped."""
NOT_FAILED = NOT_RUN | WELL

StepId = tuple[int, Phase]
"""A step's hook, by its node's index, and the phase that the step is part of."""


class Progress(NamedTuple):
    """The last progress that a hook has reported."""

    fraction: float
    doing: str

    def __str__(self) -> str:
        share = f"{int(self.fraction * 100)} %"
        return f"{share}, {masked(self.doing)}" if self.doing else share


class Tried(NamedTuple):
    """The attempts of a start that is tried again."""

    errors: tuple[str, ...] = ()
    """The errors of the attempts that have failed, a line each."""
    next_at: float | None = None
    """When the next attempt begins, by the run's clock; None while one goes on, and at the end."""


NOT_TRIED = Tried()


class Entry(NamedTuple):
    """One step of one hook, as it stood when it began, or when it had ended."""

    node: Node
    phase: Phase
    begun: float
    """When it began, by the run's clock."""
    ended: float
    """When it ended; of one that goes on, when it began."""
    after: int = -1
    """The node index of the hook that this step waited for last; -1 for none."""
    outcome: Outcome | None = None
    """The outcome; None while the step runs."""
    attempt: int = 1
    """Which one it is, of a job that is begun again."""
    reason: str = ""
    """The reason that it was skipped."""
    failure: Failure | None = None
    waiting_at: str = ""
    """The location where it waited when that was looked up."""
    log: tuple[LogLine, ...] = ()
    tried: Tried = NOT_TRIED

    def ends(
        self, outcome: Outcome, at: float, error: BaseException | None = None, reason: str = ""
    ) -> "Entry":
        """Return the entry of this step's end."""
        failure = self.failure if error is None else failure_of(error)
        return self._replace(
            ended=at, outcome=outcome, failure=failure, reason=reason or self.reason, log=()
        )

    @property
    def error(self) -> BaseException | None:
        """The error that it ended with."""
        return None if self.failure is None else self.failure.error

    @property
    def place(self) -> StepId:
        """Which step this is."""
        return self.node.index, self.phase


class Journal:
    """The events of a run so far.

    Args:
        nodes: the plan's nodes, with their edges.
        clock: returns seconds, for the log lines of steps.
        jobs: returns the background jobs.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        clock: Callable[[], float],
        jobs: Callable[[], tuple[JobReport, ...]] = tuple,
    ) -> None:
        self._jobs = jobs
        self._nodes = nodes
        self._clock = clock
        self._entries: list[Entry] = []
        self._serving: dict[int, Entry] = {}
        """The last entry of each hook's service: a job may begin again any number of times."""
        self._sinks: dict[StepId, LogSink] = {}
        """The sinks for log lines of the running steps."""
        self._progress: dict[int, Progress] = {}
        self._writes = 0
        self._kept: tuple[tuple[float, int], Snapshot] | None = None
        """The last snapshot, with its time and the number of entries at that time."""
        self.began: float | None = None
        self.up_at: float | None = None
        self.stop_began: float | None = None
        self.over_at: float | None = None

    def phase_begins(self, phase: Phase, now: float) -> None:
        """Note when a phase of the run begins, and so when the startup has ended."""
        if phase is IN_STARTUP:
            self.began = now
        elif self.up_at is None:
            self.up_at = now
        if phase is IN_SHUTDOWN:
            self.stop_began = now

    def run_ends(self, now: float) -> None:
        """Record the end of the run."""
        self.over_at = now

    def write(self, entry: Entry) -> Entry:
        """Add an entry, and return it: a step that has ended gets its log lines."""
        self._writes += 1
        if self._sinks and entry.outcome is not None:
            sink = self._sinks.get(entry.place)
            if sink is not None:
                entry = entry._replace(log=sink.lines())
        if entry.phase is IN_SERVICE:
            self._serving[entry.node.index] = entry
        else:
            self._entries.append(entry)
        return entry

    def begin_lines(self, index: int, phase: Phase) -> None:
        """Begin a step without log lines: that of a job which restarts."""
        self._sinks.pop((index, phase), None)

    def sink(self, index: int, phase: Phase, begun: float) -> LogSink:
        """Return the sink for log lines of a running step. Any thread may call this."""
        sink = self._sinks.get((index, phase))
        if sink is None:
            sink = self._sinks.setdefault((index, phase), LogSink(begun, self._clock))
        return sink

    def keep_progress(self, index: int, progress: Progress) -> Progress | None:
        """Store a hook's progress, and return the previous one. Any thread may call this."""
        before = self._progress.get(index)
        self._progress[index] = progress
        return before

    def progress(self, index: int) -> Progress | None:
        """Return the last progress that a hook has reported."""
        return self._progress.get(index)

    def snapshot(
        self,
        startable: Sequence[Node],
        going_on: Callable[[], Iterable[Entry]],
        now: float,
        *,
        keep: bool = False,
    ) -> "Snapshot":
        """Return the events until now.

        Args:
            startable: the hooks that the process needs to be ready.
            going_on: returns the running steps.
            now: by the run's clock.
            keep: whether all events of that time may share it.
        """
        written = (now, self._writes)
        if keep and self._kept is not None and self._kept[0] == written:
            # One snapshot for all hooks that begin at the same moment.
            return self._kept[1]
        serving = (*self._serving.values(), *going_on())
        logs = {
            entry.place: sink.lines()
            for entry in serving
            if entry.outcome is None and (sink := self._sinks.get(entry.place)) is not None
        }
        moments = Moments(now, self.began, self.up_at, self.stop_began)
        progress = self._progress.copy()
        snapshot = Snapshot(
            self._nodes, startable, self._entries, serving, logs, progress, moments, self._jobs()
        )
        if keep:
            self._kept = (written, snapshot)
        return snapshot


class Moments(NamedTuple):
    """When a snapshot was made, and when the phases began."""

    now: float
    began: float | None
    up_at: float | None
    stop_began: float | None


class Snapshot:
    """A journal up to a point. It does not change, and any thread may read it."""

    def __init__(
        self,
        nodes: Sequence[Node],
        startable: Sequence[Node],
        entries: list[Entry],
        others: tuple[Entry, ...],
        logs: Mapping[StepId, tuple[LogLine, ...]],
        progress: Mapping[int, Progress],
        moments: Moments,
        jobs: tuple[JobReport, ...] = (),
    ) -> None:
        self.jobs = jobs
        self._nodes = nodes
        self._startable = startable
        # The journal's own list, which only grows: later entries are not part of this snapshot.
        self._entries = entries
        self._end = len(entries)
        self._others = others
        self._logs = logs
        self._progress = progress
        self._moments = moments

    @cached_property
    def _last(self) -> dict[StepId, Entry]:
        """The last entry of each step."""
        entries = (*self._entries[: self._end], *self._others)
        return {entry.place: entry for entry in entries}

    def _of(self, phase: Phase) -> list[Entry]:
        """Return the last entries of a phase, in the order of the plan."""
        found = [entry for entry in self._last.values() if entry.phase is phase]
        return sorted(found, key=lambda entry: entry.node.index)

    def steps(self) -> tuple[Step, ...]:
        """Return the steps there are, in the order of the plan, phase by phase."""
        on_chain = {
            entry.place for phase in CHAINS for entry in self._chain(phase) if entry.phase is phase
        }
        return tuple(
            self.step(entry, on_chain=entry.place in on_chain)
            for phase in Phase
            for entry in self._of(phase)
        )

    def step(self, entry: Entry, *, on_chain: bool = False) -> Step:
        """Return the step that an entry is of."""
        node, hook = entry.node, entry.node.hook
        assert hook is not None
        moments = self._moments
        phase_begun = {
            IN_STARTUP: moments.began,
            IN_SERVICE: moments.up_at,
            IN_SHUTDOWN: moments.stop_began,
        }[entry.phase]
        ended = moments.now if entry.outcome is None else entry.ended
        failure = entry.failure
        return Step(
            node.label,
            hook.name,
            hook.kind,
            entry.phase,
            entry.outcome,
            node.options.priority,
            entry.attempt,
            # A resource that comes up too late exits at once, maybe before the shutdown begins.
            0.0 if phase_begun is None else max(0.0, entry.begun - phase_begun),
            max(0.0, ended - entry.begun),
            entry.reason,
            tuple(edges_into(self._nodes, node)),
            on_chain,
            short(hook.file),
            hook.line,
            "" if failure is None else failure.exception,
            "" if failure is None else failure.message,
            "" if failure is None else failure.traceback,
            entry.waiting_at,
            self._logs.get(entry.place, ()) if entry.outcome is None else entry.log,
            entry.tried.errors,
            node.options.required,
            "" if failure is None else failure.cause,
            "" if failure is None else failure.action,
            own_limit(node, entry.phase),
        )

    def _ended(self, phase: Phase) -> list[Entry]:
        """Return the entries of a phase that have ended by themselves.

        The failure of a required hook skips and cancels others, which may end later than it.
        """
        ended = [entry for entry in self._of(phase) if entry.outcome]
        if phase is IN_STARTUP and any(map(stops_startup, ended)):
            return [entry for entry in ended if entry.outcome not in NOT_RUN]
        return ended

    def longest_chain(self, phase: Phase) -> tuple[str, ...]:
        """Return the keys of the hooks that a phase has waited for, first to last.

        It ends with the step that ended last, and each step of it got its turn by the one before it:
        making any other hook faster would change nothing.
        """
        return tuple(entry.node.key for entry in self._chain(phase))

    def _chain(self, phase: Phase) -> list[Entry]:
        ended = [entry for entry in self._ended(phase) if self._is_waited_for(entry)]
        last: Entry | None = max(ended, key=lambda entry: entry.ended, default=None)
        chain: list[Entry] = []
        while last is not None:
            if phase is IN_SHUTDOWN or last.node.hook.kind in HAS_STARTUP:  # type: ignore[union-attr]
                chain.append(last)
            # A job is stopped in the shutdown without a step of its own.
            after = last.after
            last = self._last.get((after, phase)) or self._last.get((after, IN_SERVICE))
        chain.reverse()
        return chain

    def _is_waited_for(self, entry: Entry) -> bool:
        # A test waits for every hook.
        return entry.phase is IN_SHUTDOWN or entry.node.options.wait

    def pending(self) -> tuple[Pending, ...]:
        """Return the hooks that have not come up yet."""
        return tuple(self._pending())

    def _pending(self) -> Iterator[Pending]:
        for node in self._startable:
            entry = self._last.get((node.index, IN_STARTUP))
            if entry is None or entry.outcome is None:
                seconds = 0.0 if entry is None else self._moments.now - entry.begun
                said: tuple[Any, ...] = self._progress.get(node.index, ())
                if said:
                    said = (said[0], masked(said[1]))
                if entry is not None and entry.tried.errors:
                    said = (None, attempt(entry, self._moments.now))
                yield Pending(node.key, seconds, *said)

    def hooks_failed(self) -> int:
        """Return the number of hooks that have failed, in any phase."""
        return len({entry.node.index for entry in self._last.values() if has_failed(entry)})

    def hooks_skipped(self) -> int:
        """Return the number of hooks that were skipped."""
        entries = self._last.values()
        return len({entry.node.index for entry in entries if entry.outcome is Outcome.SKIPPED})

    def slowest_hook(self) -> str:
        """Return the key of the hook that took longest to start, or to fail to."""
        started = self._ended(IN_STARTUP)
        slowest = max(started, key=lambda entry: entry.ended - entry.begun, default=None)
        return slowest.node.key if slowest else ""


def has_failed(entry: Entry) -> bool:
    """Return True if an entry is a failure."""
    if entry.phase is IN_SHUTDOWN:
        return entry.failure is not None
    return entry.outcome is not None and entry.outcome not in NOT_FAILED


def stops_startup(entry: Entry) -> bool:
    """Return True if an entry is the failed start of a required hook."""
    return has_failed(entry) and entry.node.options.required


def own_limit(node: Node, phase: Phase) -> float | None:
    """Return the time limit that a hook has of its own in a phase; None: it has none."""
    options = node.options
    at_end = node.hook is not None and node.hook.kind in ONLY_AT_END
    return options.timeout if phase is not IN_SHUTDOWN or at_end else options.shutdown_timeout


def attempt(entry: Entry, now: float) -> str:
    """Return how a start stands that is tried again: "attempt 4: OSError: refused, next in 3.1 s"."""
    errors, next_at = entry.tried
    if next_at is None:
        return f"attempt {entry.attempt}, after {errors[-1]}"
    return f"attempt {entry.attempt}: {errors[-1]}, next in {max(0.0, next_at - now):.1f} s"


CHAINS = (IN_STARTUP, IN_SHUTDOWN)
