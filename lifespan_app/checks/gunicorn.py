"""gunicorn's worker class, as far as this process can see it."""

from __future__ import annotations

import argparse
import ast
import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from django.core.checks import CheckMessage, Warning

from lifespan_app import conf
from lifespan_app.engine.running.patched_threads import patched_threads
from lifespan_app.integration.advice import WORKER_CLASSES

ARGUMENTS = "GUNICORN_CMD_ARGS"
CONFIGURATION = Path("gunicorn.conf.py")
"""The path where gunicorn looks for settings by default, in its working directory."""


def patched_thread_messages() -> Iterator[CheckMessage]:
    """W013: a server that patches threads: no background thread can open the plan there."""
    if conf.get("WITHOUT_SERVER_LIFESPAN") == conf.ERROR:
        return
    for library, where in patching_libraries():
        yield Warning(
            f"Threads are patched by {library}, according to {where}: no background thread can open "
            "the plan there, and reading a resource raises NotRunning.",
            hint="Serve with 'gunicorn -k gthread --threads 8', or with an ASGI server whose "
            f"lifespan is on. If nothing reads resources there, set {conf.SETTING}"
            "['WITHOUT_SERVER_LIFESPAN'] to 'error'.",
            obj=where,
            id="lifespan_app.W013",
        )


def patching_libraries() -> Iterator[tuple[str, str]]:
    """Yield the libraries that patch threads, each with the evidence."""
    library = patched_threads()
    if library is not None:
        yield library, "this process"
    for worker_class, where in (
        (class_in_arguments(os.environ.get(ARGUMENTS, "")), ARGUMENTS),
        (class_in_configuration(CONFIGURATION), str(CONFIGURATION)),
    ):
        for library in WORKER_CLASSES:
            if library in worker_class.lower():
                yield library, where


def class_in_arguments(arguments: str) -> str:
    """Return the worker class that arguments of gunicorn name, or ""."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("-k", "--worker-class", default="")
    with suppress(ValueError, argparse.ArgumentError):
        return str(parser.parse_known_args(shlex.split(arguments))[0].worker_class)
    return ""


def class_in_configuration(path: Path) -> str:
    """Return the worker class that a configuration file of gunicorn names, or "".

    The file is read and not run, so a name that it makes by code is not seen.
    """
    named = ""
    with suppress(OSError, SyntaxError, ValueError):
        for statement in ast.parse(path.read_bytes()).body:
            match statement:
                case ast.Assign(
                    targets=[ast.Name(id="worker_class")], value=ast.Constant(value=str(value))
                ):
                    named = value
    return named
