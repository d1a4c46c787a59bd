"""What the database did not take waits in files, one a run, until a later start imports it.

An entry is one line of JSON. It is in the kernel when ``append`` returns, as ``kill -9`` may come
next; that only a power cut can take it away then is worth no ``fsync`` in a process that ends.

Whoever has a file open holds a lock on it, which the kernel takes back with the process, in
whatever pid namespace it was. So a file that can be locked belongs to a run whose process is gone.
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
    # Without locks, the file of a process that lives could be taken from it. So none is written
    # there, and none is looked for; the recorder then says its events in the log.
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
    "newly_strayed",
    "refusal",
]

BOUND = 8 * 2**20
"""How many bytes one file may have."""

_NAME = re.compile(
    r"\d+-(?P<database>[0-9a-f]{8})-(?P<project>[0-9a-f]{8})-(?P<uuid>[\w-]+)\.jsonl"
)
"""The time that a file was made at, by which names sort; its database, its project, and the run."""

NAMED = 0o400
"""The mode of a file whose database has moved, once somebody was told of it."""

SET_ASIDE = ".refused"
"""What is added to the name of a file that the database can't take."""

_TRIES = 5
"""How often a new file is made when an importer has just taken it for a dead process's."""


def folder() -> Path:
    """Return the folder of the files: ``SPOOL_DIR``, else one of this user in the temporary one.

    Raises:
        OSError: no temporary folder can be used, as in a container whose file system is read-only.
    """
    place = conf.get("SPOOL_DIR")
    if place is not None:
        return Path(place)
    user = f"-{os.geteuid()}" if hasattr(os, "geteuid") else ""
    return Path(tempfile.gettempdir()) / f"lifespan_app{user}"


def folder_if_any() -> Path | None:
    """Return the folder of the files, or None where there is none: then nothing waits there."""
    try:
        return folder()
    except OSError:
        return None


def refusal() -> str | None:
    """Return why no file could be made now, or None if one could; nothing is made."""
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
    """The file of one run, made when the first entry comes. One thread at a time uses it.

    Args:
        folder: where it is made; the folder is made too.
        uuid: the run's.
        bound: bytes that the file may have.
    """

    def __init__(self, folder: Path, uuid: str, bound: int = BOUND) -> None:
        self.folder = folder
        self.uuid = uuid
        self.bound = bound
        self._file: FileIO | None = None
        self._path: Path | None = None

    @property
    def path(self) -> Path | None:
        """Where the file is; None while there is none that is this process's."""
        return None if self._file is None or self._file.closed else self._path

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write an entry, which outlives this process when this returns.

        Raises:
            OSError: it can't be written, the file is full, or the folder is not this user's alone.
                What the file held before is whole.
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
            # Half a line would spoil the one that comes after it.
            file.truncate(size)
            raise

    def discard(self) -> None:
        """Remove the file, if there is one; the next entry makes a new one.

        A file that can't be removed is imported by the next start, which changes nothing: the
        database has its rows.
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
        """Return the file, a new one where there is none that the next start would find."""
        # What cleans up temporary folders may have removed it.
        if self.path is None or self._file is None or not os.fstat(self._file.fileno()).st_nlink:
            self.close()
            self._path, self._file = _make(self.folder, self.uuid)
        return self._file


class Spooled:
    """The entries of a run that wait in a file."""

    def __init__(self, uuid: str, file: FileIO) -> None:
        self.uuid = uuid
        self._file = file

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the entries in their order, without what is no entry.

        The last line may have been torn by a kill, and is left out then.
        """
        with os.fdopen(os.dup(self._file.fileno()), "rb") as lines:
            lines.seek(0)
            for line in lines:
                if line.endswith(b"\n") and (entry := _entry(line)) is not None:
                    yield entry


class Claimed(Spooled):
    """The entries of a run whose process is gone, which nobody else can claim now."""

    def __init__(self, uuid: str, file: FileIO, directory: int, name: str) -> None:
        super().__init__(uuid, file)
        self._directory = directory
        self._name = name

    def done(self) -> None:
        """Remove the file: the database has its rows."""
        with suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._directory)

    def set_aside(self) -> str:
        """Rename the file so that no start looks at it again; return its new name."""
        name = self._name + SET_ASIDE
        os.rename(self._name, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        return name


def claimed(folder: Path | None) -> Generator[Claimed, None, None]:
    """Yield the files of runs whose process is gone, the oldest first.

    Each one is locked until the next is asked for, or the generator is closed: of several importers
    exactly one gets it. A folder that is not this user's alone holds nothing that can be trusted,
    and counts as empty.
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


def entries_of(folder: Path | None) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the UUID and the entries of each run that waits, the oldest first.

    Nothing is claimed: the processes may live. For a command that shows what the database, which is
    down, can't show.
    """
    for directory in _trusted(folder):
        for _, uuid, file in _files(directory, _is_ours):
            yield uuid, list(Spooled(uuid, file).entries())


def newly_strayed(folder: Path | None) -> Counter[str]:
    """Return how many files of this project wait for each other database, and mark them as named.

    The process of none of them is there any more, and nobody was told of them before.
    """
    strayed: Counter[str] = Counter()
    for directory in _trusted(folder):
        for name, _, file in _files(directory, _has_strayed):
            is_new = stat.S_IMODE(os.fstat(file.fileno()).st_mode) != NAMED
            if is_new and _is_free(file, name, directory):
                os.fchmod(file.fileno(), NAMED)
                strayed[name.split("-")[1]] += 1
    return strayed


def _is_ours(name: re.Match[str]) -> bool:
    """Return True if a file waits for this database."""
    known, *before = database_ids()
    return name["database"] == known or (
        name["database"] in before and name["project"] == project_id()
    )


def _has_strayed(name: re.Match[str]) -> bool:
    """Return True if a file of this project waits for another database."""
    return name["project"] == project_id() and not _is_ours(name)


def _make(folder: Path, uuid: str) -> tuple[Path, FileIO]:
    """Make the file of a run, and lock it."""
    if not CAN_LOCK:
        raise OSError("No file can hold what waits for the database: this system has no fcntl")
    if not folder.is_symlink():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = _open_folder(folder)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        for _ in range(_TRIES):
            # Names sort by age as long as they have the same number of digits: some centuries.
            name = f"{time.time_ns()}-{database_ids()[0]}-{project_id()}-{uuid}.jsonl"
            file = _known(os.open(name, flags, 0o600, dir_fd=directory), "r+b")
            try:
                # Before it was locked, an importer may have found it: that one removes it.
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
    """Yield a folder that is open; none where it is missing, or not to be trusted."""
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
    """Open a folder that is this user's alone.

    Raises:
        OSError: it is not: anybody may have made it, in a temporary folder that all can write to.
    """
    if folder.is_symlink():
        raise PermissionError(f"{folder} is a symbolic link, which anybody may have made")
    # What is opened is what is looked at, whatever becomes of the name meanwhile.
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
    """Yield the name, the UUID and the open file of each run that is wanted, oldest first."""
    # A pipe under such a name would not be waited for.
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
        with _known(number, "rb") as file:
            yield name, match["uuid"], file


def _lock(file: FileIO) -> bool:
    """Lock a file, or tell that another process has done so."""
    try:
        flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(file: FileIO, name: str, directory: int) -> bool:
    """Lock a file, unless its process lives or another importer has it; return whether it is ours."""
    try:
        return _lock(file) and _is_at(file, name, directory)
    except OSError:  # a disk without locks
        return False


def _is_at(file: FileIO, name: str, directory: int) -> bool:
    """Tell whether a file still has its name: between its opening and its lock it may be removed."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(file.fileno()))


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return the entry on a line, or None where there is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    kinds = {"run": dict, "step": dict, "steps": list}
    return entry if any(isinstance(entry.get(key), kind) for key, kind in kinds.items()) else None


_locked: weakref.WeakSet[FileIO] = weakref.WeakSet()


def _known(number: int, mode: str) -> FileIO:
    """Return an open file that a fork will close."""
    file = FileIO(number, mode)
    _locked.add(file)
    return file


def _leave_to_the_parent() -> None:
    """Close all files in a fork: as long as it had one open, it would stay locked."""
    for file in list(_locked):
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)
