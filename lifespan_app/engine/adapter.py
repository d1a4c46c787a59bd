"""What the engine is given by the program around it. Django gives its own (``lifespan_app.integration.adapter``)."""

from __future__ import annotations

import copy
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from .advice import Advice
    from .context import LifespanContext
    from .hooks.hook import Hook
    from .planning.plan import Plan
    from .reporting.report import Observer
    from .running.current import OpensRuns
    from .running.portal import Waiter
    from .running.threads import SerialThread
    from .settings import Settings


PATIENT, UNKNOWN_SERVER = 300.0, 25.0
"""Startup deadlines in seconds: where nobody gives up before, and where a server might."""


class Change(Protocol):
    """A change to the plans and the adapter of the runs to come. Tests make such ones."""

    def to_plan(self, plan: Plan) -> Plan:
        """Return what is run in place of a plan. Raises ``LookupError`` for an unknown key."""

    def to_adapter(self, adapter: Adapter) -> Adapter:
        """Return what a run is given in place of an adapter."""

    def at_last(self, plan: Plan, changes: Sequence[Any]) -> Plan:
        """Return what is run in place of a plan that all changes have been made to."""


class Adapter:
    """The program around the engine, as a bare asyncio program has it."""

    turns: SerialThread | None = None
    """Where sync hooks take turns; None: they have threads of their own, side by side."""

    thread_patience = 0.001
    """How long the work of sync functions waits before their threads grow in number, in seconds."""

    @cached_property
    def observers(self) -> list[Observer]:
        """Who is told what runs do: at first, the log."""
        from .reporting.log import Log

        return [Log()]

    @cached_property
    def advice(self) -> Advice:
        """What to do where a resource can't be used: it depends on the program."""
        from .advice import Advice

        return Advice()

    def changed(self, **replaced: Any) -> Self:
        """Return a copy with other methods and attributes in place of some."""
        changed = copy.copy(self)
        vars(changed).update(replaced)
        return changed

    def app_label(self, module: str) -> str | None:
        """Return the label of the installed app that a module belongs to, or None."""
        return None

    def settings(self) -> Settings:
        """Return the settings, read anew for each plan."""
        from .settings import Settings

        return Settings()

    def startup_deadline(self, settings: Settings, server: str | None) -> float:
        """Return the seconds that a startup may take: where the settings leave it open, by the server.

        Args:
            settings: what they say.
            server: name and version of the ASGI server, "" for one that is not known, None where
                no server is.
        """
        if settings.startup_deadline is not None:
            return settings.startup_deadline
        return UNKNOWN_SERVER if server == "" else PATIENT

    def context(
        self, service_type: str | None = None, settings: Settings | None = None
    ) -> LifespanContext:
        """Return the context that a run has when it is given none.

        Args:
            service_type: of which it is; None: as the settings say.
            settings: what they say; None: they are read now.
        """
        from .context import LifespanContext

        settings = settings or self.settings()
        return LifespanContext(
            service_type or settings.service_type, settings.environment, settings.config
        )

    clock: Callable[[], float] = staticmethod(time.perf_counter)
    """The seconds of a clock that never goes back; a loop's own may be a cached one."""

    def time(self) -> float:
        """Return the time of day, as seconds since the epoch."""
        return time.time()

    def random(self) -> float:
        """Return a number from 0 to 1 by chance, for pauses that are to differ between processes."""
        import random

        return random.random()

    def around_thread(self, hook: Hook) -> AbstractContextManager[object] | None:
        """Return what is entered in a sync hook's thread for as long as the hook lives."""
        return None

    def around_task(self, hook: Hook) -> AbstractAsyncContextManager[object] | None:
        """Return what is entered in an async hook's task for as long as the hook lives."""
        return None

    def around_call(
        self, function: Callable[..., Any]
    ) -> AbstractAsyncContextManager[object] | None:
        """Return what is entered around an async function that another loop calls on a run's."""
        return None

    def at_yield_in_thread(self) -> None:
        """Hear, in the thread of a sync resource, that it is open, and has nothing to do meanwhile."""

    def at_yield_in_task(self) -> None:
        """Hear, in the task of an async resource, that it is open, and waits for its end."""

    def stop_server(self, server: str | None) -> None:
        """Ask the ASGI server to stop, gracefully: it is sent SIGTERM, as by the platform.

        Args:
            server: name and version of the server, as for ``startup_deadline``.
        """
        os.kill(os.getpid(), signal.SIGTERM)

    def waiter(self) -> Waiter:
        """Return what a sync thread waits with for async code that it has sent to a run's loop."""
        from .running.portal import Waiter

        return Waiter()

    def server(self) -> str:
        """Return name and version of the server whose task this is; "" if it is not known."""
        return ""

    def fallback_run(self, lifespan: OpensRuns, refusal: str) -> Any | None:
        """Return a run that stands in where nobody has opened one; None: there is none.

        Args:
            lifespan: whose run is meant.
            refusal: what can't be done without it, as the beginning of an error's sentence.

        Raises:
            NotRunning: it could not be opened.
        """
        return None

    async def on_server_startup(self) -> None:
        """Close what ``without_run`` has opened: a server's lifespan begins on the running loop."""

    def work_handed_over(self) -> None:
        """Take note, on the loop, that a thread was given work (a virtual clock stands still)."""

    def work_returned(self) -> None:
        """Take note, on the loop, that a thread has given work back."""
