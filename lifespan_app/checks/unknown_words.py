"""Checks of the setting ``LIFESPAN`` for unknown words, which each process makes when it starts.

A server imports this module without the other checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning

from lifespan_app import conf
from lifespan_app.engine.wording import did_you_mean
from lifespan_app.integration.default import lifespan

MOST_SHOWN = 40
"""The greatest number of known words in a hint: all keys of the setting, and not all hooks of a project."""


def check_keys() -> Iterator[CheckMessage]:
    """E002: the setting ``LIFESPAN`` has an unknown key; E004: an option of ``HOOKS`` is unknown."""
    for key in table(conf.declared()):
        if key not in conf.KEYS:
            yield unknown("E002", f"{conf.SETTING}[{conf.shown(key)}]", key, conf.KEYS)
    for name, keys in conf.INNER_KEYS.items():
        for key in table(table(conf.declared()).get(name)):
            if key not in keys:
                yield unknown("E002", f"{conf.SETTING}['{name}'][{conf.shown(key)}]", key, keys)
    alerts: Any = table(conf.declared()).get("ALERTS")
    for number, entry in enumerate(alerts if conf.LIST.fits(alerts) else ()):
        for key in table(entry):
            if key not in conf.ALERT_KEYS:
                place = f"{conf.SETTING}['ALERTS'][{number}][{conf.shown(key)}]"
                yield unknown("E002", place, key, conf.ALERT_KEYS)
    for name, options in table(table(conf.declared()).get("HOOKS")).items():
        for option in table(options):
            if option not in conf.HOOK_OPTIONS:
                place = f"{conf.SETTING}['HOOKS'][{conf.shown(name)}][{conf.shown(option)}]"
                yield unknown("E004", place, option, conf.HOOK_OPTIONS)


def check_hook_names() -> Iterator[CheckMessage]:
    """W003: ``HOOKS`` names an undeclared hook, or ``AUTODISCOVER`` an unknown app."""
    labels = {app.label for app in apps.get_app_configs()}
    for label in sorted(conf.excluded_apps() - labels):
        place = f"{conf.SETTING}['AUTODISCOVER']['exclude'] names {conf.shown(label)}, which"
        yield unknown("W003", place, label, labels, Warning, "is no installed app's label")
    names = table(table(conf.declared()).get("HOOKS"))
    if not names or lifespan.broken:
        return
    from lifespan_app.integration import autodiscover  # it does nothing where nothing is named

    if not autodiscover.done:
        return
    known = {hook.key_by(lifespan.adapter.app_label) for hook in lifespan.hooks}
    for name in names:
        if name != "*" and name not in known:
            place = f"{conf.SETTING}['HOOKS'][{conf.shown(name)}]"
            yield unknown("W003", place, name, known, Warning, "names no declared hook")


def table(value: object) -> Mapping[Any, Any]:
    """Return a dictionary as it is, and another value as an empty one: E003 reports its type."""
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
    hint = (
        f"{did_you_mean(word, known)} There are: {', '.join(sorted(known)[:MOST_SHOWN]) or 'none'}."
    )
    return level(f"{place} {what}.", hint=hint.lstrip(), id=f"lifespan_app.{number}")
