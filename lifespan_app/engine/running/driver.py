"""The driver: passes events to the scheduler, and runs its commands in the run's own context."""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.logger import logger

from .scheduler import Command, Do, Scheduler

MOST_FAULTS = 3
"""The number of the engine's own faults after which a run ends at once."""

Event = Callable[..., None]


class Driver:
    """The handling of one instant: an event, its consequences, and the next time to look.

    Args:
        scheduler: receives the events, and returns commands.
        clock: returns the time of an event, in seconds.
        context: the run's own context, so that commands are part of no hook.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        clock: Callable[[], float],
        context: contextvars.Context,
    ) -> None:
        self._scheduler = scheduler
        self._commands = scheduler.commands
        self._do: Mapping[Do, Callable[..., None]] = {}
        self._clock = clock
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._busy = False
        self._inbox: deque[tuple[Event, tuple[Any, ...]]] = deque()
        """Events that arrive while another one is handled."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._faults = 0

    def carries_out(self, do: Mapping[Do, Callable[..., None]]) -> None:
        """Set the function for each command."""
        self._do = do

    def handle(self, event: Event, *args: Any) -> None:
        """Handle an event, on the loop: at once, or behind the one that is being handled.

        Args:
            event: a method of the scheduler, called with the time and ``args``.
            args: its arguments.
        """
        if self._busy:
            self._inbox.append((event, args))
            return
        self._busy = True
        try:
            event(self._clock(), *args)
        except BaseException as error:
            self._context.run(self._fault, error)
        # Mostly there is nothing to do, so the common case is quick.
        if self._commands or self._inbox:
            self._context.run(self._carry_out)
        self._busy = False
        if self._scheduler.wake_at < self._timer_at:
            self._set_timer()

    def _carry_out(self) -> None:
        """Run the commands, and handle the events that arrive meanwhile."""
        commands, do = self._commands, self._do
        while commands or self._inbox:
            try:
                if commands:
                    command = commands.popleft()
                    do[command[0]](*command[1:])
                else:
                    event, args = self._inbox.popleft()
                    event(self._clock(), *args)
            except BaseException as error:
                self._fault(error)

    # Faults of the engine's own: the run fails, and each caller that waits gets an answer.

    def _fault(self, error: BaseException) -> None:
        self._log_fault(error)
        self._faults += 1
        if self._faults <= MOST_FAULTS:
            try:
                self._scheduler.fault(self._clock(), error)
            except BaseException as another:
                self._log_fault(another)
            else:
                return
        self._inbox.clear()
        self._scheduler.end_at_once(error)
        for command in list(self._commands):
            self._do_what_can_be_done(command)
        self._commands.clear()

    def _do_what_can_be_done(self, command: Command) -> None:
        try:
            self._do[command[0]](*command[1:])
        except BaseException as error:
            self._log_fault(error)

    def _log_fault(self, error: BaseException) -> None:
        """Log a fault with the run that it belongs to."""
        run = self._context.get(current_hook)
        logger.error("A fault in lifespan_app itself, at %s. Please report it.", run, error=error)

    # The timer.

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._scheduler.wake_at
        delay = max(0.0, self._timer_at - self._clock())
        # A copy, as the commands enter the run's own context once more.
        context = self._context.copy()
        self._timer = self._loop.call_later(delay, self._time_passed, context=context)

    def _time_passed(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        self.handle(self._scheduler.time_passed)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
