"""Annotations that Python 3.14 reads when they are asked for (PEP 649): no text, and no error before.

This module leaves out ``from __future__ import annotations`` on purpose.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.errors import PlanError
from tests.engine.conftest import RunOnLoop

if TYPE_CHECKING:
    from decimal import Decimal

    from lifespan_app.engine import context as only_for_types
    from lifespan_app.engine.context import LifespanContext

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="before Python 3.14 a name that is missing ends the module"
)


def given_to(run: RunOnLoop, hook: Callable[..., Any]) -> Any:
    """Return what a hook returns that is called beside a resource ``client``."""

    async def main(lifespan: Lifespan) -> Any:
        lifespan.resource(name="client")(lambda: "a client")
        given: Any = lifespan.resource(name="given")(hook)
        async with lifespan.run("app"):
            return given.current()

    return run(main)


def test_resource_is_given_where_its_type_is_imported_for_type_checkers(run: RunOnLoop) -> None:
    def hook(client: Decimal, size: Decimal | None = None) -> Any:
        return client

    assert given_to(run, hook) == "a client"


def test_keyword_only_parameter_may_have_such_a_type(run: RunOnLoop) -> None:
    def hook(*, client: list[Decimal]) -> Any:
        return client

    assert given_to(run, hook) == "a client"


def test_callable_object_may_have_such_a_type(run: RunOnLoop) -> None:
    class Opens:
        def __call__(self, client: Decimal) -> Any:
            return client

    assert given_to(run, Opens()) == "a client"


def test_context_is_given_where_its_class_is_imported_for_type_checkers(run: RunOnLoop) -> None:
    def by_name(about_it: LifespanContext) -> Any:
        return about_it.service_type

    def by_module(about_it: only_for_types.LifespanContext) -> Any:
        return about_it.service_type

    assert given_to(run, by_name) == "app"
    assert given_to(run, by_module) == "app"


def test_handle_in_annotated_counts_beside_a_type_for_type_checkers(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> Any:
        handle = lifespan.resource(name="other")(lambda: "by its handle")

        def hook(client: Annotated[Decimal, handle]) -> Any:
            return client

        given: Any = lifespan.resource(name="given")(hook)
        async with lifespan.run("app"):
            return given.current()

    assert run(main) == "by its handle"


def test_handle_that_is_missing_is_an_error(lifespan: Lifespan) -> None:
    @lifespan.on_start
    async def warm_up(client: Annotated[str, missing_handle]) -> None:  # noqa: F821
        """Do nothing."""

    lifespan.resource(name="client")(lambda: "a client")

    with pytest.raises(PlanError) as caught:
        lifespan.plan("app")
    [problem] = caught.value.problems
    assert "can't be read: NameError: name 'missing_handle' is not defined" in problem.message
    assert "outside 'if TYPE_CHECKING'" in problem.hint
