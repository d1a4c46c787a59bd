"""Fingerprints, by which the same failure is found in other runs, hosts and releases."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from django.conf import settings

from lifespan_app.engine.error_text import causes_of, class_path, tracebacks_of
from lifespan_app.engine.reporting.report import Step
from lifespan_app.engine.whose_code import is_users

__all__ = ["fingerprint_of"]


def fingerprint_of(step: Step, error: BaseException) -> str:
    """Return 32 hex digits that are equal for failures with the same cause.

    They are a hash of the hook's key, and of each cause: its class, and the file and function in which
    the user's code raised it. Message and line change too often. Without user code in the traceback,
    as for a timeout, the hook's file and name are used.
    """
    try:
        words = _words(step, error)
    except Exception:  # an error's own code, or a working directory that is gone
        words = [step.key, class_path(error), step.file, step.name]
    text = "\0".join(words).encode(errors="backslashreplace")
    return hashlib.sha256(text).hexdigest()[:32]


def _words(step: Step, error: BaseException) -> list[str]:
    home = str(Path.cwd() / step.file) if step.file else None
    found = set()
    for cause in causes_of(error, home):
        file, function = _innermost(cause, home) or (home or "", step.name)
        found.add((class_path(cause), _from_its_root(file), function))
    return [step.key, *(word for cause in sorted(found) for word in cause)]


def _innermost(error: BaseException, home: str | None) -> tuple[str, str] | None:
    """Return the innermost file and function of the user's code, or None."""
    found = None
    for entry in tracebacks_of(error):
        code = entry.tb_frame.f_code
        if is_users(code.co_filename, home=home):
            found = code.co_filename, code.co_qualname
    return found


def _from_its_root(file: str) -> str:
    """Return a file's path relative to its import root, which a deploy may move."""
    if not file or file.startswith("<"):
        return file
    here = Path.cwd()
    path = here / file
    roots = [here / entry for entry in sys.path]
    roots.append(Path(getattr(settings, "BASE_DIR", None) or here))
    around = [root for root in roots if path.is_relative_to(root) and root.name]
    if not around:
        return path.name
    return path.relative_to(max(around, key=lambda root: len(root.parts))).as_posix()
