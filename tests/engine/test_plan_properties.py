"""Rules 4.1, 4.2 and 4.5 on random hooks: what any plan keeps, whatever was declared."""

from __future__ import annotations

import graphlib
import inspect
import itertools
import random
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from lifespan_app import Lifespan
from lifespan_app.engine.hooks.hook import Hook, Kind
from lifespan_app.engine.planning.builder import build_plan
from lifespan_app.engine.planning.plan import Plan, Reason
from lifespan_app.errors import PlanError, Problem
from tests.engine.apps import written_in

KINDS = (Kind.RESOURCE, Kind.START, Kind.SHUTDOWN, Kind.BACKGROUND)
CAN_BE_NEEDED = (Kind.RESOURCE, Kind.START)
FUNCTIONS = (Kind.START, Kind.SHUTDOWN)
SERVICE_TYPES = ("app", "worker", "server")


unhurried = settings(deadline=None)
"""A machine that is busy is no error of the plan's."""


class Need(NamedTuple):
    """That one drawn hook asks for another, by its place in the list."""

    of: int
    by: str
    """``declared``, ``parameter``, or ``default``: a parameter that has one."""


class Drawn(NamedTuple):
    """What one hook is declared with."""

    kind: Kind
    module: int
    priority: int
    required: bool
    service_types: tuple[str, ...] | None
    needs: tuple[Need, ...]


@st.composite
def drawn_hooks(
    draw: st.DrawFn, *, acyclic: bool = True, everywhere: bool = True
) -> Sequence[Drawn]:
    """Draw hooks; an acyclic one needs only hooks before it in the list."""
    kinds = draw(st.lists(st.sampled_from(KINDS), max_size=9))
    hooks = []
    for index, kind in enumerate(kinds):
        reach = index if acyclic else len(kinds)
        others = [other for other in range(reach) if kinds[other] in CAN_BE_NEEDED]
        needs: list[Need] = []
        for of in draw(st.lists(st.sampled_from(others), max_size=3)) if others else ():
            # A parameter never means the resource that asks.
            only_declared = kinds[of] is Kind.START or of == index
            by = ["declared"] if only_declared else ["declared", "parameter", "default"]
            need = Need(of, draw(st.sampled_from(by)))
            is_parameter = [other.by != "declared" for other in needs if other.of == of]
            # A function has one parameter of a name.
            if need not in needs and not (need.by != "declared" and any(is_parameter)):
                needs.append(need)
        service_types = None if everywhere else draw(service_type_choices)
        hooks.append(
            Drawn(
                kind,
                draw(st.integers(0, 2)),
                draw(st.integers(-2, 2)),
                draw(st.booleans()),
                service_types,
                tuple(needs),
            )
        )
    return hooks


service_type_choices = st.none() | st.lists(
    st.sampled_from(SERVICE_TYPES), unique=True, max_size=2
).map(tuple)


def name_of(index: int) -> str:
    return f"h{index}"


def key_of(drawn: Sequence[Drawn], index: int) -> str:
    return f"module_{drawn[index].module}.{name_of(index)}"


def function_for(drawn: Sequence[Drawn], index: int) -> Callable[..., Any]:
    async def hook(**arguments: object) -> None:
        """Do nothing."""

    parameters = [
        inspect.Parameter(
            name_of(need.of),
            inspect.Parameter.KEYWORD_ONLY,
            default=None if need.by == "default" else inspect.Parameter.empty,
        )
        for need in drawn[index].needs
        if need.by != "declared"
    ]
    hook.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return written_in(f"module_{drawn[index].module}")(hook)


def declared(drawn: Sequence[Drawn], registered: Iterable[int] | None = None) -> list[Hook]:
    """Declare drawn hooks, in the order given, and return them in that of the list."""
    lifespan = Lifespan()
    hooks = {}
    for index in range(len(drawn)) if registered is None else registered:
        hook = drawn[index]
        decorator: Any = {
            Kind.START: lifespan.on_start,
            Kind.SHUTDOWN: lifespan.on_shutdown,
            Kind.BACKGROUND: lifespan.background,
            Kind.RESOURCE: lifespan.resource,
        }[hook.kind]
        decorator(
            hook.priority,
            name=name_of(index),
            required=hook.required,
            service_types=hook.service_types,
            depends_on=[key_of(drawn, need.of) for need in hook.needs if need.by == "declared"],
        )(function_for(drawn, index))
        hooks[index] = lifespan.hooks[-1]
    return [hooks[index] for index in range(len(drawn))]


def index_of(key: str) -> int:
    return int(key.rpartition(".h")[2])


def closure(size: int, edges: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return all pairs between which a path of edges leads."""
    after: dict[int, list[int]] = {index: [] for index in range(size)}
    for one, two in edges:
        after[one].append(two)
    pairs: set[tuple[int, int]] = set()
    for start in range(size):
        ready = list(after[start])
        while ready:
            end = ready.pop()
            if (start, end) not in pairs:
                pairs.add((start, end))
                ready += after[end]
    return pairs


def hard_and_soft(drawn: Sequence[Drawn]) -> list[tuple[int, int]]:
    """Return the needs of drawn hooks as edges from what is needed to what needs it."""
    return [(need.of, index) for index, hook in enumerate(drawn) for need in hook.needs]


def lowered(drawn: Sequence[Drawn]) -> list[int]:
    """Return the priority of each hook: its own, or the lowest of what depends on it."""
    needed = closure(len(drawn), hard_and_soft(drawn))
    return [
        min(
            hook.priority,
            *(drawn[two].priority for one, two in needed if one == index),
            hook.priority,
        )
        for index, hook in enumerate(drawn)
    ]


def paths(plan: Plan) -> set[tuple[int, int]]:
    """Return which hook stands before which in a plan's graph, by their places in the list."""
    edges = [(wait.node, node.index) for node in plan.nodes for wait in node.waits]
    index = {node.index: index_of(node.key) for node in plan.hooks}
    return {
        (index[one], index[two])
        for one, two in closure(len(plan.nodes), edges)
        if one in index and two in index
    }


# Order.


@unhurried
@given(drawn_hooks())
def test_plan_holds_every_hook_once_behind_all_that_it_needs(drawn: Sequence[Drawn]) -> None:
    plan = build_plan(declared(drawn), "app")

    order = [index_of(key) for key in plan.order]
    assert sorted(order) == list(range(len(drawn)))
    for before, after in hard_and_soft(drawn):
        assert order.index(before) < order.index(after)


@unhurried
@given(drawn_hooks())
def test_graph_orders_only_hooks_with_a_reason(drawn: Sequence[Drawn]) -> None:
    plan = build_plan(declared(drawn), "app")

    priorities = lowered(drawn)
    order = [index_of(key) for key in plan.order]
    by_rule = set(hard_and_soft(drawn))
    for place, one in enumerate(order):
        for two in order[place + 1 :]:
            one_module = drawn[one].module == drawn[two].module
            functions = drawn[one].kind in FUNCTIONS and drawn[two].kind in FUNCTIONS
            if priorities[one] < priorities[two] or (
                priorities[one] == priorities[two] and one_module and functions
            ):
                by_rule.add((one, two))
    assert paths(plan) == closure(len(drawn), by_rule)


@unhurried
@given(drawn_hooks())
def test_hook_has_the_lowest_priority_of_all_that_depend_on_it(drawn: Sequence[Drawn]) -> None:
    plan = build_plan(declared(drawn), "app")

    assert {index_of(node.key): node.options.priority for node in plan.hooks} == dict(
        enumerate(lowered(drawn))
    )
    assert [node.options.priority for node in plan.hooks] == sorted(
        node.options.priority for node in plan.hooks
    )


@unhurried
@given(drawn_hooks(), st.randoms(use_true_random=False))
def test_free_hooks_come_by_priority_and_then_as_registered(
    drawn: Sequence[Drawn], chance: random.Random
) -> None:
    registered = list(range(len(drawn)))
    chance.shuffle(registered)
    plan = build_plan(declared(drawn, registered), "app")

    priorities, needs = lowered(drawn), hard_and_soft(drawn)
    expected: list[int] = []
    left = set(registered)
    while left:
        free = [two for two in left if all(one in expected for one, other in needs if other == two)]
        expected.append(min(free, key=lambda index: (priorities[index], registered.index(index))))
        left.remove(expected[-1])
    assert [index_of(key) for key in plan.order] == expected


@unhurried
@given(drawn_hooks(everywhere=False), st.sampled_from(SERVICE_TYPES), st.data())
def test_plan_is_the_same_in_whatever_order_the_hooks_are_given(
    drawn: Sequence[Drawn], service_type: str, data: st.DataObject
) -> None:
    hooks = declared(drawn)
    shuffled = data.draw(st.permutations(hooks))

    assert outcome(hooks, service_type) == outcome(shuffled, service_type)


def outcome(hooks: Sequence[Hook], service_type: str) -> object:
    """Return a plan in a form that shows all of it, or all that is wrong."""
    try:
        plan = build_plan(hooks, service_type)
    except PlanError as error:
        return error.problems
    return plan.order, plan.edges, plan.excluded, [node.options.priority for node in plan.hooks]


@unhurried
@given(drawn_hooks())
def test_every_edge_s_reason_is_true(drawn: Sequence[Drawn]) -> None:
    plan = build_plan(declared(drawn), "app")

    for node in plan.hooks:
        index = index_of(node.key)
        for wait in node.waits:
            leader = plan.nodes[wait.node]
            by = {need.by for need in drawn[index].needs if key_of(drawn, need.of) == leader.key}
            if wait.reason is Reason.DECLARED:
                assert "declared" in by
            elif wait.reason is Reason.NEEDS:
                assert wait.hard == ("parameter" in by)
                assert by & {"parameter", "default"}
            elif wait.reason is Reason.WRITTEN:
                assert leader.hook is not None
                assert leader.hook.kind in FUNCTIONS
                assert leader.hook.module == node.hook.module  # type: ignore[union-attr]
            else:
                assert leader.hook is None
                assert int(leader.key.removeprefix("priority ")) < node.options.priority


@unhurried
@given(drawn_hooks())
def test_layer_holds_hooks_that_can_start_side_by_side(drawn: Sequence[Drawn]) -> None:
    plan = build_plan(declared(drawn), "app")

    layers = [[index_of(node.key) for node in layer] for layer in plan.layers()]
    before = paths(plan)
    assert sorted(itertools.chain(*layers)) == list(range(len(drawn)))
    for number, layer in enumerate(layers):
        for one, two in itertools.permutations(layer, 2):
            assert (one, two) not in before
        for late in layer if number else ():
            assert any((early, late) in before for early in layers[number - 1])


def problems_of(hooks: Sequence[Hook], service_type: str) -> Sequence[Problem]:
    try:
        build_plan(hooks, service_type)
    except PlanError as error:
        return error.problems
    return ()


# Circles.

WAITS = re.compile(r"'(\S+)' \(.*\) waits for '(\S+)'")


@unhurried
@given(drawn_hooks(acyclic=False))
def test_exactly_the_existing_cycles_are_found(drawn: Sequence[Drawn]) -> None:
    needs = hard_and_soft(drawn)
    sorter: graphlib.TopologicalSorter[int] = graphlib.TopologicalSorter()
    for before, after in needs:
        sorter.add(after, before)
    try:
        sorter.prepare()
    except graphlib.CycleError:
        has_cycle = True
    else:
        has_cycle = False

    problems = problems_of(declared(drawn), "app")

    assert bool(problems) == has_cycle
    for problem in problems:
        assert problem.code == "cycle"
        told = [(index_of(one), index_of(two)) for one, two in WAITS.findall(problem.message)]
        assert told
        assert all((before, after) in needs for after, before in told)
        assert [one for one, _ in told[1:]] + [told[0][0]] == [two for _, two in told]


# Service types.


@unhurried
@given(drawn_hooks(everywhere=False), st.sampled_from(SERVICE_TYPES))
def test_plan_holds_the_hooks_of_its_service_type(
    drawn: Sequence[Drawn], service_type: str
) -> None:
    def is_for(hook: Drawn) -> bool:
        return hook.service_types is None or service_type in hook.service_types

    expected = {index for index, hook in enumerate(drawn) if is_for(hook)}
    if service_type == "server":
        named = {index for index in expected if drawn[index].service_types is not None}
        by_way_of_these = [(of, index) for of, index in hard_and_soft(drawn) if of in expected]
        expected = named | {
            of
            for of, index in closure(len(drawn), chained(by_way_of_these, expected))
            if index in named
        }
    broken = set()
    for index, hook in enumerate(drawn):
        missing = [need for need in hook.needs if need.of not in expected and need.by != "default"]
        if index in expected and missing:
            # What it needs comes before it in the list, so one pass sees the whole way down.
            if hook.required:
                broken.add(key_of(drawn, index))
            else:
                expected.remove(index)

    hooks = declared(drawn)
    problems = problems_of(hooks, service_type)

    assert {problem.code for problem in problems} <= {"left out"}
    assert {problem.message.split("'")[1] for problem in problems} == broken
    if not problems:
        plan = build_plan(hooks, service_type)
        assert {index_of(key) for key in plan.order} == expected
        told = {index_of(excluded.key) for excluded in plan.excluded}
        assert told == set(range(len(drawn))) - expected


def chained(edges: Iterable[tuple[int, int]], within: set[int]) -> list[tuple[int, int]]:
    return [(one, two) for one, two in edges if one in within and two in within]
