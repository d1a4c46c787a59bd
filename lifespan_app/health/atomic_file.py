"""A small file that others read while it is written anew, in a folder that others may write to."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

MODE = 0o644
"""The umask decides on the readers; nobody else writes what a platform trusts."""

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
"""A symbolic link in its place is never followed. Windows has no such flag."""


def write(path: Path, text: str) -> None:
    """Write a file, so that a reader sees the whole old text or the whole new one.

    Args:
        path: the file. A link in its place is replaced, and not followed.
        text: its whole contents.

    Raises:
        OSError: it can't be written; the old contents are intact.
    """
    # Another user could create a file with a predictable name first.
    try:
        new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(new, NEW, MODE)
    except ValueError as error:  # the path of a folder, or one with a NUL
        raise OSError(f"{os.fspath(path)!r} can't be the path of a file: {error}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        # Windows renames closed files only.
        new.replace(path)
    except OSError:
        # The disk may be full, and the unfinished file takes space.
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise
