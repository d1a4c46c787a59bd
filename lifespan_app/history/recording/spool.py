"""Spool files, one per run, for entries that the database did not accept.

A later start imports them. An entry is one line of JSON. When ``append`` returns, the line is in the
kernel's page cache and survives ``kill -9``; there is no ``fsync``, so a power cut may lose it.

A process holds a lock on its file. The kernel releases it when the process ends, in any pid namespace
(https://man7.org/linux/man-pages/man2/flock.2.html). So a file that can be locked belongs to a
process that has ended.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
import time
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from lifespan_app import conf

from .database_id import database_ids, project_id

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows
    # Without locks, the file of a running process could be imported. So no file is written or read
    # there; entries are logged instead.
    CAN_LOCK = False
else:
    CAN_LOCK = True

__all__ = [
    "SET_ASIDE",
    "Claimed",
    "SpoolFile",
    "claimed",
    "entries_of",
    "folder",
    "folder_if_any",
    "new_stray_files",
    "refusal",
    "uuids",
]

BOUND = 8 * 2**20
"""The most bytes of one file."""

_NAME = re.compile(
    r"\d+-(?P<database>[0-9a-f]{8})-(?P<project>[0-9a-f]{8})-(?P<uuid>[\w-]+)\.jsonl"
)
"""The creation time of a file, by which names are sorted; its database, project and run."""

LOGGED = 0o400
"""The mode of a file for another database, once it was logged."""

SET_ASIDE = ".refused"
"""The suffix of a file that the database refuses."""

_ATTEMPTS = 5
"""The attempts to create a file, if importers claim new files before they are locked."""


def folder() -> Path:
    """Return the folder of the files: ``SPOOL_DIR``, else a folder of this user in the temporary one.

    Raises:
        OSError: no temporary folder can be used, as in a container whose file system is read-only.
    """
    place = conf.get("SPOOL_DIR")
    if place is not None:
        return Path(place)
    user = f"-{os.geteuid()}" if hasattr(os, "geteuid") else ""
    return Path(tempfile.gettempdir()) / f"lifespan_app{user}"


def folder_if_any() -> Path | None:
    """Return the folder of the files; None if there is no usable one."""
    try:
        return folder()
    except OSError:
        return None


def refusal() -> str | None:
    """Return the reason why no file can be created now; None if one can. Nothing is created."""
    try:
        place = folder()
        if place.exists() or place.is_symlink():
            os.close(_open_folder(place))
        nearest = next(path for path in (place, *place.absolute().parents) if path.exists())
        free = os.statvfs(nearest)
    except OSError as error:
        return str(error)
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        return f"{nearest} can't be written to"
    if (left := free.f_bavail * free.f_frsize) < BOUND:
        return f"{nearest} has {left:,} bytes left"
    return None


class SpoolFile:
    """The file of one run, created with the first entry; used by one thread at a time.

    Args:
        folder: its folder, which is created, too.
        uuid: the UUID of the run.
        bound: the most bytes of the file.
    """

    def __init__(self, folder: Path, uuid: str, bound: int = BOUND) -> None:
        self.folder = folder
        self.uuid = uuid
        self.bound = bound
        self._file: FileIO | None = None
        self._path: Path | None = None

    @property
    def path(self) -> Path | None:
        """The path of the file; None while it has none."""
        return None if self._file is None or self._file.closed else self._path

    def append(self, entry: Mapping[str, Any]) -> None:
        """Append an entry, which survives a kill of this process after the return.

        Raises:
            OSError: it can't be written, the file is full, or other users may access the folder. The
                earlier entries stay intact.
        """
        line = json.dumps(entry, default=str).encode() + b"\n"
        file = self._opened()
        size = os.fstat(file.fileno()).st_size
        if size + len(line) > self.bound:
            raise OSError(f"{self._path} is full: it may have {self.bound} bytes")
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            # A partial line would corrupt the next one.
            file.truncate(size)
            raise

    def discard(self) -> None:
        """Remove the file, if any; the next entry creates a new one.

        If it can't be removed, the next start imports it, which changes nothing.
        """
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink()
        self.close()

    def close(self) -> None:
        """Leave the file to the next start on this host."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> FileIO:
        """Return the open file, a new one if there is none in the folder."""
        # A cleanup of temporary folders may have removed it.
        if self.path is None or self._file is None or not os.fstat(self._file.fileno()).st_nlink:
            self.close()
            self._path, self._file = _make(self.folder, self.uuid)
        return self._file


class Spooled:
    """The entries of a run in a file."""

    def __init__(self, uuid: str, file: FileIO) -> None:
        self.uuid = uuid
        self._file = file

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the valid entries in their order.

        The last line may be incomplete after a kill; then it is left out.
        """
        with os.fdopen(os.dup(self._file.fileno()), "rb") as lines:
            lines.seek(0)
            for line in lines:
                if line.endswith(b"\n") and (entry := _entry(line)) is not None:
                    yield entry


class Claimed(Spooled):
    """The entries of a run of an ended process, locked for this importer."""

    def __init__(self, uuid: str, file: FileIO, directory: int, name: str) -> None:
        super().__init__(uuid, file)
        self._directory = directory
        self._name = name

    def done(self) -> None:
        """Remove the file after its import."""
        with suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._directory)

    def set_aside(self) -> str:
        """Rename the file so that no start imports it again; return its new name."""
        name = self._name + SET_ASIDE
        os.rename(self._name, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        return name


def claimed(folder: Path | None) -> Generator[Claimed, None, None]:
    """Yield the files of ended processes, oldest first.

    Each is locked until the next one or the end of the generator, so that exactly one of several
    importers gets it. A folder that other users may access counts as empty.
    """
    for directory in _trusted(folder):
        for name, uuid, file in _files(directory, _is_ours):
            if not _is_free(file, name, directory):
                continue
            one = Claimed(uuid, file, directory, name)
            if os.fstat(file.fileno()).st_size:
                yield one
            else:
                # Its process was killed before the first line.
                one.done()


def uuids(folder: Path | None) -> list[str]:
    """Return the UUIDs of all runs with a file. A process may have locked it."""
    return [uuid for directory in _trusted(folder) for _, uuid, _ in _files(directory, _is_ours)]


def entries_of(folder: Path | None) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the UUID and the entries of each file, oldest first, without a lock.

    For a command that shows runs while the database is down; their processes may be running.
    """
    for directory in _trusted(folder):
        for _, uuid, file in _files(directory, _is_ours):
            yield uuid, list(Spooled(uuid, file).entries())


def new_stray_files(folder: Path | None) -> Counter[str]:
    """Return the number of files of this project by other database, and mark them as logged.

    Only files of ended processes count, each once.
    """
    strayed: Counter[str] = Counter()
    for directory in _trusted(folder):
        for name, _, file in _files(directory, _is_stray):
            is_new = stat.S_IMODE(os.fstat(file.fileno()).st_mode) != LOGGED
            if is_new and _is_free(file, name, directory):
                os.fchmod(file.fileno(), LOGGED)
                strayed[name.split("-")[1]] += 1
    return strayed


def _is_ours(name: re.Match[str]) -> bool:
    """Return True if a file belongs to this database."""
    known, *before = database_ids()
    return name["database"] == known or (
        name["database"] in before and name["project"] == project_id()
    )


def _is_stray(name: re.Match[str]) -> bool:
    """Return True if a file of this project belongs to another database."""
    return name["project"] == project_id() and not _is_ours(name)


def _make(folder: Path, uuid: str) -> tuple[Path, FileIO]:
    """Create the file of a run, and lock it."""
    if not CAN_LOCK:
        raise OSError("No file can hold what waits for the database: this system has no fcntl")
    if not folder.is_symlink():
        # The umask does not count: a user who may write to a folder above could replace this one.
        for parent in reversed(folder.parents):
            parent.mkdir(mode=0o755, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    directory = _open_folder(folder)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        for _ in range(_ATTEMPTS):
            # Names sort by age as long as they have the same number of digits: some centuries.
            name = f"{time.time_ns()}-{database_ids()[0]}-{project_id()}-{uuid}.jsonl"
            file = _tracked(os.open(name, flags, 0o600, dir_fd=directory), "r+b")
            try:
                # An importer may have claimed it before the lock, and removes it.
                if _lock(file) and _is_at(file, name, directory):
                    return folder / name, file
            except OSError:
                os.unlink(name, dir_fd=directory)
                file.close()
                raise
            file.close()
        raise OSError(
            f"The files in {folder} are taken by another process as soon as they are made"
        )
    finally:
        os.close(directory)


def _trusted(folder: Path | None) -> Iterator[int]:
    """Yield the open folder; nothing if it is missing or other users may access it."""
    if folder is None or not CAN_LOCK:
        return
    try:
        directory = _open_folder(folder)
    except OSError:
        return
    try:
        yield directory
    finally:
        os.close(directory)


def _open_folder(folder: Path) -> int:
    """Open a folder that only this user may access.

    Raises:
        OSError: other users may access it, or have created it in a shared temporary folder.
    """
    if folder.is_symlink():
        raise PermissionError(f"{folder} is a symbolic link, which anybody may have made")
    # The checks use the open folder, since its name may be replaced meanwhile.
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(directory)
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.geteuid():
        problem = f"{folder} belongs to user {found.st_uid}, and this process to {os.geteuid()}"
    elif mode & 0o077:
        problem = f"{folder} is open to other users (mode {mode:o}): chmod 700 {folder}"
    else:
        return directory
    os.close(directory)
    raise PermissionError(problem)


def _files(
    directory: int, is_wanted: Callable[[re.Match[str]], bool]
) -> Iterator[tuple[str, str, FileIO]]:
    """Yield the name, UUID and open file of each matching run, oldest first."""
    # O_NONBLOCK: opening a pipe of such a name would block.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    for name in sorted(os.listdir(directory)):
        match = _NAME.fullmatch(name)
        if match is None or not is_wanted(match):
            continue
        try:
            number = os.open(name, flags, dir_fd=directory)
        except OSError:  # gone meanwhile, or no file
            continue
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            continue
        with _tracked(number, "rb") as file:
            yield name, match["uuid"], file


def _lock(file: FileIO) -> bool:
    """Lock a file; return False if another process has locked it."""
    try:
        flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(file: FileIO, name: str, directory: int) -> bool:
    """Lock a file; return False if its process runs or another importer has it."""
    try:
        return _lock(file) and _is_at(file, name, directory)
    except OSError:  # a disk without locks
        return False


def _is_at(file: FileIO, name: str, directory: int) -> bool:
    """Return True if a file still has its name: it may be removed before the lock."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(file.fileno()))


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return the entry on a line; None for an invalid line."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    kinds = {"run": dict, "step": dict, "steps": list}
    return entry if any(isinstance(entry.get(key), kind) for key, kind in kinds.items()) else None


_locked: weakref.WeakSet[FileIO] = weakref.WeakSet()


def _tracked(number: int, mode: str) -> FileIO:
    """Return an open file that is closed in forked processes."""
    file = FileIO(number, mode)
    _locked.add(file)
    return file


def _close_after_fork() -> None:
    """Close all files in a forked process, which would keep the locks otherwise."""
    for file in list(_locked):
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_after_fork)
