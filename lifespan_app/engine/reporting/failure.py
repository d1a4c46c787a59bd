"""The error of a hook with its text, which is made once and does not change any more."""

# Without "from __future__ import annotations": a named tuple compiles each annotation that is a
# string, which takes most of the time that its class does.

from pathlib import Path
from typing import NamedTuple

from lifespan_app.engine.error_text import path_and_text, traceback_of


class Failure(NamedTuple):
    """An error of a hook, with its text as it was when the hook failed."""

    error: BaseException
    exception: str
    """The full name of its class."""
    message: str
    traceback: str


def failure_of(error: BaseException) -> Failure:
    """Return an error with its text as it is now."""
    return Failure(error, *path_and_text(error), traceback_of(error))


def short(path: str) -> str:
    """Return a path for people: relative to the working directory, if it is inside."""
    try:
        return path.removeprefix(f"{Path.cwd()}/")
    except OSError:  # the directory was removed
        return path
