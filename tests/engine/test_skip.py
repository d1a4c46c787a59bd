"""Hooks that the environment leaves out, together with what depends on them."""

from __future__ import annotations

from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.planning.builder import build_plan
from lifespan_app.engine.planning.plan import Plan
from lifespan_app.errors import PlanError, Problem
from tests.engine.apps import HostWithApps, written_in


async def nothing() -> None:
    """Do nothing, as a hook of any kind."""


def declare(lifespan: Lifespan, name: str, **options: Any) -> Any:
    return lifespan.resource(name=name, **options)(written_in("shop.lifespan")(nothing))


def plan_without(lifespan: Lifespan, *keys: str) -> Plan:
    return build_plan(lifespan.hooks, "app", label_of=HostWithApps().app_label, skip=keys)


def test_skipped_hook_is_left_out_with_all_that_depend_on_it(lifespan: Lifespan) -> None:
    cache = declare(lifespan, "cache")
    search = declare(lifespan, "search", depends_on=[cache])
    declare(lifespan, "index", depends_on=[search], required=False)
    declare(lifespan, "mail")

    plan = plan_without(lifespan, "shop.cache")

    assert list(plan.order) == ["shop.mail"]
    assert {excluded.key: excluded.reason for excluded in plan.excluded} == {
        "shop.cache": "left out by skip",
        "shop.search": "needs 'shop.cache', which is left out by skip",
        "shop.index": "needs 'shop.search', which is left out by skip",
    }


def test_key_that_no_hook_has_is_a_problem_of_the_plan(lifespan: Lifespan) -> None:
    declare(lifespan, "cache")

    with pytest.raises(PlanError) as caught:
        plan_without(lifespan, "shop.cash")

    (problem,) = caught.value.problems
    assert problem.code == "skip"
    assert problem.message == (
        "skip names 'shop.cash', which is no hook's key. Did you mean 'shop.cache'?"
    )
    assert problem.hint == "Correct the key, or remove it. Hooks there are: shop.cache."


def test_hook_of_another_service_type_may_be_skipped(lifespan: Lifespan) -> None:
    declare(lifespan, "cache")
    declare(lifespan, "queue", service_types=["worker"])

    assert list(plan_without(lifespan, "shop.queue").order) == ["shop.cache"]


def test_all_that_depend_on_a_skipped_hook_are_left_out_whatever_else_they_need(
    lifespan: Lifespan,
) -> None:
    cache = declare(lifespan, "cache")
    lock = declare(lifespan, "lock")
    declare(lifespan, "search", depends_on=[cache, lock])
    declare(lifespan, "index", depends_on=[cache])
    declare(lifespan, "mail", depends_on=[lock])

    assert list(plan_without(lifespan, "shop.cache", "shop.lock").order) == []


def test_key_that_no_hook_has_may_be_one_of_a_module_that_is_broken(lifespan: Lifespan) -> None:
    broken = Problem("App 'shop' has a broken lifespan.py.", "Mend it.", code="broken")

    with pytest.raises(PlanError) as caught:
        build_plan(lifespan.hooks, "app", skip=["shop.cache"], broken=[broken])

    assert caught.value.problems == (broken,)
