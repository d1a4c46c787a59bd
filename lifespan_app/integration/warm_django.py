"""``LIFESPAN["WARM_UP"]``: what Django does at the first request, done while the hooks start.

Each function here is a step ``django.*`` of a server's run, in a thread of its own. None is required: one
that fails leaves its work to the first request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings

from lifespan_app.engine.hooks.hook import STAGE, Hook
from lifespan_app.engine.planning.plan import Node, Plan

LOCALE_MIDDLEWARE = "django.middleware.locale.LocaleMiddleware"

STEP_TIMEOUT = 10.0
"""Seconds that a step may take."""
PATIENCE = 5.0
"""Seconds after which a step begins nothing more: another language, template or connection."""
LOOK = 0.01
"""Seconds between two looks at a pool."""

making_engines = threading.Lock()


def urls() -> None:
    """Import the URLconf with its views, compile its patterns, and fill the tables of ``reverse()``."""
    from django.urls import NoReverseMatch, get_resolver, reverse
    from django.utils import translation

    resolver = get_resolver()
    until = time.monotonic() + PATIENCE
    names = ["", *(f"{namespace}:" for namespace in namespaces(resolver))]
    # Each namespace has a table of its own, for each language:
    # https://github.com/django/django/blob/stable/5.2.x/django/urls/resolvers.py
    for language in languages():
        if time.monotonic() > until:
            break
        with translation.override(language):
            for name in names:
                with suppress(NoReverseMatch):
                    reverse(f"{name}lifespan_app has no such view")
    for code in (400, 403, 404, 500):
        resolver.resolve_error_handler(code)


def namespaces(resolver: Any, above: str = "") -> Iterator[str]:
    """Yield the namespaces of a URLconf, such as "admin"."""
    for pattern in resolver.url_patterns:
        if hasattr(pattern, "url_patterns"):
            inside = above
            if pattern.namespace:
                yield f"{above}{pattern.namespace}"
                inside = f"{above}{pattern.namespace}:"
            yield from namespaces(pattern, inside)


def templates() -> None:
    """Make the template engines, and compile what a loader that caches finds in its folders."""
    until = time.monotonic() + PATIENCE
    for engine in template_engines():
        engine.template_context_processors  # noqa: B018  # imports them
        compile_templates(engine, until)


def template_engines() -> list[Any]:
    """Return Django's own template engines. Any thread may call this."""
    from django.template import engines
    from django.template.backends.django import DjangoTemplates

    # Two threads that ask for the first time would each make them, and one would work for nothing.
    with making_engines:
        return [one.engine for one in engines.all() if isinstance(one, DjangoTemplates)]


def compile_templates(engine: Any, until: float) -> None:
    """Compile the templates of an engine, as far as its loaders keep them."""
    from django.template.loaders.cached import Loader

    for loader in engine.template_loaders:
        if not isinstance(loader, Loader):
            continue
        for name in names_of_templates(loader):
            if time.monotonic() > until:
                return
            try:
                engine.get_template(name)
            except Exception:
                # A view that renders it will say so; perhaps none does.
                continue


def names_of_templates(loader: Any) -> Iterator[str]:
    """Yield the names of the HTML templates in the folders of a loader."""
    for inner in loader.loaders:
        for folder in inner.get_dirs() if hasattr(inner, "get_dirs") else ():
            for path in Path(folder).rglob("*.html"):
                yield path.relative_to(folder).as_posix()


def databases() -> None:
    """Fill the connection pools of the databases that have one."""
    from django.db import connections

    until = time.monotonic() + PATIENCE
    for connection in connections.all():
        if not connection.settings_dict["OPTIONS"].get("pool"):
            continue
        connection.ensure_connection()
        connection.close()
        # psycopg's fills itself in threads of its own, and its wait() closes the pool if it is late:
        # https://www.psycopg.org/psycopg3/docs/api/pool.html#psycopg_pool.ConnectionPool.wait
        stats = getattr(connection.pool, "get_stats", dict)  # type: ignore[attr-defined]
        while not is_full(stats()) and time.monotonic() < until:
            time.sleep(LOOK)


def is_full(stats: Mapping[str, int]) -> bool:
    """Return True if a pool has the connections that it keeps at least."""
    return stats.get("pool_available", 0) >= stats.get("pool_min", 0)


def static() -> None:
    """Read the manifest of the static files."""
    from django.contrib.staticfiles.storage import staticfiles_storage

    # Any attribute makes the storage, which reads its manifest.
    str(staticfiles_storage.__class__)


def translations() -> None:
    """Load the catalogues and formats of the languages that requests may be answered in."""
    from django.utils import formats, translation

    # makemessages would take a literal for a text.
    any_text = ""
    for language in languages():
        with translation.override(language):
            translation.gettext(any_text)
            formats.get_format("DATE_FORMAT")


def languages() -> list[str]:
    """Return the languages that requests may be answered in."""
    from django.utils import translation

    found = [settings.LANGUAGE_CODE]
    if settings.USE_I18N and LOCALE_MIDDLEWARE in settings.MIDDLEWARE:
        # A project that does not say which ones has a hundred, and most of them are of no use to it.
        chosen = settings.LANGUAGES if settings.is_overridden("LANGUAGES") else ()
        for code in (settings.LANGUAGE_CODE, *(code for code, _ in chosen)):
            with suppress(LookupError):
                found.append(translation.get_supported_language_variant(code))
    return list(dict.fromkeys(found))


async def middleware() -> None:
    """Have Django's own middleware answer a request that nobody has sent."""
    from .warm_middleware import answer

    await answer()


def steps() -> Iterator[Callable[..., Any]]:
    """Yield the functions that have work in this project."""
    yield urls
    yield middleware
    if settings.TEMPLATES:
        yield templates
    if any(database.get("OPTIONS", {}).get("pool") for database in settings.DATABASES.values()):
        yield databases
    if "django.contrib.staticfiles" in settings.INSTALLED_APPS:
        yield static
    if settings.USE_I18N:
        yield translations


def with_steps(plan: Plan) -> Plan:
    """Return a plan with the steps ``django.*``, which wait for nothing, and for which no hook waits."""
    nodes = list(plan.nodes)
    for function in steps():
        written_at = ("django", function.__code__.co_filename, function.__code__.co_firstlineno)
        hook = Hook(function, STAGE, written_at=written_at, required=False, timeout=STEP_TIMEOUT)
        nodes.append(Node(len(nodes), f"django.{hook.name}", "django", hook, hook.options))
    return Plan(plan.service_type, nodes, plan.excluded)
