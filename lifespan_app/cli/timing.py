"""The output of ``showlifespan --blame`` and ``--longest-chain``, as that of ``systemd-analyze``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError

from lifespan_app.engine.wording import did_you_mean
from lifespan_app.history.reading import describe, time_text
from lifespan_app.models import LifespanStep, Outcome, Phase

from .command import FAILED, CommandWithExitCodes
from .show import nothing, read
from .terminal import printable

NOT_RUN = (Outcome.SKIPPED, Outcome.CANCELLED)


def show(command: CommandWithExitCodes, options: Mapping[str, Any]) -> None:
    """Print the times of the startup of one run.

    Raises:
        CommandError: there is no such run, or no such hook in it.
    """
    runs, is_known = read(command, options)
    if not runs:
        raise CommandError(nothing(options, is_known=is_known), returncode=FAILED)
    steps = describe.in_phase(runs[0][1], Phase.STARTUP)
    started = [step for step in steps if step.outcome not in NOT_RUN]
    lines = blame(started) if options["blame"] else chain(started, options["longest_chain"])
    for line in lines:
        command.stdout.write(line)


def blame(steps: Sequence[LifespanStep]) -> Iterator[str]:
    """Yield the hooks with their times, the slowest first."""
    slowest = sorted(steps, key=lambda step: step.duration, reverse=True)
    times = [time_text.duration(step.duration) for step in slowest]
    width = max(map(len, times), default=0)
    for step, time in zip(slowest, times, strict=True):
        place = describe.place(step)
        yield printable(f"{time:>{width}}  {step.key}{f' ({place})' if place else ''}")


def chain(steps: Sequence[LifespanStep], key: str) -> Iterator[str]:
    """Yield a hook and the hooks that it waited for: of several, the one that was up last.

    Args:
        steps: the steps of a startup.
        key: the hook; an empty string: the one that the startup waited for last.

    Raises:
        CommandError: there is no such hook.
    """
    by_key = {step.key: step for step in steps}
    if key and key not in by_key:
        hint = did_you_mean(key, by_key)
        raise CommandError(f"No hook '{key}' has started in this run.{hint}", returncode=FAILED)
    on_chain = [step for step in steps if step.on_critical_chain] or steps
    step = by_key[key] if key else max(on_chain, key=describe.ended, default=None)
    depth, reason = 0, ""
    while step is not None:
        indent = "  " * (depth - 1) + "└─" if depth else ""
        times = f"@{time_text.duration(step.offset)} +{time_text.duration(step.duration)}"
        yield printable(f"{indent}{step.key} {times}{reason}")
        del by_key[step.key]
        before = [(by_key[other], why) for other, why in step.needs if other in by_key]
        step, why = max(before, key=lambda one: describe.ended(one[0]), default=(None, ""))
        depth, reason = depth + 1, f" ({describe.edge(why)})"
