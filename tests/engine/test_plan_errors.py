"""Rule 4.5: everything that is wrong with a plan is told at once, before anything runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.lease import Refusal
from lifespan_app.engine.planning.builder import draft_plan
from lifespan_app.errors import LifespanError, PlanError, Problem
from tests.engine.apps import HostWithApps, written_in
from tests.engine.conftest import RunOnLoop
from tests.engine.lookups import problems_of


def named(name: str, module: str = "shop.lifespan") -> Callable[..., Any]:
    async def hook() -> None:
        """Do nothing."""

    hook.__name__ = hook.__qualname__ = name
    return written_in(module)(hook)


def test_all_problems_are_reported_at_once_with_place_and_hint(
    lifespan: Lifespan,
) -> None:
    lifespan.broken["broken.lifespan"] = Problem(
        "App 'broken' has a broken lifespan.py.", "Mend it.", "broken/lifespan.py", 3, "broken"
    )
    lifespan.resource(named("client"))
    lifespan.resource(named("client", "search.lifespan"))
    lifespan.on_start(name="twice")(named("one"))
    lifespan.on_start(name="twice")(named("two"))
    lifespan.on_start(depends_on=["nowhere.to_be_found"])(named("missing"))
    lifespan.on_start(depends_on=["round"])(named("round_again"))
    lifespan.on_start(depends_on=["round_again"])(named("round"))
    jobs_only = lifespan.resource(service_types=["worker"])(named("jobs_only"))
    lifespan.on_start(depends_on=[jobs_only])(named("left_out"))

    @lifespan.on_start
    async def asks(nobody: object) -> None:
        """Do nothing."""

    problems = problems_of(lifespan)

    assert sorted(problem.code for problem in problems) == [
        "broken",
        "cycle",
        "key",
        "left out",
        "missing",
        "missing",
        "state name",
    ]
    for problem in problems:
        assert problem.message
        assert problem.hint
        assert problem.file in (__file__, "broken/lifespan.py")
        assert problem.line > 0


def test_error_text_has_a_paragraph_for_each_problem(lifespan: Lifespan) -> None:
    lifespan.on_start(depends_on=["search.client"])(named("one"))
    lifespan.on_start(depends_on=["search.index"])(named("two"))
    line = named("one").__code__.co_firstlineno

    with pytest.raises(PlanError) as caught:
        lifespan.plan("app")

    assert isinstance(caught.value, LifespanError)
    assert caught.value.service_type == "app"
    assert str(caught.value) == (
        "The plan of service type 'app' has 2 problems:\n"
        f"- {__file__}:{line}: Hook 'shop.one' depends on 'search.client', which no app declares.\n"
        "    Correct the name in depends_on=, or install the app. Hooks there are: shop.two.\n"
        f"- {__file__}:{line}: Hook 'shop.two' depends on 'search.index', which no app declares.\n"
        "    Correct the name in depends_on=, or install the app. Hooks there are: shop.one."
    )


def test_one_problem_is_not_called_problems(lifespan: Lifespan) -> None:
    lifespan.on_start(depends_on=["search.client"])(named("one"))

    with pytest.raises(PlanError, match="has 1 problem:"):
        lifespan.plan("app")


def test_cycle_is_reported_with_the_reason_of_every_edge(lifespan: Lifespan) -> None:
    """client needs index (parameter), index depends on build, build needs client (parameter)."""

    @lifespan.resource
    @written_in("shop.lifespan")
    async def client(index: object) -> None:
        """Do nothing."""

    handle = lifespan.resource(depends_on=["build"])(named("index"))

    @lifespan.on_start
    @written_in("shop.lifespan")
    async def build(client: object) -> None:
        """Do nothing."""

    lifespan.on_start(depends_on=["build"])(named("behind_it"))

    [problem] = problems_of(lifespan)
    at = {
        "client": client.hook.line,
        "index": handle.hook.line,
        "build": build.__code__.co_firstlineno,
    }
    assert problem.code == "cycle"
    assert problem.message == (
        "Dependency cycle:"
        f"\n      'shop.client' ({__file__}:{at['client']}) waits for 'shop.index': needs, "
        "parameter 'index'"
        f"\n      'shop.index' ({__file__}:{at['index']}) waits for 'shop.build': declared, "
        "depends_on"
        f"\n      'shop.build' ({__file__}:{at['build']}) waits for 'shop.client': needs, "
        "parameter 'client'"
    )
    assert problem.hint == (
        "Remove one of these dependencies: a parameter, or an entry of depends_on=."
    )


def test_hook_that_only_leads_to_a_cycle_is_not_reported(lifespan: Lifespan) -> None:
    """Neither is one that a hook of the cycle needs as well."""
    lifespan.on_start(depends_on=["one"])(named("before_it"))
    lifespan.on_start(depends_on=["fine", "two"])(named("one"))
    lifespan.on_start(depends_on=["one"])(named("two"))
    lifespan.on_start(named("fine"))

    [problem] = problems_of(lifespan)
    assert re.findall(r"waits for '(.*?)'", problem.message) == ["shop.two", "shop.one"]


def test_hook_that_waits_for_itself_is_a_cycle(lifespan: Lifespan) -> None:
    lifespan.on_start(depends_on=["again"])(named("again"))

    [problem] = problems_of(lifespan)
    assert problem.code == "cycle"
    assert "'shop.again' (" in problem.message
    assert "waits for 'shop.again': declared" in problem.message


def test_every_cycle_is_reported_once(lifespan: Lifespan) -> None:
    for cycle in ("a", "b"):
        lifespan.on_start(depends_on=[f"{cycle}_two"])(named(f"{cycle}_one"))
        lifespan.on_start(depends_on=[f"{cycle}_one"])(named(f"{cycle}_two"))
    lifespan.on_start(depends_on=["a_one", "b_one"])(named("behind_both"))

    assert [problem.code for problem in problems_of(lifespan)] == ["cycle", "cycle"]


def test_priorities_and_written_order_make_no_cycle(lifespan: Lifespan) -> None:
    lifespan.on_start(9)(named("last"))
    lifespan.on_start(depends_on=["last"])(named("middle"))
    lifespan.on_start(-9, depends_on=["middle"])(named("first"))

    assert lifespan.plan("app").order == ["shop.last", "shop.middle", "shop.first"]


def test_circle_through_a_default_is_a_cycle(lifespan: Lifespan) -> None:
    @lifespan.resource
    @written_in("shop.lifespan")
    async def client(index: object = None) -> None:
        """Do nothing."""

    @lifespan.resource
    @written_in("shop.lifespan")
    async def index(client: object) -> None:
        """Do nothing."""

    assert [problem.code for problem in problems_of(lifespan)] == ["cycle"]


def test_draft_shows_the_hooks_that_are_in_no_cycle(lifespan: Lifespan) -> None:
    lifespan.on_start(depends_on=["two"])(named("one"))
    lifespan.on_start(depends_on=["one"])(named("two"))
    lifespan.on_start(depends_on=["two"])(named("behind_them"))
    lifespan.on_start(named("elsewhere"))

    plan, problems = draft_plan(lifespan.hooks, "app", HostWithApps().app_label, {})

    assert [problem.code for problem in problems] == ["cycle"]
    assert plan.order == ["shop.elsewhere"]
    assert {excluded.key: excluded.reason for excluded in plan.excluded} == dict.fromkeys(
        ["shop.one", "shop.two", "shop.behind_them"], "stands in a cycle, or needs a hook that does"
    )


def test_hook_that_can_not_run_once_says_why_and_what_to_do(lifespan: Lifespan) -> None:
    lifespan.on_start(named("plain"))
    lifespan.on_start(once="launch")(named("announce"))
    lifespan.on_start(once="release", service_types=["worker"])(named("elsewhere"))
    lifespan.on_start(once="release")(named("migrate"))

    _, [problem] = draft_plan(
        lifespan.hooks,
        "app",
        HostWithApps().app_label,
        {},
        refusals={"release": Refusal("this process has no release", "Set RELEASE.")},
    )

    assert problem == Problem(
        "'shop.migrate' has once='release', and this process has no release.",
        "Set RELEASE.",
        __file__,
        named("migrate").__code__.co_firstlineno,
        "once",
    )


def test_cause_of_a_broken_module_is_the_cause_of_the_error(lifespan: Lifespan) -> None:
    cause = ImportError("no such module")
    lifespan.broken["shop.lifespan"] = Problem("It is broken.", "Mend it.", cause=cause)

    with pytest.raises(PlanError) as caught:
        lifespan.plan("app")

    assert caught.value.__cause__ is cause


def test_nothing_runs_of_a_plan_that_is_wrong(run: RunOnLoop) -> None:
    called: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.on_start
        async def fine() -> None:
            called.append("fine")

        lifespan.on_start(depends_on=["nowhere"])(named("wrong"))
        with pytest.raises(PlanError):
            await lifespan.startup()
        async with AsyncExitStack() as stack:
            with pytest.raises(PlanError):
                await stack.enter_async_context(lifespan.run("app"))
        assert not lifespan.is_initialized()
        assert lifespan.report() is None

    run(main)

    assert called == []
