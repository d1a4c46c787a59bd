"""Autodiscovery: import the ``lifespan.py`` of every installed app, as Django does ``admin.py``."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from django.apps import AppConfig, apps
from django.utils.module_loading import module_has_submodule

from lifespan_app import conf

from .default import lifespan

if TYPE_CHECKING:
    from lifespan_app.engine.problem import Problem

MODULE = "lifespan"

silent: dict[str, str] = {}
"""The imported modules that have declared no hook, each with the label of its app."""

excluded: list[str] = []
"""The labels of the apps that the setting ``AUTODISCOVER`` excludes."""

imported: set[str] = set()
"""The modules called ``lifespan`` that were imported when the apps were ready."""

done = False
"""True once the apps were searched. A project may import its hooks itself, at any time."""


def autodiscover() -> None:
    """Import the ``lifespan.py`` of every installed app.

    Django's own ``autodiscover_modules`` stops at the first module that can't be imported, and an
    error in ``ready()`` would take every command with it, ``migrate`` and ``shell`` included. So
    the error is kept, and the hooks of the broken module are removed: check E001 shows it, and each
    plan raises it.
    """
    global done
    lifespan.broken.clear()
    silent.clear()
    excluded.clear()
    left_alone = conf.excluded_apps()
    for app in apps.get_app_configs():
        if app.module is None or not module_has_submodule(app.module, MODULE):
            continue
        if app.label in left_alone:
            excluded.append(app.label)
        else:
            discover(app)
    imported.update(name for name in sys.modules if name.rpartition(".")[2] == MODULE)
    done = True


def discover(app: AppConfig) -> None:
    """Import the module of one app, and keep its error if it has one."""
    name = f"{app.name}.{MODULE}"
    before = len(lifespan.hooks)
    try:
        with lifespan.rolled_back():
            import_module(name)
    except KeyboardInterrupt:
        raise
    # A lifespan.py that calls sys.exit(), or is cancelled, is as broken as any other.
    except BaseException as error:
        lifespan.broken[name] = problem(app, name, error)
        return
    if len(lifespan.hooks) == before and not any(
        belongs_to(hook.module, name) for hook in lifespan.hooks
    ):
        silent[name] = app.label


def problem(app: AppConfig, name: str, error: BaseException) -> Problem:
    """Return the problem of a module, at the innermost line of the app's own code."""
    # Not paid for where every module can be imported.
    import traceback
    from importlib.util import find_spec

    from lifespan_app.engine.error_text import one_line
    from lifespan_app.engine.problem import Problem

    file, line = "", 0
    for frame, number in traceback.walk_tb(error.__traceback__):
        if belongs_to(frame.f_globals.get("__name__", ""), app.name):
            file, line = frame.f_code.co_filename, number
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno or 0
    if not file and (spec := find_spec(name)) is not None and spec.origin:
        file, line = spec.origin, 1  # a file that is no source at all
    return Problem(
        f"'{name}' of app '{app.label}' can't be imported: {one_line(error)}",
        "Fix the import error: no server can start until then. migrate, shell and the checks still "
        f"run. {exclusion(app.label)}",
        file,
        line,
        "broken",
        error,
    )


def exclusion(label: str) -> str:
    """Return the way to exclude a module that does not belong to lifespan_app."""
    return (
        "If the module is not meant for lifespan_app, leave it out: "
        f"{conf.SETTING} = {{'AUTODISCOVER': {{'exclude': ['{label}']}}}}."
    )


def belongs_to(module: str, package: str) -> bool:
    """Return True if a module is a package, or is inside it."""
    return module == package or module.startswith(f"{package}.")
