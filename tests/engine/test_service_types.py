"""Rule 4.1: which hooks a plan holds, and what becomes of those that need one it leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from lifespan_app import Lifespan, LifespanContext, ServiceType
from lifespan_app.engine.planning.builder import build_plan
from lifespan_app.engine.planning.plan import Excluded, Plan
from lifespan_app.errors import PlanError
from tests.engine.apps import HostWithApps, written_in
from tests.engine.conftest import RunOnLoop


async def nothing() -> None:
    """Do nothing, as a hook of any kind."""


def declare(lifespan: Lifespan, name: str, **options: Any) -> Any:
    return lifespan.resource(name=name, **options)(written_in("shop.lifespan")(nothing))


def names(plan: Plan) -> list[str]:
    return [key.removeprefix("shop.") for key in plan.order]


def plan_without(lifespan: Lifespan, *disabled: str) -> Plan:
    overrides = {f"shop.{name}": {"enabled": False} for name in disabled}
    label_of = HostWithApps().app_label
    return build_plan(lifespan.hooks, "app", label_of=label_of, overrides=overrides)


@pytest.mark.parametrize(
    ("service_type", "expected"),
    [
        ("app", ["everywhere", "web"]),
        ("api", ["everywhere", "web"]),
        ("worker", ["everywhere", "jobs"]),
        ("test", ["everywhere"]),
        ("nightly", ["everywhere", "own_word"]),
        (ServiceType.WORKER, ["everywhere", "jobs"]),
    ],
)
def test_plan_holds_hooks_of_its_service_type_and_those_of_all(
    lifespan: Lifespan, service_type: str, expected: list[str]
) -> None:
    declare(lifespan, "everywhere")
    declare(lifespan, "web", service_types=["app", "api"])
    declare(lifespan, "jobs", service_types=[ServiceType.WORKER])
    declare(lifespan, "own_word", service_types={"nightly"})
    declare(lifespan, "nowhere", service_types=[])

    assert names(lifespan.plan(service_type)) == expected


def test_excluded_hook_is_reported_with_its_reason_and_location(lifespan: Lifespan) -> None:
    declare(lifespan, "jobs", service_types=["worker", "scheduler"])

    line = nothing.__code__.co_firstlineno
    assert lifespan.plan("app").excluded == (
        Excluded("shop.jobs", "for service type scheduler, worker, not app", __file__, line),
    )


def test_excluded_hook_names_all_of_its_service_types(lifespan: Lifespan) -> None:
    declare(lifespan, "jobs", service_types=["worker", "scheduler"])
    declare(lifespan, "nowhere", service_types=[])

    assert [excluded.reason for excluded in lifespan.plan("app").excluded] == [
        "for service type scheduler, worker, not app",
        "for service type none, not app",
    ]


def test_service_type_of_the_context_decides(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        declare(lifespan, "web", service_types=["api"])
        declare(lifespan, "jobs", service_types=["worker"])
        async with lifespan.run(LifespanContext("worker")) as state:
            assert list(state) == ["jobs"]
        async with lifespan.run("api") as state:
            assert list(state) == ["web"]
        async with lifespan.run() as state:
            assert list(state) == []

    run(main)


# The plan of the server.


def test_plan_for_the_server_holds_its_hooks_and_their_dependencies(
    lifespan: Lifespan,
) -> None:
    """elect (server) <- lock (anywhere) <- redis (anywhere); the client is needed by nobody."""
    redis = declare(lifespan, "redis")
    lock = declare(lifespan, "lock", depends_on=[redis])
    declare(lifespan, "elect", depends_on=[lock], service_types=["server"])
    client = declare(lifespan, "client")
    declare(lifespan, "web", service_types=["app"])
    declare(lifespan, "uses_client", depends_on=[client])

    plan = lifespan.plan("server")
    assert names(plan) == ["redis", "lock", "elect"]
    reasons = {excluded.key: excluded.reason for excluded in plan.excluded}
    assert reasons == {
        "shop.client": "does not name service type server, nor is it needed there",
        "shop.uses_client": "does not name service type server, nor is it needed there",
        "shop.web": "for service type app, not server",
    }


def test_plan_for_the_server_holds_a_dependency_of_several_hooks_once(lifespan: Lifespan) -> None:
    own = declare(lifespan, "own")
    shared = declare(lifespan, "shared")
    declare(lifespan, "first", service_types=["server"], depends_on=[own])
    declare(lifespan, "second", service_types=["server"], depends_on=[shared])
    declare(lifespan, "third", service_types=["server"], depends_on=[shared])

    assert names(lifespan.plan("server")) == ["own", "shared", "first", "second", "third"]


def test_cycle_in_a_plan_for_the_server_is_reported(lifespan: Lifespan) -> None:
    declare(lifespan, "one", service_types=["server"], depends_on=["shop.two"])
    declare(lifespan, "two", depends_on=["shop.one"])

    with pytest.raises(PlanError, match="Dependency cycle"):
        lifespan.plan("server")


def test_hooks_for_the_server_do_not_run_in_its_workers(lifespan: Lifespan) -> None:
    declare(lifespan, "elect", service_types=["server"])
    declare(lifespan, "both", service_types=["server", "app"])

    assert names(lifespan.plan("app")) == ["both"]
    assert names(lifespan.plan("server")) == ["elect", "both"]


def test_plan_for_a_server_that_nothing_names_is_empty(lifespan: Lifespan) -> None:
    declare(lifespan, "client")

    assert names(lifespan.plan("server")) == []


# What depends on a hook that is left out.


@pytest.mark.parametrize("by", ["depends_on", "parameter"])
def test_required_hook_that_needs_a_left_out_one_is_an_error(lifespan: Lifespan, by: str) -> None:
    client = declare(lifespan, "client", service_types=["worker"])

    @written_in("shop.lifespan")
    async def asks(client: object) -> None:
        """Do nothing."""

    if by == "parameter":
        lifespan.on_start(name="warm_up")(asks)
    else:
        declare(lifespan, "warm_up", depends_on=[client])
    line = (asks if by == "parameter" else nothing).__code__.co_firstlineno

    with pytest.raises(PlanError) as caught:
        lifespan.plan("app")
    [problem] = caught.value.problems
    assert problem.message == (
        f"Hook 'shop.warm_up' needs 'shop.client' ({__file__}:{client.hook.line}), which is left "
        "out here: for service type worker, not app."
    )
    assert "required=False, or give the parameter a default" in problem.hint
    assert (problem.file, problem.line) == (__file__, line)
    assert names(lifespan.plan("worker")) == ["client", "warm_up"]


def test_setting_that_leaves_a_needed_hook_out_is_an_error_too(lifespan: Lifespan) -> None:
    client = declare(lifespan, "client")
    declare(lifespan, "index", depends_on=[client])

    with pytest.raises(PlanError, match="left out here: disabled by the hooks setting"):
        plan_without(lifespan, "client")
    assert names(plan_without(lifespan, "index")) == ["client"]


def test_optional_dependent_is_left_out_and_so_on_down(lifespan: Lifespan) -> None:
    """client (disabled) <- index (optional) <- search (optional)."""
    client = declare(lifespan, "client")
    index = declare(lifespan, "index", depends_on=[client], required=False)
    declare(lifespan, "search", depends_on=[index], required=False)
    declare(lifespan, "other")

    plan = plan_without(lifespan, "client")
    assert names(plan) == ["other"]
    assert {excluded.key: excluded.reason for excluded in plan.excluded} == {
        "shop.client": "disabled by the hooks setting",
        "shop.index": "needs 'shop.client', which is left out",
        "shop.search": "needs 'shop.index', which is left out",
    }


def test_required_hook_below_a_left_out_optional_one_is_an_error(
    lifespan: Lifespan,
) -> None:
    client = declare(lifespan, "client")
    index = declare(lifespan, "index", depends_on=[client], required=False)
    declare(lifespan, "search", depends_on=[index])

    with pytest.raises(PlanError, match=r"'shop\.search' needs 'shop\.index'"):
        plan_without(lifespan, "client")


def test_parameter_with_a_default_gets_its_default(run: RunOnLoop) -> None:
    given: list[object] = []

    async def main(lifespan: Lifespan) -> None:
        declare(lifespan, "client", service_types=["worker"])

        @lifespan.on_start
        @written_in("shop.lifespan")
        async def warm_up(client: object = "its default") -> None:
            given.append(client)

        async with lifespan.run("app"):
            pass

    run(main)

    assert given == ["its default"]


def test_default_does_not_help_beside_depends_on(lifespan: Lifespan) -> None:
    client = declare(lifespan, "client", service_types=["worker"])

    @lifespan.on_start(depends_on=[client])
    @written_in("shop.lifespan")
    async def warm_up(client: object = None) -> None:
        """Do nothing."""

    with pytest.raises(PlanError, match="left out here"):
        lifespan.plan("app")


def test_hook_that_needs_a_left_out_hook_twice_is_one_problem(lifespan: Lifespan) -> None:
    client = declare(lifespan, "client", service_types=["worker"])

    @lifespan.on_start(depends_on=[client])
    @written_in("shop.lifespan")
    async def warm_up(client: object) -> None:
        """Do nothing."""

    with pytest.raises(PlanError) as caught:
        lifespan.plan("app")
    assert len(caught.value.problems) == 1


def test_name_means_the_one_of_two_resources_that_runs(lifespan: Lifespan) -> None:
    """Two caches, one a service type: a dependent needs whichever is in the plan."""
    declare(lifespan, "cache", service_types=["app"])
    lifespan.resource(name="cache", service_types=["worker"])(
        written_in("shop.lifespan")(lambda: "the worker's")
    )

    @lifespan.on_start
    @written_in("shop.lifespan")
    async def warm_up(cache: object) -> None:
        """Do nothing."""

    for service_type in ("app", "worker"):
        assert names(lifespan.plan(service_type)) == ["cache", "warm_up"]


async def start_and_stop(lifespan: Lifespan, server: str | None) -> None:
    prepared = lifespan.prepare("app", server=server)
    await prepared.start()
    await prepared.stop()


@pytest.mark.parametrize(
    ("server", "around", "warned"),
    [
        ("uvicorn 0.54.0", "", True),
        ("uvicorn 0.54.0", "worker", True),
        ("uvicorn 0.54.0", "server", False),
        (None, "", False),
    ],
    ids=["under a server", "inside another plan", "inside the server's", "without a server"],
)
async def test_warning_names_the_hooks_for_the_server_that_nothing_opened(
    lifespan: Lifespan,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    server: str | None,
    around: str,
    warned: bool,
) -> None:
    monkeypatch.setenv("LIFESPAN_AROUND", around)
    # Whoever starts all containers of a deployment may give it; that opens nothing.
    monkeypatch.setenv("LIFESPAN_LAUNCH", "given")

    @lifespan.on_start(service_types=["server"])
    async def migrate() -> None: ...

    await start_and_stop(lifespan, server)

    lines = [record.getMessage() for record in caplog.records if "'server'" in record.getMessage()]
    assert len(lines) == warned
    assert all("migrate'" in line and "do not run" in line for line in lines)
