"""A failure is known again by where it comes from, not by what it says or where the code lies."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from lifespan_app.engine.reporting.report import Outcome, Phase, Step
from lifespan_app.history.recording.fingerprint import fingerprint_of
from tests.engine.odd_errors import ODD_ERRORS

HOOKS = """
class NotThere(ConnectionError):
    pass


def connect(message="nobody is there"):
    raise NotThere(message)


def connect_again():
    raise NotThere("nobody is there")


def calls(function):
    function()


def wrap():
    try:
        connect()
    except NotThere as error:
        raise ValueError("no") from error


def another():
    raise ValueError("no")


def deep(levels):
    if levels:
        deep(levels - 1)
    connect()
"""


def hooks_in(folder: Path, name: str = "books/lifespan.py", code: str = HOOKS) -> ModuleType:
    """Import a module from a folder that packages are imported from."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(dedent(code))
    spec = importlib.util.spec_from_file_location("hooks_of_a_test", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(tmp_path)
    return hooks_in(tmp_path)


def a_step(**values: Any) -> Step:
    given = {"app_label": "books", "name": "shelf", "kind": "resource", "file": "books/lifespan.py"}
    return Step(**{**given, "phase": Phase.STARTUP, "outcome": Outcome.FAILED, **values})


def error_of(function: Callable[..., object], *args: Any) -> BaseException:
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("nothing raised")


def fingerprint(function: Callable[..., object], *args: Any, **step: Any) -> str:
    return fingerprint_of(a_step(**step), error_of(function, *args))


def test_fingerprint_is_32_hex_digits(hooks: ModuleType) -> None:
    assert re.fullmatch("[0-9a-f]{32}", fingerprint(hooks.connect))


def test_fingerprint_ignores_the_message(hooks: ModuleType) -> None:
    assert fingerprint(hooks.connect, "10.0.0.1") == fingerprint(hooks.connect, "10.0.0.2")


def test_fingerprint_ignores_the_way_to_the_innermost_function(hooks: ModuleType) -> None:
    assert fingerprint(hooks.deep, 1) == fingerprint(hooks.deep, 500) == fingerprint(hooks.connect)


def test_fingerprint_ignores_line_numbers(tmp_path: Path, hooks: ModuleType) -> None:
    before = fingerprint(hooks.connect)

    assert fingerprint(hooks_in(tmp_path, code="\n\n" + dedent(HOOKS)).connect) == before


def test_fingerprint_ignores_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for release in ("releases/1", "elsewhere/2"):
        with monkeypatch.context() as deployed:
            deployed.syspath_prepend(tmp_path / release)
            found.add(fingerprint(hooks_in(tmp_path / release).connect))

    assert len(found) == 1


def test_fingerprint_ignores_the_working_folder(
    tmp_path: Path, hooks: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "books/lifespan.py")
    elsewhere = fingerprint_of(a_step(file=file), TimeoutError())
    monkeypatch.chdir(tmp_path)

    assert fingerprint_of(a_step(file="books/lifespan.py"), TimeoutError()) == elsewhere


@pytest.mark.parametrize(
    "other",
    [{"name": "desk"}, {"app_label": "shop"}],
    ids=["name", "app"],
)
def test_fingerprint_depends_on_the_hook(hooks: ModuleType, other: dict[str, str]) -> None:
    assert fingerprint(hooks.connect) != fingerprint(hooks.connect, **other)


def test_fingerprint_depends_on_the_function(hooks: ModuleType) -> None:
    assert fingerprint(hooks.connect) != fingerprint(hooks.connect_again)


def test_fingerprint_depends_on_the_file(tmp_path: Path, hooks: ModuleType) -> None:
    other = hooks_in(tmp_path, "books/clients.py")

    assert fingerprint(hooks.connect) != fingerprint(other.connect)


def test_fingerprint_depends_on_the_error_class(hooks: ModuleType) -> None:
    step = a_step()

    assert fingerprint_of(step, TimeoutError()) != fingerprint_of(step, ValueError())


def test_fingerprint_ignores_a_librarys_frames(tmp_path: Path, hooks: ModuleType) -> None:
    code = "def old():\n    raise OSError\n\n\ndef new():\n    old()\n"
    library = hooks_in(tmp_path / "site-packages", "client/sockets.py", code)

    assert fingerprint(hooks.calls, library.old) == fingerprint(hooks.calls, library.new)


def test_fingerprint_is_that_of_the_cause(hooks: ModuleType) -> None:
    assert fingerprint(hooks.wrap) == fingerprint(hooks.connect)


def test_library_that_wraps_the_users_error_hides_nothing(hooks: ModuleType) -> None:
    wrapped = ValueError("no")
    wrapped.__cause__ = error_of(hooks.connect)
    elsewhere = ValueError("no")
    elsewhere.__cause__ = error_of(hooks.connect_again)

    assert fingerprint_of(a_step(), wrapped) != fingerprint_of(a_step(), elsewhere)


def test_causes_in_a_circle_come_to_an_end() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first

    assert fingerprint_of(a_step(), first)


def test_limit_that_has_passed_is_known_by_its_hook() -> None:
    limit = fingerprint_of(a_step(), TimeoutError("2 s"))

    assert limit == fingerprint_of(a_step(), TimeoutError("3 s"))
    assert limit != fingerprint_of(a_step(file="books/clients.py"), TimeoutError("2 s"))


def test_hook_of_an_installed_app_counts_as_the_users_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(packages)
    hooks = hooks_in(packages)
    own = str(packages / "books/lifespan.py")

    assert fingerprint(hooks.connect, file=own) != fingerprint(hooks.connect_again, file=own)
    assert fingerprint(hooks.connect) == fingerprint(hooks.connect_again)


def test_names_that_can_not_be_encoded_have_a_fingerprint() -> None:
    assert fingerprint_of(a_step(name="\ud800"), ValueError())


def test_name_alone_has_a_fingerprint() -> None:
    assert fingerprint_of(a_step(file=""), ValueError())


class TestGroups:
    """What a task group raises is known by the errors inside of it."""

    CODE = (
        HOOKS
        + """

def group(*functions):
    errors = []
    for function in functions:
        try:
            function()
        except Exception as error:
            errors.append(error)
    raise ExceptionGroup("unhandled errors in a TaskGroup", errors)


def caused_by_group(*functions):
    try:
        group(*functions)
    except ExceptionGroup as error:
        raise ValueError("no") from error
"""
    )

    @pytest.fixture
    def hooks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        monkeypatch.syspath_prepend(tmp_path)
        return hooks_in(tmp_path, code=self.CODE)

    @pytest.mark.parametrize("raises", ["group", "caused_by_group"])
    def test_fingerprint_of_a_group_depends_on_the_errors_inside(
        self, hooks: ModuleType, raises: str
    ) -> None:
        group = getattr(hooks, raises)
        found = {
            fingerprint(group, hooks.connect),
            fingerprint(group, hooks.connect_again),
            fingerprint(group, hooks.another),
            fingerprint(group, hooks.connect, hooks.another),
        }
        assert len(found) == 4

    def test_fingerprint_of_a_group_ignores_number_and_order(self, hooks: ModuleType) -> None:
        functions = [hooks.connect, hooks.another]
        expected = fingerprint(hooks.group, *functions)
        assert fingerprint(hooks.group, *reversed(functions)) == expected
        assert fingerprint(hooks.group, *functions, hooks.connect) == expected

    def test_fingerprint_of_a_group_ignores_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = set()
        for release in ("releases/1", "elsewhere/2"):
            with monkeypatch.context() as deployed:
                deployed.syspath_prepend(tmp_path / release)
                hooks = hooks_in(tmp_path / release, code=self.CODE)
                found.add(fingerprint(hooks.group, hooks.connect, TimeoutError))

        assert len(found) == 1


@pytest.mark.parametrize("kind", ODD_ERRORS, ids=lambda kind: kind.__qualname__)
def test_error_whose_own_code_raises_has_a_fingerprint(kind: type[Exception]) -> None:
    def fail() -> None:
        raise kind("nobody there")

    assert re.fullmatch("[0-9a-f]{32}", fingerprint(fail))
