"""System checks: problems of a lifespan that are found before anything runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import WARNING, CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands
from django.db import connections

from lifespan_app import conf
from lifespan_app.engine.logger import logger
from lifespan_app.integration import autodiscover
from lifespan_app.integration.default import lifespan

from . import unknown_words
from .unknown_words import table, unknown

TAG = "lifespan"

DICT_CONFIG = "logging.config.dictConfig"

ASGI_MIDDLEWARE = (
    "lifespan_app.LifespanMiddleware",
    "lifespan_app.middleware.LifespanMiddleware",
)


REGISTERED: list[Callable[..., list[CheckMessage]]] = []
"""Every check that ``registered`` has registered, in the order of its definition."""


def registered(
    check: Callable[[], Iterable[CheckMessage]], **options: bool
) -> Callable[..., list[CheckMessage]]:
    """Register a system check. For the command ``migrate``, its errors are warnings.

    It runs every check and stops at an error. It must not stop at one of these: the import of a hook
    may need the very table that the migration creates.
    """

    def run(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
        messages = list(check())
        if messages and is_migrating():
            for message in messages:
                message.level = min(message.level, WARNING)
        return messages

    # Without functools.wraps(): CheckRegistry.register() requires **kwargs in the signature.
    run.__name__, run.__doc__ = check.__name__, check.__doc__
    register(run, TAG, **options)
    REGISTERED.append(run)
    return run


def in_deployment(check: Callable[[], Iterable[CheckMessage]]) -> Callable[..., list[CheckMessage]]:
    """Register a slower check, which imports or connects, for ``check --deploy``."""
    return registered(check, deploy=True)


def is_migrating() -> bool:
    """Return True if the checks run for ``migrate``, or for a command that extends it.

    A check does not receive its caller, so the answer is on the stack.
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
    from .plans import problem_message

    for name, problem in lifespan.broken.items():
        first_line = problem.message.partition("\n")[0]
        error = problem_message(problem._replace(message=first_line, code="broken"))
        error.obj = error.obj or name
        yield error


@registered
def check_lonely_module() -> Iterator[CheckMessage]:
    """W001: a ``lifespan.py`` of a package that is not installed."""
    from .not_imported import modules_not_imported

    for module, package, file in modules_not_imported():
        yield Warning(
            f"{file} is never imported, since '{package}' is not in INSTALLED_APPS.",
            hint=f"Add '{package}' to INSTALLED_APPS, or move the file into an installed app.",
            obj=module,
            id="lifespan_app.W001",
        )


@registered
def check_silent_modules() -> Iterator[CheckMessage]:
    """W002: a ``lifespan.py`` that declares no hook."""
    for name, label in sorted(autodiscover.silent.items()):
        yield Warning(
            f"'{name}' declares no hook.",
            hint="Decorate its functions with @lifespan.resource, @lifespan.on_start, "
            "@lifespan.on_shutdown, @lifespan.background or @lifespan.on_drain, of 'from "
            f"lifespan_app import lifespan'; or remove the file. {autodiscover.exclusion(label)}",
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


check_keys = registered(unknown_words.check_keys)


@registered
def check_types() -> Iterator[CheckMessage]:
    """E003: the setting ``LIFESPAN`` has a value of the wrong type."""
    for text in conf.wrong_types():
        yield Error(
            text,
            hint="Correct the value, or remove the key to get its default. No process can open its "
            "lifespan until then.",
            id="lifespan_app.E003",
        )


check_hook_names = registered(unknown_words.check_hook_names)


@registered
def check_commands() -> Iterator[CheckMessage]:
    """E014: ``COMMANDS`` names a command that opens no plan; W014: one that there is not."""
    declared = table(table(conf.declared()).get("COMMANDS"))
    if not declared:
        return
    from lifespan_app.processes.commands import is_refused

    known = get_commands()
    for name in declared:
        place = f"{conf.SETTING}['COMMANDS'][{conf.shown(name)}]"
        if name not in known:
            # A warning: its app may be one that only some deployments install.
            own = [command for command in known if not is_refused(command)]
            yield unknown("W014", place, name, own, Warning, "names no command of this project")
        elif is_refused(name):
            yield Error(
                f"{place}: '{name}' is a command of {known[name]}, which needs no lifespan or opens "
                "its own. It opens none by this setting.",
                hint=f"Remove it. {conf.SETTING}['COMMANDS'] is for commands that work for the "
                "project, such as workers and bots.",
                id="lifespan_app.E014",
            )


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
    """W010: ``DRAIN_SECONDS`` without effect, as no handler receives the signal."""
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
def check_history_database() -> Iterator[CheckMessage]:
    """E013: ``HISTORY_DATABASE`` is no alias in ``DATABASES``."""
    if any(conf.wrong_types()) or not conf.get("HISTORY"):
        return
    alias = conf.get("HISTORY_DATABASE")
    if alias not in connections.settings:
        place = f"{conf.SETTING}['HISTORY_DATABASE'] is '{alias}', which"
        yield unknown("E013", place, alias, connections.settings, what="is no alias in DATABASES")


@registered
def check_spool() -> Iterator[CheckMessage]:
    """W012: there is no place for records that the database does not take."""
    from lifespan_app.history.recording import recorder, spool

    if any(conf.wrong_types()) or not recorder.is_on() or not spool.CAN_LOCK:
        return
    if refusal := spool.refusal():
        yield Warning(
            f"Records of runs that the database does not take can't wait in a file: {refusal}.",
            hint=f"Set {conf.SETTING}['SPOOL_DIR'] to a folder that belongs to the user of the "
            "server alone and has room. Until then they are only logged, as JSON.",
            id="lifespan_app.W012",
        )


@registered
def check_alerts() -> Iterator[CheckMessage]:
    """E017, W016, W017: alerts that can't be sent, or that nobody gets."""
    if conf.alerts():
        from .alerts import alert_messages

        yield from alert_messages()


@registered
def check_logger() -> Iterator[CheckMessage]:
    """W011: ``LOGGING`` disables loggers that exist when it is read, ours among them."""
    if logging.getLogger(logger.name).disabled:
        message = f"The logger '{logger.name}' is disabled: what it logs is lost."
    elif disables_existing_loggers():
        message = (
            "LOGGING disables every logger that exists when it is read, as it does not have "
            "'disable_existing_loggers': False: what such a logger logs is lost."
        )
    else:
        return
    yield Warning(
        message,
        hint="Add 'disable_existing_loggers': False to LOGGING, or a logger "
        f"'{logger.name}' to its 'loggers'.",
        obj="LOGGING",
        id="lifespan_app.W011",
    )


def disables_existing_loggers() -> bool:
    """Return True if the setting ``LOGGING`` disables loggers that it does not name, ours too."""
    config = table(settings.LOGGING)
    if settings.LOGGING_CONFIG != DICT_CONFIG or not config:
        return False
    return (
        bool(config.get("disable_existing_loggers", True))
        and not config.get("incremental", False)
        and logger.name not in table(config.get("loggers"))
    )


@registered
def check_patched_threads() -> Iterator[CheckMessage]:
    """W013: a server that patches threads: no background thread can open the plan there."""
    from .gunicorn import patched_thread_messages

    if lifespan.hooks and not any(conf.wrong_types()):
        yield from patched_thread_messages()


@registered
def check_plan() -> Iterator[CheckMessage]:
    """E006 to E011, W004 to W006, I001: problems of the plan of ``SERVICE_TYPE``."""
    from .plans import draft, plan_messages

    if lifespan.broken:
        return
    try:
        settings = lifespan.adapter.settings()
    except ImproperlyConfigured:
        return
    plan, problems = draft(settings, settings.service_type)
    yield from plan_messages(settings, plan, problems)


@in_deployment
def check_application() -> Iterator[CheckMessage]:
    """W007: the ASGI application answers no lifespan protocol; W015: its mounts hide routes."""
    yield from application_messages(None)


def check_history(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """W008: the record of runs can't be kept; W009: runs that failed or were lost lately.

    It reads the database, so it runs only if one is named: ``check --deploy --database ALIAS``.
    """
    if any(conf.wrong_types()) or conf.get("HISTORY_DATABASE") not in (databases or ()):
        return []
    return list(history_messages())


# Django skips checks with this tag unless a database is named:
# https://docs.djangoproject.com/en/stable/ref/checks/#builtin-tags
register(check_history, Tags.database, deploy=True)


def history_messages() -> Iterator[CheckMessage]:
    """W008 and W009, from the database."""
    from lifespan_app.history.reading import troubles
    from lifespan_app.history.recording import recorder

    if any(conf.wrong_types()) or any(check_history_database()) or not recorder.is_on():
        return
    missing = troubles.missing()
    if missing is not None:
        yield Warning(
            f"Runs are not recorded: {missing.what}", hint=missing.advice, id="lifespan_app.W008"
        )
        return
    for finding in troubles.recent_failures():
        yield Warning(
            finding.what, hint=finding.advice, obj=finding.service_type, id="lifespan_app.W009"
        )


def application_messages(path: str | None) -> Iterator[CheckMessage]:
    """W007: an ASGI application does not answer the lifespan protocol; W015: its mounts hide routes.

    Args:
        path: its path; None: the one in the settings.

    Raises:
        LookupError: there is none at ``path``.
    """
    if lifespan.broken or check_middleware() or not can_be_read():
        # With these problems it can't be imported.
        return
    from lifespan_app.serving import loader

    from .shadowed import shadow_messages

    refusal = loader.refusal(path)
    # Without hooks a lifespan is not needed.
    if refusal is not None and lifespan.hooks:
        yield Warning(refusal.message, hint=refusal.hint, obj=refusal.place, id="lifespan_app.W007")
    yield from shadow_messages()


def can_be_read() -> bool:
    """Return True if the settings are valid enough to make a plan."""
    try:
        lifespan.adapter.settings()
    except ImproperlyConfigured:
        return False
    return True
