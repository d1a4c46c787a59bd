"""Status files of anything: the probe says why it can't tell, and a process starts all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lifespan_app import Lifespan
from lifespan_app.health.status_file import StatusFile
from lifespan_app.probe import CANNOT_TELL, NOT_WELL, QUESTIONS, WELL, main, read
from tests.bad_input.examples import examples, texts
from tests.django.conftest import lifespan

__all__ = ["lifespan"]

junk = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | texts,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
KEYS = ("reason", "ready", "started", "pid", "process_started", "written_at", "every", "pending")
sound = {
    "reason": "ok",
    "ready": True,
    "started": True,
    "status": "serving",
    "pid": os.getpid(),
    "process_started": "",
    "written_at": 4e9,
    "every": 5.0,
    "pending": [],
}
pending = some.lists(
    some.dictionaries(some.sampled_from(("hook", "progress", "doing", "seconds")), junk), max_size=3
)
statuses = some.one_of(
    junk,
    some.dictionaries(some.sampled_from(KEYS) | texts, junk, max_size=8),
    some.dictionaries(some.sampled_from(KEYS), junk, max_size=2).map(lambda odd: {**sound, **odd}),
    pending.map(lambda odd: {**sound, "ready": False, "started": False, "pending": odd}),
)
contents = some.one_of(
    statuses.map(lambda status: json.dumps(status).encode()),
    some.tuples(statuses, some.integers(0, 200)).map(
        lambda cut: json.dumps(cut[0]).encode()[: cut[1]]
    ),
    some.binary(max_size=200),
    some.sampled_from((10**400, -1, float("nan"), True)).map(
        lambda odd: json.dumps(
            {**sound, "ready": False, "pending": [{"hook": "a.b", "progress": odd}]}
        ).encode()
    ),
    some.just(b"[" * 100_000),
    some.just(b'{"pid": ' + b"9" * 10_000 + b"}"),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "status.json"


@examples(150)
@given(content=contents, question=some.sampled_from(QUESTIONS))
def test_file_of_anything_is_answered_in_one_line(
    file: Path, capsys: pytest.CaptureFixture[str], content: bytes, question: str
) -> None:
    file.write_bytes(content)

    assert main([question, os.fspath(file)]) in (WELL, NOT_WELL)

    [line] = capsys.readouterr().out.split("\n")[:-1]
    assert line.isprintable()


@examples(60)
@given(arguments=some.lists(some.sampled_from(QUESTIONS) | texts, max_size=3))
def test_arguments_of_anything_are_answered(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(arguments) in (WELL, NOT_WELL, CANNOT_TELL)


def a_folder(file: Path) -> None:
    file.mkdir()


def a_pipe(file: Path) -> None:
    os.mkfifo(file)


def an_endless_device(file: Path) -> None:
    file.symlink_to("/dev/zero")


def a_link_to_itself(file: Path) -> None:
    file.symlink_to(file)


def a_huge_file(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(1 << 33)  # a hole: it takes no space


def a_closed_file(file: Path) -> None:
    file.write_text(json.dumps(sound))
    file.chmod(0)


IN_ITS_PLACE = (a_folder, a_pipe, an_endless_device, a_link_to_itself, a_huge_file, a_closed_file)


@pytest.mark.parametrize("put", IN_ITS_PLACE, ids=[put.__name__ for put in IN_ITS_PLACE])
@pytest.mark.parametrize("name", ["status-1.json", "status-{pid}.json"])
def test_probe_answers_at_once_whatever_is_in_the_place_of_the_file(
    tmp_path: Path, put: Callable[[Path], object], name: str
) -> None:
    put(tmp_path / "status-1.json")

    done = subprocess.run(
        [sys.executable, "-m", "lifespan_app.probe", "ready", os.fspath(tmp_path / name)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    expected = (WELL, NOT_WELL) if put is a_closed_file else (NOT_WELL,)  # root reads any file
    assert done.returncode in expected
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


@pytest.mark.parametrize("put", IN_ITS_PLACE, ids=[put.__name__ for put in IN_ITS_PLACE])
async def test_process_starts_whatever_is_in_the_place_of_its_status_file(
    file: Path, lifespan: Lifespan, request: pytest.FixtureRequest, put: Callable[[Path], object]
) -> None:
    put(file)
    request.addfinalizer(lifespan.observe(StatusFile(file)))

    @lifespan.resource
    async def shelf() -> Any:
        yield "shelf"

    async with lifespan.run() as state:
        assert state["shelf"] == "shelf"


def test_huge_file_is_not_read(file: Path) -> None:
    a_huge_file(file)

    assert "larger than" in str(read(os.fspath(file))["detail"])
