"""The development server of ``runlifespan --serve``: uvicorn with the application of the project."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import django
from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, SystemCheckError
from django.core.management.color import color_style, no_style
from django.core.management.commands.runserver import naiveip_re
from django.db import DatabaseError, connections

from lifespan_app.engine.error_text import one_line, text_of, traceback_of
from lifespan_app.engine.errors import PlanError
from lifespan_app.integration.advice import PACKAGES
from lifespan_app.integration.default import lifespan
from lifespan_app.processes.run import STARTUP_FAILED, Ended, judged
from lifespan_app.serving.loader import from_settings, load, no_answer

from .command import BAD_ARGUMENT
from .live import Live
from .terminal import has_colour

USUAL = "127.0.0.1:8000"
WATCHED = ("*.py", "*.html", "*.mo")
"""Files whose change restarts the server. Django caches templates, so they are included:
https://docs.djangoproject.com/en/stable/ref/templates/api/#django.template.loaders.cached.Loader"""


class Address(NamedTuple):
    """The host and port to serve at."""

    host: str
    port: int


def address(text: str) -> Address:
    """Return the address in ``PORT`` or ``HOST:PORT``, like runserver. Raises ``ValueError``."""
    found = naiveip_re.match(text)
    if found is None or int(found["port"]) > 65535:
        raise ValueError(f"'{text}' is neither a port nor HOST:PORT.")
    host = found["addr"] or USUAL.partition(":")[0]
    return Address(host.strip("[]"), int(found["port"]))


def serve_for(options: Mapping[str, Any]) -> Ended:
    """Serve the project with the options of a command, and return the result."""
    try:
        where = address(options["serve"])
    except ValueError as error:
        raise CommandError(f"--serve: {error}", returncode=BAD_ARGUMENT) from error
    # The processes that --reload starts read the environment.
    if options["service_type"]:
        os.environ["LIFESPAN_SERVICE_TYPE"] = options["service_type"]
    if options["no_color"]:
        os.environ["NO_COLOR"] = "1"
    return serve(where, reload=options["reload"])


def serve(where: Address, *, reload: bool) -> Ended:
    """Serve the project until Ctrl+C or SIGTERM, and return the result.

    Args:
        where: host and port.
        reload: restart after each change of a file.
    """
    if find_spec("uvicorn") is None:
        return Ended(
            STARTUP_FAILED,
            "--serve needs uvicorn, which is not installed: pip install "
            "'django-lifespan-app[server]'.",
        )
    if not settings.DEBUG and not settings.ALLOWED_HOSTS:
        return Ended(STARTUP_FAILED, "With DEBUG off, set ALLOWED_HOSTS: nothing could be served.")
    import uvicorn

    options: dict[str, Any] = {
        "host": where.host,
        "port": where.port,
        "lifespan": "on",
        "use_colors": has_colour(sys.stdout),
        # Given, so that uvicorn ignores WEB_CONCURRENCY (uvicorn 0.54, config.py).
        "workers": 1,
    }
    if reload:
        # uvicorn starts the application in a new process after each change.
        uvicorn.run(
            f"{__name__}:{application.__name__}",
            factory=True,
            reload=True,
            reload_dirs=[os.fspath(folder) for folder in watched_folders()],
            reload_includes=list(WATCHED),
            **options,
        )
        return Ended(0)
    server = uvicorn.Server(uvicorn.Config(application(), **options))
    # At its end uvicorn raises the received signal again, which would kill this process:
    # https://github.com/encode/uvicorn/pull/1600
    before = {number: signal.signal(number, ignore) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run()
    except SystemExit:
        # uvicorn has printed the reason: a failed startup, or a port in use.
        return Ended(STARTUP_FAILED)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return judged(lifespan.last_run, 0)


def ignore(number: int, frame: object) -> None:
    """Do nothing about a signal."""


def application() -> Any:
    """Run the system checks, and return the project's application, with static files in DEBUG.

    A problem is printed, and ends the process. With ``--reload`` the next change starts a new one.
    """
    django.setup()
    # uvicorn calls this on a running event loop, where Django refuses database queries:
    # https://docs.djangoproject.com/en/stable/topics/async/#async-safety
    with ThreadPoolExecutor(1) as thread:
        thread.submit(check).result()
    place = from_settings() or "asgi:application"
    try:
        found = load(place)
    except (PlanError, LookupError) as error:
        cause = error.__cause__
        give_up(traceback_of(cause), text_of(error))
    with ThreadPoolExecutor(1) as thread:
        refusal = thread.submit(no_answer, found, place, []).result()
    if refusal is not None:
        give_up(refusal.message, refusal.hint)
    if settings.DEBUG and apps.is_installed("django.contrib.staticfiles"):
        from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

        found = ASGIStaticFilesHandler(found)
    lifespan.adapter.observers.insert(0, Live(sys.stdout))
    return found


def check() -> None:
    """Run system checks, and warn of unapplied migrations, like runserver."""
    command = BaseCommand()
    command.stdout.write("Performing system checks...\n\n")
    try:
        command.check(display_num_errors=True)
        command.check_migrations()
    except SystemCheckError as error:
        give_up(text_of(error))
    except DatabaseError as error:
        command.stderr.write(
            command.style.WARNING(
                f"The database can't be asked for its migrations: {one_line(error)}"
            )
        )
    finally:
        connections.close_all()


def give_up(*texts: str) -> NoReturn:
    """Print error texts, and exit."""
    style = color_style() if has_colour(sys.stderr) else no_style()
    for text in filter(None, texts):
        sys.stderr.write(f"{style.ERROR(text.rstrip())}\n")
    sys.exit(STARTUP_FAILED)


def watched_folders() -> list[Path]:
    """Return the folders of the project's files, without folders inside another one."""
    folders = {
        Path.cwd(),
        *(Path(app.path) for app in apps.get_app_configs()),
        *(folder_of(name) for name in (settings.SETTINGS_MODULE, settings.ROOT_URLCONF)),
        *template_folders(),
    }
    found = {folder.resolve() for folder in folders if folder.is_dir()}
    # In a container, the working directory may be "/".
    found -= {folder for folder in found if folder == folder.parent or PACKAGES & {*folder.parts}}
    return sorted(folder for folder in found if not found & {*folder.parents})


def folder_of(module: str) -> Path:
    """Return the folder of a module without an import, which may fail."""
    try:
        spec = find_spec(module)
    except Exception:
        # find_spec imports the parent package.
        spec = None
    return Path(spec.origin).parent if spec is not None and spec.origin else Path.cwd()


def template_folders() -> set[Path]:
    """Return the folders of the project's templates."""
    from django.template.autoreload import get_template_directories

    return set(get_template_directories())
