"""The interface between the engine and its host program; ``integration/adapter.py`` is Django's."""

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
    from .lease import Leases
    from .planning.plan import Plan
    from .reporting.report import Observer
    from .running.current import OpensRuns
    from .running.portal import Waiter
    from .running.threads import SerialThread
    from .settings import Settings

    class Change(Protocol):
        """A change to the plan and the adapter of the runs to come, as tests make."""

        def to_plan(self, plan: Plan) -> Plan:
            """Return the changed plan. Raises ``LookupError`` for an unknown key."""

        def to_adapter(self, adapter: Adapter) -> Adapter:
            """Return the changed adapter."""

        def at_last(self, plan: Plan, changes: Sequence[Any]) -> Plan:
            """Return the plan after all changes, with a last one."""


PATIENT, UNKNOWN_SERVER = 300.0, 25.0
"""Startup deadlines in seconds: when nothing gives up earlier, and when a server might."""


class Adapter:
    """The program around the engine, as a bare asyncio program has it."""

    turns: SerialThread | None = None
    """The thread in which sync hooks run one at a time; None: each has a thread of its own."""

    thread_patience = 0.001
    """Seconds that a sync function waits for a free thread before another thread is started."""

    @cached_property
    def observers(self) -> list[Observer]:
        """The observers of every run; the log is the first."""
        from .reporting.log import Log

        return [Log()]

    @cached_property
    def advice(self) -> Advice:
        """The advice for code that can't use a resource: it depends on the program."""
        from .advice import Advice

        return Advice()

    def changed(self, **replaced: Any) -> Self:
        """Return a copy with other methods and attributes in place of some."""
        changed = copy.copy(self)
        vars(changed).update(replaced)
        return changed

    def masked(self, text: str) -> str:
        """Return a text with its secrets masked: texts of errors and of progress, before they are shown."""
        return text

    def app_label(self, module: str) -> str | None:
        """Return the label of the installed app that a module belongs to, or None."""
        return None

    def settings(self) -> Settings:
        """Return the settings, read anew for each plan."""
        from .settings import Settings

        return Settings()

    def startup_deadline(self, settings: Settings, server: str | None) -> float:
        """Return the seconds that a startup may take; if the settings say "auto", the server's.

        Args:
            settings: the settings.
            server: name and version of the ASGI server; "" if it is unknown, None without
                a server.
        """
        if settings.startup_deadline is not None:
            return settings.startup_deadline
        return UNKNOWN_SERVER if server == "" else PATIENT

    def context(
        self, service_type: str | None = None, settings: Settings | None = None
    ) -> LifespanContext:
        """Return the context that a run has when it is given none.

        Args:
            service_type: its service type; None: from the settings.
            settings: the settings; None: they are read now.
        """
        from .context import LifespanContext

        settings = settings or self.settings()
        return LifespanContext(
            service_type or settings.service_type, settings.environment, settings.config
        )

    def plan_of_server(self, plan: Plan) -> Plan:
        """Return the plan of a server's run, with steps of the program's own."""
        return plan

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
        """Return a context manager around a sync hook in its thread, or None."""
        return None

    def around_task(self, hook: Hook) -> AbstractAsyncContextManager[object] | None:
        """Return a context manager around an async hook in its task, or None."""
        return None

    def around_call(
        self, function: Callable[..., Any]
    ) -> AbstractAsyncContextManager[object] | None:
        """Return a context manager around an async function that another loop calls, or None."""
        return None

    def at_yield_in_thread(self) -> None:
        """Note, in the thread of a sync resource, that it is open and idle."""

    def at_yield_in_task(self) -> None:
        """Note, in the task of an async resource, that it is open and waits for its end."""

    def stop_server(self, server: str | None) -> None:
        """Ask the ASGI server to stop gracefully, with SIGTERM, as the platform does.

        Args:
            server: name and version of the server, as for ``startup_deadline``.
        """
        if os.name == "nt":
            # There os.kill() ends a process without its handlers:
            # https://docs.python.org/3/library/os.html#os.kill
            signal.raise_signal(signal.SIGTERM)
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    def waiter(self) -> Waiter:
        """Return a waiter for a sync thread that has sent async code to a run's loop."""
        from .running.portal import Waiter

        return Waiter()

    def server(self) -> str:
        """Return name and version of the server of the current task, or "" if it is unknown."""
        return ""

    def fallback_run(self, lifespan: OpensRuns, refusal: str) -> Any | None:
        """Return a run for code without one, or None.

        Args:
            lifespan: the ``Lifespan`` of the run.
            refusal: the beginning of an error's sentence, such as "'x' can't be read".

        Raises:
            NotRunning: it could not be opened.
        """
        return None

    async def on_server_startup(self) -> None:
        """Close the fallback run: a server's lifespan begins on the running loop."""

    leases: Leases | None = None
    """The backend of leases, for hooks that run once; None: there is none."""

    def takes_leases(self, mode: str) -> bool:
        """Return True if a run takes leases; otherwise, hooks that run once run in it like any other.

        Args:
            mode: the way the run was opened.
        """
        from .reporting.report import Mode

        return mode not in (Mode.TEST, Mode.CHECK)

    def work_handed_over(self) -> None:
        """Note, on the loop, that a thread was given work (a virtual clock stands still)."""

    def work_returned(self) -> None:
        """Take note, on the loop, that a thread has given work back."""
