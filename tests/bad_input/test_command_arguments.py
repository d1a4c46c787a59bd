"""Arguments of anything for every command: an error that says what is wrong, and a documented exit code."""

from __future__ import annotations

import argparse
import io
import re
import socket
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from lifespan_app.cli.command import CommandWithExitCodes
from lifespan_app.cli.devserver import address
from lifespan_app.management import commands
from tests import records
from tests.bad_input.examples import HOSTILE, any_text, examples
from tests.history.conftest import history_database, prepared, sqlite_history
from tests.leases import stored

if TYPE_CHECKING:
    from tests.history.databases import HistoryDatabase

__all__ = ["history_database", "prepared", "sqlite_history"]

pytestmark = pytest.mark.once

COMMANDS = sorted(module.name for module in iter_modules(commands.__path__))

DJANGOS = {"help", "version", "settings", "pythonpath", "traceback"}
"""Options of Django's own that are about other things, or ask for tracebacks."""

LEFT_OUT = {
    "checklifespan": {"run", "boot"},  # start processes: test_command_lines.py has them
    "runlifespan": {"command", "serve", "once", "ready_file"},
}

# What a process can be given: no NUL, and bytes that are no UTF-8 as halves of surrogate pairs.
words = (
    some.sampled_from([text for text in HOSTILE if "\0" not in text and text != "\ud800"])
    | some.sampled_from(("1", "2s", "total=2s", "app=1", "lost", "app", "tests.urls:x", "x.y.z:a"))
    | any_text.map(lambda text: text.replace("\0", "").encode(errors="replace").decode())
    | some.binary(min_size=1, max_size=8).map(
        lambda raw: raw.replace(b"\0", b"?").decode(errors="surrogateescape")
    )
)


def command_called(name: str) -> CommandWithExitCodes:
    found: CommandWithExitCodes = import_module(f"{commands.__name__}.{name}").Command()
    return found


def options_of(name: str) -> list[argparse.Action]:
    parser = command_called(name).create_parser("manage.py", name)
    return [
        action
        for action in parser._actions
        if action.dest not in DJANGOS | LEFT_OUT.get(name, set())
    ]


def spelled(action: argparse.Action) -> some.SearchStrategy[list[str]]:
    """Return what may be written for an option, wrong numbers of values included."""
    option = list(action.option_strings[-1:])
    values = (
        words
        if not action.choices
        else words | some.sampled_from([str(one) for one in action.choices])
    )
    return some.lists(values, max_size=2).flatmap(
        lambda given: some.sampled_from(
            ([*option, *given], [*option, *given[:1]], option, ["=".join([*option, *given[:1]])])
        )
    )


@some.composite
def lines(draw: some.DrawFn) -> tuple[str, list[str]]:
    name = draw(some.sampled_from(COMMANDS))
    known = options_of(name)
    parts = draw(some.lists(some.sampled_from(known).flatmap(spelled), max_size=3))
    parts += [draw(some.lists(words, max_size=1))]
    return name, [word for part in draw(some.permutations(parts)) for word in part]


@pytest.fixture(autouse=True)
def _records(sqlite_history: HistoryDatabase, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    records.stopped(ago=9_000_000)
    records.stopped(ago=8_000_000)
    stored.held()


class Ended(NamedTuple):
    code: int
    said: str


def ended(name: str, arguments: list[str]) -> Ended:
    """Call a command as a process does, with streams that encode as those of a process."""
    if name == "runlifespan":
        arguments = ["--once", *(word for word in arguments if word != "--")]
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
    code: Any = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            command_called(name).run_from_argv(["manage.py", name, *arguments])
        except SystemExit as stopped:
            code = stopped.code or 0
    said = b"".join(stream.buffer.getvalue() for stream in (out, err))
    return Ended(code, said.decode())


@examples(150)
@given(line=lines())
@example(("prunelifespan", ["--days", "9" * 30]))
@example(("prunelifespan", ["--days", "0", "--batch", "9" * 30]))
@example(("prunelifespan", ["--days", "0", "--keep-last", "9" * 30]))
@example(("prunelifespan", ["--days", "9" * 5_000]))
@example(("showlifespan", ["--now", "--expect", "app=" + "9" * 5_000]))
@example(("showlifespan", ["\udcff" * 8]))
@example(("showlifespan", ["--release", "\udcff"]))
@example(("checklifespan", ["--service-type", "\udcff"]))
@example(("checklifespan", ["--service-type", "\udcff", "--format", "dot"]))
@example(("checklifespan", ["--service-type", "\udcff", "--format", "mermaid"]))
@example(("checklifespan", ["--asgi", "\udcff:\udcff"]))
@example(("checklifespan", ["--asgi", ".:x"]))
@example(("runlifespan", ["--service-type", "\udcff"]))
def test_arguments_of_anything_end_with_a_documented_exit_code(
    line: tuple[str, list[str]],
) -> None:
    name, arguments = line
    documented = set(
        map(int, re.findall(r"^  (\d+)  ", command_called(name).exit_codes, re.MULTILINE))
    )

    code, said = ended(name, arguments)

    assert code in documented
    assert "Traceback" not in said
    assert said.strip() or not code


PATHS = ("", ".", "/", "no/such/folder/file", "/dev/null/x", "x" * 5_000, "\udcff", "a\nb", "a\0b")


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_ready_file_of_anything_is_written_or_refused(path: str) -> None:
    code, said = ended("runlifespan", ["--ready-file", path])

    assert code in (0, 2)
    assert "Traceback" not in said


def test_systemd_is_told_of_a_service_type_of_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("systemd")
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "systemd"))

        assert ended("runlifespan", ["--service-type", "\udcff"]).code == 0
        assert systemd.recv(1_000).startswith(b"READY=1")


@examples(100)
@given(text=words)
def test_address_of_anything_is_read_or_refused(text: str) -> None:
    try:
        found = address(text)
    except ValueError:
        return
    assert 0 <= found.port <= 65_535
