"""Autodiscovery: import the ``lifespan.py`` of every installed app, as Django does ``admin.py``."""

from __future__ import annotations

import traceback
from importlib import import_module

from django.apps import AppConfig, apps
from django.utils.module_loading import module_has_submodule

from .default import lifespan
from .engine.problems import Problem

MODULE = "lifespan"

silent: set[str] = set()
"""The modules that were imported and have declared no hook."""

done = False
"""Whether the apps were searched: a project may import its hooks by itself, at any time."""


def autodiscover() -> None:
    """Import the ``lifespan.py`` of every installed app.

    Django's own ``autodiscover_modules`` stops at the first module that can't be imported, and an
    error in ``ready()`` would take every command with it, ``migrate`` and ``shell`` included. So a
    broken module is kept, with what it had declared rolled back: check E001 shows it, and whatever
    makes a plan raises it.
    """
    global done
    lifespan.broken.clear()
    silent.clear()
    for app in apps.get_app_configs():
        if app.module is not None and module_has_submodule(app.module, MODULE):
            discover(app)
    done = True


def discover(app: AppConfig) -> None:
    """Import the module of one app, and keep what is wrong with it."""
    name = f"{app.name}.{MODULE}"
    before = len(lifespan.hooks)
    try:
        with lifespan.rolled_back():
            import_module(name)
    # A lifespan.py that calls sys.exit() is as broken as any other.
    except (Exception, SystemExit) as error:
        lifespan.broken[name] = problem(app, name, error)
        return
    if len(lifespan.hooks) == before and not any(
        belongs_to(hook.module, name) for hook in lifespan.hooks
    ):
        silent.add(name)


def problem(app: AppConfig, name: str, error: BaseException) -> Problem:
    """Return what is wrong with a module, at the innermost line that is the app's own."""
    file, line = "", 0
    for frame, number in traceback.walk_tb(error.__traceback__):
        if belongs_to(frame.f_globals.get("__name__", ""), app.name):
            file, line = frame.f_code.co_filename, number
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno or 0
    return Problem(
        f"'{name}' of app '{app.label}' can't be imported: {type(error).__name__}: {error}",
        "Mend the module. Until then no plan can be made; migrate, shell and the checks still run.",
        file,
        line,
        "broken",
        error,
    )


def belongs_to(module: str, package: str) -> bool:
    """Tell whether a module is a package, or inside of it."""
    return module == package or module.startswith(f"{package}.")
