"""System checks: what is wrong with a lifespan, before anything runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from . import conf, discovery
from .default import lifespan
from .engine.host import AUTO

TAG = "lifespan"


@register(TAG)
def check_broken_modules(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E001: a ``lifespan.py`` that can't be imported."""
    return [
        Error(str(problem).partition("\n")[0], hint=problem.hint, obj=name, id="lifespan_app.E001")
        for name, problem in lifespan.broken.items()
    ]


@register(TAG)
def check_lonely_module(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W001: a ``lifespan.py`` beside the URLconf, in a package that is not installed."""
    package = str(getattr(settings, "ROOT_URLCONF", "")).rpartition(".")[0]
    if not package or any(app.name == package for app in apps.get_app_configs()):
        return []
    name = f"{package}.{discovery.MODULE}"
    try:
        spec = None if name in sys.modules else find_spec(name)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    return [
        Warning(
            f"{spec.origin} is never imported, since '{package}' is not in INSTALLED_APPS.",
            hint=f"Add '{package}' to INSTALLED_APPS, or move the file into an installed app.",
            obj=name,
            id="lifespan_app.W001",
        )
    ]


@register(TAG)
def check_silent_modules(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W002: a ``lifespan.py`` that declares no hook."""
    return [
        Warning(
            f"'{name}' declares no hook.",
            hint="Decorate its functions with @lifespan.resource, @lifespan.on_start, "
            "@lifespan.on_shutdown or @lifespan.background, of 'from lifespan_app import "
            "lifespan'; or remove the file.",
            obj=name,
            id="lifespan_app.W002",
        )
        for name in sorted(discovery.silent)
    ]


@register(TAG)
def check_setting(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E002 to E004: the setting ``LIFESPAN`` has an unknown key, or a value of the wrong type."""
    value = getattr(settings, conf.SETTING, {})
    if not isinstance(value, dict):
        return [wrong_type(conf.SETTING, "a dictionary", value)]
    messages: list[CheckMessage] = []
    for key in value:
        if key not in conf.DEFAULTS:
            messages.append(unknown("E002", f"{conf.SETTING}[{key!r}]", key, conf.DEFAULTS))
    for key in ("SERVICE_TYPE", "ENVIRONMENT", "RELEASE"):
        if value.get(key) is not None and not isinstance(value[key], str):
            messages.append(wrong_type(f"{conf.SETTING}['{key}']", "a string", value[key]))
    for key in ("CONFIG", "HOOKS"):
        if value.get(key) is not None and not isinstance(value[key], dict):
            messages.append(wrong_type(f"{conf.SETTING}['{key}']", "a dictionary", value[key]))
    for key in ("STARTUP_DEADLINE", "SHUTDOWN_TIMEOUT", "SHUTDOWN_DEADLINE"):
        given = value.get(key)
        if given is None or (key == "STARTUP_DEADLINE" and given == AUTO):
            continue
        if not is_seconds(given):
            messages.append(
                wrong_type(f"{conf.SETTING}['{key}']", "a number of seconds above 0", given)
            )
    if isinstance(value.get("HOOKS"), dict):
        messages += check_hooks(value["HOOKS"])
    return messages


def check_hooks(hooks: dict[Any, Any]) -> list[CheckMessage]:
    """Check what ``HOOKS`` says: E003 a wrong type, E004 an unknown option, W003 an unknown hook."""
    messages: list[CheckMessage] = []
    known = {
        f"{lifespan.host.app_label(hook.module) or hook.module}.{hook.name}"
        for hook in lifespan.hooks
    }
    for key, options in hooks.items():
        name = f"{conf.SETTING}['HOOKS'][{key!r}]"
        if key != "*" and key not in known and not lifespan.broken:
            messages.append(unknown("W003", name, key, known, Warning, "names no declared hook"))
        if not isinstance(options, dict):
            messages.append(wrong_type(name, "a dictionary", options))
            continue
        for option, value in options.items():
            place = f"{name}[{option!r}]"
            if option not in HOOK_TYPES:
                messages.append(unknown("E004", place, option, HOOK_TYPES))
                continue
            wanted, fits = HOOK_TYPES[option]
            if not fits(value):
                messages.append(wrong_type(place, wanted, value))
    return messages


def is_seconds(value: object) -> bool:
    """Tell whether a value is a time limit."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def is_limit(value: object) -> bool:
    """Tell whether a value is a time limit, or None."""
    return value is None or is_seconds(value)


def is_boolean(value: object) -> bool:
    """Tell whether a value is True or False."""
    return isinstance(value, bool)


HOOK_TYPES: dict[str, tuple[str, Callable[[object], bool]]] = {
    "enabled": ("True or False", is_boolean),
    "required": ("True or False", is_boolean),
    "timeout": ("a number of seconds above 0, or None", is_limit),
    "shutdown_timeout": ("a number of seconds above 0, or None", is_limit),
    "priority": (
        "a whole number",
        lambda value: isinstance(value, int) and not isinstance(value, bool),
    ),
    "state_name": ("a string", lambda value: isinstance(value, str) and bool(value)),
}


def unknown(
    number: str,
    place: str,
    word: object,
    known: Any,
    level: type[Error | Warning] = Error,
    what: str = "is not known",
) -> CheckMessage:
    """Return the message for a word that is not known."""
    close = get_close_matches(str(word), list(known), n=1)
    meant = f"Did you mean '{close[0]}'? " if close else ""
    listed = ", ".join(sorted(known)[:20]) or "none"
    return level(
        f"{place} {what}.", hint=f"{meant}There are: {listed}.", id=f"lifespan_app.{number}"
    )


def wrong_type(place: str, wanted: str, value: object) -> CheckMessage:
    """Return the message for a value of the wrong type."""
    return Error(
        f"{place} must be {wanted}, not {value!r}.",
        hint="See the settings' page of the documentation.",
        id="lifespan_app.E003",
    )
