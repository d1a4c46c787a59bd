"""System checks: what is wrong with a lifespan, before anything runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from types import FrameType
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import WARNING, CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from . import conf, discovery
from .default import lifespan
from .engine.errors import PlanError

TAG = "lifespan"

ASGI_MIDDLEWARE = (
    "lifespan_app.LifespanMiddleware",
    "lifespan_app.middleware.LifespanMiddleware",
)


def registered(check: Callable[[], Iterable[CheckMessage]]) -> Callable[..., list[CheckMessage]]:
    """Register a system check, whose errors are warnings to the command ``migrate``.

    It runs every check and stops at an error. It must not stop at one of these: what a hook needs
    to be imported may be the very table that is to be made.
    """

    def run(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
        messages = list(check())
        if messages and is_migrating():
            for message in messages:
                message.level = min(message.level, WARNING)
        return messages

    # Without functools.wraps(): Django reads the signature, and wants to see **kwargs.
    run.__name__, run.__doc__ = check.__name__, check.__doc__
    register(run, TAG)
    return run


def is_migrating() -> bool:
    """Tell whether it is ``migrate``, or a command that extends it, that runs the checks.

    A check is not told by whom it is run, so the answer is where the call came from.
    """
    from django.core.management import BaseCommand
    from django.core.management.commands.migrate import Command as Migrate

    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is BaseCommand.check.__code__:
            return isinstance(frame.f_locals["self"], Migrate)
        frame = frame.f_back
    return False


@registered
def check_broken_modules() -> Iterator[CheckMessage]:
    """E001: a ``lifespan.py`` that can't be imported."""
    for name, problem in lifespan.broken.items():
        yield Error(
            str(problem).partition("\n")[0], hint=problem.hint, obj=name, id="lifespan_app.E001"
        )


@registered
def check_lonely_module() -> Iterator[CheckMessage]:
    """W001: a ``lifespan.py`` beside the URLconf, in a package that is not installed."""
    package = str(getattr(settings, "ROOT_URLCONF", "")).rpartition(".")[0]
    if not package or any(app.name == package for app in apps.get_app_configs()):
        return
    name = f"{package}.{discovery.MODULE}"
    try:
        spec = None if name in sys.modules else find_spec(name)
    except (ImportError, ValueError):
        return
    if spec is not None:
        yield Warning(
            f"{spec.origin} is never imported, since '{package}' is not in INSTALLED_APPS.",
            hint=f"Add '{package}' to INSTALLED_APPS, or move the file into an installed app.",
            obj=name,
            id="lifespan_app.W001",
        )


@registered
def check_silent_modules() -> Iterator[CheckMessage]:
    """W002: a ``lifespan.py`` that declares no hook."""
    for name in sorted(discovery.silent):
        yield Warning(
            f"'{name}' declares no hook.",
            hint="Decorate its functions with @lifespan.resource, @lifespan.on_start, "
            "@lifespan.on_shutdown or @lifespan.background, of 'from lifespan_app import "
            "lifespan'; or remove the file.",
            obj=name,
            id="lifespan_app.W002",
        )


@registered
def check_middleware() -> Iterator[CheckMessage]:
    """E010: ``LifespanMiddleware``, which goes around the application, is in ``MIDDLEWARE``."""
    for path in getattr(settings, "MIDDLEWARE", ()):
        if path in ASGI_MIDDLEWARE:
            yield Error(
                f"'{path}' is in MIDDLEWARE, and is no middleware of Django's: it goes around an "
                "ASGI application.",
                hint=f"Remove the line '{path}' from MIDDLEWARE, and write in asgi.py: "
                "application = LifespanMiddleware(get_asgi_application()). What gives requests "
                "their state is 'lifespan_app.middleware.LifespanStateMiddleware'.",
                obj=path,
                id="lifespan_app.E010",
            )


@registered
def check_keys() -> Iterator[CheckMessage]:
    """E002: the setting ``LIFESPAN`` has an unknown key; E004: an option of ``HOOKS`` is unknown."""
    for key in table(conf.declared()):
        if key not in conf.KEYS:
            yield unknown("E002", f"{conf.SETTING}[{key!r}]", key, conf.KEYS)
    for name, options in table(table(conf.declared()).get("HOOKS")).items():
        for option in table(options):
            if option not in conf.HOOK_OPTIONS:
                place = f"{conf.SETTING}['HOOKS'][{name!r}][{option!r}]"
                yield unknown("E004", place, option, conf.HOOK_OPTIONS)


@registered
def check_types() -> Iterator[CheckMessage]:
    """E003: the setting ``LIFESPAN`` has a value of the wrong type."""
    for text in conf.wrong_types():
        yield Error(
            text,
            hint="Until then no process can open its lifespan. Left out, the default holds.",
            id="lifespan_app.E003",
        )


@registered
def check_hook_names() -> Iterator[CheckMessage]:
    """W003: ``HOOKS`` names a hook that nobody declares."""
    if lifespan.broken or not discovery.done:
        return
    host = lifespan.host
    known = {f"{host.app_label(hook.module) or hook.module}.{hook.name}" for hook in lifespan.hooks}
    for name in table(table(conf.declared()).get("HOOKS")):
        if name != "*" and name not in known:
            place = f"{conf.SETTING}['HOOKS'][{name!r}]"
            yield unknown("W003", place, name, known, Warning, "names no declared hook")


@registered
def check_config_file() -> Iterator[CheckMessage]:
    """E005: the file that ``LIFESPAN_CONFIG_FILE`` names can't be read."""
    try:
        conf.config_file()
    except ImproperlyConfigured as error:
        yield Error(
            str(error),
            hint=f"Correct the file, or remove {conf.CONFIG_FILE} from the environment.",
            id="lifespan_app.E005",
        )


@registered
def check_plan() -> Iterator[CheckMessage]:
    """E006: what is wrong with handles and names; W004: a required hook needs an optional one."""
    if lifespan.broken:
        return
    try:
        plan = lifespan.plan()
    except ImproperlyConfigured:
        return
    except PlanError as error:
        for problem in error.problems:
            place = f"{problem.file}:{problem.line}"
            yield Error(problem.message, hint=problem.hint, obj=place, id="lifespan_app.E006")
        return
    for node in plan.hooks:
        for wait in node.waits:
            leader = plan.nodes[wait.node]
            if node.required and wait.hard and not leader.required:
                yield Warning(
                    f"'{node.key}' is required and needs '{leader.key}', which is optional.",
                    hint=f"When '{leader.key}' fails, '{node.key}' is skipped and the process "
                    "serves without it. Make both required or both optional, or give the "
                    "parameter a default.",
                    obj=node.key,
                    id="lifespan_app.W004",
                )


def table(value: object) -> Mapping[Any, Any]:
    """Return a value that is a dictionary; of one that should be, none of its keys."""
    return value if isinstance(value, Mapping) else {}


def unknown(
    number: str,
    place: str,
    word: object,
    known: Iterable[str],
    level: type[Error | Warning] = Error,
    what: str = "is not known",
) -> CheckMessage:
    """Return the message for a word that is not known."""
    names = {str(name).lower(): name for name in known}
    close = get_close_matches(str(word).lower(), list(names), n=1)
    meant = f"Did you mean '{names[close[0]]}'? " if close else ""
    listed = ", ".join(sorted(known)[:20]) or "none"
    return level(
        f"{place} {what}.", hint=f"{meant}There are: {listed}.", id=f"lifespan_app.{number}"
    )
