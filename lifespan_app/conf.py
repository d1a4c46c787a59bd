"""The setting ``LIFESPAN``: every key, its default and its type, on one screen."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from .engine.errors import with_article
from .engine.hooks.retry import Retry
from .engine.hooks.values import is_seconds
from .engine.settings import Settings

SETTING = "LIFESPAN"
AUTO = "auto"


LONGEST_SHOWN = 100
"""Characters of a wrong value that a message shows."""


class ValueType(NamedTuple):
    """What a value may be."""

    name: str
    """In words, as in "must be a string"."""
    fits: Callable[[Any], bool]
    """Tells whether a value is one."""


WORD = ValueType("a string", lambda value: isinstance(value, str) and bool(value))
FLAG = ValueType("True or False", lambda value: isinstance(value, bool))
NUMBER = ValueType("a whole number", lambda value: type(value) is int)
SECONDS = ValueType("a number of seconds above 0", is_seconds)
LIMIT = ValueType(
    "a number of seconds above 0, or None", lambda value: value is None or is_seconds(value)
)
RETRY = ValueType(
    "a number of seconds above 0, a Retry, or None",
    lambda value: value is None or isinstance(value, Retry) or is_seconds(value),
)
DEADLINE = ValueType(
    f"a number of seconds above 0, or '{AUTO}'", lambda value: value == AUTO or is_seconds(value)
)
FROM_ZERO = ValueType(
    "a number of seconds, 0 or more",
    lambda value: is_seconds(value) or (value == 0 and not isinstance(value, bool)),
)
DAYS = ValueType("a whole number of days above 0", lambda value: type(value) is int and value > 0)
PLACE = ValueType(
    "a path", lambda value: isinstance(value, (str, os.PathLike)) and bool(str(value))
)
ERROR, THREAD = "error", "thread"
WITHOUT = ValueType(f"'{ERROR}' or '{THREAD}'", lambda value: value in (ERROR, THREAD))
TABLE = ValueType("a dictionary", lambda value: isinstance(value, Mapping))
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
    "STARTUP_DEADLINE": (AUTO, DEADLINE),
    "SHUTDOWN_TIMEOUT": (5, SECONDS),
    "SHUTDOWN_DEADLINE": (8, SECONDS),
    "SHUTDOWN_NOTICE": (False, FLAG),
    "DRAIN_SECONDS": (0, FROM_ZERO),
    "HOOKS": ({}, TABLE),
    "HISTORY": (True, FLAG),
    "HISTORY_DATABASE": ("default", WORD),
    "HISTORY_DAYS": (90, DAYS),
    "HEARTBEAT": (30, FROM_ZERO),
    "SPOOL_DIR": (None, PLACE),  # a folder of this user in the system's temporary one
    "PLATFORM": ({}, TABLE),
    "WITHOUT_SERVER_LIFESPAN": (None, WITHOUT),  # by what runs: see unserved.py
    "STATUS_FILE": (None, PLACE),
}
"""Every key, with its default and what its value may be; None is the default, too."""

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
"""What ``HOOKS`` may say of a hook."""

INNER_KEYS: dict[str, dict[str, ValueType]] = {
    "AUTODISCOVER": {"exclude": LABELS},
    "PLATFORM": {"startup": SECONDS, "termination_grace": SECONDS},
}
"""What the dictionaries in the setting may hold, but for ``CONFIG`` and ``HOOKS``."""

FROM_ENVIRONMENT = {
    "SERVICE_TYPE": "LIFESPAN_SERVICE_TYPE",
    "ENVIRONMENT": "LIFESPAN_ENVIRONMENT",
    "RELEASE": "LIFESPAN_RELEASE",
    "STATUS_FILE": "LIFESPAN_STATUS_FILE",
}
"""Environment variables that win over the setting."""

CONFIG_FILE = "LIFESPAN_CONFIG_FILE"

STARTS_FILE = "LIFESPAN_STARTS_FILE"
"""The environment variable in which a launcher says where to tell it how startups went."""
LAUNCH = "LIFESPAN_LAUNCH"


def declared() -> Any:
    """Return the setting ``LIFESPAN`` as the project has it; empty where it has none."""
    value = getattr(django_settings, SETTING, None)
    return {} if value is None else value


def get(key: str) -> Any:
    """Return the value of one key: from the environment, the setting, or its default."""
    variable = FROM_ENVIRONMENT.get(key)
    if variable is not None and os.environ.get(variable):
        return os.environ[variable]
    setting = declared()
    # What is no dictionary is told of by the checks, and by everything that makes a plan.
    value = setting.get(key) if TABLE.fits(setting) else None
    return KEYS[key][0] if value is None else value


def excluded_apps() -> frozenset[str]:
    """Return the labels of the apps whose ``lifespan.py`` is left alone.

    None where the setting is of the wrong type, which a check and the start of a run tell.
    """
    if any(wrong_types()):
        return frozenset()
    return frozenset(get("AUTODISCOVER").get("exclude") or ())


def settings() -> Settings:
    """Return what the engine is told, read anew from the project's settings.

    Raises:
        ImproperlyConfigured: the setting has a value of the wrong type, or the file that
            ``LIFESPAN_CONFIG_FILE`` names can't be read.
    """
    if wrong := list(wrong_types()):
        raise ImproperlyConfigured("\n".join(wrong))
    deadline = get("STARTUP_DEADLINE")
    return Settings(
        service_type=str(get("SERVICE_TYPE")),
        environment=get("ENVIRONMENT") or default_environment(),
        release=get("RELEASE") or "",
        config=config(),
        startup_deadline=None if deadline == AUTO else float(deadline),
        shutdown_timeout=float(get("SHUTDOWN_TIMEOUT")),
        shutdown_deadline=float(get("SHUTDOWN_DEADLINE")),
        shutdown_notice=get("SHUTDOWN_NOTICE"),
        drain_seconds=float(get("DRAIN_SECONDS")),
        hooks=get("HOOKS"),
    )


def wrong_types() -> Iterator[str]:
    """Yield what is of the wrong type in the setting, a sentence each."""
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
    hooks = setting.get("HOOKS")
    if not isinstance(hooks, Mapping):
        return
    for name, options in hooks.items():
        place = f"{SETTING}['HOOKS'][{name!r}]"
        if not TABLE.fits(options):
            yield wrong_type(place, TABLE, options)
            continue
        for option, value in options.items():
            if option in HOOK_OPTIONS and not HOOK_OPTIONS[option].fits(value):
                yield wrong_type(f"{place}['{option}']", HOOK_OPTIONS[option], value)


def wrong_type(place: str, kind: ValueType, value: object) -> str:
    """Return what is said of a value of the wrong type."""
    return f"{place} must be {kind.name}, not {shown(value)}."


def shown(value: object) -> str:
    """Return a value as text, cut where it is long; its type where it can't be shown."""
    try:
        text = repr(value)
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
    """Return what the file says that ``LIFESPAN_CONFIG_FILE`` names; empty where it names none.

    Raises:
        ImproperlyConfigured: as ``config`` does.
    """
    name = os.environ.get(CONFIG_FILE)
    return read_config_file(Path(name)) if name else {}


def read_config_file(path: Path) -> dict[str, Any]:
    """Read a TOML or JSON file, by its suffix. Raises ``ImproperlyConfigured``."""
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


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return two mappings as one; where both have a key, tables are merged and ``above`` wins."""
    result = dict(below)
    for key, value in above.items():
        mine = result.get(key)
        if isinstance(mine, Mapping) and isinstance(value, Mapping):
            result[key] = merged(mine, value)
        else:
            result[key] = value
    return result
