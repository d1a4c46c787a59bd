"""How far a hook is that takes long, as it says itself."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import NamedTuple

from .current import here
from .logger import logger
from .unit import Unit


class Progress(NamedTuple):
    """What a hook has said last."""

    fraction: float
    doing: str

    def __str__(self) -> str:
        share = f"{int(self.fraction * 100)} %"
        return f"{share}, {self.doing}" if self.doing else share


def tell_progress(fraction: float, doing: str) -> None:
    """Take note of what a hook says, as ``Lifespan.progress`` describes it."""
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)):
        raise TypeError(f"progress is a number from 0 to 1, such as 0.6, not {fraction!r}.")
    if not 0 <= fraction <= 1:
        raise ValueError(f"progress is a number from 0 to 1, such as 0.6, not {fraction!r}.")
    unit = here.get()
    if not isinstance(unit, Unit) or unit.phase is None:
        return
    run = unit.run
    before = run.progress.get(unit)
    now = run.progress[unit] = Progress(fraction, str(doing))
    if before is not None and str(before) == str(now):
        # A loop over a million rows says the same ten thousand times.
        return
    log(unit, now)
    if asyncio._get_running_loop() is run.loop:
        run.telling.progressed()
    else:
        with suppress(RuntimeError):  # the loop is closed: nobody listens
            run.loop.call_soon_threadsafe(run.telling.progressed)


def log(unit: Unit, progress: Progress) -> None:
    """Log what a hook says; where the project's logging lets nothing through, keep it all the same."""
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s: %s.", unit, progress)
        return
    sink = unit.sink()
    if sink is not None:
        text, values = "%s: %s.", (unit, progress)
        sink.add(logging.LogRecord(logger.name, logging.INFO, "", 0, text, values, None))
