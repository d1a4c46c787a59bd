"""The secrets in the settings and the environment of this process."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from django.apps import apps
from django.conf import global_settings, settings
from django.utils.module_loading import import_string
from django.views.debug import SafeExceptionReporterFilter

from lifespan_app import conf

__all__ = ["hidden_names", "is_ordinary", "secrets"]

SHORTEST = 4
"""The length of the shortest secret; shorter values are parts of too many words."""

DEEPEST = 10
"""The deepest level of nested dictionaries."""

NAMED_BY_THE_PROJECT = frozenset(
    {"CACHES", "DATABASES", "LOGGING", "MAILERS", "STORAGES", "TASKS", "TEMPLATES"}
)
"""Settings with keys of the project's own: a database called "auth" is not hidden as a whole."""

ORDINARY = frozenset(
    {"basic", "bearer", "debug", "default", "development", "disabled", "enabled", "false", "info"}
    | {"local", "localhost", "none", "null", "production", "staging", "test", "testing", "token"}
    | {"true", "warning"}
)
"""Values that are not secret."""

FEW_DIGITS = re.compile(r"-?\d{1,5}")
"""A port or a limit."""

PATH = re.compile(r"[A-Za-z_]\w*(?:[.:][A-Za-z_]\w*)+")

PASSWORD = re.compile(r'://[^\s/:@"]*:([^\s/?#"]+)@')


def secrets() -> set[str]:
    """Return the values to mask, in all their spellings."""
    known = known_words()
    return {
        spelling
        for secret in hidden_values()
        if len(secret) >= SHORTEST and secret.lower() not in known
        if not (is_ordinary(secret) or is_import_path(secret) or is_in_a_folder(secret))
        for spelling in spellings(secret)
        if len(spelling) >= SHORTEST
    }


def hidden_names() -> list[str]:
    """Return the words that the project has added to Django's list of names to hide."""
    words = set(hidden_settings().pattern.split("|"))
    added = words.difference(SafeExceptionReporterFilter.hidden_settings.pattern.split("|"))
    return sorted(word for word in added if re.fullmatch(r"\w+", word))


def hidden_settings() -> re.Pattern[str]:
    """Return the pattern of the names that the project's error pages hide."""
    # The project's own class need not have this attribute.
    with suppress(Exception):
        found = import_string(settings.DEFAULT_EXCEPTION_REPORTER_FILTER).hidden_settings
        if isinstance(found, re.Pattern):
            return found
    return SafeExceptionReporterFilter.hidden_settings


def is_ordinary(value: str) -> bool:
    """Return True if a value is not secret, regardless of its name."""
    return value.lower() in ORDINARY or FEW_DIGITS.fullmatch(value) is not None


def is_import_path(value: str) -> bool:
    """Return True if a value is an import path or the name of a model."""
    if not PATH.fullmatch(value):
        return False
    first = re.split("[.:]", value, maxsplit=1)[0]
    if first in sys.modules or first in apps.app_configs:
        return True
    try:
        return importlib.util.find_spec(first) is not None
    except (ImportError, ValueError):
        return False


def is_in_a_folder(value: str) -> bool:
    """Return True if a value is a path in an existing folder."""
    if not value.startswith("/") or "\0" in value:
        return False
    folder = Path(value).parent
    with suppress(OSError):
        return folder != Path("/") and folder.is_dir()
    return False


def known_words() -> set[str]:
    """Return the names of apps and databases, which are not masked even if used as passwords."""
    words = set(apps.app_configs)
    words.update(config.name.split(".")[0] for config in apps.app_configs.values())
    with suppress(Exception):
        for database in settings.DATABASES.values():
            names = (str(database.get(key, "")) for key in ("NAME", "USER", "HOST"))
            words.update(name for name in names if name.isalpha())
    return {word.lower() for word in words}


def hidden_values() -> Iterator[str]:
    """Yield the values of settings and variables with sensitive names, and passwords in URLs."""
    hidden = hidden_settings()
    for name, value in named_values():
        inherits = name not in NAMED_BY_THE_PROJECT
        for is_hidden, text in texts(value, hidden, bool(hidden.search(name)), inherits):
            if is_hidden:
                yield text
                yield text.strip()
            elif "://" in text:
                yield from PASSWORD.findall(text)


def named_values() -> Iterator[tuple[str, Any]]:
    """Yield names and values of settings, of ``CONFIG``, of ``ALERTS``, and of the environment."""
    yield from explicit_settings()
    with suppress(Exception):  # a file that can't be read is a failed check
        yield from conf.config().items()
    with suppress(Exception):  # the setting may be of the wrong type
        yield "ALERTS", conf.declared()["ALERTS"]
    yield from os.environ.items()


def explicit_settings() -> Iterator[tuple[str, Any]]:
    """Yield names and values of the project's settings that differ from the defaults."""
    # Not through the lazy object: reading a deprecated setting there warns of it, which under
    # "-W error" would leave the value unknown. Django 6.1 warns of each EMAIL_ setting:
    # https://docs.djangoproject.com/en/6.1/internals/deprecation/
    plain = settings._wrapped
    for name in dir(settings):
        with suppress(Exception):
            if name.isupper() and name != conf.SETTING and settings.is_overridden(name):
                value = getattr(plain, name)
                if not hasattr(global_settings, name) or value != getattr(global_settings, name):
                    yield name, value


def texts(
    value: object, hidden: re.Pattern[str], is_hidden: bool, inherits: bool, depth: int = 0
) -> Iterator[tuple[bool, str]]:
    """Yield each text in a value, with True if it is under a sensitive name."""
    if depth > DEEPEST:
        return
    if isinstance(value, str):
        yield is_hidden, value
    elif isinstance(value, bytes):
        yield is_hidden, value.decode(errors="surrogateescape")
    elif isinstance(value, Mapping):
        outer = is_hidden and inherits
        for key, item in value.items():
            named = outer or (isinstance(key, str) and bool(hidden.search(key)))
            yield from texts(item, hidden, named, inherits, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from texts(item, hidden, is_hidden, inherits, depth + 1)


def spellings(secret: str) -> Iterator[str]:
    """Yield the spellings of a secret: plain, quoted for a URL, Python or JSON, and by line."""
    lines = [line.strip() for line in secret.splitlines()]
    for plain in {secret, unquote(secret), *(lines if len(lines) > 1 else ())}:
        yield plain
        yield repr(plain)[1:-1]
        yield json.dumps(plain)[1:-1]
        for encode in (quote, quote_plus):
            for safe in ("", "/"):
                encoded = encode(plain, safe=safe, errors="surrogateescape")
                yield encoded
                yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)
