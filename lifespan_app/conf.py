"""The setting ``LIFESPAN``: every key, its default and its type, on one screen."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from .engine.host import AUTO, Settings

SETTING = "LIFESPAN"

DEFAULTS: dict[str, Any] = {
    "SERVICE_TYPE": "app",
    "ENVIRONMENT": None,  # "development" with DEBUG, else "production"
    "RELEASE": None,
    "CONFIG": {},
    "STARTUP_DEADLINE": AUTO,
    "SHUTDOWN_TIMEOUT": 5,
    "SHUTDOWN_DEADLINE": 8,
    "HOOKS": {},
}

HOOK_OPTIONS = ("enabled", "timeout", "shutdown_timeout", "required", "priority", "state_name")
"""What ``HOOKS`` may say of a hook."""

FROM_ENVIRONMENT = {
    "SERVICE_TYPE": "LIFESPAN_SERVICE_TYPE",
    "ENVIRONMENT": "LIFESPAN_ENVIRONMENT",
    "RELEASE": "LIFESPAN_RELEASE",
}
"""Environment variables that win over the setting."""

CONFIG_FILE = "LIFESPAN_CONFIG_FILE"


def declared() -> Mapping[str, Any]:
    """Return the setting ``LIFESPAN`` as the project has it; empty where it has none."""
    value = getattr(django_settings, SETTING, None)
    return value if isinstance(value, Mapping) else {}


def get(key: str) -> Any:
    """Return the value of one key: from the environment, the setting, or its default."""
    variable = FROM_ENVIRONMENT.get(key)
    if variable is not None and os.environ.get(variable):
        return os.environ[variable]
    value = declared().get(key)
    return DEFAULTS[key] if value is None else value


def settings() -> Settings:
    """Return what the engine is told, read anew from the project's settings.

    Raises:
        ImproperlyConfigured: the file that ``LIFESPAN_CONFIG_FILE`` names can't be read.
    """
    deadline = get("STARTUP_DEADLINE")
    return Settings(
        service_type=str(get("SERVICE_TYPE")),
        environment=get("ENVIRONMENT") or default_environment(),
        release=str(get("RELEASE") or ""),
        config=config(),
        startup_deadline=None if deadline == AUTO else float(deadline),
        shutdown_timeout=float(get("SHUTDOWN_TIMEOUT")),
        shutdown_deadline=float(get("SHUTDOWN_DEADLINE")),
        hooks=get("HOOKS"),
    )


def default_environment() -> str:
    """Return ``development`` with DEBUG, else ``production``."""
    return "development" if django_settings.DEBUG else "production"


def config() -> dict[str, Any]:
    """Return ``CONFIG``, with the file that ``LIFESPAN_CONFIG_FILE`` names merged over it.

    Raises:
        ImproperlyConfigured: the file is neither TOML nor JSON with a table on top, or can't be
            read.
    """
    value = dict(get("CONFIG"))
    name = os.environ.get(CONFIG_FILE)
    return merged(value, read_config_file(Path(name))) if name else value


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
            f"{CONFIG_FILE} names '{path}', which holds a {type(value).__name__}; it must hold keys "
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
