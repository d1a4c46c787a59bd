"""The owner of a file: the user, a library, the standard library, or this package."""

from __future__ import annotations

import asyncio
import functools
from enum import Enum
from pathlib import Path
from typing import NamedTuple

TYPED_IN = ("<stdin", "<console", "<ipython-input", "<python-input")
"""The prefixes of the file names of code that is typed into an interpreter."""


class Whose(Enum):
    """The owner of a file."""

    USER = "user"
    LIBRARY = "library"
    OURS = "ours"
    STANDARD = "standard"


def is_users(filename: str, *, home: str | None = None) -> bool:
    """Return True if a file is the user's code: not a library's, Python's, or this package's.

    Args:
        filename: as a code object has it.
        home: a file of the hook. If it is installed under site-packages, its package counts as the
            user's code.
    """
    return owner_of(filename, working_folder(), package_of(home))[0] is Whose.USER


@functools.lru_cache(maxsize=2_048)
def owner_of(filename: str, folder: Path, package: str | None) -> tuple[Whose, str]:
    """Return the owner of a file, and the file's short name.

    Args:
        filename: as a code object has it.
        folder: the working folder.
        package: the installed package that counts as the user's code, or None.
    """
    if filename.startswith("<"):
        if filename.startswith(TYPED_IN):
            return Whose.USER, filename
        frozen = filename.startswith("<frozen ")
        return (Whose.STANDARD if frozen else Whose.LIBRARY), filename
    path = Path(filename)
    if not path.is_absolute():
        return Whose.USER, str(path)
    known = _folders()
    if path.is_relative_to(known.ours):
        return Whose.OURS, str(path.relative_to(known.ours.parent))
    if (installed := _below_packages(path)) is not None:
        own = installed.parts[0] == package
        return (Whose.USER if own else Whose.LIBRARY), str(installed)
    for standard in known.standard:
        if path.is_relative_to(standard):
            return Whose.STANDARD, str(path.relative_to(standard))
    if path.parent == known.scripts:
        return Whose.LIBRARY, path.name
    # Relative to the root folder, a path would just lose its first slash.
    if folder.name and path.is_relative_to(folder):
        return Whose.USER, str(path.relative_to(folder))
    return Whose.USER, filename


def package_of(home: str | None) -> str | None:
    """Return the package that counts as the user's code, for a hook that is installed."""
    installed = None if home is None else _below_packages(Path(home))
    return None if installed is None else installed.parts[0]


def working_folder() -> Path:
    """Return the working folder, or an empty path if it has been removed."""
    try:
        return Path.cwd()
    except OSError:
        return Path()


def _below_packages(path: Path) -> Path | None:
    """Return the path from the package on, for a file of an installed package."""
    for folder in path.parents:
        if folder.name in ("site-packages", "dist-packages"):
            return path.relative_to(folder)
    return None


class _Folders(NamedTuple):
    ours: Path
    scripts: Path
    standard: tuple[Path, ...]


@functools.cache
def _folders() -> _Folders:
    """Return the folders of this package, of installed commands, and of the standard library."""
    import sysconfig  # takes 2 ms, needed only for slow and failed hooks

    paths = sysconfig.get_paths()
    standard = {Path(asyncio.__file__).parents[1], Path(paths["stdlib"]), Path(paths["platstdlib"])}
    return _Folders(
        ours=Path(__file__).parents[1],
        scripts=Path(paths["scripts"]),
        standard=tuple(sorted(standard | {folder.resolve() for folder in standard})),
    )
