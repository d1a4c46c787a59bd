"""A scheduler without a loop, that a test tells what happens, second by second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.journal import Entry, Journal
from lifespan_app.engine.reporting.report import IN_SHUTDOWN, IN_STARTUP, Phase, Readiness
from lifespan_app.engine.running.deadlines import Limits
from lifespan_app.engine.running.graph import Graph
from lifespan_app.engine.running.hook_run import HookRun
from lifespan_app.engine.running.scheduler import Do, Scheduler
from tests.engine.apps import HostWithApps, written_in
from tests.engine.leases import Board

LIMITS = Limits(startup=30.0, stop=5.0, shutdown=8.0)
SILENT = (Do.STATUS, Do.FAILED, Do.CLOSED, Do.OPENED, Do.WARM, Do.ROUND)
"""Commands that only tell somebody something."""


class Plot:
    """A scheduler with the hooks of a ``Lifespan``, told what happens, second by second.

    Args:
        declare: declares the hooks.
        limits: what the run is allowed.
    """

    def __init__(self, declare: Callable[[Lifespan], object], limits: Limits = LIMITS) -> None:
        lifespan = Lifespan(HostWithApps())
        lifespan.adapter.leases = Board()
        declare(lifespan)
        plan = lifespan.plan("app")
        self.now = 0.0
        self.journal = Journal(plan.nodes, lambda: self.now)
        self.graph = Graph(self, plan, label_of=lifespan.adapter.app_label)  # type: ignore[arg-type]
        self.scheduler = Scheduler(self.graph, self.journal, limits)

    def hook(self, name: str) -> HookRun:
        """Return a hook by its name."""
        return next(one for one in self.graph.hook_runs if one.hook and one.hook.name == name)

    def entry(self, name: str, phase: Phase = IN_STARTUP) -> Entry:
        """Return the last entry of a hook's step."""
        hook = self.hook(name)
        entry = {IN_STARTUP: hook.startup, IN_SHUTDOWN: hook.shutdown}.get(phase, hook.serving)
        assert entry is not None
        return entry

    def commands(self) -> list[str]:
        """Return what the scheduler wants done, and take it for done."""
        told = [told_of(command) for command in self.scheduler.commands if command[0] not in SILENT]
        self.scheduler.commands.clear()
        return told

    # Events.

    def begin(self) -> list[str]:
        self.scheduler.begin(self.now, tells_steps=False)
        return self.commands()

    def up(self, name: str) -> list[str]:
        self.scheduler.came_up(self.now, self.hook(name), name)
        return self.commands()

    def ends(self, name: str, error: BaseException | None = None) -> list[str]:
        self.scheduler.ended(self.now, self.hook(name), error)
        return self.commands()

    def serves(self) -> list[str]:
        self.scheduler.service_begins(self.now, tells_steps=False)
        return self.commands()

    def stops(self, *, quick: bool = False) -> list[str]:
        self.scheduler.stop(self.now, quick=quick, ended_by="the test")
        assert "stop begins" in self.commands()
        return self.stop_begins()

    def stop_begins(self) -> list[str]:
        self.scheduler.shutdown_begins(self.now, tells_steps=False)
        return self.commands()

    def at(self, seconds: float) -> list[str]:
        """Let the time pass; the scheduler is asked whenever it wants to be."""
        told = []
        while (wake_at := self.scheduler.wake_at) <= seconds:
            self.now = max(self.now, wake_at)
            self.scheduler.time_passed(self.now)
            told += [command for command in self.commands() if not command.startswith("look")]
        self.now = seconds
        return told

    def looks_until(self, seconds: float) -> dict[float, list[str]]:
        """Let the time pass; return when it was looked where hooks wait, and where which ones."""
        looked = {}
        while (wake_at := self.scheduler.wake_at) <= seconds:
            self.now = wake_at
            self.scheduler.time_passed(self.now)
            for command in self.scheduler.commands:
                if command[0] is Do.LOOK:
                    looked[self.now] = [one.hook.name for one in command[1]]
            self.scheduler.commands.clear()
        return looked

    def readiness(self) -> Readiness:
        """Return whether requests may come."""
        return self.scheduler.readiness(stop_is_known=False, failing=())


def told_of(command: tuple[Any, ...]) -> str:
    words = {Do.STOP: "stop begins"}.get(command[0], str(command[0]))
    names = [one.hook.name for one in command[1:] if isinstance(one, HookRun)]
    return " ".join([words, *names])


async def nothing() -> None: ...


def resource(lifespan: Lifespan, name: str, *needs: str, **options: Any) -> None:
    in_thread = options.pop("in_thread", False)

    async def on_loop() -> Any:
        yield

    def threaded() -> Any:
        yield

    function = written_in("shop.lifespan")(threaded if in_thread else on_loop)
    lifespan.resource(name=name, depends_on=[f"shop.{one}" for one in needs], **options)(function)


def job(lifespan: Lifespan, name: str, **options: Any) -> None:
    async def work() -> None: ...

    lifespan.background(name=name, **options)(written_in("shop.lifespan")(work))


def chain(lifespan: Lifespan, **options: Any) -> None:
    """Declare a database, a cache that needs it, and a client that needs nothing."""
    resource(lifespan, "db")
    resource(lifespan, "cache", "db", **options)
    resource(lifespan, "client")


def served(declare: Callable[[Lifespan], object], *names: str, limits: Limits = LIMITS) -> Plot:
    """Return a plot in which some resources are up and the process serves."""
    plot = Plot(declare, limits)
    plot.begin()
    for name in names:
        plot.up(name)
    plot.serves()
    return plot
