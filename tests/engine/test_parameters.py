"""A parameter asks: which ones get the context, the state, a resource, and which are errors."""

from __future__ import annotations

import functools
import types
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Annotated, Any, ForwardRef

import pytest

from lifespan_app import Lifespan, LifespanContext
from lifespan_app.errors import Problem
from tests.engine.apps import HostWithApps, written_in
from tests.engine.conftest import RunOnLoop
from tests.engine.lookups import problems_of

if TYPE_CHECKING:
    from decimal import Decimal

shop = Lifespan(HostWithApps())


@shop.resource
@written_in("shop.lifespan")
async def client() -> str:
    return "the shop's client"


@shop.resource(state_name="other_client")
@written_in("search.lifespan")
async def search_client() -> str:
    return "the search's client"


async def given_to(lifespan: Lifespan, hook: Callable[..., Any]) -> Any:
    """Return what a function returns that is called as a hook beside what is declared already."""
    handle: Any = lifespan.resource(name="given")(hook)
    async with lifespan.run(LifespanContext("app", config={"size": 3})):
        return handle.current()


def problem_of(lifespan: Lifespan) -> Problem:
    [problem] = problems_of(lifespan)
    return problem


# The context and the state.


def by_name(context: Any) -> Any:
    return context


def by_annotation(about_it: LifespanContext) -> Any:
    return about_it


def alone_ctx(ctx: Any) -> Any:
    return ctx


def alone_underscored(_context: Any) -> Any:
    return _context


def alone_in_full(lifespan_context: Any) -> Any:
    return lifespan_context


def alone_beside_a_default(ctx: Any, size: int = 1) -> Any:
    return ctx


def keyword_only(*, context: Any) -> Any:
    return context


@pytest.mark.parametrize(
    "hook",
    [
        by_name,
        by_annotation,
        alone_ctx,
        alone_underscored,
        alone_in_full,
        alone_beside_a_default,
        keyword_only,
    ],
)
def test_context_is_passed_to_a_hook_with_such_a_parameter(
    run: RunOnLoop, hook: Callable[..., Any]
) -> None:
    async def main(lifespan: Lifespan) -> None:
        given = await given_to(lifespan, hook)
        assert isinstance(given, LifespanContext)
        assert given.get_config("size") == 3

    run(main)


if TYPE_CHECKING:
    from lifespan_app.engine import context as only_for_types


def annotated_where_only_type_checkers_look(about_it: only_for_types.LifespanContext) -> Any:
    return about_it


def quoted_where_only_type_checkers_look(about_it: "only_for_types.LifespanContext") -> Any:  # noqa: UP037
    return about_it


def quoted(about_it: "LifespanContext") -> Any:  # noqa: UP037
    return about_it


@pytest.mark.parametrize(
    "hook",
    [annotated_where_only_type_checkers_look, quoted_where_only_type_checkers_look, quoted],
)
def test_context_annotation_counts_even_where_it_can_not_be_read_at_once(
    run: RunOnLoop, hook: Callable[..., Any]
) -> None:
    """In this module annotations are texts. That of a quoted one is a text once more."""

    async def main(lifespan: Lifespan) -> None:
        assert isinstance(await given_to(lifespan, hook), LifespanContext)

    run(main)


def test_context_name_with_a_default_is_left_alone(run: RunOnLoop) -> None:
    def hook(client: str, ctx: object = "its default") -> Any:
        return ctx

    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(name="client")(lambda: "a client")
        assert await given_to(lifespan, hook) == "its default"

    run(main)


def test_context_name_beside_a_parameter_says_how_to_ask_for_it(
    lifespan: Lifespan,
) -> None:
    @lifespan.on_start
    @written_in("shop.lifespan")
    async def warm_up(client: str, ctx: object) -> None:
        """Do nothing."""

    lifespan.resource(name="client")(lambda: "a client")

    problem = problem_of(lifespan)
    assert problem.message == "Parameter 'ctx' of 'shop.warm_up' matches no resource."
    assert "Call the parameter 'context', or annotate it as LifespanContext." in problem.hint


def test_state_is_given_to_write_to(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        @lifespan.on_start
        async def note(state: MutableMapping[str, Any]) -> None:
            state["built_at"] = 12

        async with lifespan.run("app") as state:
            assert state["built_at"] == 12
            assert state.built_at == 12

    run(main)


def test_hook_may_ask_for_everything_at_once(run: RunOnLoop) -> None:
    def hook(context: object, state: object, client: str, size: int = 5) -> Any:
        return context, state, client, size

    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(name="client")(lambda: "a client")
        context, state, client, size = await given_to(lifespan, hook)
        assert isinstance(context, LifespanContext)
        assert isinstance(state, Mapping)
        assert (client, size) == ("a client", 5)

    run(main)


# A resource by its name.


def test_name_means_the_resource_of_its_own_app_first(run: RunOnLoop) -> None:
    given: dict[str, str] = {}

    async def main(lifespan: Lifespan) -> None:
        lifespan.adapter.app_label = HostWithApps().app_label  # type: ignore[method-assign]

        @lifespan.resource(state_name="client")
        @written_in("search.lifespan")
        async def finder() -> str:
            return "called client in the state"

        @lifespan.resource(name="client", state_name="shop_client")
        @written_in("shop.lifespan")
        async def own() -> str:
            return "the shop's own"

        @lifespan.on_start(name="shop")
        @written_in("shop.lifespan")
        async def in_shop(client: str) -> None:
            given["shop"] = client

        @lifespan.on_start(name="search")
        @written_in("search.lifespan")
        async def in_search(client: str) -> None:
            given["search"] = client

        async with lifespan.run("app"):
            pass

    run(main)

    assert given == {"shop": "the shop's own", "search": "called client in the state"}


def test_resource_of_the_own_app_is_found_by_its_name(
    run: RunOnLoop,
) -> None:
    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(name="client", state_name="c")(written_in(__name__)(lambda: "a client"))
        given = await given_to(lifespan, lambda client: client)
        assert given == "a client"

    run(main)


def test_resource_that_asks_for_its_own_name_is_given_another_app_s(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        lifespan.adapter.app_label = HostWithApps().app_label  # type: ignore[method-assign]

        @lifespan.resource
        @written_in("http.lifespan")
        async def client() -> str:
            return "plain"

        @lifespan.resource(name="client", state_name="shop_client")
        @written_in("shop.lifespan")
        async def dressed(client: str) -> str:
            return f"{client}, dressed"

        async with lifespan.run("app") as state:
            assert state["shop_client"] == "plain, dressed"

    run(main)


def test_parameter_that_names_its_own_resource_is_an_error(lifespan: Lifespan) -> None:
    @lifespan.resource
    @written_in("shop.lifespan")
    async def client(client: str) -> str:
        return client

    problem = problem_of(lifespan)
    assert problem.message == "Parameter 'client' of 'shop.client' matches no other resource."


def test_start_functions_and_jobs_are_not_given_by_name(lifespan: Lifespan) -> None:
    @lifespan.on_start(name="catalogue")
    async def start() -> None:
        """Do nothing."""

    @lifespan.background(name="prices")
    async def job() -> None:
        """Do nothing."""

    @lifespan.on_start
    async def warm_up(catalogue: object, prices: object) -> None:
        """Do nothing."""

    assert [problem.code for problem in problems_of(lifespan)] == ["missing", "missing"]


# A resource by its handle.


def annotated(other: Annotated[str, search_client]) -> Any:
    return other


def annotated_among_others(other: Annotated[str, "said", search_client, 3]) -> Any:
    return other


def annotated_in_quotes(other: "Annotated[str, search_client]") -> Any:  # noqa: UP037
    return other


@pytest.mark.parametrize("hook", [annotated, annotated_among_others, annotated_in_quotes])
def test_annotated_selects_a_resource(run: RunOnLoop, hook: Callable[..., Any]) -> None:
    async def main(lifespan: Lifespan) -> None:
        for declared in shop.hooks:
            lifespan._registry[declared.identity] = declared
        assert await given_to(lifespan, hook) == "the search's client"

    run(main)


def with_annotations_as_objects(lifespan: Lifespan) -> Callable[..., Any]:
    @lifespan.resource(name="client")
    async def handle() -> str:
        return "by its object"

    def hook(client: object) -> Any:
        return client

    hook.__annotations__["client"] = Annotated[str, handle]
    return hook


def test_annotated_is_read_where_it_is_no_text_as_well(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        hook = with_annotations_as_objects(lifespan)
        assert await given_to(lifespan, hook) == "by its object"

    run(main)


def test_annotated_without_a_handle_is_a_name(run: RunOnLoop) -> None:
    def hook(client: Annotated[str, "the one for books"]) -> Any:
        return client

    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(name="client")(lambda: "by its name")
        assert await given_to(lifespan, hook) == "by its name"

    run(main)


def test_handle_in_another_annotation_means_nothing(run: RunOnLoop) -> None:
    def hook(client: object) -> Any:
        return client

    hook.__annotations__["client"] = types.GenericAlias(tuple, (str, search_client))

    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(name="client")(lambda: "by its name")
        assert await given_to(lifespan, hook) == "by its name"

    run(main)


def test_annotated_with_a_handle_of_another_registry_is_one_error(lifespan: Lifespan) -> None:
    @lifespan.on_start
    @written_in("shop.lifespan")
    async def warm_up(client: object) -> None:
        """Do nothing."""

    warm_up.__annotations__["client"] = Annotated[str, client]

    problem = problem_of(lifespan)
    assert problem.code == "missing"
    assert problem.message == (
        f"Hook 'shop.warm_up' depends on {client.hook!r}, which is declared nowhere in this registry."
    )
    assert problem.hint == "Declare it with a decorator of the same Lifespan."


def test_annotated_that_can_not_be_read_is_an_error(lifespan: Lifespan) -> None:
    @lifespan.on_start
    @written_in("shop.lifespan")
    async def warm_up(client: Annotated[Decimal, client]) -> None:
        """Do nothing."""

    problem = problem_of(lifespan)
    assert problem.code == "annotation"
    assert "parameter 'client' of 'shop.warm_up' can't be read: NameError" in problem.message
    assert "outside 'if TYPE_CHECKING'" in problem.hint


def test_annotated_with_a_reference_that_can_not_be_read_is_an_error(lifespan: Lifespan) -> None:
    @lifespan.on_start
    @written_in("shop.lifespan")
    async def warm_up(client: object) -> None:
        """Do nothing."""

    warm_up.__annotations__["client"] = Annotated[str, ForwardRef("nowhere")]

    problem = problem_of(lifespan)
    assert problem.code == "annotation"
    assert "can't be read: NameError" in problem.message


def test_annotation_that_can_not_be_read_counts_as_none(run: RunOnLoop) -> None:
    def hook(client: Decimal, size: Decimal | None = None) -> Any:
        return client

    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(name="client")(lambda: "by its name")
        assert await given_to(lifespan, hook) == "by its name"

    run(main)


def test_annotations_are_not_read_before_a_plan_is_made(lifespan: Lifespan) -> None:
    @lifespan.on_start
    async def warm_up(client: Annotated[str, written_later]) -> None:  # noqa: F821
        """Do nothing."""

    globals()["written_later"] = lifespan.resource(name="client")(lambda: "a client")
    try:
        assert len(lifespan.plan("app")) == 2
    finally:
        del globals()["written_later"]


# depends_on.


@pytest.mark.parametrize(
    "named",
    ["handle", "function", "search.finder", "start function", "short name"],
)
def test_depends_on_takes_handles_functions_and_keys(lifespan: Lifespan, named: str) -> None:
    @written_in("search.lifespan")
    async def finder() -> str:
        return "found"

    @written_in("search.lifespan")
    async def build() -> None:
        """Do nothing."""

    handle = lifespan.resource(finder)
    lifespan.on_shutdown(build)
    lifespan.on_start(build)
    wanted: Any = {
        "handle": handle,
        "function": finder,
        "start function": build,
        "short name": "finder",
    }.get(named, named)

    @lifespan.on_start(depends_on=[wanted])
    @written_in("search.lifespan" if named == "short name" else "shop.lifespan")
    async def warm_up() -> None:
        """Do nothing."""

    plan = lifespan.plan("app")
    [node] = [node for node in plan.hooks if node.key.endswith(".warm_up")]
    [wait] = [wait for wait in node.waits if wait.reason == "declared"]
    leader = plan.nodes[wait.node]
    assert leader.hook is not None
    if named == "start function":
        assert (leader.key, leader.hook.kind) == ("search.build", "start")
    else:
        assert leader.key == "search.finder"


def test_depends_on_gives_no_argument_and_lets_the_handle_be_read(run: RunOnLoop) -> None:
    read: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def client() -> AsyncIterator[str]:
            yield "a client"

        @lifespan.on_start(depends_on=[client])
        async def warm_up() -> None:
            read.append(client.current())

        async with lifespan.run("app"):
            pass

    run(main)

    assert read == ["a client"]


def test_unknown_depends_on_lists_the_hooks_and_offers_the_nearest(
    lifespan: Lifespan,
) -> None:
    lifespan.resource(name="client")(written_in("search.lifespan")(lambda: 1))

    @lifespan.on_start(depends_on=["search.cleint"])
    @written_in("shop.lifespan")
    async def warm_up() -> None:
        """Do nothing."""

    problem = problem_of(lifespan)
    assert problem.message == (
        "Hook 'shop.warm_up' depends on 'search.cleint', which no app declares. "
        "Did you mean 'search.client'?"
    )
    assert "Hooks there are: search.client." in problem.hint
    assert (problem.file, problem.line) == (__file__, warm_up.__code__.co_firstlineno)


@pytest.mark.parametrize("foreign", [client, len], ids=["handle", "function"])
def test_depends_on_a_hook_of_another_registry_is_an_error(
    lifespan: Lifespan, foreign: Any
) -> None:
    @lifespan.on_start(depends_on=[foreign])
    @written_in("shop.lifespan")
    async def warm_up() -> None:
        """Do nothing."""

    problem = problem_of(lifespan)
    assert problem.message.startswith("Hook 'shop.warm_up' depends on <")
    assert "declared nowhere in this registry" in problem.message
    assert problem.hint == "Declare it with a decorator of the same Lifespan."


@pytest.mark.parametrize("kind", ["on_shutdown", "background"])
@pytest.mark.parametrize("by_name", [False, True])
def test_nothing_may_depend_on_a_shutdown_function_or_a_job(
    lifespan: Lifespan, kind: str, by_name: bool
) -> None:
    @written_in("search.lifespan")
    async def tidy() -> None:
        """Do nothing."""

    getattr(lifespan, kind)(tidy)

    @lifespan.on_start(depends_on=["search.tidy" if by_name else tidy])
    async def warm_up() -> None:
        """Do nothing."""

    problem = problem_of(lifespan)
    assert problem.code == "missing"
    assert "nothing may depend on one" in problem.message
    assert "Depend on a resource or a start function." in problem.hint


# Defaults, and parameters that are left alone.


def test_parameter_with_a_default_that_names_no_resource_is_left_alone(run: RunOnLoop) -> None:
    def hook(size: int = 5, *args: Any, colour: str = "red", **options: Any) -> Any:
        return size, args, colour, options

    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(name="args")(lambda: "not for stars")
        lifespan.resource(name="options")(lambda: "not for stars")
        assert await given_to(lifespan, hook) == (5, (), "red", {})

    run(main)


def test_parameter_with_a_default_that_names_a_resource_is_given_it(run: RunOnLoop) -> None:
    def hook(client: str | None = None) -> Any:
        return client

    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(name="client")(lambda: "a client")
        assert await given_to(lifespan, hook) == "a client"

    run(main)


def test_decorated_function_has_the_dependencies_of_the_inner_one(run: RunOnLoop) -> None:
    def hook(client: str, *, size: int = 5) -> Any:
        return client, size

    @functools.wraps(hook)
    def decorated(*args: Any, **options: Any) -> Any:
        return "decorated", *hook(*args, **options)

    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(name="client")(lambda: "a client")
        assert await given_to(lifespan, decorated) == ("decorated", "a client", 5)

    run(main)


def test_argument_bound_by_a_partial_keeps_its_value(run: RunOnLoop) -> None:
    def hook(client: str, size: int) -> Any:
        return client, size

    async def main(lifespan: Lifespan) -> None:
        lifespan.resource(name="client")(lambda: "a client")
        assert await given_to(lifespan, functools.partial(hook, size=9)) == ("a client", 9)

    run(main)


# Parameters that nothing can be given for.


def test_parameter_that_names_no_resource_lists_those_there_are(lifespan: Lifespan) -> None:
    lifespan.resource(name="client")(lambda: 1)
    lifespan.resource(name="index")(lambda: 1)

    @lifespan.on_start
    @written_in("shop.lifespan")
    async def warm_up(klient: object) -> None:
        """Do nothing."""

    problem = problem_of(lifespan)
    assert problem.code == "missing"
    assert problem.message == (
        "Parameter 'klient' of 'shop.warm_up' matches no resource. Did you mean 'client'?"
    )
    assert problem.hint == (
        "Resources there are: client, index. Correct the name, give it a default, or, for the "
        "context, call it 'context' or annotate it as LifespanContext."
    )
    assert (problem.file, problem.line) == (__file__, warm_up.__code__.co_firstlineno)


def test_parameter_for_the_application_is_known_from_fastapi(lifespan: Lifespan) -> None:
    @lifespan.on_start
    async def warm_up(app: object) -> None:
        """Do nothing."""

    hint = problem_of(lifespan).hint
    assert "is not given the application, as the lifespan functions of FastAPI" in hint
    assert "remove 'app'" in hint


def test_resource_may_be_called_app(lifespan: Lifespan) -> None:
    lifespan.resource(name="app")(lambda: 1)

    @lifespan.on_start
    async def warm_up(app: object) -> None:
        """Do nothing."""

    lifespan.plan()


def test_long_list_of_resources_stays_readable(lifespan: Lifespan) -> None:
    for number in range(15):
        lifespan.resource(name=f"resource_{number:02}")(lambda: 1)

    @lifespan.on_start
    async def warm_up(unknown: object) -> None:
        """Do nothing."""

    assert "resource_11 and 3 more." in problem_of(lifespan).hint


def test_positional_only_parameter_is_an_error(lifespan: Lifespan) -> None:
    @lifespan.on_start
    @written_in("shop.lifespan")
    async def warm_up(context: object, /) -> None:
        """Do nothing."""

    problem = problem_of(lifespan)
    assert problem.code == "signature"
    assert "Parameter 'context' of 'shop.warm_up' is positional-only" in problem.message
    assert problem.hint == "Remove the '/' from the signature."


class Catalogue:
    async def warm_up(self) -> None:
        """Do nothing."""

    async def open(self) -> AsyncIterator[str]:
        yield "the catalogue's own"


def test_unbound_method_is_refused_with_advice_to_register_the_bound_one(
    lifespan: Lifespan,
) -> None:
    lifespan.on_start(Catalogue.warm_up)

    problem = problem_of(lifespan)
    assert problem.code == "signature"
    assert "is a method without its object: nothing can be given for 'self'" in problem.message
    assert problem.hint == (
        "Register the bound method, once there is an object: lifespan.on_start(catalogue.warm_up)."
    )


def test_unbound_method_gets_the_decorator_of_its_own_kind(lifespan: Lifespan) -> None:
    lifespan.resource(Catalogue.open)

    assert "lifespan.resource(catalogue.open)" in problem_of(lifespan).hint


class Outer:
    class Index:
        async def build(self) -> None:
            """Do nothing."""


def test_unbound_method_of_an_inner_class_names_an_object_of_that_class(lifespan: Lifespan) -> None:
    lifespan.on_start(Outer.Index.build)

    assert "lifespan.on_start(index.build)" in problem_of(lifespan).hint


async def asks_for_nothing_there_is(klient: object) -> None:
    """Do nothing."""


async def asks_for_self(self: object) -> None:
    """Do nothing."""


@pytest.mark.parametrize("hook", [asks_for_nothing_there_is, asks_for_self])
def test_function_of_a_module_is_not_called_a_method(
    lifespan: Lifespan, hook: Callable[..., Any]
) -> None:
    lifespan.on_start(hook)

    assert problem_of(lifespan).code == "missing"


def test_function_in_a_function_is_not_called_a_method(lifespan: Lifespan) -> None:
    @lifespan.on_start
    async def warm_up(self: object) -> None:
        """Do nothing."""

    assert problem_of(lifespan).code == "missing"


def test_bound_method_needs_no_self(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        handle = lifespan.resource(Catalogue().open)
        async with lifespan.run("app"):
            assert handle.current() == "the catalogue's own"

    run(main)


def test_signature_that_can_not_be_read_is_an_error(lifespan: Lifespan) -> None:
    lifespan.resource(name="numbers")(dict)

    problem = problem_of(lifespan)
    assert problem.code == "signature"
    assert "signature of 'builtins.numbers' can't be read: ValueError" in problem.message
    assert problem.hint == "Wrap it in a function of your own."
