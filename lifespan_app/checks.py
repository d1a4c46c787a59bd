"""System checks: what is wrong with a lifespan, before anything runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import WARNING, CheckMessage, Error, Info, Warning, register
from django.core.exceptions import ImproperlyConfigured

from . import conf, discovery
from .default import lifespan

if TYPE_CHECKING:
    from .engine.plan import Node, Plan
    from .engine.problems import Problem
    from .engine.settings import Settings

TAG = "lifespan"

ASGI_MIDDLEWARE = (
    "lifespan_app.LifespanMiddleware",
    "lifespan_app.middleware.LifespanMiddleware",
)


PROBLEM_IDS = {
    "broken": "E001",
    "cycle": "E006",
    "missing": "E007",
    "left out": "E008",
    "key": "E009",
    "state name": "E009",
    "signature": "E011",
    "annotation": "E011",
}
"""The id for each kind of problem that a plan may have."""

SERVER_LIMITS = {"gunicorn": ("gunicorn's own asgi worker", 30), "hypercorn": ("hypercorn", 60)}
WORKER_LIMITS = {"celery": ("a process of Celery's pool", 4)}
"""Who gives a startup up by itself, by the distribution's module: its name, after how many seconds."""

MANY = 5
"""Hooks of a chain above which not all of them are named."""


class Place(str):
    """Where something is wrong, as a check shows it; with the file and the line.

    Args:
        file: the file.
        line: the line.
    """

    __slots__ = ("file", "line")

    file: str
    line: int

    def __new__(cls, file: str, line: int) -> Place:  # noqa: D102  # said above
        place = super().__new__(cls, f"{file}:{line}")
        place.file, place.line = file, line
        return place


def registered(
    check: Callable[[], Iterable[CheckMessage]], **options: bool
) -> Callable[..., list[CheckMessage]]:
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
    register(run, TAG, **options)
    return run


def in_deployment(check: Callable[[], Iterable[CheckMessage]]) -> Callable[..., list[CheckMessage]]:
    """Register a check that imports or asks more than a quick one may: for ``check --deploy``."""
    return registered(check, deploy=True)


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
            problem.message.partition("\n")[0],
            hint=problem.hint,
            obj=Place(problem.file, problem.line) if problem.file else name,
            id="lifespan_app.E001",
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
    for key in table(table(conf.declared()).get("PLATFORM")):
        if key not in conf.PLATFORM_KEYS:
            place = f"{conf.SETTING}['PLATFORM'][{key!r}]"
            yield unknown("E002", place, key, conf.PLATFORM_KEYS)
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
def check_drain() -> Iterator[CheckMessage]:
    """W010: ``DRAIN_SECONDS`` that are never kept, as nothing hears of the signal."""
    if any(conf.wrong_types()):
        return
    if conf.get("DRAIN_SECONDS") and not conf.get("SHUTDOWN_NOTICE"):
        yield Warning(
            f"{conf.SETTING}['DRAIN_SECONDS'] is {conf.get('DRAIN_SECONDS'):g}, and "
            f"{conf.SETTING}['SHUTDOWN_NOTICE'] is off: nothing waits for them.",
            hint=f"Set {conf.SETTING}['SHUTDOWN_NOTICE'] to True, or remove DRAIN_SECONDS. "
            "Functions of on_drain run in any case, when the shutdown begins.",
            id="lifespan_app.W010",
        )


@registered
def check_plan() -> Iterator[CheckMessage]:
    """E006 to E012, W004 to W006, I001: what is wrong with the plan of ``SERVICE_TYPE``."""
    if lifespan.broken:
        return
    try:
        settings = lifespan.host.settings()
    except ImproperlyConfigured:
        return
    plan, problems = draft(settings, settings.service_type)
    yield from of_plan(settings, plan, problems)


@in_deployment
def check_application() -> Iterator[CheckMessage]:
    """W007: the ASGI application of the project does not answer the lifespan protocol."""
    yield from of_application(None)


@in_deployment
def check_history() -> Iterator[CheckMessage]:
    """W008: the record of runs can't be kept; W009: runs that failed or were lost lately."""
    from .history import recorder, state

    if any(conf.wrong_types()) or not recorder.is_on():
        return
    missing = state.missing()
    if missing is not None:
        yield Warning(
            f"Runs are not recorded: {missing.what}", hint=missing.advice, id="lifespan_app.W008"
        )
        return
    for trouble in state.trouble():
        yield Warning(
            trouble.what, hint=trouble.advice, obj=trouble.service_type, id="lifespan_app.W009"
        )


def draft(settings: Settings, service_type: str) -> tuple[Plan, list[Problem]]:
    """Return as much of a plan as can be made, and what is wrong with it.

    What is missing may be in a module that is broken: with one, the others are shown as they are.
    """
    from .engine.planning import draft_plan

    host = lifespan.host
    plan, problems = draft_plan(lifespan.hooks, service_type, host.app_label, settings.hooks)
    return plan, [] if lifespan.broken else problems


def of_plan(settings: Settings, plan: Plan, problems: Iterable[Problem]) -> Iterator[CheckMessage]:
    """Yield what the checks say of one plan."""
    for problem in problems:
        yield Error(
            problem.message,
            hint=problem.hint,
            obj=Place(problem.file, problem.line),
            id=f"lifespan_app.{PROBLEM_IDS[problem.code]}",
        )
    yield from of_generators(plan)
    yield from of_optional_hooks(plan)
    yield from of_startup_limits(settings, plan)
    yield from of_shutdown_limits(settings, plan)
    yield from of_server_hooks(plan)


def place_of(node: Node) -> Place:
    """Return where a hook is written."""
    assert node.hook is not None
    return Place(node.hook.file, node.hook.line)


def of_generators(plan: Plan) -> Iterator[CheckMessage]:
    """E012: a resource that is written as a generator, and never yields."""
    from .engine.yields import never_yields

    for node in plan.hooks:
        if node.hook is not None and node.hook.kind == "resource" and never_yields(node.hook):
            yield Error(
                f"Resource '{node.key}' never yields.",
                hint="Write 'yield' with the value where the resource is open, in a line that is "
                "reached: what is before it runs at startup, what is after it at shutdown.",
                obj=place_of(node),
                id="lifespan_app.E012",
            )


def of_optional_hooks(plan: Plan) -> Iterator[CheckMessage]:
    """W004: a required hook needs an optional one."""
    for node in plan.hooks:
        for wait in node.waits:
            leader = plan.nodes[wait.node]
            if node.required and wait.hard and not leader.required:
                yield Warning(
                    f"'{node.key}' is required and needs '{leader.key}', which is optional.",
                    hint=f"When '{leader.key}' fails, '{node.key}' is skipped and the process "
                    "serves without it. Make both required or both optional, or give the "
                    "parameter a default.",
                    obj=place_of(node),
                    id="lifespan_app.W004",
                )


def of_startup_limits(settings: Settings, plan: Plan) -> Iterator[CheckMessage]:
    """W005: the startup may take longer than the server or the platform waits for it."""
    seconds, chain = longest(plan, lambda node: start_limit(node) if node.wait else None)
    deadline = settings.startup_deadline or 0
    for name, patience, place in startup_limits(plan.service_type):
        if deadline > patience:
            yield Warning(
                f"{conf.SETTING}['STARTUP_DEADLINE'] is {deadline:g} s, and {name} gives a startup "
                f"up after {patience:g} s.",
                hint="Lower it: where another one gives up first, nothing says which hook it was. "
                f"How long the platform waits is said by {place}.",
                obj=plan.service_type,
                id="lifespan_app.W005",
            )
        if seconds > patience:
            yield Warning(
                f"Limits of hooks that start one after the other add up to {seconds:g} s, and "
                f"{name} gives a startup up after {patience:g} s: {' -> '.join(few(chain))}.",
                hint="Lower them, so that the hook that is slow is named before that. How long the "
                f"platform waits is said by {place}.",
                obj=plan.service_type,
                id="lifespan_app.W005",
            )


def few(keys: Sequence[str]) -> list[str]:
    """Return the first and the last of many, each in quotation marks."""
    quoted = [f"'{key}'" for key in keys]
    if len(quoted) <= MANY:
        return quoted
    return [*quoted[:2], f"{len(quoted) - 3} more", quoted[-1]]


def startup_limits(service_type: str) -> Iterator[tuple[str, float, str]]:
    """Yield who gives a startup up: its name, after how many seconds, and what says so."""
    platform = conf.get("PLATFORM").get("startup")
    place = f"{conf.SETTING}['PLATFORM']['startup']"
    if platform is not None:
        yield "the platform", platform, place
        return
    known = WORKER_LIMITS if service_type == "worker" else SERVER_LIMITS
    for module, (name, seconds) in known.items():
        if is_installed(module):
            yield name, seconds, place


def is_installed(module: str) -> bool:
    """Tell whether a module could be imported."""
    return module in sys.modules or find_spec(module) is not None


def of_shutdown_limits(settings: Settings, plan: Plan) -> Iterator[CheckMessage]:
    """W006: a stop may take longer than the platform, or the whole shutdown, waits for it."""
    deadline = settings.shutdown_deadline
    for node in plan.hooks:
        limit = explicit_stop_limit(node)
        if limit is not None and limit > deadline:
            yield Warning(
                f"'{node.key}' has {limit:g} s to stop, and the whole shutdown {deadline:g} s.",
                hint=f"Lower its limit, or raise {conf.SETTING}['SHUTDOWN_DEADLINE'] and the "
                "platform's.",
                obj=place_of(node),
                id="lifespan_app.W006",
            )
    grace = conf.get("PLATFORM").get("termination_grace")
    chain = longest(plan, lambda node: stop_limit(node, settings))[0]
    total = min(chain, deadline) + (settings.drain_seconds if settings.shutdown_notice else 0.0)
    if grace is not None and total > grace:
        yield Warning(
            f"The shutdown of service type '{plan.service_type}' may take "
            f"{total:g} s, and the platform kills after {grace:g} s, by "
            f"{conf.SETTING}['PLATFORM']['termination_grace'].",
            hint=f"Lower {conf.SETTING}['SHUTDOWN_DEADLINE'], or raise the platform's limit. "
            "Requests that are being answered count too: they end before the lifespan does.",
            obj=plan.service_type,
            id="lifespan_app.W006",
        )


def of_server_hooks(plan: Plan) -> Iterator[CheckMessage]:
    """I001: hooks that run once per server, which no server opens by itself."""
    if plan.service_type == "server":
        return
    for hook in lifespan.hooks:
        if hook.service_types is not None and "server" in hook.service_types:
            key = f"{lifespan.host.app_label(hook.module) or hook.module}.{hook.name}"
            yield Info(
                f"'{key}' is for service type 'server': it runs once per server, around its "
                "workers.",
                hint="No server opens that plan by itself: start it with "
                "'manage.py runlifespan -- COMMAND'.",
                obj=Place(hook.file, hook.line),
                id="lifespan_app.I001",
            )


def of_application(path: str | None) -> Iterator[CheckMessage]:
    """W007: an ASGI application does not answer the lifespan protocol.

    Args:
        path: where it is; None: as the settings say.

    Raises:
        LookupError: there is none at ``path``.
    """
    if lifespan.broken or not lifespan.hooks or check_middleware() or not can_be_read():
        # Without hooks nobody needs it; with the others it can't even be imported.
        return
    from . import application

    refusal = application.refusal(path)
    if refusal is not None:
        yield Warning(refusal.message, hint=refusal.hint, obj=refusal.place, id="lifespan_app.W007")


def can_be_read() -> bool:
    """Tell whether the settings are such that a plan can be asked for."""
    try:
        lifespan.host.settings()
    except ImproperlyConfigured:
        return False
    return True


def start_limit(node: Node) -> float | None:
    """Return how many seconds a hook has to start; None: as long as the startup has."""
    from .engine.limits import OPTIONAL_TIMEOUT

    if node.hook is None or node.hook.kind in ("shutdown", "background", "drain"):
        return None
    if node.timeout is None and not node.required and node.wait:
        return OPTIONAL_TIMEOUT
    return node.timeout


def stop_limit(node: Node, settings: Settings) -> float | None:
    """Return how many seconds a hook has to stop; None: there is nothing to stop."""
    if node.hook is None or node.hook.kind == "start":
        return None
    limit = explicit_stop_limit(node)
    return settings.shutdown_timeout if limit is None else limit


def explicit_stop_limit(node: Node) -> float | None:
    """Return how many seconds a hook has to stop, where that was said of it."""
    only_at_end = node.hook is not None and node.hook.kind in ("shutdown", "drain")
    return node.timeout if only_at_end else node.shutdown_timeout


def longest(plan: Plan, limit: Callable[[Node], float | None]) -> tuple[float, list[str]]:
    """Return the chain of a plan whose limits add up to most: the seconds, and the hooks' keys.

    Hooks without a limit add nothing, and are not named.
    """
    sums: list[float] = []
    before: list[int | None] = []
    for node in plan.nodes:
        leader = max((wait.node for wait in node.waits), key=sums.__getitem__, default=None)
        sums.append((limit(node) or 0.0) + (0.0 if leader is None else sums[leader]))
        before.append(leader)
    if not sums:
        return 0.0, []
    at: int | None = max(range(len(sums)), key=sums.__getitem__)
    total, chain = sums[at or 0], []
    while at is not None:
        if limit(plan.nodes[at]):
            chain.append(plan.nodes[at].key)
        at = before[at]
    return total, chain[::-1]


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
