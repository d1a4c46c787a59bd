"""A link that somebody has planted in a shared folder is not written through."""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lifespan_app import Lifespan
from lifespan_app.health import atomic_file
from lifespan_app.health.status_file import StatusFile
from lifespan_app.processes.notify import Notifier
from lifespan_app.serving import startup_report


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Return a file of this user that somebody else would like to be overwritten."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    return victim


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    shared = tmp_path / "shared"
    shared.mkdir()
    return shared


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def write_status(file: Path) -> None:
    async def one_run() -> None:
        async with lifespan.run():
            pass

    lifespan = Lifespan()
    lifespan.adapter.observers.append(StatusFile(file))
    asyncio.run(one_run())


def write_ready_file(file: Path) -> None:
    Notifier(file).begin()


@pytest.mark.parametrize("write", [write_status, write_ready_file])
@pytest.mark.parametrize("name", ["file", f".file.{os.getpid()}"], ids=["file", "temporary"])
def test_planted_link_is_left_alone(
    shared: Path, victim: Path, write: Callable[[Path], None], name: str
) -> None:
    (shared / name).symlink_to(victim)

    write(shared / "file")

    assert victim.read_text() == "precious"


def test_guessed_name_is_not_written_through(
    shared: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda size: "guessed")
    (shared / ".file.guessed").symlink_to(victim)

    with pytest.raises(FileExistsError):
        atomic_file.write(shared / "file", "text")

    assert victim.read_text() == "precious"


def test_startup_report_is_not_written_through_a_link(shared: Path, victim: Path) -> None:
    (shared / "starts").symlink_to(victim)

    startup_report.write(str(shared / "starts"), "run", True, "")

    assert victim.read_text() == "precious"


@pytest.mark.usefixtures("no_umask")
def test_umask_decides_who_may_read_the_file_and_nobody_else_may_write_it(shared: Path) -> None:
    atomic_file.write(shared / "file", "text")
    assert stat.S_IMODE((shared / "file").stat().st_mode) == 0o644

    os.umask(0o077)
    atomic_file.write(shared / "file", "text")
    assert stat.S_IMODE((shared / "file").stat().st_mode) == 0o600


def test_file_that_can_not_be_written_leaves_nothing_behind(shared: Path) -> None:
    (shared / "file").mkdir()

    with pytest.raises(OSError, match="directory"):
        atomic_file.write(shared / "file", "text")

    assert [path.name for path in shared.iterdir()] == ["file"]
