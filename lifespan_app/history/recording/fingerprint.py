"""Fingerprints, by which the same failure is found in other runs, hosts and releases."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from lifespan_app.engine.error_text import class_path, leaves_of
from lifespan_app.engine.reporting.report import Step
from lifespan_app.engine.stacks.stacks import is_users

__all__ = ["fingerprint_of"]


def fingerprint_of(step: Step, error: BaseException) -> str:
    """Return 32 hex digits that are equal for failures with the same cause.

    They are a hash of the hook's key, the class of the error, and the file and function in which the
    user's code raised it. Message and line change too often. Without user code in the traceback, as
    for a timeout, the hook's file and name are used. For a group, each kind of inner error is added
    once.
    """
    try:
        words = _words(step, error)
    except Exception:  # an error's own code, or a working directory that is gone
        words = [step.key, class_path(error), step.file, step.name]
    text = "\0".join(words).encode(errors="backslashreplace")
    return hashlib.sha256(text).hexdigest()[:32]


def _words(step: Step, error: BaseException) -> list[str]:
    home = str(Path.cwd() / step.file) if step.file else None
    file, function = next(_own_frames(error, home), (home or "", step.name))
    words = [step.key, class_path(error), _from_its_root(file), function]
    inside = {
        (class_path(leaf), _from_its_root(file), function)
        for one in _with_causes(error)
        for leaf in leaves_of(one)
        if leaf is not one
        for file, function in [next(_own_frames(leaf, home), ("", ""))]
    }
    return [*words, *(word for leaf in sorted(inside) for word in leaf)]


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, each once."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


def _own_frames(error: BaseException, home: str | None) -> Iterator[tuple[str, str]]:
    """Yield the innermost file and function of the user's code, for an error and then its causes."""
    for cause in _with_causes(error):
        innermost = None
        traceback = cause.__traceback__
        while traceback is not None:
            code = traceback.tb_frame.f_code
            if is_users(code.co_filename, home=home):
                innermost = code.co_filename, code.co_qualname
            traceback = traceback.tb_next
        if innermost is not None:
            yield innermost


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
