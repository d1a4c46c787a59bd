"""The error of a hook with its text, which is made once and does not change any more."""

# Without "from __future__ import annotations": a named tuple compiles each annotation that is a
# string, which takes most of the time that its class does.

from pathlib import Path
from typing import NamedTuple

from lifespan_app.engine.error_text import path_and_text, traceback_of

ANALYZERS: set[str] = set()
"""The modules that register built-in analyzers. They are imported for the first failure."""


class Failure(NamedTuple):
    """An error of a hook, with its text as it was when the hook failed."""

    error: BaseException
    exception: str
    """The full name of the class of its cause."""
    message: str
    traceback: str
    cause: str = ""
    """What an analyzer says about the cause, in whole sentences; empty without one."""
    action: str = ""
    """What it says about what to do."""

    def renewed(self) -> "Failure":
        """Return it with the text as it is now: the error has got notes since."""
        exception, message = path_and_text(self.error)
        return self._replace(
            exception=exception, message=message, traceback=traceback_of(self.error)
        )


def failure_of(error: BaseException) -> Failure:
    """Return an error with its text as it is now."""
    try:
        from lifespan_app.engine.analysis import analysis_of  # not paid for where nothing fails
    except OSError:
        # The hook may have failed because the process can't open one more file.
        return Failure(error, *path_and_text(error), traceback_of(error))
    analysis = analysis_of(error, ANALYZERS) or ("", "")
    return Failure(error, *path_and_text(error), traceback_of(error), *analysis)


def short(path: str) -> str:
    """Return a path for people: relative to the working directory, if it is inside."""
    try:
        return path.removeprefix(f"{Path.cwd()}/")
    except OSError:  # the directory was removed
        return path
