"""``lifespan.py`` with anything in it: the checks and the start say what is wrong, in the words of the project."""

from __future__ import annotations

import gc
import itertools
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import AppConfig
from django.core.checks import run_checks
from hypothesis import example, given
from hypothesis import strategies as some

from lifespan_app.checks import system_checks
from lifespan_app.handler import LifespanASGIHandler
from lifespan_app.integration import autodiscover
from tests.bad_input.examples import any_text, examples
from tests.django.conftest import lifespan
from tests.scopes import ServerSide

if TYPE_CHECKING:
    from pytest_django import Settings

    from lifespan_app import Lifespan

__all__ = ["lifespan"]

OURS = str(Path(autodiscover.__file__).parents[1])

FAULTS = (AssertionError, AttributeError, LookupError, NameError, RecursionError, UnboundLocalError)
"""Errors that code of ours raises by mistake only."""

BEFORE = """\
import asyncio, contextlib, functools, types
from typing import Annotated
from lifespan_app import lifespan, Retry
async def own(): pass
class Own: pass
class Odd:
    def __getattr__(self, name): raise ZeroDivisionError(name)
    def __call__(self, *args): return self
class Base(BaseException): pass
"""

STATEMENTS = (
    "def (:",
    "import no_such_module_at_all",
    "from . import lifespan as itself; itself.no_such_name",
    "from .no_such_module import thing",
    "raise SystemExit('enough')",
    "raise asyncio.CancelledError",
    "raise GeneratorExit",
    "raise Base('mine')",
    "raise ExceptionGroup('two', [ValueError('a'), KeyError('b')])",
    "def deep(): deep()\ndeep()",
    "lifespan.clear()",
    "lifespan.nothing",
    "lifespan.plan('app')",
    "lifespan = None",
    "def __getattr__(name): raise ZeroDivisionError(name)",
)

DECORATORS = ("on_start", "on_shutdown", "resource", "background", "on_drain", "observe", "spawn")

VALUES = (
    *("None", "0", "-1", "True", "'x'", "''", "b'x'", "[]", "{}", "()", "1j", "float('nan')"),
    *(
        "float('inf')",
        "10**400",
        "object()",
        "own",
        "Own",
        "Odd()",
        "print",
        "lambda: 1",
        "['a', 5]",
    ),
    *("Retry(1)", "'app'", "['app', None]", "'a' * 10_000", "'restart'", "'stop'", "'release'"),
    *("(1, 2)", "(0, 0)", "'cluster'", "'test.one'", "types.SimpleNamespace()"),
)

OPTIONS = (
    *("name", "priority", "service_types", "depends_on", "timeout", "required", "shutdown_timeout"),
    *("state_name", "on_crash", "wait", "retry", "every", "jitter", "first", "stall_after"),
    *("give_up", "on_give_up", "once", "nonsense"),
)

THINGS = (
    *(
        "None",
        "5",
        "'text'",
        "Own",
        "Own()",
        "Odd()",
        "Odd",
        "print",
        "int",
        "dict",
        "own()",
        "own",
    ),
    *("lambda: 1", "functools.partial(own)", "functools.partial(print, 1)", "staticmethod(own)"),
    *("classmethod(own)", "property(own)", "contextlib.nullcontext", "contextlib.nullcontext()"),
    *("asyncio.sleep", "(x for x in ())", "types", "lifespan", "lifespan.on_start", "Own.__init__"),
    *("[].append", "object.__new__", "type", "super", "asyncio.Lock", "asyncio.Lock()", "Retry"),
    *("contextlib.contextmanager(own)", "contextlib.asynccontextmanager(own)", "Annotated[int, 5]"),
)

PARAMETERS = (
    *("", "a", "b", "c", "context", "state", "self", "*args", "**kwargs", "a, /", "*, a", "a=5"),
    *("ctx, b", "nothing_of_this_name", "a: Annotated[int, 5]", "a: 'NoSuchType'", "a: 1 / 2"),
    *("a: Annotated[int, Own]", "state_", "a, b, c", "request"),
)

BODIES = (
    *("pass", "yield 1", "yield 1; yield 2", "yield", "return 5", "return own", "return Odd()"),
    *(
        "if False: yield",
        "raise ValueError('mine')",
        "raise Base('mine')",
        "raise KeyError('mine')",
    ),
    *(
        "raise StopIteration",
        "raise StopAsyncIteration",
        "raise GeneratorExit",
        "raise SystemExit(3)",
    ),
    *("raise asyncio.CancelledError", "yield 1; raise ValueError('mine')", "return asyncio.Lock()"),
    *(
        "asyncio.current_task().cancel(); yield 1",
        "yield lifespan",
        "return contextlib.nullcontext()",
    ),
    *("yield float('nan')", "lifespan.beat()", "lifespan.progress(7, 5)", "lifespan.spawn(5)"),
    *(
        "return a",
        "lifespan.clear()",
        "lifespan.report()",
        "try: yield 1\n    finally: raise Base('x')",
    ),
)


@some.composite
def statements(draw: some.DrawFn) -> str:
    decorator = draw(some.sampled_from(DECORATORS))
    options = draw(
        some.dictionaries(some.sampled_from(OPTIONS), some.sampled_from(VALUES), max_size=2)
    )
    given = [f"{name}={value}" for name, value in options.items()]
    if draw(some.integers(0, 9)) == 0:
        given.insert(0, draw(some.sampled_from(VALUES)))
    called = f"lifespan.{decorator}" + (f"({', '.join(given)})" if given else "")
    if draw(some.booleans()):
        return f"{called}({draw(some.sampled_from(THINGS))})"
    kind, name = draw(some.sampled_from(("def", "async def"))), draw(some.sampled_from("abc"))
    parameters, body = draw(some.sampled_from(PARAMETERS)), draw(some.sampled_from(BODIES))
    return f"@{called}\n{kind} {name}({parameters}):\n    {body}"


sources = some.one_of(
    some.lists(statements(), min_size=1, max_size=4).map("\n".join),
    some.lists(statements() | some.sampled_from(STATEMENTS), max_size=3).map("\n".join),
    any_text,
)
numbers = itertools.count()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Path:
    """Return a folder from which modules are imported."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(autodiscover, "done", True)
    monkeypatch.setattr(autodiscover, "silent", {})
    limits = {"STARTUP_DEADLINE": 2, "SHUTDOWN_DEADLINE": 2, "SHUTDOWN_TIMEOUT": 0.5}
    settings.LIFESPAN = limits
    return tmp_path


def discovered(folder: Path, source: str) -> None:
    """Import a module as the ``lifespan.py`` of an app."""
    name = f"odd_{next(numbers)}"
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    text = f"{BEFORE}{source}\n".encode(errors="surrogatepass")
    (folder / name / "lifespan.py").write_bytes(text)
    autodiscover.discover(AppConfig.create(name))


def is_a_fault(error: BaseException | None) -> bool:
    """Return True for an error that code of ours has raised by mistake, also for one inside another."""
    if error is None:
        return False
    if isinstance(error, BaseExceptionGroup):
        return any(map(is_a_fault, error.exceptions))
    frames: list[TracebackType] = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]  # type: ignore[misc]
    is_ours = bool(frames) and frames[-1].f_code.co_filename.startswith(OURS)  # type: ignore[attr-defined]
    named = type(error).__module__.startswith("lifespan_app")
    return (is_ours and not named and isinstance(error, FAULTS)) or is_a_fault(error.__cause__)


@pytest.fixture
def emptied(lifespan: Lifespan) -> Iterator[Lifespan]:
    yield lifespan
    lifespan.clear()
    lifespan.broken.clear()
    gc.collect()  # coroutines that nothing has awaited, and that errors have kept


@pytest.mark.once
@pytest.mark.filterwarnings("ignore")  # what such modules do is worth many warnings of Python's
@examples(150)
@given(source=sources)
@example(source="raise asyncio.CancelledError")
@example(source="raise Base('mine')")
@example(source="\0")
@example(source="raise GeneratorExit")
@example(
    source="@lifespan.resource(name=-1)\ndef a():\n    yield\n@lifespan.on_start\ndef b(a):\n    pass"
)
@example(source="lifespan.spawn(object.__init__)")
async def test_module_of_anything_starts_or_is_explained(
    folder: Path, emptied: Lifespan, caplog: pytest.LogCaptureFixture, source: str
) -> None:
    caplog.clear()
    emptied.clear()
    emptied.broken.clear()

    discovered(folder, source)
    problems = [*emptied.broken.values()]
    messages = run_checks(tags=[system_checks.TAG], include_deployment_checks=True)
    server = ServerSide(LifespanASGIHandler())
    answer = await server.startup()
    if answer["type"] == "lifespan.startup.complete":
        assert not problems
        answer = await server.shutdown()
    error = await server.end()

    assert not any(is_a_fault(problem.cause) for problem in problems)
    assert not is_a_fault(error)
    assert "A fault in lifespan_app itself" not in caplog.text
    assert all(problem.line and problem.message for problem in problems)
    assert bool(problems) <= any(message.id == "lifespan_app.E001" for message in messages)
    if answer["type"].endswith("failed"):
        assert answer["message"].strip()
        assert "Traceback" not in answer["message"]


def test_cycle_of_imports_is_explained(folder: Path, emptied: Lifespan) -> None:
    for name, other in (("odd_one", "odd_two"), ("odd_two", "odd_one")):
        (folder / name).mkdir()
        (folder / name / "__init__.py").touch()
        (folder / name / "lifespan.py").write_text(
            f"from {other}.lifespan import thing\nthing = 1\n"
        )

    for name in ("odd_one", "odd_two"):
        autodiscover.discover(AppConfig.create(name))

    said: dict[str, Any] = {name: problem.message for name, problem in emptied.broken.items()}
    assert set(said) == {"odd_one.lifespan", "odd_two.lifespan"}
    assert all("cannot import name 'thing'" in text for text in said.values())
    assert not {"odd_one.lifespan", "odd_two.lifespan"} & set(sys.modules)
