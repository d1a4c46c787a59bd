"""Routes of the URLconf that never get a request, because a mounted application answers their paths."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RegexPattern
from django.utils import translation

ROUTING = "lifespan_app.serving.routing"
PLAIN = re.compile(r"[\w/~-]*")
"""The beginning of a regular expression in which each character matches itself."""
OPTIONAL = ("?", "*", "{")
"""The characters that make the one before them optional."""


class Start(NamedTuple):
    """The text that every path of a route begins with."""

    text: str
    is_whole: bool
    """True if the route has nothing behind it."""


ROOT = Start("/", is_whole=True)


def shadow_messages() -> Iterator[CheckMessage]:
    """W015: a mounted application answers the paths of a route."""
    # Without mounts nothing has imported it.
    routing: Any = sys.modules.get(ROUTING)
    if routing is None:
        return
    made = routing.MountingASGIHandler.made
    prefixes = {mount.prefix for handler in made for mount in handler.mounts}
    try:
        # The prefix of i18n_patterns() follows the language that is active.
        with translation.override(settings.LANGUAGE_CODE):
            routes = list(routes_of(get_resolver()))
    except Exception:
        # The URLconf can't be imported. Django's own check shows the error.
        return
    for prefix in sorted(prefixes):
        shadowed = [route for route, start in routes if is_below(start, prefix)]
        if shadowed:
            yield Warning(
                f"mounts[{prefix}] hides {named(shadowed)} of the URLconf: the mounted application gets the "
                "requests.",
                hint="Remove the routes, or mount the application at another prefix.",
                obj=f"mounts[{prefix}]",
                id="lifespan_app.W015",
            )


def is_below(start: Start, prefix: str) -> bool:
    """Return True if all paths with this start belong to a prefix."""
    return start.text.startswith(prefix + "/") or (start.is_whole and start.text == prefix)


def named(routes: list[str]) -> str:
    """Return a description of some routes."""
    shown = ", ".join(f"'{route}'" for route in routes[:3])
    return shown if len(routes) <= 3 else f"{shown} and {len(routes) - 3} more routes"


def routes_of(
    resolver: URLResolver, before: str = "", start: Start = ROOT
) -> Iterator[tuple[str, Start]]:
    """Yield each route below a resolver, as text, and the start of its paths.

    Args:
        resolver: the resolver.
        before: the routes around it, as text.
        start: the start of the resolver's own paths.
    """
    for entry in resolver.url_patterns:
        route = before + str(entry.pattern)
        paths = joined(start, entry) if start.is_whole else start
        if isinstance(entry, URLResolver):
            yield from routes_of(entry, route, paths)
        else:
            yield route, paths


def joined(start: Start, entry: URLPattern | URLResolver) -> Start:
    """Return the start of an entry's paths, behind one that is a whole path so far."""
    text = str(entry.pattern)
    if not isinstance(entry.pattern, RegexPattern):
        literal, dynamic, _ = text.partition("<")
        return Start(start.text + literal, not dynamic)
    # Django matches the whole path only for a view whose pattern ends with "$".
    is_anchored = text.startswith("^") or (text.endswith("$") and isinstance(entry, URLPattern))
    if not is_anchored:
        return Start(start.text, is_whole=False)
    text = text.removeprefix("^")
    found = PLAIN.match(text)
    literal = found[0] if found else ""
    rest = text[len(literal) :]
    if "|" in rest:
        # The other alternative may be any path.
        return Start(start.text, is_whole=False)
    if rest.startswith(OPTIONAL):
        literal = literal[:-1]
    ends = rest in ("$", r"\Z", r"\z")
    return Start(start.text + literal, ends or (not rest and isinstance(entry, URLResolver)))
