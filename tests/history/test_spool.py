"""What the database did not take waits in a file, and is handed on exactly once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Barrier, Thread
from typing import TYPE_CHECKING, Any

import pytest

from lifespan_app.history.recording import spool
from lifespan_app.history.recording.database_id import database_ids, project_id
from lifespan_app.history.recording.spool import SpoolFile, claimed, entries_of
from tests.forks import in_a_fork

if TYPE_CHECKING:
    from pytest_django import Settings

RUN = {"run": {"status": "serving", "started_at": 1_700_000_000.25}}
STEPS = {"steps": [{"name": "shelf", "duration": 0.5}], "phase": "startup"}
STEP = {"step": {"name": "shelf", "log": [[1, "INFO", "books", "a line"]]}}

# Tests may have given the default database another name; a process of its own does not know of it.
OPENS_ONE = """
import sys
from django.conf import settings
settings.LIFESPAN = {"HISTORY_DATABASE": "elsewhere"}
from pathlib import Path
from lifespan_app.history.recording.spool import SpoolFile

file = SpoolFile(Path(sys.argv[1]), "one")
file.append({"run": {"pid": 1}})
"""


@pytest.fixture(autouse=True)
def _elsewhere(settings: Settings) -> None:
    settings.LIFESPAN = {"HISTORY_DATABASE": "elsewhere"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def left(folder: Path, uuid: str, *entries: dict[str, Any]) -> None:
    """Leave the file of a run whose process is gone."""
    file = SpoolFile(folder, uuid)
    for entry in entries:
        file.append(entry)
    file.close()


def taken(folder: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """Take all that can be claimed, as the next start does."""
    found = []
    for one in claimed(folder):
        found.append((one.uuid, list(one.entries())))
        one.done()
    return found


@contextmanager
def process(script: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a script until it says that it is ready; what then ends it is the test's affair."""
    command = [sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        yield running
        running.kill()


# What waits


def test_run_without_waiting_entries_makes_no_file(folder: Path) -> None:
    file = SpoolFile(folder, "one")
    file.discard()
    file.close()

    assert not folder.exists()
    assert file.path is None


def test_entries_wait_in_their_order(folder: Path) -> None:
    left(folder, "one", RUN, STEPS, STEP, RUN)

    assert taken(folder) == [("one", [RUN, STEPS, STEP, RUN])]
    assert list(folder.iterdir()) == []


def test_entries_that_are_not_done_wait_on(folder: Path) -> None:
    left(folder, "one", RUN)

    assert [list(one.entries()) for one in claimed(folder)] == [[RUN]]
    assert taken(folder) == [("one", [RUN])]


def test_entries_can_be_read_again(folder: Path) -> None:
    left(folder, "one", RUN, STEP)

    assert [[*one.entries(), *one.entries()] for one in claimed(folder)] == [[RUN, STEP] * 2]


def test_oldest_run_comes_first(folder: Path) -> None:
    for uuid in ("first", "a-second", "third"):
        left(folder, uuid, RUN)

    assert [uuid for uuid, _ in taken(folder)] == ["first", "a-second", "third"]


@pytest.mark.parametrize(
    "text",
    ["<script>alert('\"')</script>", "a\x00b", "\ud800", "\N{SNAKE}", "\u202ecba", "\n\r\x85"],
)
def test_any_text_comes_back_as_it_was(folder: Path, text: str) -> None:
    left(folder, "one", {"run": {"error": text}})

    assert taken(folder) == [("one", [{"run": {"error": text}}])]


def test_value_that_json_has_not_waits_as_text(folder: Path) -> None:
    left(folder, "one", {"run": {"file": Path("books") / "lifespan.py"}})

    assert taken(folder) == [("one", [{"run": {"file": "books/lifespan.py"}}])]


def test_entries_that_the_database_took_wait_no_more(folder: Path) -> None:
    file = SpoolFile(folder, "one")
    file.append(RUN)
    file.discard()

    assert list(folder.iterdir()) == []
    file.append(STEP)
    file.close()
    assert taken(folder) == [("one", [STEP])]


def test_file_that_was_cleaned_away_is_made_again(folder: Path) -> None:
    with closing(SpoolFile(folder, "one")) as file:
        file.append(RUN)
        assert file.path is not None
        file.path.unlink()
        file.append(STEP)

    assert taken(folder) == [("one", [STEP])]


# A process that is killed


def test_kill_loses_nothing_that_was_appended(folder: Path) -> None:
    killed = OPENS_ONE + "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", killed, str(folder)], check=False)

    assert taken(folder) == [("one", [{"run": {"pid": 1}}])]


def test_line_that_a_kill_has_torn_is_left_out(folder: Path) -> None:
    left(folder, "one", RUN, STEP)
    [path] = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-20])

    assert taken(folder) == [("one", [RUN])]


@pytest.mark.parametrize(
    "rubbish",
    [b"", b"{", b"[]", b"null", b'{"run": 1}', b"\xff\xfe", b"\x00" * 100, b"[" * 100_000],
    ids=["empty", "torn", "list", "null", "run", "bytes", "zeros", "deep"],
)
def test_lines_that_are_no_entries_are_passed_over(folder: Path, rubbish: bytes) -> None:
    left(folder, "one", RUN, STEP)
    [path] = folder.iterdir()
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + rubbish + b"\n" + second)

    assert taken(folder) == [("one", [RUN, STEP])]


def test_process_killed_before_its_first_line_leaves_nothing(folder: Path) -> None:
    left(folder, "one", RUN)
    [path] = folder.iterdir()
    path.write_bytes(b"")

    assert taken(folder) == []
    assert list(folder.iterdir()) == []


# Whose file it is


def test_living_process_keeps_its_file(folder: Path) -> None:
    with process(OPENS_ONE + "print('ready', flush=True); input()", folder) as living:
        assert taken(folder) == []
        living.kill()
        living.wait()

        assert [uuid for uuid, _ in taken(folder)] == ["one"]


@pytest.mark.parametrize(
    "child",
    [
        # What the child says, it says after what Python does in a fork.
        "os.fork() and os._exit(0); print('ready', flush=True); sys.stdin.read()",
        "subprocess.Popen([sys.executable, '-c', 'input()'], close_fds=False); print('ready', flush=True)",
    ],
    ids=["fork", "program"],
)
def test_children_do_not_keep_the_file_of_a_parent_that_is_gone(folder: Path, child: str) -> None:
    script = f"{OPENS_ONE}\nimport os, subprocess\n{child}"
    # The child waits for the end of its input, which this test holds open.
    with process(script, folder) as parent:
        parent.wait()

        assert [uuid for uuid, _ in taken(folder)] == ["one"]


def test_fork_does_not_remove_the_file_of_its_parent(folder: Path) -> None:
    with closing(SpoolFile(folder, "one")) as file:
        file.append(RUN)

        assert in_a_fork(file.discard) == "nothing raised"
        assert taken(folder) == []
        file.append(STEP)

    assert taken(folder) == [("one", [RUN, STEP])]


def test_file_is_at_hand_for_one_importer_at_a_time(folder: Path) -> None:
    left(folder, "one", RUN)
    with closing(claimed(folder)) as first:
        next(first)

        assert list(claimed(folder)) == []

    assert taken(folder) == [("one", [RUN])]


def test_many_importers_at_once_take_each_file_once(folder: Path) -> None:
    names = [f"run-{number}" for number in range(40)]
    for name in names:
        left(folder, name, RUN)
    together = Barrier(4)
    found: list[str] = []

    def take() -> None:
        together.wait()
        found.extend(uuid for uuid, _ in taken(folder))

    # A lock belongs to an opened file, so threads are as good as processes here.
    threads = [Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(found) == sorted(names)


def before_the_lock(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Have something happen between the opening of the next file and its lock."""
    lock = spool._lock

    def lock_late(file: Any) -> bool:
        monkeypatch.setattr(spool, "_lock", lock)
        happens()
        return lock(file)

    monkeypatch.setattr(spool, "_lock", lock_late)


def test_file_that_another_importer_is_done_with_is_not_taken_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(folder, "one", RUN)
    before_the_lock(monkeypatch, lambda: taken(folder))

    assert taken(folder) == []


def test_importer_leaves_a_file_without_lines_to_its_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_lock(monkeypatch, lambda: taken(folder))

    left(folder, "one", RUN)

    assert taken(folder) == [("one", [RUN])]


def test_waiting_entries_can_be_read_while_the_processes_live(folder: Path) -> None:
    left(folder, "gone", RUN)
    with closing(SpoolFile(folder, "alive")) as file:
        file.append(STEP)

        assert list(entries_of(folder)) == [("gone", [RUN]), ("alive", [STEP])]
        assert taken(folder) == [("gone", [RUN])]


def test_folder_that_is_not_there_has_nothing_in_it(folder: Path) -> None:
    assert taken(folder) == []
    assert list(entries_of(folder)) == []


# Where it waits


def test_spool_folder_is_that_of_the_setting(settings: Settings, folder: Path) -> None:
    settings.LIFESPAN = {"SPOOL_DIR": folder}
    assert spool.folder() == folder
    settings.LIFESPAN = {"SPOOL_DIR": str(folder)}
    assert spool.folder() == folder


def test_each_user_has_a_folder_without_a_setting() -> None:
    assert spool.folder() == Path(tempfile.gettempdir()) / f"lifespan_app-{os.geteuid()}"


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("no_umask")
def test_no_other_user_can_read_the_spool(folder: Path) -> None:
    left(folder, "one", RUN)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600]


def refusal(folder: Path) -> str:
    """Return why nothing can wait in a folder."""
    file = SpoolFile(folder, "one")
    with pytest.raises(OSError, match=r".") as caught:
        file.append(RUN)
    file.discard()
    return str(caught.value)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701, 0o1777])
def test_folder_that_others_may_enter_is_refused(folder: Path, mode: int) -> None:
    left(folder, "one", RUN)
    folder.chmod(mode)

    assert refusal(folder) == f"{folder} is open to other users (mode {mode:o}): chmod 700 {folder}"
    assert taken(folder) == []
    assert list(entries_of(folder)) == []


def test_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left(folder, "one", RUN)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    assert refusal(folder) == (f"{folder} belongs to user {owner}, and this process to {owner + 1}")
    assert taken(folder) == []


def test_link_in_the_place_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    left(elsewhere, "one", RUN)
    folder.symlink_to(elsewhere)

    assert refusal(folder) == f"{folder} is a symbolic link, which anybody may have made"
    assert taken(folder) == []
    assert taken(elsewhere) == [("one", [RUN])]


def test_link_to_nowhere_is_refused(folder: Path, tmp_path: Path) -> None:
    folder.symlink_to(tmp_path / "nowhere")

    assert "symbolic link" in refusal(folder)
    assert not (tmp_path / "nowhere").exists()


def test_file_in_the_place_of_the_folder_is_refused(folder: Path) -> None:
    folder.write_text("")

    assert str(folder) in refusal(folder)
    assert taken(folder) == []


def test_only_files_are_read(folder: Path, tmp_path: Path) -> None:
    left(folder, "one", RUN)
    [path] = folder.iterdir()
    known_by = f"1-{database_ids()[0]}-{project_id()}"
    os.mkfifo(folder / f"{known_by}-pipe.jsonl")
    (folder / f"{known_by}-folder.jsonl").mkdir()
    (folder / f"{known_by}-link.jsonl").symlink_to(path)
    (folder / "notes.txt").write_text("not ours")

    assert taken(folder) == [("one", [RUN])]
    assert len(list(folder.iterdir())) == 4


# When it can't


def test_file_takes_its_bound_and_no_more(folder: Path) -> None:
    with closing(SpoolFile(folder, "one", bound=150)) as file:
        file.append(RUN)
        with pytest.raises(OSError, match="is full: it may have 150 bytes"):
            file.append({"run": {"error": "x" * 100}})
        file.append(STEP)

    assert taken(folder) == [("one", [RUN, STEP])]


def test_entry_that_the_disk_takes_half_of_leaves_the_others_whole(folder: Path) -> None:
    # The limit of a file's size stands for a full disk: the kernel takes what there is room for.
    script = """
import resource

resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
try:
    file.append({"run": {"error": "x" * 1000}})
except OSError as error:
    print(type(error).__name__)
file.append({"run": {"pid": 2}})
"""
    ran = subprocess.run(
        [sys.executable, "-c", OPENS_ONE + script, str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stdout == "OSError\n"
    assert taken(folder) == [("one", [{"run": {"pid": 1}}, {"run": {"pid": 2}}])]


def test_nothing_waits_where_files_have_no_locks(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(folder, "one", RUN)
    monkeypatch.setattr(spool, "CAN_LOCK", False)

    assert "this system has no fcntl" in refusal(folder)
    assert taken(folder) == []


def refuse(file: object, operation: int) -> None:
    raise OSError(95, "Operation not supported")


def test_disk_without_locks_gets_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "flock", refuse)

    assert "Operation not supported" in refusal(folder)
    assert list(folder.iterdir()) == []


def test_files_on_a_disk_without_locks_are_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(folder, "one", RUN)
    with monkeypatch.context() as without_locks:
        without_locks.setattr(spool, "flock", refuse)

        assert taken(folder) == []

    assert taken(folder) == [("one", [RUN])]


def test_projects_that_share_a_folder_leave_each_others_files_alone(
    folder: Path, settings: Settings
) -> None:
    left(folder, "one", RUN)
    settings.LIFESPAN = {"HISTORY_DATABASE": "another"}
    left(folder, "other", RUN)

    assert [uuid for uuid, _ in taken(folder)] == ["other"]
    assert len(list(folder.iterdir())) == 1
