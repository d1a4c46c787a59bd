"""The process of ``checklifespan --boot``: prepare the project as a server would, and measure each part.

``python -X importtime -P -m lifespan_app.cli.boot_child FILE [APPLICATION]`` writes the results to a file.
No hook is called. ``AppConfig`` is wrapped in this process only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

BEGAN = time.time()

parts: dict[str, float] = {}
"""The seconds of each part that is not about one app."""
apps: dict[str, dict[str, float]] = {}
"""The seconds of the import and the ``ready()`` of each app, by its name."""


@contextmanager
def measured(times: dict[str, float], what: str) -> Iterator[None]:
    """Add the time of the block to some times."""
    began = time.perf_counter()
    try:
        yield
    finally:
        times[what] = times.get(what, 0.0) + time.perf_counter() - began


def wrap(times: dict[str, float], what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that measures each call of another one."""

    def call(*args: Any) -> Any:
        with measured(times, what):
            return function(*args)

    return call


def measure_apps() -> None:
    """Measure the apps that Django sets up from now on."""
    from django.apps import AppConfig

    create = AppConfig.create

    def create_measured(entry: str) -> AppConfig:
        times = {"import": 0.0, "ready": 0.0}
        with measured(times, "import"):
            config = create(entry)
        apps[config.name] = times
        for name, what in (("import_models", "import"), ("ready", "ready")):
            setattr(config, name, wrap(times, what, getattr(config, name)))
        return config

    AppConfig.create = create_measured  # type: ignore[method-assign]


def prepare(application: str | None) -> None:
    """Set Django up, and import the ASGI application. Raises what the project raises."""
    with measured(parts, "django"):
        import django
        from django.conf import settings

        # django.setup() imports these.
        for name in ("apps", "urls", "utils.log"):
            import_module(f"django.{name}")
    with measured(parts, "settings"):
        _ = settings.INSTALLED_APPS
    measure_apps()
    django.setup()
    with measured(parts, "application"):
        from lifespan_app.serving import loader

        try:
            loader.load(application or loader.from_settings() or "")
        except LookupError as error:
            named = application or getattr(settings, "ASGI_APPLICATION", None)
            if named or not loader.is_missing(error):
                raise


def main(file: str, application: str | None = None) -> None:
    """Prepare the project, and write the results."""
    prepare(application)
    result = {"began": BEGAN, "ended": time.time(), "parts": parts, "apps": apps}
    Path(file).write_text(json.dumps(result), encoding="utf-8")
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread that the project has started must not keep the process alive.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
