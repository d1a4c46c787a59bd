"""What a run did, read off its units as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .error_text import one_line, path_and_text, traceback_of
from .hooks import Kind
from .plan import edges_into
from .report import Outcome, Pending, Phase, Report, Step
from .unit import State, Unit, short

if TYPE_CHECKING:
    from .runner import Run

HAS_STARTUP = frozenset({Kind.START, Kind.RESOURCE, Kind.MANAGER, Kind.STAGE})
HAS_SHUTDOWN = frozenset({Kind.SHUTDOWN, Kind.DRAIN, Kind.RESOURCE, Kind.MANAGER, Kind.STAGE})


def report_of(run: Run) -> Report:
    """Return what a run has done so far."""
    error = run.first_error or (run.stop_errors[0] if run.stop_errors else None)
    return Report(
        uuid=run.uuid,
        service_type=run.context.service_type,
        environment=run.context.environment,
        release=run.settings.release,
        mode=run.mode,
        pid=run.pid,
        server=run.server or "",
        status=run.status,
        readiness=run.readiness,
        ended_by=run.ended_by,
        error=one_line(error),
        started_at=run.started_at,
        ready_at=run.ready_at,
        stopping_at=run.stopping_at,
        stopped_at=run.stopped_at,
        startup_duration=since(run.began, run.up_at),
        shutdown_duration=since(run.stop_began, run.over_at),
        hooks_total=len(run.units_by_hook),
        left_out=run.plan.left_out,
        details=RunDetails(run),
    )


class RunDetails:
    """What takes a walk over all hooks of a run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def steps(self) -> tuple[Step, ...]:
        """Return the steps there are."""
        return tuple(steps_of(self._run))

    def longest_chain(self) -> tuple[str, ...]:
        """Return the keys of the longest chain."""
        return tuple(unit.node.key for unit in longest_chain(self._run))

    def longest_stop(self) -> tuple[str, ...]:
        """Return the keys of the longest chain of the shutdown."""
        return tuple(unit.node.key for unit in longest_stop(self._run))

    def pending(self) -> tuple[Pending, ...]:
        """Return the hooks that have not come up yet."""
        run = self._run
        now = run.clock()
        return tuple(
            Pending(
                unit.node.key,
                now - unit.begun if unit.state is State.STARTING else 0.0,
                *run.progress.get(unit, ()),
            )
            for unit in run.units
            if unit.hook is not None and unit.hook.kind in HAS_STARTUP and not unit.settled
            if unit.state is State.PENDING or unit.state is State.STARTING
        )

    def hooks_failed(self) -> int:
        """Return how many hooks have failed."""
        units = self._run.units_by_hook.values()
        return sum(unit.failed or unit.stop_error is not None for unit in units)

    def slowest_hook(self) -> str:
        """Return the key of the hook that took longest to start."""
        started = (unit for unit in self._run.units if unit.outcome and unit.hook)
        slowest = max(started, key=lambda unit: unit.ended - unit.begun, default=None)
        return slowest.node.key if slowest else ""


def since(begun: float | None, ended: float | None) -> float | None:
    """Return the seconds between two moments, or None where one is not known."""
    return None if begun is None or ended is None else ended - begun


def longest_chain(run: Run) -> list[Unit]:
    """Return the hooks that the startup has waited for, first to last.

    It is the chain that ends with the hook that came up last, in which each hook waited for the
    one before it: making any other hook faster would change nothing.
    """
    done = [unit for unit in run.units if unit.ended and not unit.aside]
    chain: list[Unit] = []
    last = max(done, key=lambda unit: unit.ended, default=None)
    while last is not None:
        if last.hook is not None and last.hook.kind in HAS_STARTUP:
            chain.append(last)
        waited_for = [leader for leader in last.leaders if not leader.aside]
        last = max(waited_for, key=lambda unit: unit.ended, default=None)
    chain.reverse()
    return chain


def longest_stop(run: Run) -> list[Unit]:
    """Return the hooks that the shutdown has waited for, first to last.

    As ``longest_chain``, along the reverse of the graph.
    """
    chain: list[Unit] = []
    last = max(run.units, key=lambda unit: unit.stop_ended, default=None)
    while last is not None:
        if last.stop_begun and last.hook is not None:
            chain.append(last)
        last = max(last.followers, key=lambda unit: unit.stop_ended, default=None)
    chain.reverse()
    return chain


def steps_of(run: Run) -> Iterator[Step]:
    """Yield the steps there are, in the order of the plan, phase by phase."""
    chain, stop_chain = set(longest_chain(run)), set(longest_stop(run))
    hooks = [unit for unit in run.units if unit.hook is not None]
    for unit in hooks:
        if unit.hook.kind in HAS_STARTUP and (unit.outcome or unit.state is State.STARTING):
            yield step_of(unit, Phase.STARTUP, on_chain=unit in chain)
        elif unit.outcome is Outcome.SKIPPED:
            yield step_of(unit, Phase.STARTUP)
    for unit in hooks:
        if unit.served_from:
            yield step_of(unit, Phase.SERVING)
    for unit in hooks:
        if unit.hook.kind in HAS_SHUTDOWN and unit.stop_begun:
            yield step_of(unit, Phase.SHUTDOWN, on_chain=unit in stop_chain)


def step_of(unit: Unit, phase: Phase, *, on_chain: bool = False) -> Step:
    """Return one step of a unit as it stands."""
    run, node, hook = unit.run, unit.node, unit.hook
    error: BaseException | None
    if phase is Phase.SHUTDOWN:
        begun, ended, phase_begun = unit.stop_begun, unit.stop_ended, run.stop_began
        outcome, error = unit.stop_outcome, unit.stop_error
    elif phase is Phase.SERVING:
        begun, ended, phase_begun = unit.served_from, unit.served_to, run.up_at
        outcome, error = unit.serving_outcome, unit.serving_error
    else:
        begun, ended, phase_begun = unit.begun, unit.ended, run.began
        outcome, error = unit.outcome, unit.error
    if outcome is None:
        ended = run.clock()
    return Step(
        node.label,
        hook.name,
        hook.kind,
        phase,
        outcome,
        node.priority,
        unit.attempt,
        # What comes up too late is left at once, which may be before the phase of stopping begins.
        max(0.0, begun - phase_begun) if phase_begun is not None and begun else 0.0,
        max(0.0, ended - begun),
        unit.reason,
        tuple(edges_into(run.plan, node)),
        on_chain,
        short(hook.file),
        hook.line,
        *path_and_text(error),
        traceback_of(error),
        unit.waited_at.get(phase, ""),
        unit.logs[phase].lines() if phase in unit.logs else (),
    )
