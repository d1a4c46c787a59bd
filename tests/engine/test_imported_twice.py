"""One file that Python has imported under two names: its hooks are declared twice, and one name is right."""

from __future__ import annotations

import importlib
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lifespan_app import Lifespan, Resource
from lifespan_app.engine.adapter import Adapter
from lifespan_app.engine.planning.builder import draft_plan
from lifespan_app.errors import NotRunning
from tests.engine.apps import HostWithApps, written_in
from tests.engine.conftest import RunOnLoop
from tests.engine.lookups import problems_of

Declare = Callable[..., Resource[Any]]
NAMES = ("bookshop.lifespan", "src.bookshop.lifespan")


class OnlyBookshop(HostWithApps):
    """A program in which ``bookshop`` is installed, and ``src`` is a folder."""

    def app_label(self, module: str) -> str | None:
        """Return the label of the app."""
        return "bookshop" if module == "bookshop.lifespan" else None


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Declare]:
    """Return what imports the file under a name, and declares its resource."""
    app = tmp_path / "src" / "bookshop"
    app.mkdir(parents=True)
    (app / "lifespan.py").write_text("async def client():\n    return 'a client'\n")
    (tmp_path / "linked").symlink_to(app)
    for folder in (tmp_path, tmp_path / "src"):
        monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)

    def declare(lifespan: Lifespan, name: str) -> Resource[Any]:
        handle: Resource[Any] = lifespan.resource(importlib.import_module(name).client)
        return handle

    yield declare
    for name in set(sys.modules) - before:
        del sys.modules[name]


def same_file(name: str, other: str) -> str:
    return f"The same file is imported as '{name}' and as '{other}': import it as '{name}'."


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1]], ids=["app first", "app last"])
def test_name_in_the_app_is_the_right_one(declare: Declare, names: tuple[str, str]) -> None:
    lifespan = Lifespan(OnlyBookshop())
    handles = {name: declare(lifespan, name) for name in names}

    [problem] = problems_of(lifespan)

    other = handles["src.bookshop.lifespan"].hook
    assert problem.code == "imported twice"
    assert problem.message == same_file("bookshop.lifespan", "src.bookshop.lifespan")
    assert "Look for a folder that is in sys.path" in problem.hint
    assert (problem.file, problem.line) == (other.file, other.line)


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1]], ids=["short first", "short last"])
@pytest.mark.parametrize("adapter", [Adapter, HostWithApps], ids=["in no app", "in two apps"])
def test_otherwise_the_first_name_is_the_right_one(
    declare: Declare, names: tuple[str, str], adapter: Callable[[], Adapter]
) -> None:
    lifespan = Lifespan(adapter())
    for name in names:
        declare(lifespan, name)

    problems = problems_of(lifespan)

    assert problems[0].message == same_file(*names)


def test_hooks_of_two_files_have_one_name_each(declare: Declare) -> None:
    lifespan = Lifespan(OnlyBookshop())
    declare(lifespan, "bookshop.lifespan")
    lifespan.resource(name="another")(lambda: "a value")

    assert lifespan.plan("app").order == ["bookshop.client", f"{__name__}.another"]


NAMED_THRICE = (*NAMES, "linked.lifespan")


@pytest.mark.parametrize("names", [*itertools.permutations(NAMED_THRICE)], ids=" ".join)
def test_every_wrong_name_is_a_problem(declare: Declare, names: tuple[str, ...]) -> None:
    """One of the three is found through a symbolic link."""
    lifespan = Lifespan(OnlyBookshop())
    for name in names:
        declare(lifespan, name)

    problems = problems_of(lifespan)

    said = [re.findall(r"'(.*?)'", problem.message) for problem in problems]
    assert sorted(other for _, other, _ in said) == sorted(NAMED_THRICE[1:])
    assert {name for name, _, _ in said} <= set(NAMED_THRICE)


def test_plan_holds_the_hooks_of_the_right_name_and_those_without_a_file(declare: Declare) -> None:
    lifespan = Lifespan(OnlyBookshop())
    lifespan.resource(name="typed_in")(written_in("console.lifespan")(lambda: "a value"))
    for name in reversed(NAMES):
        declare(lifespan, name)

    plan, problems = draft_plan(lifespan.hooks, "app", lifespan.adapter.app_label, {})

    assert plan.order == ["console.lifespan.typed_in", "bookshop.client"]
    assert len(problems) == 1


def test_resource_of_the_wrong_name_is_not_open_and_says_why(
    declare: Declare, run: RunOnLoop
) -> None:
    async def main(lifespan: Lifespan) -> None:
        lifespan.adapter.app_label = OnlyBookshop().app_label  # type: ignore[method-assign]
        declare(lifespan, "bookshop.lifespan")
        async with lifespan.run("app"):
            handle = declare(lifespan, "src.bookshop.lifespan")
            with pytest.raises(NotRunning) as caught:
                handle.current()
        assert same_file("bookshop.lifespan", "src.bookshop.lifespan") in str(caught.value)

    run(main)
