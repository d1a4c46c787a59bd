"""Rule 4.2: which hook waits for which, and why. Every edge of a plan has its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lifespan_app import Lifespan, Resource, Retry
from lifespan_app.engine.planning.builder import build_plan
from lifespan_app.engine.planning.plan import Edge, Excluded, Plan, Reason
from tests.engine.apps import HostWithApps, written_in
from tests.engine.plot import Plot


def named(name: str, module: str = "shop.lifespan") -> Callable[..., Any]:
    """Return a hook of its own that asks for nothing."""

    async def hook() -> None:
        """Do nothing."""

    hook.__name__ = hook.__qualname__ = name
    return written_in(module)(hook)


def waits(plan: Plan) -> list[tuple[str, str, str]]:
    """Return the edges of a plan: who waits, for whom, and why."""
    return [(edge.after, edge.before, edge.reason) for edge in plan.edges]


def layers(plan: Plan) -> list[list[str]]:
    return [[node.key.partition(".")[2] for node in layer] for layer in plan.layers()]


def start(
    lifespan: Lifespan,
    name: str,
    priority: int = 0,
    needs: list[Any] | None = None,
    module: str = "",
) -> Any:
    """Declare a start function in a module of its own, so that no written order ties it."""
    hook = named(name, module or f"{name}.lifespan")
    lifespan.on_start(priority, depends_on=needs or [])(hook)
    return hook


def resource(
    lifespan: Lifespan, name: str, priority: int = 0, needs: list[Any] | None = None
) -> Resource[Any]:
    handle: Resource[Any] = lifespan.resource(priority, depends_on=needs or [])(named(name))
    return handle


def test_independent_hooks_do_not_wait(lifespan: Lifespan) -> None:
    resource(lifespan, "client")
    resource(lifespan, "index")
    start(lifespan, "warm_up")
    lifespan.background(named("refresh"))

    plan = lifespan.plan("app")
    assert plan.edges == []
    assert layers(plan) == [["client", "index", "warm_up", "refresh"]]
    assert plan.order == ["shop.client", "shop.index", "warm_up.warm_up", "shop.refresh"]


def test_parameter_is_a_need(lifespan: Lifespan) -> None:
    @lifespan.on_start
    @written_in("search.lifespan")
    async def build(client: object) -> None:
        """Do nothing."""

    resource(lifespan, "client")

    plan = lifespan.plan("app")
    assert plan.order == ["shop.client", "search.build"]
    assert plan.edges == [
        Edge("shop.client", "search.build", Reason.NEEDS, "parameter 'client'"),
    ]


def test_depends_on_is_a_declared_need(lifespan: Lifespan) -> None:
    one = start(lifespan, "one")
    start(lifespan, "two", needs=[one])

    plan = lifespan.plan("app")
    assert plan.edges == [Edge("one.one", "two.two", Reason.DECLARED, "depends_on")]


def test_needed_hook_may_be_declared_later(lifespan: Lifespan) -> None:
    start(lifespan, "three", needs=["two.two"])
    start(lifespan, "two", needs=["one.one"])
    start(lifespan, "one")

    assert lifespan.plan("app").order == ["one.one", "two.two", "three.three"]


def test_lower_priority_comes_before_every_higher_one(
    lifespan: Lifespan,
) -> None:
    resource(lifespan, "late", 5)
    resource(lifespan, "early", -5)
    resource(lifespan, "between")
    resource(lifespan, "early_too", -5)

    plan = lifespan.plan("app")
    assert layers(plan) == [["early", "early_too"], ["between"], ["late"]]
    assert waits(plan) == [
        ("priority -5", "shop.early", "priority"),
        ("priority -5", "shop.early_too", "priority"),
        ("shop.between", "priority -5", "priority"),
        ("priority 0", "shop.between", "priority"),
        ("shop.late", "priority 0", "priority"),
    ]


def test_edges_between_priorities_say_what_is_waited_for(lifespan: Lifespan) -> None:
    resource(lifespan, "late", 5)
    resource(lifespan, "early", -5)

    assert lifespan.plan("app").edges == [
        Edge("shop.early", "priority -5", Reason.PRIORITY, "priority -5"),
        Edge("priority -5", "shop.late", Reason.PRIORITY, "after every hook of priority -5"),
    ]


def test_higher_priority_waits_for_the_others_when_an_optional_hook_has_failed() -> None:
    def declare(lifespan: Lifespan) -> None:
        lifespan.resource(-1, required=False)(named("early"))
        lifespan.resource(-1)(named("early_too"))
        lifespan.resource(1)(named("late"))

    plot = Plot(declare)

    assert plot.begin() == ["start early", "start early_too"]
    assert plot.ends("early", OSError("nobody there")) == []
    assert plot.up("early_too") == ["start late"]


def test_priorities_are_joined_by_one_barrier_and_not_by_every_pair(lifespan: Lifespan) -> None:
    for number in range(30):
        resource(lifespan, f"low_{number}", 1)
        resource(lifespan, f"high_{number}", 2)

    assert len(lifespan.plan("app").edges) == 60


def test_priority_of_a_needed_hook_is_lowered_to_its_dependents(
    lifespan: Lifespan,
) -> None:
    """index (9) <- build (4) <- announce (1): all are of priority 1; the client stays where it is.

    Without it the barrier between 1 and 9 and the needs would wait for each other.
    """
    index = resource(lifespan, "index", 9)
    build = start(lifespan, "build", 4, needs=[index])
    start(lifespan, "announce", 1, needs=[build])
    resource(lifespan, "client", 3)

    plan = lifespan.plan("app")
    assert [(node.key.partition(".")[2], node.options.priority) for node in plan.hooks] == [
        ("index", 1),
        ("build", 1),
        ("announce", 1),
        ("client", 3),
    ]
    assert ("priority 1", "announce.announce", "priority") in waits(plan)
    assert ("shop.client", "priority 1", "priority") in waits(plan)


def test_lowest_priority_among_all_dependents_counts(lifespan: Lifespan) -> None:
    client = resource(lifespan, "client", 9)
    start(lifespan, "three", 3, needs=[client])
    start(lifespan, "minus", -3, needs=[client])
    start(lifespan, "twelve", 12, needs=[client])

    priorities = {node.key: node.options.priority for node in lifespan.plan("app").hooks}
    assert priorities == {
        "shop.client": -3,
        "minus.minus": -3,
        "three.three": 3,
        "twelve.twelve": 12,
    }


def test_soft_dependent_lowers_the_priority_too(lifespan: Lifespan) -> None:
    resource(lifespan, "client", 9)

    @lifespan.on_start(1)
    @written_in("shop.lifespan")
    async def warm_up(client: object = None) -> None:
        """Do nothing."""

    assert [(node.key, node.options.priority) for node in lifespan.plan("app").hooks] == [
        ("shop.client", 1),
        ("shop.warm_up", 1),
    ]


def test_start_and_shutdown_functions_of_one_module_stand_as_written(lifespan: Lifespan) -> None:
    lifespan.on_start(named("one"))
    lifespan.on_shutdown(named("two"))
    lifespan.on_start(named("three"))
    lifespan.on_start(named("elsewhere", "search.lifespan"))

    assert lifespan.plan("app").edges == [
        Edge("shop.one", "shop.two", Reason.WRITTEN, "written before it"),
        Edge("shop.two", "shop.three", Reason.WRITTEN, "written before it"),
    ]


def test_written_order_holds_within_one_priority(lifespan: Lifespan) -> None:
    lifespan.on_start(1)(named("late"))
    lifespan.on_start(named("early"))
    lifespan.on_start(1)(named("late_too"))
    lifespan.on_start(named("early_too"))

    plan = lifespan.plan("app")
    assert plan.order == ["shop.early", "shop.early_too", "shop.late", "shop.late_too"]
    assert [edge for edge in waits(plan) if edge[2] == "written"] == [
        ("shop.early_too", "shop.early", "written"),
        ("shop.late_too", "shop.late", "written"),
    ]


def test_resources_and_jobs_have_no_written_order(lifespan: Lifespan) -> None:
    lifespan.on_start(named("one"))
    lifespan.resource(named("client"))
    lifespan.background(named("refresh"))
    lifespan.resource(named("index"))

    assert lifespan.plan("app").edges == []


def test_need_wins_over_the_written_order(lifespan: Lifespan) -> None:
    lifespan.on_start(depends_on=["second"])(named("first"))
    lifespan.on_start(named("second"))

    plan = lifespan.plan("app")
    assert plan.order == ["shop.second", "shop.first"]
    assert [edge[2] for edge in waits(plan)] == ["declared"]


def test_written_order_follows_the_order_that_needs_have_made(lifespan: Lifespan) -> None:
    """Written: one (needs a client that needs three), two, three; the client comes after three.

    An edge from one to two would be a cycle with those of the needs.
    """
    lifespan.on_start(depends_on=["client"])(named("one"))
    lifespan.on_start(named("two"))
    lifespan.on_start(named("three"))
    lifespan.resource(depends_on=["three"])(named("client"))

    plan = lifespan.plan("app")
    assert plan.order == ["shop.two", "shop.three", "shop.client", "shop.one"]
    assert [edge for edge in waits(plan) if edge[2] == "written"] == [
        ("shop.three", "shop.two", "written"),
        ("shop.one", "shop.three", "written"),
    ]


def test_need_of_the_hook_written_before_has_one_edge(lifespan: Lifespan) -> None:
    resource(lifespan, "client")
    lifespan.on_start(named("one"))
    lifespan.on_start(depends_on=["client", "one"])(named("two"))

    assert waits(lifespan.plan("app")) == [
        ("shop.two", "shop.client", "declared"),
        ("shop.two", "shop.one", "declared"),
    ]


def test_need_behind_one_that_is_left_out_counts(lifespan: Lifespan) -> None:
    lifespan.resource(service_types=["worker"])(named("cache"))
    resource(lifespan, "client")

    @lifespan.on_start
    @written_in("shop.lifespan")
    async def warm_up(*, cache: object = None, client: object) -> None:
        """Do nothing."""

    assert waits(lifespan.plan("app")) == [("shop.warm_up", "shop.client", "needs")]


def test_one_pair_may_have_two_reasons(lifespan: Lifespan) -> None:
    client = resource(lifespan, "client")

    @lifespan.on_start(depends_on=[client])
    @written_in("search.lifespan")
    async def build(client: object) -> None:
        """Do nothing."""

    assert [edge.reason for edge in lifespan.plan("app").edges] == ["needs", "declared"]


def test_free_hooks_come_by_priority_and_then_as_registered(lifespan: Lifespan) -> None:
    """d needs a, so a comes at d's priority; the rest by its own, in the order of declaration."""
    a = resource(lifespan, "a", 2)
    resource(lifespan, "b", 1)
    resource(lifespan, "c", 1)
    resource(lifespan, "d", 1, needs=[a])
    resource(lifespan, "e", 0)

    plan = lifespan.plan("app")
    assert [key.partition(".")[2] for key in plan.order] == ["e", "a", "b", "c", "d"]


def test_node_waits_only_for_nodes_before_it(lifespan: Lifespan) -> None:
    resource(lifespan, "late", 5, needs=["early"])
    resource(lifespan, "early", 9)
    start(lifespan, "first", -1)

    plan = lifespan.plan("app")
    assert [node.index for node in plan.nodes] == list(range(len(plan.nodes)))
    assert all(wait.node < node.index for node in plan.nodes for wait in node.waits)


# The plan as a value.


def test_plan_that_is_made_twice_is_the_same(lifespan: Lifespan) -> None:
    resource(lifespan, "index", needs=["client"])
    resource(lifespan, "client")

    assert lifespan.plan("app") == lifespan.plan("app")
    assert lifespan.plan("app") != lifespan.plan("worker")
    assert repr(lifespan.plan("app")) == "<plan of app: shop.client, shop.index>"


def test_plans_with_the_same_nodes_are_equal(lifespan: Lifespan) -> None:
    resource(lifespan, "index", needs=["client"])
    resource(lifespan, "client")

    one, two = (build_plan(lifespan.hooks, "app") for _ in range(2))
    assert one is not two
    assert one == two
    assert one != one.order


def test_plan_changes_when_a_hook_is_declared_later_and_not_before(lifespan: Lifespan) -> None:
    before = lifespan.plan("app")
    resource(lifespan, "client")

    assert before.order == []
    assert len(lifespan.plan("app")) == 1


def test_settings_change_a_node_and_not_its_hook(lifespan: Lifespan) -> None:
    client = resource(lifespan, "client")
    index = resource(lifespan, "index")

    plan = build_plan(
        lifespan.hooks,
        "app",
        label_of=HostWithApps().app_label,
        overrides={
            "*": {"timeout": 3.0, "required": False},
            "shop.client": {
                "priority": 4,
                "timeout": 7.0,
                "shutdown_timeout": 2.0,
                "state_name": "http",
            },
        },
    )

    nodes = {node.key: node for node in plan.hooks}
    assert plan.order == ["shop.index", "shop.client"]
    assert [
        (
            node.options.priority,
            node.options.timeout,
            node.options.shutdown_timeout,
            node.options.required,
            node.options.state_name,
        )
        for node in (nodes["shop.client"], nodes["shop.index"])
    ] == [(4, 7.0, 2.0, False, "http"), (0, 3.0, None, False, "index")]
    assert (
        client.hook.options.priority,
        client.hook.options.timeout,
        client.hook.options.required,
    ) == (0, None, True)
    assert (
        index.hook.options.priority,
        index.hook.options.timeout,
        index.hook.options.required,
    ) == (0, None, True)


def test_settings_say_which_starts_are_tried_again(lifespan: Lifespan) -> None:
    resource(lifespan, "client")
    lifespan.on_start(named("warm_up"))
    lifespan.on_shutdown(named("leave"))
    lifespan.background(named("refresh"))

    plan = build_plan(
        lifespan.hooks,
        "app",
        label_of=HostWithApps().app_label,
        overrides={"*": {"retry": 60}, "shop.warm_up": {"retry": None}},
    )

    retried = {node.key: node.options.retry for node in plan.hooks}
    assert retried == {
        "shop.client": Retry(60),
        "shop.warm_up": None,
        "shop.leave": None,
        "shop.refresh": None,
    }


def test_settings_say_which_resources_the_startup_waits_for(lifespan: Lifespan) -> None:
    client = resource(lifespan, "client")
    resource(lifespan, "index", needs=[client])
    lifespan.resource(wait=False)(named("model"))
    start(lifespan, "announce")

    plan = build_plan(
        lifespan.hooks,
        "app",
        label_of=HostWithApps().app_label,
        overrides={"*": {"wait": False}, "shop.model": {"wait": True}},
    )

    # A start function waits for nobody here, so the startup waits for it as ever.
    waited_for = {node.key.rpartition(".")[2]: node.options.wait for node in plan.hooks}
    assert waited_for == {"client": False, "index": False, "model": True, "announce": True}


def test_plan_whose_startup_waits_for_all_differs_in_nothing_else(lifespan: Lifespan) -> None:
    lifespan.resource(service_types=["worker"])(named("queue"))
    lifespan.resource(wait=False, timeout=3)(named("model"))
    resource(lifespan, "index", needs=["model"])

    plan = lifespan.plan("app")
    waiting = plan.waiting_for_all()

    assert [node.options.wait for node in plan.nodes] == [False, False]
    assert [node.options.wait for node in waiting.nodes] == [True, True]
    nodes = [node._replace(options=node.options._replace(wait=False)) for node in waiting.nodes]
    assert Plan(waiting.service_type, nodes, waiting.excluded) == plan
    assert waiting.waiting_for_all() is waiting


def test_plan_without_leases_differs_in_nothing_else(lifespan: Lifespan) -> None:
    lifespan.resource(service_types=["worker"])(named("queue"))
    lifespan.background(once="cluster")(named("refresh"))

    plan = build_plan(lifespan.hooks, "app", label_of=HostWithApps().app_label)
    alone = plan.without_leases()

    assert [node.options.once for node in (*plan.nodes, *alone.nodes)] == ["cluster", None]
    nodes = [node._replace(options=node.options._replace(once="cluster")) for node in alone.nodes]
    assert Plan(alone.service_type, nodes, alone.excluded) == plan
    assert alone.without_leases() is alone


def test_part_of_a_plan_holds_the_hooks_and_their_dependencies(lifespan: Lifespan) -> None:
    client = resource(lifespan, "client")
    resource(lifespan, "index", 1, needs=[client])
    resource(lifespan, "other")

    part = lifespan.plan("app").only(["shop.index"])
    assert part.order == ["shop.client", "shop.index"]
    assert [(excluded.key, excluded.reason) for excluded in part.excluded] == [
        ("shop.other", "not asked for")
    ]
    assert all(wait.node < node.index for node in part.nodes for wait in node.waits)


def test_part_of_a_plan_is_the_plan_of_its_hooks_alone(lifespan: Lifespan) -> None:
    lifespan.resource(service_types=["worker"])(named("queue"))
    other = resource(lifespan, "other").hook
    resource(lifespan, "client")
    resource(lifespan, "index")
    resource(lifespan, "cache")

    @lifespan.on_start
    @written_in("shop.lifespan")
    async def warm_up(context: object, client: object, index: object = None) -> None:
        """Do nothing."""

    lifespan.on_start(named("last"))
    lifespan.on_start(name="very_last", depends_on=["warm_up"])(named("last"))

    part = lifespan.plan("app").only(["shop.cache", "shop.client", "shop.very_last"])

    wanted = [hook for hook in lifespan.hooks if hook.name not in ("other", "last")]
    alone = build_plan(wanted, "app", label_of=HostWithApps().app_label)
    assert part.nodes == alone.nodes
    assert part.order == [
        "shop.client",
        "shop.index",
        "shop.cache",
        "shop.warm_up",
        "shop.very_last",
    ]
    assert part.excluded == (
        *alone.excluded,
        Excluded("shop.other", "not asked for", other.file, other.line),
        Excluded("shop.last", "not asked for", __file__, named("last").__code__.co_firstlineno),
    )
    assert part == Plan("app", part.nodes, part.excluded)


def test_part_that_names_no_hook_of_the_plan_lists_them(lifespan: Lifespan) -> None:
    resource(lifespan, "client")

    try:
        lifespan.plan("app").only(["shop.cleint"])
    except LookupError as error:
        text = str(error)
    assert "holds no hook 'shop.cleint'. It holds: shop.client." in text


def test_plan_without_hooks_says_so(lifespan: Lifespan) -> None:
    plan = lifespan.plan("app")

    assert repr(plan) == "<plan of app: no hooks>"
    with pytest.raises(LookupError, match=r"It holds: none\.$"):
        plan.only(["shop.client"])
