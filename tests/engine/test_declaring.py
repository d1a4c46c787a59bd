"""Declaring hooks: the four decorators, what they take, and what they refuse at once."""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from lifespan_app import Lifespan, Resource
from lifespan_app.engine.hooks.hook import Form, Hook, Kind, Options

FUNCTIONS = ["on_start", "on_shutdown", "background"]
ALL = [*FUNCTIONS, "resource"]


async def nothing() -> None:
    """Do nothing, as a hook of any kind."""


class Client:
    """An object with methods that may be hooks."""

    async def warm_up(self) -> None:
        """Do nothing."""


def declared(lifespan: Lifespan) -> Hook:
    [hook] = lifespan.hooks
    return hook


@pytest.mark.parametrize("decorator", FUNCTIONS)
@pytest.mark.parametrize("options", [None, {}, {"priority": 3}], ids=["bare", "called", "options"])
def test_decorated_function_stays_as_it_is(
    lifespan: Lifespan, decorator: str, options: dict[str, Any] | None
) -> None:
    decorate = getattr(lifespan, decorator)
    decorate = decorate if options is None else decorate(**options)

    assert decorate(nothing) is nothing
    assert declared(lifespan).function is nothing
    assert declared(lifespan).options.priority == (options or {}).get("priority", 0)


@pytest.mark.parametrize("called", [False, True])
def test_declared_resource_becomes_its_handle(lifespan: Lifespan, called: bool) -> None:
    handle: Any = lifespan.resource()(nothing) if called else lifespan.resource(nothing)

    assert isinstance(handle, Resource)
    assert handle.hook is declared(lifespan)


@pytest.mark.parametrize("decorator", ALL)
def test_one_positional_argument_is_the_priority(lifespan: Lifespan, decorator: str) -> None:
    getattr(lifespan, decorator)(7)(nothing)

    assert declared(lifespan).options.priority == 7


@pytest.mark.parametrize(
    ("decorator", "kind"),
    [
        ("on_start", Kind.START),
        ("on_shutdown", Kind.SHUTDOWN),
        ("background", Kind.BACKGROUND),
        ("resource", Kind.RESOURCE),
    ],
)
def test_hook_keeps_its_declared_options(lifespan: Lifespan, decorator: str, kind: Kind) -> None:
    options: dict[str, Any] = {
        "name": "warm_up",
        "priority": -2,
        "service_types": ["api", "worker"],
        "depends_on": ["shop.catalogue"],
        "required": False,
    }
    if kind is not Kind.BACKGROUND:
        options["timeout"] = 4
    if kind in (Kind.BACKGROUND, Kind.RESOURCE):
        options["shutdown_timeout"] = 1.5
    if kind is Kind.BACKGROUND:
        options["on_crash"] = "restart"
    if kind is Kind.RESOURCE:
        options["state_name"] = "warmth"

    getattr(lifespan, decorator)(**options)(nothing)

    hook = declared(lifespan)
    assert hook.kind is kind
    assert hook.module == __name__
    for option, value in options.items():
        expected: object = value
        if option == "service_types":
            expected = frozenset(value)
        elif option == "depends_on":
            expected = tuple(value)
        kept = hook.options if option in Options._fields else hook
        assert getattr(kept, option) == expected, option


def test_hook_knows_the_file_and_line_of_its_function(lifespan: Lifespan) -> None:
    lifespan.on_start(nothing)

    hook = declared(lifespan)
    assert (hook.file, hook.line) == (__file__, nothing.__code__.co_firstlineno)


def test_hook_without_code_of_its_own_knows_where_it_was_declared(lifespan: Lifespan) -> None:
    handle: Any = lifespan.resource(name="numbers")(dict)

    here = test_hook_without_code_of_its_own_knows_where_it_was_declared.__code__
    assert handle.hook.file == __file__
    assert handle.hook.line == here.co_firstlineno + 1


def test_service_type_as_a_string_is_not_a_list_of_letters(lifespan: Lifespan) -> None:
    lifespan.on_start(service_types="api")(nothing)

    assert declared(lifespan).service_types == frozenset({"api"})


def test_one_function_may_be_a_start_and_a_shutdown_function(lifespan: Lifespan) -> None:
    lifespan.on_start(nothing)
    lifespan.on_shutdown(nothing)

    assert [hook.kind for hook in lifespan.hooks] == [Kind.START, Kind.SHUTDOWN]


def test_hooks_of_two_registries_know_nothing_of_each_other(lifespan: Lifespan) -> None:
    other = Lifespan()
    lifespan.on_start(nothing)

    assert other.hooks == []


# Forms.


async def async_generator() -> AsyncIterator[int]:
    yield 1


def generator() -> Iterator[int]:
    yield 1


def function() -> None:
    """Do nothing."""


@functools.wraps(nothing)
def wrapped_coroutine_function() -> Any:
    return nothing()


class AsyncCallable:
    async def __call__(self) -> None:
        """Do nothing."""


class AsyncContext:
    async def __aenter__(self) -> AsyncContext:
        return self

    async def __aexit__(self, *error: object) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("hook", "form"),
    [
        (nothing, Form.COROUTINE),
        (Client().warm_up, Form.COROUTINE),
        (AsyncCallable(), Form.COROUTINE),
        (functools.partial(nothing), Form.COROUTINE),
        (async_generator, Form.ASYNC_GENERATOR),
        (functools.partial(async_generator), Form.ASYNC_GENERATOR),
        (generator, Form.SYNC_GENERATOR),
        (functools.partial(generator), Form.SYNC_GENERATOR),
        (wrapped_coroutine_function, Form.ON_LOOP),
        (AsyncContext, Form.ON_LOOP),
        (function, Form.IN_THREAD),
        (dict, Form.IN_THREAD),
        (lambda: 1, Form.IN_THREAD),
    ],
    ids=map(str, range(13)),
)
def test_form_of_a_callable_is_recognised(
    lifespan: Lifespan, hook: Callable[..., Any], form: Form
) -> None:
    assert lifespan.resource(name="it")(hook).hook.form is form


# What is refused.


def test_option_that_is_misspelt_is_refused_and_the_right_one_offered(
    lifespan: Lifespan,
) -> None:
    with pytest.raises(TypeError, match=r"takes no priorty=\. Did you mean 'priority'\?"):
        lifespan.on_start(priorty=1)(nothing)  # type: ignore[call-overload]

    assert lifespan.hooks == []


@pytest.mark.parametrize(
    ("decorator", "option"),
    [
        ("on_start", "shutdown_timeout"),
        ("on_start", "state_name"),
        ("on_start", "on_crash"),
        ("on_shutdown", "shutdown_timeout"),
        ("on_shutdown", "state_name"),
        ("resource", "on_crash"),
        ("background", "state_name"),
    ],
)
def test_option_of_another_kind_of_hook_is_refused(
    lifespan: Lifespan, decorator: str, option: str
) -> None:
    with pytest.raises(TypeError, match=f"@lifespan.{decorator} takes no {option}="):
        getattr(lifespan, decorator)(**{option: None})


def test_background_job_refuses_timeout_and_names_shutdown_timeout(
    lifespan: Lifespan,
) -> None:
    with pytest.raises(TypeError, match="shutdown_timeout= limits how long it may take to stop"):
        lifespan.background(timeout=3)(nothing)


@pytest.mark.parametrize("decorator", ALL)
def test_more_than_one_positional_argument_is_refused(lifespan: Lifespan, decorator: str) -> None:
    with pytest.raises(TypeError, match="takes a priority, and everything else by name"):
        getattr(lifespan, decorator)(1, "name")


def test_priority_that_is_given_twice_is_refused(lifespan: Lifespan) -> None:
    with pytest.raises(TypeError, match="priority was given twice"):
        lifespan.on_start(1, priority=2)  # type: ignore[call-overload]


@pytest.mark.parametrize("option", ["name", "state_name"])
def test_name_that_is_no_string_is_refused(lifespan: Lifespan, option: str) -> None:
    with pytest.raises(TypeError, match=rf"{option} must be a string, not -1\."):
        lifespan.resource(**{option: -1})(nothing)  # type: ignore[call-overload]


@pytest.mark.parametrize("priority", ["1", 1.5, None, True])
def test_priority_that_is_not_an_integer_is_refused(lifespan: Lifespan, priority: object) -> None:
    with pytest.raises(TypeError, match="priority must be an integer"):
        lifespan.on_start(priority=priority)(nothing)  # type: ignore[call-overload]


@pytest.mark.parametrize("limit", ["timeout", "shutdown_timeout"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (float("nan"), ValueError),
        ("5", TypeError),
        (True, TypeError),
    ],
)
def test_limit_that_is_no_number_of_seconds_is_refused(
    lifespan: Lifespan, limit: str, value: object, error: type[Exception]
) -> None:
    options: dict[str, Any] = {limit: value}
    with pytest.raises(error, match=f"{limit} is a number of seconds"):
        lifespan.resource(**options)(nothing)


@pytest.mark.parametrize("depends_on", ["shop.client", nothing])
def test_depends_on_that_is_no_list_is_refused(lifespan: Lifespan, depends_on: Any) -> None:
    with pytest.raises(TypeError, match="takes a list, such as depends_on="):
        lifespan.on_start(depends_on=depends_on)(nothing)


def test_on_crash_refuses_unknown_values(lifespan: Lifespan) -> None:
    with pytest.raises(ValueError, match="one of log, restart, stop, not 'explode'"):
        lifespan.background(on_crash="explode")(nothing)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"every": 0}, r"every is a number of seconds above 0, not 0\."),
        ({"every": "60"}, r"every is a number of seconds, not '60'\."),
        ({"every": float("nan")}, r"every is a number of seconds above 0"),
        ({"every": 60, "jitter": 1.5}, r"jitter is a number from 0 to 1, not 1\.5\."),
        ({"every": 60, "jitter": -0.1}, r"jitter is a number from 0 to 1"),
        ({"every": 60, "jitter": None}, r"jitter is a number from 0 to 1, not None\."),
        ({"every": 60, "jitter": True}, r"jitter is a number from 0 to 1, not True\."),
        ({"every": 60, "first": -1}, r"first is a number of seconds above 0, not -1\."),
        ({"every": 60, "timeout": 0}, r"timeout is a number of seconds above 0, not 0\."),
        ({"every": 60, "stall_after": 66}, r"stall_after of .* rounds are apart, 66 s with their"),
        ({"stall_after": 0}, r"stall_after is a number of seconds above 0, not 0\."),
        ({"first": 5}, r"first= and jitter= of .* say nothing without every=\."),
        ({"jitter": 0}, r"first= and jitter= of .* say nothing without every=\."),
    ],
    ids=str,
)
def test_rounds_that_can_not_be_are_refused(
    lifespan: Lifespan, options: dict[str, Any], text: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        lifespan.background(**options)(nothing)
    assert lifespan.hooks == []


@pytest.mark.parametrize("hook", [generator, async_generator, AsyncContext])
def test_round_is_a_coroutine_function_or_a_plain_one(
    lifespan: Lifespan, hook: Callable[..., Any]
) -> None:
    with pytest.raises(TypeError, match=r"With every= a plain function may be a round"):
        lifespan.background(every=60, name="it")(hook)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"give_up": 5}, r"give_up is a number of crashes and the seconds within .* not 5\."),
        ({"give_up": (5,)}, r"give_up is a number of crashes and the seconds within"),
        ({"give_up": (5, 300, 1)}, r"give_up is a number of crashes and the seconds within"),
        ({"give_up": "55"}, r"give_up is a number of crashes and the seconds within"),
        ({"give_up": (0, 300)}, r"The number of crashes in give_up is above 0, not 0\."),
        ({"give_up": (1.5, 300)}, r"The number of crashes in give_up must be an integer"),
        ({"give_up": (True, 300)}, r"The number of crashes in give_up must be an integer"),
        ({"give_up": (5, 0)}, r"The time in give_up is a number of seconds above 0, not 0\."),
        ({"give_up": (5, None)}, r"The time in give_up is a number of seconds, not None\."),
        ({"give_up": (5, float("inf"))}, r"The time in give_up is a number of seconds above 0"),
        ({"give_up": (5, float("nan"))}, r"The time in give_up is a number of seconds above 0"),
        ({"give_up": (5, 300), "on_crash": "log"}, r"give_up of .* add on_crash='restart'\."),
        ({"give_up": (5, 300), "on_give_up": "mail"}, r"on_give_up of .* is one of log, stop"),
        ({"on_give_up": "stop"}, r"on_give_up of .* says nothing without give_up=\."),
    ],
    ids=str,
)
def test_give_up_that_means_nothing_is_refused(
    lifespan: Lifespan, options: dict[str, Any], text: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        lifespan.background(**{"on_crash": "restart", **options})(nothing)
    assert lifespan.hooks == []


@pytest.mark.parametrize("decorator", ["on_start", "on_shutdown"])
@pytest.mark.parametrize("hook", [generator, async_generator])
def test_start_or_shutdown_function_that_yields_is_sent_to_resource(
    lifespan: Lifespan, decorator: str, hook: Callable[..., Any]
) -> None:
    with pytest.raises(TypeError, match=r"yields.*declare it with @lifespan\.resource"):
        getattr(lifespan, decorator)(hook)


@pytest.mark.parametrize("hook", [function, generator, async_generator])
def test_background_job_that_could_not_be_stopped_is_refused(
    lifespan: Lifespan, hook: Callable[..., Any]
) -> None:
    where = re.escape(f"'{hook.__name__}' ({__file__}:{hook.__code__.co_firstlineno})")
    with pytest.raises(TypeError, match=f"{where} as 'async def'"):
        lifespan.background(hook)

    assert lifespan.hooks == []


@pytest.mark.parametrize("decorator", ALL)
@pytest.mark.parametrize("what", ["shop.client", 1.5, object()])
def test_object_that_can_not_be_called_is_refused(
    lifespan: Lifespan, decorator: str, what: object
) -> None:
    with pytest.raises(TypeError, match="needs a function, not"):
        getattr(lifespan, decorator)(what)


def test_resource_can_not_be_another_hook_as_well(lifespan: Lifespan) -> None:
    handle = lifespan.resource(nothing)

    with pytest.raises(TypeError, match="is a resource already"):
        lifespan.on_start(handle)


@pytest.mark.parametrize(
    "hook",
    [lambda: None, functools.partial(function), AsyncCallable()],
    ids=["lambda", "partial", "object"],
)
def test_callable_without_a_name_must_be_given_one(
    lifespan: Lifespan, hook: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match="has no name of its own: give it one with name="):
        lifespan.on_start(hook)

    lifespan.on_start(name="it")(hook)
    assert declared(lifespan).name == "it"


@pytest.mark.parametrize(
    "name",
    [
        "context",
        "state",
        "clear",
        "get",
        "items",
        "keys",
        "pop",
        "popitem",
        "setdefault",
        "update",
        "values",
    ],
)
def test_resource_may_not_have_the_name_of_a_method_of_the_state(
    lifespan: Lifespan, name: str
) -> None:
    text = f"can't be called '{name}' in the state.*state_name="
    with pytest.raises(ValueError, match=text):
        lifespan.resource(name=name)(nothing)
    with pytest.raises(ValueError, match=text):
        lifespan.resource(state_name=name)(nothing)

    handle = lifespan.resource(name=name, state_name="another")(nothing)
    assert (handle.hook.name, handle.hook.options.state_name) == (name, "another")


def test_start_function_may_be_called_as_the_states_methods(lifespan: Lifespan) -> None:
    lifespan.on_start(name="update")(nothing)

    assert declared(lifespan).name == "update"


# Declaring again.


SOURCE = """
async def catalogue():
    return {number}

handle = lifespan.resource(catalogue)
"""


def module_with(lifespan: Lifespan, number: int, file: str = "shop/lifespan.py") -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "shop.lifespan", "lifespan": lifespan}
    exec(compile(SOURCE.format(number=number), file, "exec"), names)
    return names


def test_module_that_is_imported_again_replaces_its_hooks(lifespan: Lifespan) -> None:
    module_with(lifespan, 1)
    names = module_with(lifespan, 2)

    assert declared(lifespan).function is names["catalogue"]
    assert lifespan.plan("app").order == ["shop.catalogue"]


def test_one_name_in_two_files_is_two_hooks(lifespan: Lifespan) -> None:
    module_with(lifespan, 1)
    module_with(lifespan, 2, file="shop/other.py")

    assert len(lifespan.hooks) == 2


def test_hooks_made_by_one_function_under_several_names_are_kept(
    lifespan: Lifespan,
) -> None:
    def declare(name: str) -> None:
        @lifespan.on_start(name=name)
        async def hook() -> None:
            """Do nothing."""

    for name in ("one", "two", "three"):
        declare(name)

    assert [hook.name for hook in lifespan.hooks] == ["one", "two", "three"]


def test_bound_methods_of_two_objects_are_two_hooks(lifespan: Lifespan) -> None:
    one, two = Client(), Client()
    lifespan.on_start(name="warm_one")(one.warm_up)
    lifespan.on_start(name="warm_two")(two.warm_up)
    lifespan.on_start(name="warm_two")(two.warm_up)

    assert [hook.name for hook in lifespan.hooks] == ["warm_one", "warm_two"]


def test_hooks_of_a_broken_module_are_forgotten(lifespan: Lifespan) -> None:
    lifespan.on_start(nothing)

    async def half_declared() -> None: ...

    # Python takes a module that fails out of sys.modules.
    half_declared.__module__ = "broken_module"

    def import_it() -> None:
        with lifespan.rolled_back():
            lifespan.on_shutdown(half_declared)
            raise ImportError("half way")

    with pytest.raises(ImportError, match="half way"):
        import_it()
    assert [hook.kind for hook in lifespan.hooks] == [Kind.START]
    with lifespan.rolled_back():
        lifespan.on_shutdown(nothing)
    assert [hook.kind for hook in lifespan.hooks] == [Kind.START, Kind.SHUTDOWN]
