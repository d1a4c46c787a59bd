"""``lifespan_app`` is used, and is not in ``INSTALLED_APPS``: no app's ``lifespan.py`` is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Warning, register

MODULE = "lifespan"


@register("lifespan")
def check_installed(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W001: the ``lifespan.py`` of installed apps, which we don't import."""
    hint = "Add 'lifespan_app' to INSTALLED_APPS."
    return [
        Warning(message(module), hint=hint, obj=module, id="lifespan_app.W001")
        for module in modules_left_alone()
    ]


def warn_not_installed() -> None:
    """Log a warning for each module that a server starts without."""
    from lifespan_app.engine.logger import logger

    for module in modules_left_alone():
        # A project may import them by itself.
        if module not in sys.modules:
            logger.warning("%s Add it.", message(module))


def message(module: str) -> str:
    """Return the warning for a module."""
    return f"'lifespan_app' is not in INSTALLED_APPS, so it does not import '{module}'."


def modules_left_alone() -> list[str]:
    """Return the modules of installed apps that import us while we are not installed."""
    if apps.is_installed("lifespan_app"):
        return []
    found = []
    for app in apps.get_app_configs():
        name = f"{app.name}.{MODULE}"
        spec = find_spec(name)
        if spec is not None and spec.origin and b"lifespan_app" in Path(spec.origin).read_bytes():
            found.append(name)
    return found
