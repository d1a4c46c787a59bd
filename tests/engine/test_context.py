"""The context: what a hook may ask about the process it runs in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lifespan_app import Lifespan, LifespanContext, ServiceType
from lifespan_app.engine.settings import Settings
from tests.engine.conftest import RunOnLoop


def test_context_has_defaults() -> None:
    context = LifespanContext()

    assert (context.service_type, context.environment) == ("app", "development")
    assert (context.config, context.metadata) == ({}, {})


@pytest.mark.parametrize(
    ("service_type", "is_worker", "is_api", "is_test"),
    [
        ("app", False, True, False),
        ("api", False, True, False),
        ("worker", True, False, False),
        ("scheduler", False, False, False),
        ("test", False, False, True),
        ("server", False, False, False),
        ("nightly", False, False, False),
    ],
)
def test_context_has_the_kind_of_process(
    service_type: str, is_worker: bool, is_api: bool, is_test: bool
) -> None:
    context = LifespanContext(service_type)

    assert context.is_worker() is is_worker
    assert context.is_api() is is_api
    assert context.is_test() is is_test


def test_service_type_is_a_plain_string_whatever_was_given() -> None:
    context = LifespanContext(ServiceType.WORKER)

    assert type(context.service_type) is str
    assert context == LifespanContext("worker")


def test_config_and_metadata_are_read_by_key() -> None:
    given = {"size": 3}
    context = LifespanContext("app", config=given)
    context.set_metadata("started", "today")

    assert context.get_config("size") == 3
    assert context.get_config("colour") is None
    assert context.get_config("colour", "red") == "red"
    assert context.get_metadata("started") == "today"
    assert context.get_metadata("stopped", "never") == "never"


def test_context_does_not_change_its_arguments() -> None:
    given = {"size": 3}
    LifespanContext("app", config=given).config["size"] = 4

    assert given == {"size": 3}


def test_contexts_are_compared_by_value_and_shown_in_full() -> None:
    one = LifespanContext("api", "production", {"size": 3}, {"a": 1})

    assert one == LifespanContext("api", "production", {"size": 3}, {"a": 1})
    assert one != LifespanContext("api", "production", {"size": 4}, {"a": 1})
    assert one != "api"
    assert repr(one) == (
        "LifespanContext(service_type='api', environment='production', "
        "config={'size': 3}, metadata={'a': 1})"
    )


def test_hooks_of_a_run_get_one_context(
    run: RunOnLoop,
) -> None:
    read: list[object] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.on_start
        def leave(context: LifespanContext) -> None:
            context.set_metadata("token", 7)

        @lifespan.on_shutdown
        async def find(context: LifespanContext) -> None:
            read.append(context.get_metadata("token"))
            read.append(context is given)

        given = LifespanContext("app")
        async with lifespan.run(given):
            pass

    run(main)

    assert read == [7, True]


def test_settings_make_the_context_where_none_is_given(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        settings = Settings(service_type="api", environment="staging", config={"size": 3})
        lifespan.adapter.settings = lambda: settings  # type: ignore[method-assign]
        seen: list[LifespanContext] = []

        @lifespan.on_start
        async def look(context: LifespanContext) -> None:
            seen.append(context)

        async with lifespan.run():
            pass
        async with lifespan.run("worker"):
            pass
        assert seen == [
            LifespanContext("api", "staging", {"size": 3}),
            LifespanContext("worker", "staging", {"size": 3}),
        ]

    run(main)


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ({"region": "eu"}, r"not with a dict\.$"),
        (print, r"not with a builtin_function.*\. For lifespan= of FastAPI, .*as_lifespan\(\)\.$"),
    ],
)
@pytest.mark.parametrize("opens", [Lifespan.run_sync, Lifespan.as_lifespan])
def test_lifespan_is_opened_with_a_context_and_nothing_else(
    lifespan: Lifespan, opens: Callable[..., Any], given: object, refusal: str
) -> None:
    with pytest.raises(TypeError, match=refusal), opens(lifespan, given):
        pass
    assert not lifespan.is_initialized()
