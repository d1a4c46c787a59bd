"""Numbers that nothing could count, and words that are none, are told of; nothing falls over them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from lifespan_app import Lifespan, conf
from lifespan_app.checks import system_checks
from lifespan_app.cli import budget

if TYPE_CHECKING:
    from pytest_django import Settings

HUGE = 10**400
UNPRINTABLE = 10 ** (sys.get_int_max_str_digits() + 1)

NO_SECONDS = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "negative": -1,
    "true": True,
    "huge": HUGE,
    "huge and negative": -HUGE,
    "unprintable": UNPRINTABLE,
    "a huge float": 1e300,
    "a word": "5",
}

LIMITS = [key for key, (_, kind) in conf.KEYS.items() if "seconds" in kind.name]
FROM_ZERO = [key for key in LIMITS if conf.KEYS[key][1] is conf.FROM_ZERO]


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no text of mine")


def wrong(settings: Settings, setting: object) -> list[str]:
    """Return what the checks say of a setting, which is one sentence."""
    settings.LIFESPAN = setting
    return [message.msg for message in system_checks.check_types()]


def test_settings_are_those_with_seconds() -> None:
    assert set(LIMITS) == {
        "STARTUP_DEADLINE",
        "SHUTDOWN_TIMEOUT",
        "SHUTDOWN_DEADLINE",
        "DRAIN_SECONDS",
        "HEARTBEAT",
        "LEASE_SECONDS",
        "SLOW_LOOP",
    }


@pytest.mark.parametrize("value", NO_SECONDS.values(), ids=NO_SECONDS)
@pytest.mark.parametrize("key", LIMITS)
def test_setting_that_is_no_time_is_reported(settings: Settings, key: str, value: Any) -> None:
    [said] = wrong(settings, {key: value})

    assert said.startswith(f"LIFESPAN['{key}'] must be a number of seconds")
    assert len(said) < 250


@pytest.mark.parametrize("value", NO_SECONDS.values(), ids=NO_SECONDS)
@pytest.mark.parametrize("option", ["timeout", "shutdown_timeout"])
def test_option_of_hooks_that_is_no_time_is_reported(
    settings: Settings, option: str, value: Any
) -> None:
    [said] = wrong(settings, {"HOOKS": {"*": {option: value}}})

    assert f"['{option}'] must be a number of seconds above 0" in said


@pytest.mark.parametrize("value", NO_SECONDS.values(), ids=NO_SECONDS)
@pytest.mark.parametrize("key", conf.INNER_KEYS["PLATFORM"])
def test_invalid_time_of_the_platform_is_reported(settings: Settings, key: str, value: Any) -> None:
    [said] = wrong(settings, {"PLATFORM": {key: value}})

    assert f"['{key}'] must be a number of seconds above 0" in said


@pytest.mark.parametrize("value", [0, -1, 1.5, True, float("nan"), float("inf"), "90"])
def test_invalid_number_of_days_is_reported(settings: Settings, value: Any) -> None:
    [said] = wrong(settings, {"HISTORY_DAYS": value})

    assert said.startswith("LIFESPAN['HISTORY_DAYS'] must be a whole number of days above 0")


@pytest.mark.parametrize("key", FROM_ZERO)
def test_nought_is_a_time_where_it_means_none(settings: Settings, key: str) -> None:
    assert wrong(settings, {key: 0}) == []
    assert len(wrong(settings, {key: False})) == 1


def test_value_without_a_text_is_reported_by_its_type(settings: Settings) -> None:
    assert wrong(settings, {"RELEASE": Unshowable()}) == [
        "LIFESPAN['RELEASE'] must be a string, not a value of type Unshowable."
    ]


@pytest.mark.parametrize("value", NO_SECONDS.values(), ids=NO_SECONDS)
@pytest.mark.parametrize(
    "declare",
    [
        lambda lifespan, value: lifespan.on_start(timeout=value),
        lambda lifespan, value: lifespan.on_shutdown(timeout=value),
        lambda lifespan, value: lifespan.on_drain(timeout=value),
        lambda lifespan, value: lifespan.resource(timeout=value),
        lambda lifespan, value: lifespan.resource(shutdown_timeout=value),
        lambda lifespan, value: lifespan.background(shutdown_timeout=value),
    ],
    ids=["start", "shutdown", "drain", "open", "close", "job"],
)
def test_hook_refuses_a_limit_that_is_no_time(
    declare: Callable[[Lifespan, Any], Any], value: Any
) -> None:
    async def hook() -> None: ...

    with pytest.raises((TypeError, ValueError)):
        declare(Lifespan(), value)(hook)


@pytest.mark.parametrize("text", ["9" * 400, "9" * 400 + "s", "99999999999m"])
def test_budget_refuses_a_hook_that_the_startup_does_not_wait_for(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        budget.seconds(text)
