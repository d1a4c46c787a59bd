"""Keys and state names: how a hook is called in plans, reports, settings and in the state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.hooks.hook import Hook, Kind
from lifespan_app.engine.planning.builder import Overrides, build_plan
from lifespan_app.engine.planning.plan import node_of
from lifespan_app.engine.settings import Settings
from lifespan_app.errors import PlanError, Problem
from tests.engine.apps import HostWithApps, written_in


def in_module(module: str, name: str = "client") -> Callable[..., Any]:
    """Return a hook of its own that is written in a module."""

    async def hook() -> None:
        """Do nothing."""

    hook.__name__ = hook.__qualname__ = name
    return written_in(module)(hook)


def problem_of(lifespan: Lifespan, overrides: Overrides | None = None) -> Problem:
    label_of = HostWithApps().app_label
    with pytest.raises(PlanError) as caught:
        build_plan(lifespan.hooks, "app", label_of=label_of, overrides=overrides)
    [problem] = caught.value.problems
    return problem


def test_key_is_the_app_s_label_and_the_hook_s_name(lifespan: Lifespan) -> None:
    lifespan.resource(in_module("bookshop.shop.lifespan", "client"))

    assert lifespan.plan("app").order == ["shop.client"]


def test_outside_an_app_a_key_is_the_module_and_the_hook_s_name(lifespan: Lifespan) -> None:
    lifespan.resource(in_module("bookshop.clients", "client"))

    assert lifespan.plan("app").order == ["bookshop.clients.client"]


@pytest.mark.parametrize(
    ("module", "label"),
    [("bookshop.shop.lifespan", "shop"), ("bookshop.clients", "bookshop.clients")],
    ids=["in an app", "outside an app"],
)
def test_hook_that_no_plan_holds_has_such_a_key_too(module: str, label: str) -> None:
    hook = Hook(in_module(module, "client"), Kind.STAGE, timeout=3.0)

    node = node_of(3, hook, HostWithApps().app_label)

    assert (node.index, node.key, node.label) == (3, f"{label}.client", label)
    assert (node.hook, node.options) == (hook, hook.options)


def test_given_name_replaces_the_name_of_the_function(lifespan: Lifespan) -> None:
    lifespan.resource(name="http")(in_module("shop.lifespan", "client"))

    plan = lifespan.plan("app")
    assert plan.order == ["shop.http"]
    assert plan.hooks[0].options.state_name == "http"


def test_keys_are_made_with_the_plan_and_not_when_hooks_are_declared() -> None:
    class NotReadyYet(HostWithApps):
        ready = False

        def app_label(self, module: str) -> str | None:
            assert self.ready, "apps are not loaded yet"
            return super().app_label(module)

    host = NotReadyYet()
    lifespan = Lifespan(host)
    lifespan.resource(in_module("shop.lifespan", "client"))
    host.ready = True

    assert lifespan.plan("app").order == ["shop.client"]


def test_label_of_a_module_is_looked_up_once(lifespan: Lifespan) -> None:
    for name in ("client", "index", "cache"):
        lifespan.resource(in_module("shop.lifespan", name))
    asked: list[str] = []

    def label_of(module: str) -> str:
        asked.append(module)
        return "shop"

    build_plan(lifespan.hooks, "app", label_of=label_of)

    assert asked == ["shop.lifespan"]


def test_hooks_with_one_name_in_two_apps_have_two_keys(lifespan: Lifespan) -> None:
    lifespan.on_start(in_module("shop.lifespan", "warm_up"))
    lifespan.on_start(in_module("search.lifespan", "warm_up"))

    assert lifespan.plan("app").order == ["shop.warm_up", "search.warm_up"]


@pytest.mark.parametrize("one", ["on_start", "resource", "background", "on_shutdown"])
@pytest.mark.parametrize("two", ["on_start", "resource", "background", "on_shutdown"])
def test_two_hooks_with_one_key_are_an_error(lifespan: Lifespan, one: str, two: str) -> None:
    first, second = in_module("shop.lifespan", "cache"), in_module("shop.lifespan", "cache")
    # Beside the name they share nothing: a second function that is written elsewhere.
    second.__qualname__ = "elsewhere.cache"
    getattr(lifespan, one)(first)
    getattr(lifespan, two)(second)

    if {one, two} == {"on_start", "on_shutdown"}:
        assert lifespan.plan("app").order == ["shop.cache", "shop.cache"]
        return
    problem = problem_of(lifespan)
    line = first.__code__.co_firstlineno
    assert problem.code == "key"
    assert problem.message == (
        f"Two hooks have the key 'shop.cache': {__file__}:{line} and {__file__}:{line}."
    )
    assert problem.hint == "Rename one of them, or give it a name=."


def test_two_managers_may_have_one_key(lifespan: Lifespan) -> None:
    """They are registered without a name, so they can't get another one."""
    managers = [
        Hook(in_module("shop.lifespan"), Kind.MANAGER, name="client", order=number)
        for number in (1, 2)
    ]
    plan = build_plan(managers, "app", label_of=HostWithApps().app_label)
    assert plan.order == ["shop.client", "shop.client"]

    lifespan.resource(in_module("shop.lifespan"))
    with pytest.raises(PlanError, match=r"Two hooks have the key 'shop\.client'"):
        build_plan([*lifespan.hooks, managers[0]], "app", label_of=HostWithApps().app_label)


def test_one_key_in_two_service_types_is_no_error(lifespan: Lifespan) -> None:
    lifespan.resource(name="cache", service_types=["app"])(in_module("shop.lifespan", "memory"))
    lifespan.resource(name="cache", service_types=["worker"])(in_module("shop.lifespan", "redis"))

    assert lifespan.plan("app").hooks[0].hook.qualified_name == "memory"  # type: ignore[union-attr]
    assert lifespan.plan("worker").hooks[0].hook.qualified_name == "redis"  # type: ignore[union-attr]


Declared = tuple[str, dict[str, Any]]

RUNS: Declared = ("resource", {})
IS_LEFT_OUT: Declared = ("resource", {"service_types": ["worker"]})
START: Declared = ("on_start", {})
START_LEFT_OUT: Declared = ("on_start", {"service_types": ["worker"]})
SHUTDOWN: Declared = ("on_shutdown", {})


def with_one_key(lifespan: Lifespan, *hooks: Declared) -> None:
    """Declare hooks that all have the key ``shop.cache``."""
    for number, (decorator, options) in enumerate(hooks):
        function = in_module("shop.lifespan", f"{decorator}_{number}")
        getattr(lifespan, decorator)(name="cache", **options)(function)


@pytest.mark.parametrize(
    ("hooks", "meant"),
    [
        ((RUNS, IS_LEFT_OUT), "resource_0"),
        ((IS_LEFT_OUT, RUNS), "resource_1"),
        ((START, SHUTDOWN), "on_start_0"),
        ((SHUTDOWN, START), "on_start_1"),
    ],
    ids=["left out last", "left out first", "start first", "start last"],
)
def test_key_in_depends_on_means_the_hook_that_runs_and_the_start_function(
    lifespan: Lifespan, hooks: tuple[Declared, ...], meant: str
) -> None:
    with_one_key(lifespan, *hooks)
    lifespan.on_start(depends_on=["shop.cache"])(in_module("search.lifespan", "warm_up"))

    plan = lifespan.plan("app")

    [wait] = next(node.waits for node in plan.hooks if node.key == "search.warm_up")
    assert plan.nodes[wait.node].hook.qualified_name == meant  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "hooks",
    [(START_LEFT_OUT, SHUTDOWN), (SHUTDOWN, START_LEFT_OUT)],
    ids=["start first", "start last"],
)
def test_key_of_a_start_function_that_is_left_out_means_the_shutdown_function(
    lifespan: Lifespan, hooks: tuple[Declared, ...]
) -> None:
    with_one_key(lifespan, *hooks)
    lifespan.on_start(depends_on=["shop.cache"])(in_module("search.lifespan", "warm_up"))

    assert "depends on the shutdown function 'shop.cache'" in problem_of(lifespan).message


@pytest.mark.parametrize("types", [("app", "worker"), ("worker", "app")], ids=" ".join)
def test_parameter_means_the_resource_that_runs(lifespan: Lifespan, types: tuple[str, str]) -> None:
    for one in types:
        lifespan.resource(name="cache", state_name=f"{one}_cache", service_types=[one])(
            in_module("shop.lifespan", f"for_{one}")
        )

    @lifespan.on_start
    @written_in("shop.lifespan")
    async def warm_up(cache: object) -> None:
        """Do nothing."""

    plan = lifespan.plan("app")

    [wait] = plan.hooks[-1].waits
    assert plan.nodes[wait.node].hook.qualified_name == "for_app"  # type: ignore[union-attr]


def test_two_resources_with_one_state_name_are_an_error(
    lifespan: Lifespan,
) -> None:
    first, second = in_module("shop.lifespan"), in_module("search.lifespan")
    lifespan.resource(first)
    lifespan.resource(second)

    problem = problem_of(lifespan)
    line = first.__code__.co_firstlineno
    assert problem.code == "state name"
    assert problem.message == (
        "Two resources are called 'client' in the state: "
        f"'shop.client' ({__file__}:{line}) and 'search.client' ({__file__}:{line})."
    )
    assert problem.hint == (
        "Give one another state_name=, or set "
        'Settings(hooks={"search.client": {"state_name": "search_client"}}).'
    )


def test_setting_that_is_printed_repairs_it(lifespan: Lifespan) -> None:
    lifespan.resource(in_module("shop.lifespan"))
    lifespan.resource(in_module("search.lifespan"))
    hint = problem_of(lifespan).hint
    printed: Settings = eval(hint.partition("or set ")[2].rstrip("."))

    plan = build_plan(
        lifespan.hooks,
        "app",
        label_of=HostWithApps().app_label,
        overrides=printed.hooks,
    )
    assert [node.options.state_name for node in plan.hooks] == ["client", "search_client"]


def test_state_name_that_is_suggested_can_be_written_in_python(lifespan: Lifespan) -> None:
    lifespan.resource(in_module("shop.lifespan"))
    lifespan.resource(in_module("bookshop.search.clients"))

    assert '"state_name": "bookshop_search_clients_client"' in problem_of(lifespan).hint


def test_one_state_name_in_two_service_types_is_no_error(lifespan: Lifespan) -> None:
    lifespan.resource(service_types=["app"])(in_module("shop.lifespan"))
    lifespan.resource(service_types=["worker"])(in_module("search.lifespan"))

    assert lifespan.plan("app").order == ["shop.client"]
    assert lifespan.plan("worker").order == ["search.client"]


def test_start_function_may_be_called_as_a_resource_is_in_the_state(lifespan: Lifespan) -> None:
    lifespan.resource(in_module("shop.lifespan"))
    lifespan.on_start(in_module("search.lifespan"))

    assert len(lifespan.plan("app")) == 2


def test_state_name_from_the_settings_is_held_to_the_same_rules(lifespan: Lifespan) -> None:
    client = lifespan.resource(in_module("shop.lifespan")).hook

    problem = problem_of(lifespan, {"shop.client": {"state_name": "items"}})
    assert problem.code == "state name"
    assert problem.message.startswith(
        f"'shop.client' ({client.file}:{client.line}) can't be called 'items'"
    )
    assert problem.hint == "Change the hooks setting."


def test_functions_of_a_module_that_is_run_as_a_program_have_its_name(lifespan: Lifespan) -> None:
    lifespan.on_start(in_module("__main__", "warm_up"))

    assert lifespan.plan("app").order == ["__main__.warm_up"]
