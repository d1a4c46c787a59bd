"""Modules ``lifespan.py`` that are not imported, since their package is not installed."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from django.apps import apps
from django.conf import settings

from lifespan_app.integration import autodiscover
from lifespan_app.integration.advice import PACKAGES

IMPORT_OF_OURS = re.compile(rb"^\s*(from|import)\s+lifespan_app\b", re.MULTILINE)


class NotImported(NamedTuple):
    """A ``lifespan.py`` that is not imported."""

    module: str
    package: str
    file: str


def modules_not_imported() -> Iterator[NotImported]:
    """Yield the modules beside the URLconf, and in packages beside the project's apps."""
    installed = {app.name for app in apps.get_app_configs()}
    package = str(getattr(settings, "ROOT_URLCONF", "")).rpartition(".")[0]
    if package and package not in installed:
        name = f"{package}.{autodiscover.MODULE}"
        file = file_of(name)
        if file and name not in sys.modules:
            yield NotImported(name, package, file)
    folders = {os.path.realpath(app.path) for app in apps.get_app_configs()}
    for prefix, folder in sorted(folders_with_apps(package)):
        for found in sorted(folder.glob(f"*/{autodiscover.MODULE}.py")):
            name = f"{prefix}{found.parent.name}"
            module = f"{name}.{autodiscover.MODULE}"
            if (
                name not in installed
                and name != package
                and module not in autodiscover.imported
                and os.path.realpath(found.parent) not in folders
                and IMPORT_OF_OURS.search(found.read_bytes())
            ):
                yield NotImported(module, name, str(found))


def folders_with_apps(package: str) -> set[tuple[str, Path]]:
    """Return the project's folders of apps, each with the prefix of the apps' names.

    Args:
        package: the package of the URLconf.
    """
    found = set()
    for app in apps.get_app_configs():
        found.add((app.name.rpartition(".")[0], Path(app.path).parent))
    file = file_of(package) if package else None
    if file:
        folder = Path(file).parent
        found.add((package, folder))
        found.add((package.rpartition(".")[0], folder.parent))
    return {
        (f"{prefix}." if prefix else "", folder)
        for prefix, folder in found
        if not PACKAGES & {*folder.parts}  # those need not be in INSTALLED_APPS
    }


def file_of(module: str) -> str | None:
    """Return the file of a module, which is not imported; None if there is none."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    return None if spec is None else spec.origin
