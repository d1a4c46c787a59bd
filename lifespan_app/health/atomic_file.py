"""A small file that others read while it is written anew, in a folder that others may write to."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

MODE = 0o666
"""Who may read it is decided by the umask, as of any file."""

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
"""A link that somebody has planted is never followed. Windows has no such flag."""


def write(path: Path, text: str) -> None:
    """Write a file, so that a reader sees the whole old text or the whole new one.

    Args:
        path: the file. A link in its place is replaced, and not followed.
        text: all that is in it.

    Raises:
        OSError: it can't be written; what it held before is whole.
    """
    # A name that can be guessed could be taken beforehand.
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(new, NEW, MODE), "w", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
            new.replace(path)
        except OSError:
            # The disk may be full: what is half written takes the last of it.
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise
