"""The setting ``LIFESPAN``: every key, its default and its type, on one screen."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from .engine.context import plain
from .engine.error_text import masked
from .engine.errors import with_article
from .engine.hooks.values import is_seconds
from .engine.settings import Settings

SETTING = "LIFESPAN"
AUTO = "auto"


LONGEST_SHOWN = 100
"""Characters of a wrong value that a message shows."""


class ValueType(NamedTuple):
    """A type of value."""

    name: str
    """In words, as in "must be a string"."""
    test: Callable[[Any], bool]
    """Returns True for a value of this type; it may raise an exception for another one."""

    def fits(self, value: object) -> bool:
        """Return True for a value of this type. Anything may be in a setting, so nothing is raised."""
        try:
            return bool(self.test(value))
        except Exception:
            return False


def is_retry(value: object) -> bool:
    """Return True if the option ``retry`` may have a value."""
    if value is None or is_seconds(value):
        return True
    from .engine.hooks.retry import Retry  # not paid for where nothing is tried again

    return isinstance(value, Retry)


WORD = ValueType("a string", lambda value: isinstance(value, str) and bool(value))
FLAG = ValueType("True or False", lambda value: isinstance(value, bool))
NUMBER = ValueType("a whole number", lambda value: type(value) is int)
PLACES = ValueType("a whole number above 0", lambda value: type(value) is int and value > 0)
WAITING = ValueType("a whole number, 0 or more", lambda value: type(value) is int and value >= 0)
SECONDS = ValueType("a number of seconds above 0", is_seconds)
LIMIT = ValueType(
    "a number of seconds above 0, or None", lambda value: value is None or is_seconds(value)
)
RETRY = ValueType("a number of seconds above 0, a Retry, or None", is_retry)
DEADLINE = ValueType(
    f"a number of seconds above 0, or '{AUTO}'", lambda value: value == AUTO or is_seconds(value)
)
FROM_ZERO = ValueType(
    "a number of seconds, 0 or more",
    lambda value: is_seconds(value) or (value == 0 and not isinstance(value, bool)),
)
DAYS = ValueType("a whole number of days above 0", lambda value: type(value) is int and value > 0)
PATH = ValueType(
    "a path",
    lambda value: isinstance(path := os.fspath(value), str) and bool(path) and "\0" not in path,
)
ERROR, THREAD = "error", "thread"
WITHOUT = ValueType(f"'{ERROR}' or '{THREAD}'", lambda value: value in (ERROR, THREAD))
TABLE = ValueType("a dictionary", lambda value: isinstance(value, Mapping))


class Change(StrEnum):
    """A change of a run: a value of ``on`` in ``ALERTS``, and of the signal ``run_changed``."""

    SERVING = "serving"
    DEGRADED = "degraded"
    NOT_READY = "not_ready"
    RECOVERED = "recovered"
    FAILED = "failed"
    LOST = "lost"
    STOPPED = "stopped"


LIST = ValueType("a list", lambda value: isinstance(value, (list, tuple)))
CHANGES = ValueType(
    f"a list of changes, which are {', '.join(Change)}",
    lambda value: (
        isinstance(value, (list, tuple, set, frozenset)) and all(one in [*Change] for one in value)
    ),
)
LABELS = ValueType(
    "a list of app labels",
    lambda value: (
        isinstance(value, (list, tuple, set, frozenset))
        and all(isinstance(label, str) for label in value)
    ),
)

KEYS: dict[str, tuple[Any, ValueType]] = {
    "SERVICE_TYPE": ("app", WORD),
    "ENVIRONMENT": (None, WORD),  # "development" with DEBUG, else "production"
    "RELEASE": (None, WORD),
    "CONFIG": ({}, TABLE),
    "AUTODISCOVER": ({}, TABLE),
    "COMMANDS": ({}, TABLE),
    "STARTUP_DEADLINE": (AUTO, DEADLINE),
    "SHUTDOWN_TIMEOUT": (5, SECONDS),
    "SHUTDOWN_DEADLINE": (8, SECONDS),
    "SHUTDOWN_NOTICE": (False, FLAG),
    "DRAIN_SECONDS": (0, FROM_ZERO),
    "HOOKS": ({}, TABLE),
    "SPAWN": (Settings().spawn, TABLE),
    "HISTORY": (True, FLAG),
    "HISTORY_DATABASE": ("default", WORD),
    "HISTORY_DAYS": (90, DAYS),
    "HEARTBEAT": (30, FROM_ZERO),
    "LEASE_SECONDS": (15, SECONDS),
    "SPOOL_DIR": (None, PATH),  # a folder of this user in the system's temporary one
    "PLATFORM": ({}, TABLE),
    "WITHOUT_SERVER_LIFESPAN": (None, WITHOUT),  # depends on the process: ``BackgroundRun``
    "STATUS_FILE": (None, PATH),
    "WARM_UP": (False, FLAG),
    "SLOW_LOOP": (1.0, FROM_ZERO),
    "ALERTS": ([], LIST),
}
"""Every key, with its default and the type of its value; None is the default, too."""

HOOK_OPTIONS: dict[str, ValueType] = {
    "enabled": FLAG,
    "timeout": LIMIT,
    "shutdown_timeout": LIMIT,
    "required": FLAG,
    "priority": NUMBER,
    "state_name": WORD,
    "wait": FLAG,
    "retry": RETRY,
}
"""The options of a hook in ``HOOKS``."""

INNER_KEYS: dict[str, dict[str, ValueType]] = {
    "AUTODISCOVER": {"exclude": LABELS},
    "PLATFORM": {"startup": SECONDS, "termination_grace": SECONDS},
    "SPAWN": {"running": PLACES, "waiting": WAITING},
}
"""The keys of the dictionaries in the setting, except ``CONFIG``, ``COMMANDS`` and ``HOOKS``."""

ALERT_KEYS: dict[str, tuple[Any, ValueType]] = {
    "to": ("", WORD),
    "on": ((Change.FAILED, Change.LOST, Change.NOT_READY), CHANGES),
    "options": ({}, TABLE),
}
"""The keys of each dictionary in ``ALERTS``, with the default and the type of the value."""

FROM_ENVIRONMENT = {
    "SERVICE_TYPE": "LIFESPAN_SERVICE_TYPE",
    "ENVIRONMENT": "LIFESPAN_ENVIRONMENT",
    "RELEASE": "LIFESPAN_RELEASE",
    "STATUS_FILE": "LIFESPAN_STATUS_FILE",
}
"""Environment variables that win over the setting."""

CONFIG_FILE = "LIFESPAN_CONFIG_FILE"

SKIP = "LIFESPAN_SKIP"
"""The environment variable with the keys of hooks to leave out, separated by commas."""

STARTS_FILE = "LIFESPAN_STARTS_FILE"
"""The environment variable in which a launcher names the file for startup reports."""
LAUNCH = "LIFESPAN_LAUNCH"


def declared() -> Any:
    """Return the project's setting ``LIFESPAN``, or an empty dictionary."""
    value = getattr(django_settings, SETTING, None)
    return {} if value is None else value


def get(key: str) -> Any:
    """Return the value of one key: from the environment, the setting, or its default."""
    variable = FROM_ENVIRONMENT.get(key)
    if variable is not None and os.environ.get(variable):
        return os.environ[variable]
    setting = declared()
    # The checks, and each plan, report a value that is no dictionary.
    value = setting.get(key) if TABLE.fits(setting) else None
    return KEYS[key][0] if value is None else value


def excluded_apps() -> frozenset[str]:
    """Return the labels of the apps whose ``lifespan.py`` is excluded.

    An empty set if the setting is of the wrong type; a check and the start of a run report that.
    """
    if any(wrong_types()):
        return frozenset()
    return frozenset(get("AUTODISCOVER").get("exclude") or ())


class Alert(NamedTuple):
    """One entry of ``ALERTS``."""

    to: str
    """The dotted path of the function that is called."""
    on: tuple[str, ...]
    options: Mapping[str, Any]


def alerts() -> list[Alert]:
    """Return the entries of ``ALERTS``; none if the setting is of the wrong type, which is reported."""
    if any(wrong_types()):
        return []
    found = []
    for entry in get("ALERTS"):
        values = {key: entry.get(key) for key in ALERT_KEYS}
        given = {
            key: ALERT_KEYS[key][0] if value is None else value for key, value in values.items()
        }
        found.append(Alert(given["to"], tuple(given["on"]), given["options"]))
    return found


def settings() -> Settings:
    """Return the engine's settings, read anew from the project's settings.

    Raises:
        ImproperlyConfigured: the setting has a value of the wrong type, or the file that
            ``LIFESPAN_CONFIG_FILE`` names can't be read.
    """
    if wrong := list(wrong_types()):
        raise ImproperlyConfigured("\n".join(wrong))
    deadline = get("STARTUP_DEADLINE")
    return Settings(
        service_type=plain(get("SERVICE_TYPE")),
        environment=plain(get("ENVIRONMENT") or default_environment()),
        release=plain(get("RELEASE") or ""),
        config=config(),
        startup_deadline=None if deadline == AUTO else float(deadline),
        shutdown_timeout=float(get("SHUTDOWN_TIMEOUT")),
        shutdown_deadline=float(get("SHUTDOWN_DEADLINE")),
        shutdown_notice=get("SHUTDOWN_NOTICE"),
        drain_seconds=float(get("DRAIN_SECONDS")),
        slow_loop=float(get("SLOW_LOOP")),
        # A copy: a plan is made again only when the options differ from those that it was made with.
        hooks={key: dict(options) for key, options in get("HOOKS").items()},
        spawn=merged(KEYS["SPAWN"][0], without_none(get("SPAWN"))),
        skip=skipped(),
    )


def skipped() -> frozenset[str]:
    """Return the keys of the hooks that ``LIFESPAN_SKIP`` leaves out."""
    keys = os.environ.get(SKIP, "").split(",")
    return frozenset(key.strip() for key in keys if key.strip())


def wrong_types() -> Iterator[str]:
    """Yield a sentence for each value of the wrong type in the setting."""
    setting = declared()
    if not TABLE.fits(setting):
        yield wrong_type(SETTING, TABLE, setting)
        return
    for key, (_, kind) in KEYS.items():
        if setting.get(key) is not None and not kind.fits(setting[key]):
            yield wrong_type(f"{SETTING}['{key}']", kind, setting[key])
    for name, keys in INNER_KEYS.items():
        inner = setting.get(name)
        for key, kind in keys.items():
            value = inner.get(key) if isinstance(inner, Mapping) else None
            if value is not None and not kind.fits(value):
                yield wrong_type(f"{SETTING}['{name}']['{key}']", kind, value)
    alerts = setting.get("ALERTS")
    for number, entry in enumerate(alerts if LIST.fits(alerts) else ()):
        yield from wrong_types_of_alert(f"{SETTING}['ALERTS'][{number}]", entry)
    commands = setting.get("COMMANDS")
    for command, service_type in commands.items() if isinstance(commands, Mapping) else ():
        if not WORD.fits(service_type):
            yield wrong_type(f"{SETTING}['COMMANDS'][{shown(command)}]", WORD, service_type)
    hooks = setting.get("HOOKS")
    if not isinstance(hooks, Mapping):
        return
    for name, options in hooks.items():
        place = f"{SETTING}['HOOKS'][{shown(name)}]"
        if not TABLE.fits(options):
            yield wrong_type(place, TABLE, options)
            continue
        for option, value in options.items():
            if option in HOOK_OPTIONS and not HOOK_OPTIONS[option].fits(value):
                yield wrong_type(f"{place}['{option}']", HOOK_OPTIONS[option], value)


def wrong_types_of_alert(place: str, entry: object) -> Iterator[str]:
    """Yield a sentence for each value of the wrong type in an entry of ``ALERTS``."""
    if not isinstance(entry, Mapping):
        yield wrong_type(place, TABLE, entry)
        return
    for key, (_, kind) in ALERT_KEYS.items():
        value = entry.get(key)
        if not kind.fits(value) and (value is not None or key == "to"):
            yield wrong_type(f"{place}['{key}']", kind, value)


def wrong_type(place: str, kind: ValueType, value: object) -> str:
    """Return the message for a value of the wrong type."""
    return f"{place} must be {kind.name}, not {shown(value)}."


def shown(value: object) -> str:
    """Return a value as text, masked, and cut if it is long; its type if it has no text."""
    try:
        text = masked(repr(value))
    except Exception:  # also of a whole number with very many digits
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def default_environment() -> str:
    """Return ``development`` with DEBUG, else ``production``."""
    return "development" if django_settings.DEBUG else "production"


def config() -> dict[str, Any]:
    """Return ``CONFIG``, with the file that ``LIFESPAN_CONFIG_FILE`` names merged over it.

    Raises:
        ImproperlyConfigured: the file is neither TOML nor JSON with a table on top, or can't be
            read.
    """
    return merged(get("CONFIG"), config_file())


def config_file() -> dict[str, Any]:
    """Return the contents of the file that ``LIFESPAN_CONFIG_FILE`` names, or an empty dictionary.

    Raises:
        ImproperlyConfigured: as ``config`` does.
    """
    name = os.environ.get(CONFIG_FILE)
    return read_config_file(Path(name)) if name else {}


def read_config_file(path: Path) -> dict[str, Any]:
    """Read a TOML or JSON file, by its suffix. Raises ``ImproperlyConfigured``."""
    import tomllib  # 2 ms, for the few projects that have such a file

    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(
            f"{CONFIG_FILE} names '{path}', which can't be read: {error}. It takes a TOML file, or "
            "a JSON file whose name ends in .json."
        ) from error
    if not isinstance(value, dict):
        raise ImproperlyConfigured(
            f"{CONFIG_FILE} names '{path}', which holds {with_article(type(value))}; it must hold keys "
            "and values."
        )
    return value


def without_none(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dictionary without the keys whose value is None: they have their default."""
    return {key: value for key, value in given.items() if value is not None}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return two mappings as one; tables in both are merged, and other values of ``above`` win."""
    result = dict(below)
    for key, value in above.items():
        mine = result.get(key)
        if isinstance(mine, Mapping) and isinstance(value, Mapping):
            result[key] = merged(mine, value)
        else:
            result[key] = value
    return result
