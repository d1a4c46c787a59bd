"""The log lines on slow hooks: the locations where they wait, and the code that blocks the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.report import IN_STARTUP, Phase
from lifespan_app.engine.settings import Settings
from lifespan_app.engine.stacks.watchdog import Watchdog
from lifespan_app.engine.wording import time_taken

from .deadlines import SLOW_SHUTDOWN, SLOW_STARTUP
from .hook_run import HookRun
from .slow_loop import LOG_PATIENCE, SlowLoop

if TYPE_CHECKING:
    from typing import Protocol

    from lifespan_app.engine.stacks.stacks import Location

    # A protocol is expensive to create, and only type checkers read it.
    class Seen(Protocol):
        """The part of a run that is needed here."""

        @property
        def loop(self) -> asyncio.AbstractEventLoop:
            """The loop of its hooks."""

        @property
        def adapter(self) -> Any:
            """The engine's adapter."""

        @property
        def settings(self) -> Settings:
            """The engine's settings."""

        def status_changed(self) -> None:
            """Notify the observers of the run's status. On the run's own loop."""

        def log_fields(self) -> dict[str, str]:
            """Return the ``extra`` of a log record about it."""

        def tell_slow(self) -> None:
            """Notify the observers of the steps so far. Any thread may call this."""


class SlowHooks:
    """The search for slow hooks in a long phase. It costs nothing before that.

    Args:
        run: the run.
    """

    def __init__(self, run: Seen) -> None:
        self._run = run
        self.loop = SlowLoop(
            run.settings.slow_loop, run.adapter.clock, run.log_fields, run.status_changed
        )
        """The loop while the process serves."""
        self._watchdog: Watchdog | None = None

    def begin(self, phase: Phase) -> None:
        """Watch over a phase that begins."""
        self.end()
        looks = SLOW_STARTUP if phase is IN_STARTUP else SLOW_SHUTDOWN
        self._watchdog = Watchdog(self._run.loop, self._blocked, after=looks)
        self._watchdog.begin()

    def end(self) -> None:
        """Look no more: the phase has ended."""
        if self._watchdog is not None:
            self._watchdog.end()
            self._watchdog = None

    def look(self, hook_runs: Sequence[HookRun]) -> None:
        """Log the hooks that the phase still waits for, each with its seconds and its location."""
        from lifespan_app.engine.stacks.stacks import (
            tasks_by_value,  # not paid for where nothing is slow
        )

        now = self._run.adapter.clock()
        tasks = tasks_by_value(current_hook, self._run.loop)
        for hook_run in hook_runs:
            step = hook_run.shutdown if hook_run.is_job else hook_run.step
            if step is None:
                continue
            logger.warning(
                "%s has been %s for %s. It waits at %s.",
                hook_run,
                "starting" if hook_run.phase is IN_STARTUP else "stopping",
                time_taken(now - step.begun),
                self.locate(hook_run, tasks.get(id(hook_run), ())) or "a place that can't be seen",
            )

    def locate(self, hook_run: HookRun, tasks: Iterable[asyncio.Task[Any]] | None = None) -> str:
        """Store the location where a hook waits, for its step in the report, and return it.

        Args:
            hook_run: the hook.
            tasks: the tasks that it has started, if they are known.
        """
        where = self._where(hook_run, tasks)
        hook_run.located(where)
        return where

    def _where(self, hook_run: HookRun, tasks: Iterable[asyncio.Task[Any]] | None) -> str:
        from lifespan_app.engine.stacks.stacks import (  # not paid for where nothing is slow
            locations_of,
            where_thread,
        )

        hook, execution = hook_run.hook, hook_run.execution
        if hook_run.waits_for_turn:
            behind = hook_run.once.waits_behind
            return f"its turn: {behind}" if behind else "its turn"
        if hook.where is not None:
            return str(hook.where())
        places: list[Location] = []
        if hook_run.on_loop:
            places = locations_of(
                execution.task, current_hook, hook_run, self._run.loop, among=tasks, home=hook.file
            )
        elif execution.thread is not None:
            place = where_thread(execution.thread, home=hook.file)
            places = [place] if place is not None else []
        return "; ".join(map(str, places))

    def _blocked(self, place: Location | None, seconds: float) -> None:
        logger.warn_within(
            LOG_PATIENCE,
            "The event loop has been blocked for %s; no hook can progress, no timeout can fire: "
            "%s. Make a hook that blocks a plain function ('def'), which runs in a thread; or call "
            "what blocks with asyncio.to_thread().",
            time_taken(seconds),
            place or "the place can't be seen",
            about=self._run.log_fields(),
        )
        hook_run = self._on_the_loop()
        if hook_run is not None:
            hook_run.located(str(place or ""))
        self._run.tell_slow()

    def _on_the_loop(self) -> HookRun | None:
        """Return the hook whose code runs on the loop now. Called in another thread."""
        from lifespan_app.engine.stacks.stacks import (
            context_of,  # not paid for where nothing is slow
        )

        task = asyncio.current_task(self._run.loop)
        context = None if task is None else context_of(task)
        found = None if context is None else context.get(current_hook)
        return found if isinstance(found, HookRun) else None
