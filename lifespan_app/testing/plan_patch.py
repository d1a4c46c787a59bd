"""Patches of a plan for tests: values for resources, and faults for any hook."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.hooks.hook import (
    IN_THREAD,
    ONLY_AT_END,
    RESOURCE,
    START,
    SYNC_GENERATOR,
    Hook,
    innermost,
    place_of,
)
from lifespan_app.engine.planning.plan import HARD, Node, Plan
from lifespan_app.engine.reporting.report import IN_SERVICE
from lifespan_app.engine.running.handle import Resource
from lifespan_app.engine.running.hook_run import STOPPING, UP, HookRun
from lifespan_app.engine.wording import did_you_mean

if TYPE_CHECKING:
    from lifespan_app.engine.adapter import Adapter
    from lifespan_app.engine.running.run import Run
    from lifespan_app.engine.running.threads import SerialThread

HookReference: TypeAlias = str | Resource[Any] | Callable[..., Any]
"""A hook in a test: its key, its function, or the handle of a resource."""
MakesError: TypeAlias = Callable[[Hook], BaseException]


class Change:
    """A change to the plan of the runs that begin from now on; this base class changes nothing."""

    requested: Iterable[Hook] = ()
    """Hooks that are to run though nothing may need them any more."""

    def to_plan(self, plan: Plan) -> Plan:
        """Return the changed plan. Raises ``LookupError`` for an unknown key."""
        return plan

    def to_adapter(self, adapter: Adapter) -> Adapter:
        """Return the changed adapter of a run."""
        return adapter

    def at_last(self, plan: Plan, changes: Sequence[Change]) -> Plan:
        """Return a plan without the resources that only replaced ones needed."""
        return without_unneeded(plan, {hook for change in changes for hook in change.requested})


# The choice of hooks.


def nodes_of(plan: Plan, wanted: HookReference) -> list[Node]:
    """Return the nodes of a plan that a test means: start and shutdown halves share a key.

    Raises:
        LookupError: a key that is neither in the plan nor excluded from it.
    """
    if isinstance(wanted, str):
        found = [node for node in plan.nodes if node.hook is not None and node.key == wanted]
        if not found and all(excluded.key != wanted for excluded in plan.excluded):
            known = plan.order
            raise LookupError(
                f"No hook has the key '{wanted}'.{did_you_mean(wanted, known)} The plan of service "
                f"type '{plan.service_type}' holds: {', '.join(known) or 'none'}."
            )
        return found
    if isinstance(wanted, Resource):
        return [node for node in plan.nodes if node.hook == wanted.hook]
    return [node for node in plan.nodes if node.hook is not None and node.hook.function == wanted]


class Only(Change):
    """Run some hooks, and their dependencies.

    Args:
        wanted: the hooks.
    """

    def __init__(self, wanted: Iterable[HookReference]) -> None:
        if isinstance(wanted, str) or not isinstance(wanted, Iterable):
            raise TypeError(f"only= takes a list of hooks, such as only=[{wanted!r}].")
        self._wanted = list(wanted)

    def to_plan(self, plan: Plan) -> Plan:
        """Return the part of a plan that is wanted.

        Raises:
            LookupError: the plan does not hold one of the hooks.
        """
        nodes: list[Node] = []
        for wanted in self._wanted:
            found = nodes_of(plan, wanted)
            if not found:
                raise LookupError(
                    f"The plan of service type '{plan.service_type}' does not hold {wanted!r}: "
                    f"{why_excluded(plan, wanted)}. It holds: {', '.join(plan.order) or 'none'}."
                )
            nodes += found
        self.requested = {node.hook for node in nodes if node.hook is not None}
        return plan.only(node.key for node in nodes)


def why_excluded(plan: Plan, wanted: HookReference) -> str:
    """Return the reason that a plan does not hold a hook, as the end of a sentence."""
    file, line = place_of_reference(wanted)
    for excluded in plan.excluded:
        if excluded.key == wanted or (excluded.file, excluded.line) == (file, line):
            return f"it is {excluded.reason}"
    return "it is declared nowhere in this Lifespan"


def place_of_reference(wanted: HookReference) -> tuple[str, int]:
    """Return file and line of a hook, if they are known."""
    if isinstance(wanted, Resource):
        return wanted.hook.file, wanted.hook.line
    return ("", 0) if isinstance(wanted, str) else place_of(innermost(wanted), None)


# Values in place of resources.


class ReplacedHook(Hook):
    """A resource's hook as a test has replaced it: it gives a value, opens and needs nothing.

    It equals the original, so that dependents find it.

    Args:
        original: the replaced hook.
        value: the replacement.
        needed: the hooks that the original needs.
    """

    __slots__ = ("needed", "original")

    def __init__(self, original: Hook, value: object, needed: Iterable[Hook]) -> None:
        for name in Hook.__slots__:
            if name != "__weakref__":
                setattr(self, name, getattr(original, name))

        def give() -> Iterator[object]:
            yield value

        # This form does not look at the value: no __aenter__, no aclose.
        self.function = give
        self.form = SYNC_GENERATOR
        self.parameters = ()
        if isinstance(original, ReplacedHook):
            self.original: Hook = original.original
            self.needed: frozenset[Hook] = original.needed
        else:
            self.original = original
            self.needed = frozenset(needed)

    def __eq__(self, other: object) -> bool:
        return self.original is (other.original if isinstance(other, ReplacedHook) else other)

    def __hash__(self) -> int:
        return hash(self.original)


def replaced(plan: Plan, wanted: HookReference, value: object) -> Plan:
    """Return a plan in which one resource is a value.

    Raises:
        LookupError: an unknown key.
        TypeError: the hook is no resource.
    """
    found = nodes_of(plan, wanted)
    if not found:
        return plan
    nodes = list(plan.nodes)
    for node in found:
        hook = node.hook
        assert hook is not None
        if hook.kind is not RESOURCE:
            raise TypeError(
                f"override() replaces the value of a resource, and '{node.key}' is a {hook.kind} "
                "hook. Leave it out with lifespan_running(only=[...])."
            )
        hard = [plan.nodes[wait.node].hook for wait in node.waits if wait.reason in HARD]
        nodes[node.index] = node._replace(
            hook=ReplacedHook(hook, value, [needed for needed in hard if needed is not None]),
            arguments=(),
            waits=tuple(wait for wait in node.waits if wait.reason not in HARD),
        )
    return Plan(plan.service_type, nodes, plan.excluded)


def without_unneeded(plan: Plan, kept: Collection[Hook] = ()) -> Plan:
    """Return a plan without the resources that only replaced ones needed.

    A hook with another dependent stays, and so does one without any: views may read it.

    Args:
        plan: a plan.
        kept: hooks that stay in any case.
    """
    replacements = [node.hook for node in plan.nodes if isinstance(node.hook, ReplacedHook)]
    suspects = {hook for one in replacements for hook in one.needed}.difference(kept)
    if not suspects:
        return plan
    used: set[int] = set()
    dropped: set[int] = set()
    # Backwards, so that dependents are decided before their dependencies.
    for node in reversed(plan.nodes):
        if node.hook in suspects and node.index not in used:
            assert node.hook is not None
            if node.hook.kind is RESOURCE and not isinstance(node.hook, ReplacedHook):
                dropped.add(node.index)
                hard = [wait.node for wait in node.waits if wait.reason in HARD]
                needed = {hook for index in hard if (hook := plan.nodes[index].hook)}
                suspects |= needed.difference(kept)
                continue
        used |= {wait.node for wait in node.waits if wait.reason in HARD}
    names = " or ".join(sorted({one.name for one in replacements}))
    return plan.without(
        dropped,
        f"left out: only {names} needed it, which a test has replaced; only=[...] opens it",
    )


class ReplacedHookRun:
    """The replacement for a resource that is open already, with its state and another value.

    Args:
        hook_run: the resource.
        value: its value.
    """

    on_loop = False

    def __init__(self, hook_run: HookRun, value: object) -> None:
        self._hook_run = hook_run
        self.value = value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hook_run, name)

    def __str__(self) -> str:
        return str(self._hook_run)


@contextmanager
def value_in_open_run(run: Run, wanted: HookReference, value: object) -> Iterator[None]:
    """Replace the value of a resource that a run has open.

    Args:
        run: the run.
        wanted: the resource; without it in the run, nothing is done.
        value: the value for requests and sync code; hooks keep their arguments.
    """
    hooks = {node.hook for node in nodes_of(run.plan, wanted) if node.hook is not None}
    resources = run.resources
    before = {hook: hook_run for hook, hook_run in resources.by_hook.items() if hook in hooks}
    for hook, hook_run in before.items():
        # The quick path would return the original value.
        resources.closed(hook_run)
        resources.put(hook, cast(HookRun, ReplacedHookRun(hook_run, value)))
    try:
        yield
    finally:
        for hook, hook_run in before.items():
            resources.put(hook, hook_run)
            resources.closed(hook_run)
            if run.phase is IN_SERVICE and hook_run.state is UP and not run.inherited:
                resources.opened(hook_run)


# Faults.


class Fault(Change):
    """Faults of chosen hooks.

    Args:
        wanted: the hooks.
        fail: makes their error instead of a start; None: no error.
        delay: seconds that they begin later.
        hang: whether they never begin.
        fail_stop: makes their error after the stop; None: no error.
    """

    def __init__(
        self,
        wanted: Iterable[HookReference],
        *,
        fail: MakesError | None = None,
        delay: float = 0.0,
        hang: bool = False,
        fail_stop: MakesError | None = None,
    ) -> None:
        self.wanted = list(wanted)
        self.fail = fail
        self.delay = delay
        self.hang = hang
        self.fail_stop = fail_stop
        self.over = threading.Event()
        """Lets the threads end that hang."""
        self._begins: set[Hook] = set()
        self._stops: set[Hook] = set()

    def to_plan(self, plan: Plan) -> Plan:
        """Find the hooks in a plan. Raises ``LookupError`` for an unknown key."""
        for wanted in self.wanted:
            hooks = [node.hook for node in nodes_of(plan, wanted) if node.hook is not None]
            stops = [hook for hook in hooks if hook.kind is not START]
            self._stops.update(stops)
            begins = [hook for hook in hooks if hook.kind not in ONLY_AT_END]
            self._begins.update(begins or hooks)
            if hooks and not stops and self.fail_stop is not None:
                raise LookupError(
                    f"'{wanted}' is a start function and has no shutdown function beside it, so "
                    "there is nothing that fail_stop= could break."
                )
        return plan

    def to_adapter(self, adapter: Adapter) -> Adapter:
        """Return an adapter that adds the faults to the hooks."""
        return adapter.changed(
            around_task=functools.partial(self._around_task, adapter.around_task),
            around_thread=functools.partial(
                self._around_thread, adapter.around_thread, adapter.turns is None
            ),
            turns=None if adapter.turns is None else LateTurns(adapter.turns, self),
        )

    def begins_late(self, hook: Hook) -> bool:
        """Return True if a hook hangs, or begins later."""
        return hook in self._begins and (self.hang or self.delay > 0)

    def _around_task(
        self, inner: Callable[[Hook], AbstractAsyncContextManager[object] | None], hook: Hook
    ) -> AbstractAsyncContextManager[object] | None:
        if hook in self._begins or hook in self._stops:
            return self._in_task(inner(hook), hook)
        return inner(hook)

    @asynccontextmanager
    async def _in_task(
        self, inner: AbstractAsyncContextManager[object] | None, hook: Hook
    ) -> AsyncIterator[None]:
        # The return value of a sync callable is entered later, so its start has ended.
        if hook in self._begins and hook.form is not IN_THREAD:
            if self.hang:
                await asyncio.get_running_loop().create_future()
            if self.delay:
                await asyncio.sleep(self.delay)
            self._fail(hook)
        async with inner or nullcontext():
            try:
                yield
            except asyncio.CancelledError:
                # A background job is stopped by cancelling it.
                self._fail_stop(hook)
                raise
        self._fail_stop(hook)

    def _around_thread(
        self,
        inner: Callable[[Hook], AbstractContextManager[object] | None],
        waits: bool,
        hook: Hook,
    ) -> AbstractContextManager[object] | None:
        if hook in self._begins or hook in self._stops:
            return self._in_thread(inner(hook), hook, waits=waits)
        return inner(hook)

    @contextmanager
    def _in_thread(
        self, inner: AbstractContextManager[object] | None, hook: Hook, *, waits: bool
    ) -> Iterator[None]:
        if hook in self._begins:
            if waits and (self.hang or self.delay):
                self.over.wait(None if self.hang else self.delay)
            self._fail(hook)
        with inner or nullcontext():
            yield
        self._fail_stop(hook)

    def _fail(self, hook: Hook) -> None:
        if self.fail is not None:
            raise self.fail(hook)

    def _fail_stop(self, hook: Hook) -> None:
        inside = current_hook.get()
        stops = isinstance(inside, HookRun) and inside.state is STOPPING
        if self.fail_stop is not None and stops and hook in self._stops:
            raise self.fail_stop(hook)


class LateTurns:
    """Turns in a thread that hooks share, of which some come late: the thread does not wait.

    Args:
        turns: the executor of the turns.
        fault: the fault with the late hooks.
    """

    def __init__(self, turns: SerialThread, fault: Fault) -> None:
        self._turns = turns
        self._fault = fault

    def submit(self, hook_run: HookRun, turn: Callable[[], None]) -> None:
        """Make the thread call ``turn`` later, or never."""
        fault = self._fault
        is_begin = hook_run.state is not STOPPING or hook_run.hook.kind in ONLY_AT_END
        if not (is_begin and fault.begins_late(hook_run.hook)):
            self._turns.submit(hook_run, turn)
        elif not fault.hang:
            hook_run.run.loop.call_later(fault.delay, self._turns.submit, hook_run, turn)
