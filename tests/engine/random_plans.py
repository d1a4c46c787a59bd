"""Random plans that go wrong in random ways, and what must hold for every one of them.

A plan is made from a seed, and so is what happens to it: hooks that raise, hang, ignore their
cancellation, cancel themselves or raise BaseExceptions, at startup and at shutdown; retries, rounds
and jobs that are given up; leases that are granted, refused and lost; spawned functions; drain
functions and a notice of the stop; a caller that is cancelled once or twice; a loop that ends. All of
it runs on a virtual clock, so a seed gives the same run each time.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import math
import random
import threading
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from lifespan_app import Lifespan, Retry
from lifespan_app.engine.errors import HookError
from lifespan_app.engine.planning.plan import HARD, Plan
from lifespan_app.engine.reporting.report import Outcome, Phase, Report, Status
from lifespan_app.engine.running.turns import GIVE_BACK_TIME
from lifespan_app.engine.settings import Settings
from tests.engine.lookups import run_of
from tests.engine.random_leases import RandomBoard
from tests.engine.random_spawns import Spawner, random_limits
from tests.engine.virtual_clock import Released, VirtualLoop, run_virtually

EARLY = 0.001
"""Seconds by which a limit may be judged early (the engine's own tolerance)."""

WAYS_TO_FAIL = (
    *("raise", "raise", "exit", "cancels itself", "hang", "hang"),
    *("ignore once", "ignore", "late"),
)
ASYNC_ONLY = frozenset({"cancels itself", "ignore once", "ignore", "late"})
WITHOUT_WAITING = 4
"""In each so many plans there are resources that the startup does not wait for."""
FIRST_PAUSE = 0.25
"""Seconds between the first and the second attempt to start."""
LATE = 4.0
"""Seconds after its first cancellation at which a hook that is late comes round."""


class Broken(Exception):
    """What a hook raises that was made to fail."""


class BrokenDown(SystemExit):
    """The same as a BaseException."""


@dataclass
class Manner:
    """How one half of a hook behaves."""

    delay: float = 0.0
    way: str = "ok"

    def __str__(self) -> str:
        return f"{self.delay:g}s {self.way}"


@dataclass
class Made:
    """One hook of a random plan."""

    name: str
    form: str
    enter: Manner
    leave: Manner
    needs: list[tuple[str, bool]]
    declared: list[str]
    options: dict[str, Any]
    flaky: int = 0
    """How many attempts to start fail before one is made in earnest."""

    def __str__(self) -> str:
        needs = ", ".join(f"{name}{'?' if default else ''}" for name, default in self.needs)
        return (
            f"{self.name}: {self.form}({needs}) after {self.declared} {self.options} "
            f"enter {self.enter}, leave {self.leave}, flaky {self.flaky}"
        )


@dataclass
class Event:
    """Something that a hook did."""

    time: float
    name: str
    what: str
    where: int


@dataclass
class World:
    """One random plan, what befalls it, and what was seen."""

    seed: int
    hooks: list[Made]
    settings: Settings
    serve_for: float
    cancel_at: float
    cancel_again_after: float
    end_loop_at: float
    notice_after: float
    """Seconds of serving after which the stop is announced."""
    journal: list[Event] = field(default_factory=list)
    tasks: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    errors: list[BaseException] = field(default_factory=list)
    stubborn: set[str] = field(default_factory=set)
    board: RandomBoard = field(init=False, repr=False)
    spawner: Spawner = field(init=False, repr=False)

    def __str__(self) -> str:
        lines = [f"seed {self.seed}", *map(str, self.hooks), f"settings {self.settings}"]
        lines.append(
            f"serve {self.serve_for:g}, cancel at {self.cancel_at:g}, again after "
            f"{self.cancel_again_after:g}, loop ends at {self.end_loop_at:g}, notice after "
            f"{self.notice_after:g}"
        )
        lines.append(f"grants {self.board.grants}, answered {self.board.answered}")
        lines.append(str(self.spawner))
        lines += [f"  {event.time - 1000:8.3f} {event.name} {event.what}" for event in self.journal]
        return "\n".join(lines)


def make_world(seed: int, *, threads: bool) -> World:
    """Return a random plan and what befalls it."""
    rng = random.Random(seed)
    forms = ["generator", "generator", "manager", "function", "shutdown", "job", "value"]
    if threads:
        forms += ["sync generator", "sync generator", "sync function", "sync shutdown"]
    trouble = rng.choice((0.0, 0.1, 0.3, 0.6))
    hooks: list[Made] = []
    for index in range(rng.randint(1, 9)):
        form = rng.choice(forms)
        earlier = [made.name for made in hooks if made.form in RESOURCES]
        startable = [made.name for made in hooks if made.form not in NOTHING_ON]
        needs = [
            (name, rng.random() < 0.25)
            for name in rng.sample(earlier, min(len(earlier), rng.choice((0, 0, 1, 1, 2))))
        ]
        taken = {name for name, _ in needs}
        free = [name for name in startable if name not in taken]
        declared = rng.sample(free, min(len(free), rng.choice((0, 0, 0, 1))))
        options: dict[str, Any] = {"priority": rng.choice((0, 0, 0, -1, 1))}
        if rng.random() < 0.3:
            options["required"] = False
        if form != "job" and rng.random() < 0.3:
            options["timeout"] = rng.choice((0.5, 1.0, 2.0, 4.0))
        if form in RESOURCES or form == "job":
            if rng.random() < 0.3:
                options["shutdown_timeout"] = rng.choice((0.5, 1.0, 3.0))
        hooks.append(
            Made(
                f"h{index}",
                form,
                make_manner(rng, trouble, form),
                make_manner(rng, trouble, form),
                needs,
                declared,
                options,
            )
        )
    if seed % WITHOUT_WAITING == 0:
        # By another generator, so that all the rest of a seed's plan stays what it was.
        aside = random.Random(f"aside {seed}")
        for made in hooks:
            if made.form in RESOURCES and aside.random() < 0.4:
                made.options["wait"] = False
    aside = random.Random(f"jobs {seed}")
    for made in hooks:
        if made.form == "job":
            make_job_begin_again(aside, made, threads=threads)
    aside = random.Random(f"retries {seed}")
    for made in hooks:
        if made.form not in NOTHING_ON and aside.random() < 0.3:
            made.options["retry"] = Retry(aside.choice((1, 3, 8)), first=FIRST_PAUSE, longest=1)
            made.flaky = aside.choice((0, 1, 2, 3))
    aside = random.Random(f"once {seed}")
    for made in hooks if aside.random() < 0.4 else ():
        if made.form in ONCE and aside.random() < 0.5:
            made.options["once"] = aside.choice(ONCE[made.form])
    aside = random.Random(f"drains {seed}")
    notice_after = math.inf
    if aside.random() < 0.25:
        leave = make_manner(aside, trouble, "drain")
        hooks.append(Made("drain", "drain", Manner(), leave, [], [], {}))
        notice_after = aside.choice((math.inf, 0.0, 0.5))
    settings = Settings(
        spawn=random_limits(seed),
        startup_deadline=rng.choice((3.0, 6.0, 30.0)),
        shutdown_timeout=rng.choice((1.0, 3.0, 5.0)),
        shutdown_deadline=rng.choice((2.0, 5.0, 8.0)),
    )
    cancel_at = rng.uniform(0, 8) if rng.random() < 0.3 else math.inf
    again = rng.uniform(0, 2) if rng.random() < 0.5 else math.inf
    end_loop = rng.uniform(0, 8) if rng.random() < 0.15 else math.inf
    serve_for = rng.choice((-1.0, 0.0, 1.0, 3.0))
    return World(seed, hooks, settings, serve_for, cancel_at, again, end_loop, notice_after)


def make_job_begin_again(rng: random.Random, made: Made, *, threads: bool) -> None:
    """Make rounds of some jobs, and let some begin again after a crash, until they are given up."""
    if rng.random() < 0.5:
        made.options["on_crash"] = "restart"
    if rng.random() < 0.5:
        made.options["every"] = rng.choice((0.5, 1.0, 2.0))
        made.options["first"] = rng.choice((0, 0, 0.5))
        if rng.random() < 0.5:
            made.options["timeout"] = rng.choice((0.2, 0.5, 1.0))
        if threads and made.enter.way not in ASYNC_ONLY and rng.random() < 0.5:
            made.form = "sync job"
    if rng.random() < 0.5 and made.options.keys() & {"on_crash", "every"}:
        made.options["give_up"] = (rng.choice((1, 2)), 5)
    if rng.random() < 0.3:
        made.options["stall_after"] = 3.0


RESOURCES = frozenset({"generator", "manager", "value", "sync generator"})
JOBS = frozenset({"job", "sync job"})
NOTHING_ON = frozenset({"shutdown", "sync shutdown", "drain"}) | JOBS
ONCE = {
    "function": ("release", "launch"),
    "sync function": ("release", "launch"),
    "job": ("cluster", "host"),
    "sync job": ("cluster", "host"),
}
"""The values of ``once`` for the forms that take it."""


def make_manner(rng: random.Random, trouble: float, form: str) -> Manner:
    """Return how one half of a hook behaves."""
    delay = rng.choice((0.0, 0.0, 0.1, 0.3, 1.0, 2.5))
    if rng.random() >= trouble:
        return Manner(delay)
    ways = [way for way in WAYS_TO_FAIL if "sync" not in form or way not in ASYNC_ONLY]
    return Manner(delay, rng.choice(ways))


class Play:
    """The functions of a world's hooks, and its run."""

    def __init__(self, world: World, lifespan: Lifespan, loop: VirtualLoop) -> None:
        self.world = world
        self.lifespan = lifespan
        self.loop = loop
        world.board = RandomBoard(world.seed, loop, self.runs, self.is_up)
        world.spawner = Spawner(world.seed, lifespan, loop, world.settings, self.behave_as_spawned)
        lifespan.adapter.leases = world.board

    def runs(self, name: str) -> bool:
        """Tell whether the code of a hook is running."""
        begun = sum(len(times(self.world, name, what)) for what in ("enter", "work"))
        ended = sum(len(times(self.world, name, what)) for what in ("failed", "up", "worked"))
        return begun > ended

    def is_up(self, name: str) -> bool:
        """Tell whether a start function has come to its end."""
        return bool(times(self.world, name, "up"))

    async def behave_as_spawned(self, name: str, delay: float, way: str) -> None:
        """Do what a spawned function does."""
        await self.behave(name, Manner(delay, way), "spawned")

    def note(self, name: str, what: str) -> None:
        where = threading.get_ident()
        task = asyncio.current_task() if asyncio._get_running_loop() else None
        if task is not None:
            where = id(task)
            self.world.tasks[name] = task
        self.world.journal.append(Event(self.loop.now, name, what, where))

    async def behave(self, name: str, manner: Manner, half: str) -> None:
        if manner.delay:
            await asyncio.sleep(manner.delay)
        if manner.way == "hang":
            await asyncio.sleep(10_000)
        elif manner.way == "ignore once":
            try:
                await asyncio.sleep(10_000)
            except asyncio.CancelledError:
                await asyncio.sleep(0.2)
        elif manner.way == "late":
            self.world.stubborn.add(name)
            await self.be_late()
        elif manner.way == "ignore":
            self.world.stubborn.add(name)
            while True:
                try:
                    await asyncio.sleep(10_000)
                except asyncio.CancelledError:
                    continue
        elif manner.way == "cancels itself":
            raise asyncio.CancelledError
        elif manner.way != "ok":
            self.fail(name, manner.way, half)

    async def be_late(self) -> None:
        until = math.inf
        while self.loop.now < until:
            try:
                await asyncio.sleep(min(until - self.loop.now, 10_000))
            except asyncio.CancelledError:
                until = min(until, self.loop.now + LATE)

    def behave_in_thread(self, name: str, manner: Manner, half: str) -> None:
        if manner.delay:
            self.loop.sleep_in_thread(manner.delay)
        if manner.way == "hang":
            self.world.stubborn.add(name)
            self.loop.hang_in_thread()
        elif manner.way != "ok":
            self.fail(name, manner.way, half)

    def begin(self, made: Made, what: str) -> None:
        """Note that the code of a hook begins."""
        if "once" in made.options:
            self.world.board.begins(made.name, in_thread="sync" in made.form)
        self.note(made.name, what)
        if made.form in JOBS:
            self.world.spawner.spawn_some()

    async def enter(self, made: Made) -> None:
        self.begin(made, "enter")
        try:
            self.be_flaky(made)
            await self.behave(made.name, made.enter, "enter")
        except BaseException:
            self.note(made.name, "failed")
            raise

    def enter_in_thread(self, made: Made) -> None:
        self.begin(made, "enter")
        try:
            self.be_flaky(made)
            self.behave_in_thread(made.name, made.enter, "enter")
        except BaseException:
            self.note(made.name, "failed")
            raise

    def be_flaky(self, made: Made) -> None:
        if len(times(self.world, made.name, "enter")) <= made.flaky:
            self.fail(made.name, "raise", "flaky")

    def fail(self, name: str, way: str, half: str) -> None:
        kind = BrokenDown if way == "exit" else Broken
        error = kind(f"{name} {half}")
        self.world.errors.append(error)
        raise error

    def declare(self, made: Made) -> None:
        """Declare one hook, in its form."""
        function = getattr(self, "make_" + made.form.replace(" ", "_"))(made)
        parameters = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None if default else inspect.Parameter.empty,
            )
            for name, default in made.needs
        ]
        function.__signature__ = inspect.Signature(parameters)
        function.__name__ = made.name
        # A module for each, or start functions would be chained as written.
        inspect.unwrap(function).__module__ = f"app_{made.name}"
        decorator: Any = {
            "function": self.lifespan.on_start,
            "sync function": self.lifespan.on_start,
            "shutdown": self.lifespan.on_shutdown,
            "sync shutdown": self.lifespan.on_shutdown,
            "drain": self.lifespan.on_drain,
            "job": self.lifespan.background,
            "sync job": self.lifespan.background,
        }.get(made.form, self.lifespan.resource)
        depends_on = [f"app_{name}.{name}" for name in made.declared]
        decorator(name=made.name, depends_on=depends_on, **made.options)(function)

    def make_generator(self, made: Made) -> Callable[..., Any]:
        async def generator(**given: Any) -> Any:
            await self.enter(made)
            self.note(made.name, "entered")
            self.world.spawner.spawn_some()
            try:
                yield made.name
            finally:
                self.note(made.name, "leave")
                try:
                    await self.behave(made.name, made.leave, "leave")
                finally:
                    self.note(made.name, "left")

        return generator

    def make_manager(self, made: Made) -> Callable[..., Any]:
        return asynccontextmanager(self.make_generator(made))

    def make_value(self, made: Made) -> Callable[..., Any]:
        async def value(**given: Any) -> str:
            await self.enter(made)
            self.note(made.name, "up")
            self.world.spawner.spawn_some()
            return made.name

        return value

    def make_function(self, made: Made) -> Callable[..., Any]:
        return self.make_value(made)

    def make_shutdown(self, made: Made) -> Callable[..., Any]:
        async def shutdown(**given: Any) -> None:
            self.note(made.name, "leave")
            try:
                await self.behave(made.name, made.leave, "leave")
            finally:
                self.note(made.name, "left")

        return shutdown

    def make_drain(self, made: Made) -> Callable[..., Any]:
        return self.make_shutdown(made)

    def make_job(self, made: Made) -> Callable[..., Any]:
        async def job(**given: Any) -> None:
            self.begin(made, "work")
            try:
                await self.behave(made.name, made.enter, "work")
                if "every" not in made.options:
                    await asyncio.sleep(10_000)
            finally:
                self.note(made.name, "worked")

        return job

    def make_sync_job(self, made: Made) -> Callable[..., Any]:
        def job(**given: Any) -> None:
            self.begin(made, "work")
            try:
                self.behave_in_thread(made.name, made.enter, "work")
            finally:
                self.note(made.name, "worked")

        return job

    def make_sync_generator(self, made: Made) -> Callable[..., Any]:
        def generator(**given: Any) -> Any:
            self.enter_in_thread(made)
            self.note(made.name, "entered")
            self.world.spawner.spawn_some()
            try:
                yield made.name
            finally:
                self.note(made.name, "leave")
                try:
                    self.behave_in_thread(made.name, made.leave, "leave")
                finally:
                    self.note(made.name, "left")

        return generator

    def make_sync_function(self, made: Made) -> Callable[..., Any]:
        def function(**given: Any) -> None:
            self.enter_in_thread(made)
            self.note(made.name, "up")
            self.world.spawner.spawn_some()

        return function

    def make_sync_shutdown(self, made: Made) -> Callable[..., Any]:
        def shutdown(**given: Any) -> None:
            self.note(made.name, "leave")
            try:
                self.behave_in_thread(made.name, made.leave, "leave")
            finally:
                self.note(made.name, "left")

        return shutdown


@dataclass
class Seen:
    """What came of a play."""

    plan: Plan
    report: Report
    raised: BaseException | None
    began: float
    asked_to_stop: float | None
    over: float
    loop_ended: bool
    threads_left: set[str]
    tasks_left: set[str]


async def play(world: World, lifespan: Lifespan, loop: VirtualLoop) -> Seen:
    """Run a world to its end."""
    play = Play(world, lifespan, loop)
    for made in world.hooks:
        play.declare(made)
    plan = lifespan.plan("app")
    asked: list[float] = []

    async def serve() -> BaseException | None:
        # Caught here: a Task lets a SystemExit out of the loop.
        try:
            async with lifespan.run("app"):
                world.spawner.spawn_some()
                if world.notice_after < math.inf:
                    loop.call_later(world.notice_after, run_of(lifespan).notice, "SIGTERM")
                try:
                    if world.serve_for >= 0:
                        await asyncio.sleep(world.serve_for)
                finally:
                    asked.append(loop.now)
        except BaseException as error:
            return error
        return None

    before = asyncio.all_tasks()
    began = loop.now
    body = asyncio.create_task(serve())
    if world.cancel_at < math.inf:
        loop.call_later(world.cancel_at, body.cancel)
        if world.cancel_again_after < math.inf:
            loop.call_later(world.cancel_at + world.cancel_again_after, body.cancel)
    ended: list[bool] = []

    def end_loop() -> None:
        ended.append(not body.done())
        for task in asyncio.all_tasks(loop) - before:
            task.cancel()

    if world.end_loop_at < math.inf:
        loop.call_later(world.end_loop_at, end_loop)
    await asyncio.wait({body})
    over = loop.now
    # What was abandoned late still has to be left, once it comes up by itself.
    await asyncio.sleep(30)
    raised = body.result()
    report = lifespan.report()
    assert report is not None
    left = {task.get_name() for task in asyncio.all_tasks() - before - {body}}
    return Seen(
        plan,
        report,
        raised,
        began,
        asked[0] if asked else None,
        over,
        any(ended),
        set(),
        {name.rpartition(".")[2] for name in left},
    )


def run_world(seed: int, *, threads: bool) -> tuple[World, Seen]:
    """Run the world of a seed, hold it against what must be true of every one, and return both.

    Raises:
        AssertionError: with the whole world and what was seen, and the seed first.
    """
    world = make_world(seed, threads=threads)
    seen = run_virtually(
        lambda lifespan, loop: play(world, lifespan, loop), settings=world.settings
    )
    faults = list(faults_of(world, seen))
    if faults:
        steps = "\n".join(
            f"  {step.key} {step.phase} {step.outcome} {step.offset:.3f} {step.duration:.3f} "
            f"{step.reason} {step.error}"
            for step in seen.report.steps
        )
        raise AssertionError(
            "\n".join([*faults, str(world), f"raised {seen.raised!r}", str(seen.report), steps])
        )
    return world, seen


def fates_of(world: World, seen: Seen) -> set[str]:
    """Return what has befallen a world, in words: to see that plans reach it at all."""
    fates = {f"a step {step.phase} {step.outcome}" for step in seen.report.steps}
    fates.add(f"a run {seen.report.status}")
    fates |= {"an attempt after a failed one" for step in seen.report.steps if step.attempt > 1}
    fates |= {"a job given up" for step in seen.report.steps if "is given up" in step.reason}
    fates |= {"a lease granted" for _ in world.board.grants}
    fates |= {"a lease lost" for _ in world.board.lost}
    fates |= {"a start run by another process" for _ in world.board.answered}
    fates |= {"a lease left to run out" for claim in world.board.claims if claim.still_runs}
    fates |= {"a spawned function that waits" for work in world.spawner.works if work.waited}
    fates |= {"a spawned function cut off" for work in world.spawner.works if not work.begins}
    fates |= {"a spawned function refused" for _ in world.spawner.refused_at}
    fates |= {"no place for a spawned function" for _ in range(world.spawner.full)}
    begun = stop_begun(seen)
    for event in world.journal:
        if made_form(world, event.name) == "drain" and begun and event.time < begun - EARLY:
            fates.add("a drain function at the notice")
    for made in world.hooks:
        up = times(world, made.name, "entered")
        ready = seen.report.startup_duration
        if up and ready is not None and is_aside(seen, made.name):
            if up[0].time > seen.began + ready + EARLY:
                fates.add("a resource up while the process serves")
        if len(times(world, made.name, "work")) > 1:
            fates.add("a job begun again")
    return fates


def faults_of(world: World, seen: Seen) -> Iterable[str]:
    """Yield what does not hold."""
    yield from left_once(world, seen)
    yield from nothing_before_what_it_needs(world, seen)
    yield from shutdown_is_the_reverse(world, seen)
    yield from the_first_error_is_kept(world, seen)
    yield from nothing_is_left_running(world, seen)
    yield from no_phase_passes_its_deadline(world, seen)
    yield from limits_are_kept(world, seen)
    yield from what_starts_is_cancelled_by_a_rollback(world, seen)
    yield from jobs_stop_in_reverse(world, seen)
    yield from rounds_never_overlap(world, seen)
    yield from jobs_are_given_up(world, seen)
    yield from attempts_are_as_they_were_asked_for(world, seen)
    yield from the_report_tells_the_truth(world, seen)
    yield from drains_come_first(world, seen)
    yield from world.board.faults_at_the_end()
    yield from spawned_functions_end_first(world, seen)


def times(world: World, name: str, what: str) -> list[Event]:
    """Return when a hook did a thing."""
    return [event for event in world.journal if event.name == name and event.what == what]


def outcome_of(seen: Seen, name: str, phase: Phase = Phase.STARTUP) -> Outcome | None:
    """Return how a hook's step ended, or None where there is no such step."""
    for step in seen.report.steps:
        if step.name == name and step.phase is phase:
            return step.outcome
    return None


def steps_of_hooks(world: World, seen: Seen) -> Iterable[tuple[Made, Any]]:
    """Return the steps of hooks; that of spawned functions is left out."""
    hooks = {made.name: made for made in world.hooks}
    return [(hooks[step.name], step) for step in seen.report.steps if step.name in hooks]


def reason_of(seen: Seen, name: str) -> str:
    """Return why a hook's start has ended as it has, or an empty string."""
    steps = [one for one in seen.report.steps if one.name == name and one.phase is Phase.STARTUP]
    return steps[0].reason if steps else ""


def is_abandoned(seen: Seen, name: str) -> bool:
    """Tell whether a hook was given up: it is named, and it may be left behind."""
    return any(
        step.name == name and step.outcome is Outcome.ABANDONED for step in seen.report.steps
    )


def left_once(world: World, seen: Seen) -> Iterable[str]:
    """Whatever was entered is left exactly once, in the same task or thread."""
    for made in world.hooks:
        entered, leave = times(world, made.name, "entered"), times(world, made.name, "leave")
        if made.form in ("generator", "manager", "sync generator"):
            attempts = len(times(world, made.name, "enter"))
            if len(entered) > 1 or (attempts > 1 and "retry" not in made.options):
                yield f"{made.name} was entered more than once"
            if len(leave) != len(entered):
                yield f"{made.name} was entered {len(entered)} times and left {len(leave)} times"
            if entered and leave and entered[0].where != leave[0].where:
                yield f"{made.name} was left in another task or thread than it was entered in"
        elif len(leave) > 1:
            yield f"{made.name} was fired {len(leave)} times"


def nothing_before_what_it_needs(world: World, seen: Seen) -> Iterable[str]:
    """Nothing starts before everything it waits for is up, or has failed where that may be."""
    begun = {name: events[0].time for name in names(world) if (events := begun_of(world, name))}
    position = {
        (event.name, event.what): index for index, event in reversed(list(enumerate(world.journal)))
    }
    for node in seen.plan.hooks:
        name = node.hook.name if node.hook else ""
        if name not in begun:
            continue
        mine = min(position[name, what] for what in ("enter", "work") if (name, what) in position)
        for wait in node.waits:
            leaders = [seen.plan.nodes[wait.node]]
            waits = node.options.wait
            if leaders[0].hook is None:
                waits = True
                leaders = [seen.plan.nodes[before.node] for before in leaders[0].waits]
            for leader in leaders:
                if waits and not leader.options.wait:
                    continue
                before = leader.hook.name if leader.hook else ""
                form = next((made.form for made in world.hooks if made.name == before), "")
                if not before or form in NOTHING_ON:
                    continue
                up = [
                    position[before, what]
                    for what in ("entered", "up")
                    if (before, what) in position
                ]
                is_up = (bool(up) and up[0] < mine) or before in world.board.answered
                if wait.reason in HARD and wait.hard and not is_up:
                    yield f"{name} began before {before}, which it needs, was up"
                outcome = outcome_of(seen, before)
                if not is_up and outcome in (None, Outcome.OK):
                    yield f"{name} began while {before} was still starting"


def names(world: World) -> list[str]:
    """Return the names of all hooks."""
    return [made.name for made in world.hooks]


def begun_of(world: World, name: str) -> list[Event]:
    """Return the begins of a hook's start, or of its work."""
    return times(world, name, "enter") or times(world, name, "work")


def shutdown_is_the_reverse(world: World, seen: Seen) -> Iterable[str]:
    """A hook is told to stop only when everything that stood on it is down.

    Stated exceptions: in the last second before the shutdown's deadline the order is given up, and
    what was abandoned is not waited for.
    """
    given_up = order_given_up(world, seen)
    followers: dict[int, list[int]] = {}
    for node in seen.plan.nodes:
        for wait in node.waits:
            followers.setdefault(wait.node, []).append(node.index)
    for node in seen.plan.hooks:
        name = node.hook.name if node.hook else ""
        leave = times(world, name, "leave")
        if not leave or leave[0].time >= given_up or leave_is_a_crash(world, seen, name):
            continue
        if outcome_of(seen, name) in (Outcome.TIMED_OUT, Outcome.ABANDONED):
            continue
        for index in reachable(followers, node.index):
            follower = seen.plan.nodes[index]
            other = follower.hook.name if follower.hook else ""
            if not other or is_abandoned(seen, other):
                continue
            ends = times(world, other, "left") or times(world, other, "worked")
            begins = (
                times(world, other, "entered")
                or times(world, other, "work")
                or times(world, other, "leave")
            )
            if begins and world.journal.index(begins[0]) < world.journal.index(leave[0]):
                is_down = len(ends) == len(begins)
                if not is_down or world.journal.index(ends[-1]) > world.journal.index(leave[0]):
                    yield f"{name} was told to stop before {other}, which stood on it, was down"
            elif begins and made_form(world, other) in ("shutdown", "sync shutdown"):
                yield f"{other} fired after {name}, which it stood on, was told to stop"


def made_form(world: World, name: str) -> str:
    """Return the form of a hook."""
    return next(made.form for made in world.hooks if made.name == name)


def leave_is_a_crash(world: World, seen: Seen, name: str) -> bool:
    """Tell whether a resource was left because its own code has ended while serving."""
    return outcome_of(seen, name, Phase.SERVING) is Outcome.CRASHED


def order_given_up(world: World, seen: Seen) -> float:
    """Return when the order may be given up: a second before the shutdown's deadline."""
    begun = stop_begun(seen)
    return math.inf if begun is None else begun + allowed_to_stop(world, seen) - 1.0 - EARLY


def stop_begun(seen: Seen) -> float | None:
    """Return when the run began to stop, by the virtual clock."""
    at = seen.report.stopping_at
    return None if at is None else at - 1_700_000_000


def allowed_to_stop(world: World, seen: Seen) -> float:
    """Return the seconds that the shutdown or the rollback had at least."""
    allowed = world.settings.shutdown_deadline
    if world.cancel_at < math.inf or seen.loop_ended:
        allowed = min(allowed, 3.0)
    begun = stop_begun(seen)
    if seen.report.ready_at is None and begun is not None:
        allowed = min(allowed, seen.began + startup_allowed(world, seen) + 4.0 - begun)
    if world.cancel_at < math.inf and begun is not None:
        cancelled = seen.began + world.cancel_at
        if cancelled > begun:
            allowed = min(allowed, cancelled + 3.0 - begun)
    return allowed


def startup_allowed(world: World, seen: Seen) -> float:
    """Return the seconds that the startup has: explicit longer limits lift the deadline."""
    limits = [
        made.options.get("timeout", 0.0)
        for made in world.hooks
        if made.form not in JOBS and not is_aside(seen, made.name)
    ]
    return max([world.settings.startup_deadline or 0.0, *limits])


def reachable(edges: dict[int, list[int]], start: int) -> set[int]:
    """Return everything that can be reached along edges."""
    found: set[int] = set()
    ready = list(edges.get(start, ()))
    while ready:
        index = ready.pop()
        if index not in found:
            found.add(index)
            ready += edges.get(index, ())
    return found


def the_first_error_is_kept(world: World, seen: Seen) -> Iterable[str]:
    """What is raised is the first error of a required hook, or one cancellation."""
    failed_startup = seen.report.status is Status.STARTUP_FAILED
    cancelled = isinstance(seen.raised, asyncio.CancelledError)
    if failed_startup and not cancelled:
        firsts = [
            (step.offset + step.duration, step)
            for step in seen.report.steps
            if step.phase is Phase.STARTUP
            and step.outcome in (Outcome.FAILED, Outcome.TIMED_OUT)
            and is_required(world, step.name)
            and not is_aside(seen, step.name)
        ]
        # What was abandoned had failed before: at its limit, or when the startup was given up.
        abandoned = [step.error for step in seen.report.steps if step.outcome is Outcome.ABANDONED]
        if not firsts or str(seen.raised) in abandoned:
            return
        earliest = min(time for time, _ in firsts)
        candidates = [step for time, step in firsts if time <= earliest + EARLY]
        text = str(seen.raised)
        if not any(
            (step.error and step.error in text) or text in step.error for step in candidates
        ):
            yield f"raised {seen.raised!r}, but first was {candidates}"
    if cancelled and world.cancel_at == math.inf and not seen.loop_ended:
        yield "a cancellation came out though nobody cancelled"
    if not failed_startup and not cancelled and seen.report.status is Status.STOPPED:
        if seen.raised is not None:
            yield f"raised {seen.raised!r} though the run stopped well"


def is_aside(seen: Seen, name: str) -> bool:
    """Tell whether the startup does not wait for a hook, nor for what that needs."""
    return any(
        node.hook and node.hook.name == name and not node.options.wait for node in seen.plan.nodes
    )


def is_required(world: World, name: str) -> bool:
    """Tell whether a hook is required."""
    return next(bool(m.options.get("required", True)) for m in world.hooks if m.name == name)


def nothing_is_left_running(world: World, seen: Seen) -> Iterable[str]:
    """No task is left, but of hooks that ignore every cancellation, and were named.

    What does not ignore two of them is not abandoned, unless the shutdown's deadline has passed.
    """
    begun = stop_begun(seen)
    at_deadline = begun is not None and seen.over >= begun + allowed_to_stop(world, seen) - EARLY
    for made in world.hooks:
        if is_abandoned(seen, made.name) and made.name not in world.stubborn and not at_deadline:
            # A thread can't be cancelled: one that is still at it is given up as well.
            if "sync" not in made.form:
                yield f"{made.name} was abandoned, and would have let itself be cancelled"
    for name in seen.tasks_left - world.spawner.task_names():
        if name not in world.stubborn:
            yield f"a task is left running: {name}"
        elif not is_abandoned(seen, name):
            yield f"{name} is left running, and was not said to be abandoned"


def no_phase_passes_its_deadline(world: World, seen: Seen) -> Iterable[str]:
    """Startup, rollback and shutdown have ended by their deadlines."""
    report = seen.report
    begun = stop_begun(seen)
    startup = startup_allowed(world, seen)
    if report.startup_duration is not None and report.startup_duration > startup + EARLY:
        yield f"the startup took {report.startup_duration:.3f} s of {startup:.3f} s"
    if begun is None:
        return
    took = seen.over - begun
    allowed = world.settings.shutdown_deadline
    if report.ready_at is None:
        allowed = min(allowed, seen.began + startup + 4.0 - begun)
    if report.ended_by in ("cancelled", "the event loop ended"):
        allowed = min(3.0, allowed)
    allowed = max(allowed, 0.0)
    if world.board.claims:
        allowed += GIVE_BACK_TIME
    if took > allowed + EARLY:
        yield f"the stop took {took:.3f} s of {allowed:.3f} s ({report.ended_by})"


def limits_are_kept(world: World, seen: Seen) -> Iterable[str]:
    """No hook is up after its limit: optional ones have ten seconds where nothing is said."""
    for made in world.hooks:
        aside = is_aside(seen, made.name)
        unlimited = aside or is_required(world, made.name)
        limit = made.options.get("timeout", math.inf if unlimited else 10.0)
        if "retry" in made.options:
            limit = made.options["retry"].for_
        begun = times(world, made.name, "enter")
        up = times(world, made.name, "entered") or times(world, made.name, "up")
        given_up = stop_begun(seen) if aside or seen.report.ready_at is None else None
        if begun and given_up is not None and given_up <= begun[0].time + limit:
            continue
        if begun and up and up[0].time - begun[0].time > limit + EARLY:
            if outcome_of(seen, made.name) not in (Outcome.TIMED_OUT, Outcome.ABANDONED):
                yield f"{made.name} came up after its limit of {limit:g} s, and that was taken"
        for step in seen.report.steps:
            if step.name == made.name and step.phase is Phase.STARTUP:
                # One that runs once has its limit for the wait, and again for the function.
                limit *= 1 + ("once" in made.options)
                if step.outcome is Outcome.TIMED_OUT and step.duration > limit + EARLY:
                    if step.duration < startup_allowed(world, seen) - EARLY:
                        yield f"{made.name} was timed out after {step.duration:g} of {limit:g} s"


def what_starts_is_cancelled_by_a_rollback(world: World, seen: Seen) -> Iterable[str]:
    """What is starting when the startup is given up is cancelled at that moment."""
    begun = stop_begun(seen)
    if begun is None or seen.report.ready_at is not None or seen.loop_ended:
        return
    for made, step in steps_of_hooks(world, seen):
        if step.phase is not Phase.STARTUP or step.outcome is not Outcome.CANCELLED:
            continue
        ended = seen.began + step.offset + step.duration
        if "sync" not in made.form and made.enter.way != "ignore once" and ended > begun + EARLY:
            yield f"{step.name} went on for {ended - begun:g} s after the startup was given up"


def jobs_stop_in_reverse(world: World, seen: Seen) -> Iterable[str]:
    """Jobs of a higher priority are down before those of a lower one are stopped."""
    given_up = order_given_up(world, seen)
    jobs = {
        node.hook.name: node.options.priority
        for node in seen.plan.hooks
        if node.hook and made_form(world, node.hook.name) in JOBS
    }
    for low in jobs:
        for high in jobs:
            crashed = outcome_of(seen, low, Phase.SERVING) is Outcome.CRASHED
            if jobs[low] >= jobs[high] or crashed or is_abandoned(seen, high):
                continue
            first, last = times(world, low, "worked"), times(world, high, "worked")
            asked = stop_begun(seen)
            if not first or not last or asked is None or first[-1].time < asked:
                continue
            if seen.loop_ended or first[-1].time >= given_up:
                continue
            if any(
                made.name == low and made.options.keys() & {"every", "once"} for made in world.hooks
            ):
                # Its round may end by itself before its turn, or its lease be lost.
                continue
            if world.journal.index(first[-1]) < world.journal.index(last[-1]):
                yield f"job {low} was stopped before {high}"


def rounds_never_overlap(world: World, seen: Seen) -> Iterable[str]:
    """A job begins again only when it has ended, a round not before its time."""
    for made in world.hooks:
        if made.form not in JOBS:
            continue
        events = [event for event in world.journal if event.name == made.name]
        for one, two in itertools.pairwise(events):
            if one.what == two.what:
                yield f"{made.name}: {one.what} at {one.time:g} and again at {two.time:g}"
        begins = [event.time for event in events if event.what == "work"]
        soonest = made.options.get("every", math.inf)
        # A new lease is a new beginning.
        again = world.board.was_granted
        if made.options.get("on_crash") == "restart":
            soonest = min(soonest, 1.0)
        for earlier, later in itertools.pairwise(begins):
            if later - earlier < soonest - EARLY and not again(made.name, earlier, later):
                yield f"{made.name} began at {earlier:g} and again at {later:g}"


def attempts_are_as_they_were_asked_for(world: World, seen: Seen) -> Iterable[str]:
    """An attempt begins a pause after the one before has ended, in the time that there is."""
    for made in world.hooks:
        events = [
            event
            for event in world.journal
            if event.name == made.name and event.what in ("enter", "failed", "entered", "up")
        ]
        begins = [event.time for event in events if event.what == "enter"]
        for before, event in itertools.pairwise(events):
            if event.what != "enter":
                continue
            if before.what != "failed":
                yield f"{made.name} was tried again, and had not failed"
            elif event.time - before.time < FIRST_PAUSE - EARLY:
                yield f"{made.name} failed at {before.time:g} and began again at {event.time:g}"
        if not begins:
            continue
        stop = stop_begun(seen)
        if stop is not None and begins[-1] > stop + EARLY:
            yield f"{made.name} was tried again after the startup was given up"
        for step in seen.report.steps:
            if step.name == made.name and step.phase is Phase.STARTUP:
                # One that is cancelled in the moment in which it begins has run nothing.
                # An attempt of one that runs once may end while it waits for its lease.
                unseen = math.inf if "once" in made.options else step.outcome is Outcome.CANCELLED
                if not 0 <= step.attempt - len(begins) <= unseen:
                    yield f"{made.name} began {len(begins)} times, and is said to be at {step.attempt}"
        if "retry" in made.options and begins[-1] > begins[0] + made.options["retry"].for_ - EARLY:
            yield f"{made.name} was tried again after its time"


def jobs_are_given_up(world: World, seen: Seen) -> Iterable[str]:
    """A job that was given up does not begin again, and one that begins again was not given up."""
    for made, step in steps_of_hooks(world, seen):
        most = made.options.get("give_up", (math.inf, 0))[0]
        if step.phase is Phase.SERVING and step.reason.startswith("it is given up"):
            ended = seen.began + (seen.report.startup_duration or 0) + step.offset + step.duration
            if any(event.time > ended + EARLY for event in times(world, made.name, "work")):
                yield f"{made.name} began again after it was given up"
        elif made.form in JOBS and most == 1 and step.outcome is Outcome.CRASHED:
            stop = stop_begun(seen)
            ended = seen.began + (seen.report.startup_duration or 0) + step.offset + step.duration
            if stop is None or ended < stop - EARLY:
                yield f"{made.name} crashed, and was not given up"


def the_report_tells_the_truth(world: World, seen: Seen) -> Iterable[str]:
    """What the report says of a hook is what the hook has seen."""
    report = seen.report
    if report.stopped_at is None or report.ready:
        yield "the report of a run that is over says that it is not"
    for made in world.hooks:
        name = made.name
        outcome = outcome_of(seen, name)
        if made.form in NOTHING_ON:
            fired = bool(times(world, name, "leave"))
            shutdown = outcome_of(seen, name, Phase.SHUTDOWN)
            if made.form != "job" and fired != (shutdown is not None):
                yield f"{name} fired: {fired}, but the report says {shutdown}"
            continue
        up = bool(times(world, name, "entered") or times(world, name, "up"))
        begun = bool(times(world, name, "enter"))
        if outcome is Outcome.OK and not up and name not in world.board.answered:
            yield f"{name} is said to have come up, and did not"
        # One that has lost its lease is cancelled, and may ignore that.
        too_late = outcome is Outcome.FAILED and name in world.board.lost
        if (
            up
            and not too_late
            and outcome not in (Outcome.OK, Outcome.TIMED_OUT, Outcome.ABANDONED)
        ):
            yield f"{name} came up, and is said to be {outcome}"
        # Its last attempt had failed, and the startup's time was used up before the next one.
        between = "retry" in made.options and "had failed with" in reason_of(seen, name)
        if outcome is Outcome.SKIPPED and begun and not between:
            yield f"{name} began, and is said to have been skipped"
        if outcome is None:
            yield f"the report says nothing of {name}"
        left = outcome_of(seen, name, Phase.SHUTDOWN)
        ended = bool(times(world, name, "left"))
        if left is Outcome.OK and made.form in ("generator", "manager", "sync generator"):
            if not ended:
                yield f"{name} is said to have been left, and was not"
        if left is Outcome.OK and made.leave.way in ("raise", "exit", "cancels itself"):
            if made.form in ("generator", "manager", "sync generator"):
                yield f"{name} failed to stop, and is said to have stopped"


def first_leave(world: World, seen: Seen) -> float | None:
    """Return when the first hook was told to stop, but for drain functions; None: out of order."""
    begun, given_up = stop_begun(seen), order_given_up(world, seen)
    leaves = [
        event.time
        for event in world.journal
        if event.what == "leave"
        and made_form(world, event.name) != "drain"
        and not leave_is_a_crash(world, seen, event.name)
        and outcome_of(seen, event.name) not in (Outcome.TIMED_OUT, Outcome.ABANDONED)
    ]
    if begun is None or not leaves or leaves[0] >= given_up or seen.loop_ended:
        return None
    return leaves[0]


def drains_come_first(world: World, seen: Seen) -> Iterable[str]:
    """A drain function ends before any hook is told to stop, and begins when the stop is known."""
    first, begun = first_leave(world, seen), stop_begun(seen)
    for made in world.hooks:
        if made.form != "drain":
            continue
        for event in times(world, made.name, "leave"):
            noticed = world.notice_after < math.inf
            if not noticed and (begun is None or event.time < begun - EARLY):
                yield f"{made.name} began at {event.time:g}, and nobody had asked for a stop"
        ends = times(world, made.name, "left")
        if (
            ends
            and first is not None
            and ends[0].time > first
            and not is_abandoned(seen, made.name)
        ):
            yield f"{made.name} ended at {ends[0].time:g}, and a hook was told to stop at {first:g}"


def spawned_functions_end_first(world: World, seen: Seen) -> Iterable[str]:
    """Spawned functions end, or are cut off, before any hook is told to stop."""
    outcome = outcome_of(seen, "spawned", Phase.SHUTDOWN)
    yield from world.spawner.faults_at_the_end(
        seen.over, stop_begun(seen), first_leave(world, seen), outcome
    )


__all__ = ["HookError", "Released", "run_world"]
