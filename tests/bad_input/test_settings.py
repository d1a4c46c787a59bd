"""``settings.LIFESPAN`` with anything in it: the checks and the start name what is wrong, and nothing breaks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from django.core.checks import ERROR, run_checks
from hypothesis import example, given
from hypothesis import strategies as some

from lifespan_app import conf
from lifespan_app.checks import system_checks
from lifespan_app.handler import LifespanASGIHandler
from tests.bad_input.examples import HOSTILE, any_text, examples
from tests.django.conftest import lifespan
from tests.projects import Project
from tests.scopes import ServerSide

if TYPE_CHECKING:
    from pytest_django import Settings

    from lifespan_app import Lifespan

__all__ = ["lifespan"]


class Evil:
    """A value that can be neither compared, counted nor read as a text."""

    def refuse(self, *args: object) -> NoReturn:
        raise ZeroDivisionError("this value refuses everything")

    __str__ = __eq__ = __bool__ = __len__ = __iter__ = __lt__ = __le__ = refuse
    __gt__ = __ge__ = __fspath__ = __contains__ = refuse
    __hash__ = object.__hash__


EVIL = Evil()
NUMBERS = (0, -1, 10**30, 10**4_000, 1e308, math.inf, -math.inf, math.nan, True, 0.1, 1j)
PATHS = (
    "no.such.module",
    "lifespan_app",
    "lifespan_app.alerts",
    "tests.settings.DATABASES",
    ".",
    "a..b",
)

words = some.sampled_from((*HOSTILE, *PATHS)) | any_text.filter(lambda text: "/" not in text)
plain = (
    some.none()
    | some.sampled_from(NUMBERS)
    | some.integers()
    | some.floats()
    | words
    | some.binary(max_size=3)
    | some.sampled_from((EVIL, Evil, print, object(), Path("x"), frozenset({1}), "error", "thread"))
)
keys = words | some.sampled_from((print, 5, None, ("a", 1), b"x", math.nan))
junk = some.recursive(
    plain,
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.tuples(inner)
        | some.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=6,
)
OPTIONS = [
    *conf.HOOK_OPTIONS,
    "exclude",
    "running",
    "waiting",
    "startup",
    "to",
    "on",
    "options",
    "*",
]
inner = some.dictionaries(some.sampled_from(OPTIONS) | keys, junk, max_size=3)
dictionaries = some.dictionaries(
    some.sampled_from([*conf.KEYS]) | keys,
    junk | inner | some.lists(inner, max_size=2) | some.dictionaries(keys, inner, max_size=2),
    max_size=4,
)
settings_of_anything = dictionaries | junk


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[None]:
    """Have relative paths lead into a folder of the test, and no setting after it."""
    monkeypatch.chdir(tmp_path)
    yield
    settings.LIFESPAN = {}


@examples(150)
@given(setting=settings_of_anything)
@example(setting={"HOOKS": {5: {"priority": EVIL}}})
@example(setting={5: 1, "x" * 10_000: 2})
@example(setting={"ALERTS": [{"to": "a..b"}, {"to": "."}, {"to": "\0"}, {"to": "lifespan_app"}]})
@example(setting={"SPOOL_DIR": "a\0b", "STATUS_FILE": "a\0b"})
@example(setting={"WITHOUT_SERVER_LIFESPAN": EVIL})
@example(setting={"COMMANDS": {5: "app", "\0": "app"}})
def test_checks_name_what_is_wrong(settings: Settings, setting: Any) -> None:
    settings.LIFESPAN = setting

    found = run_checks(tags=[system_checks.TAG], include_deployment_checks=True)

    wrong = list(conf.wrong_types())
    said = "\n".join(message.msg for message in found if message.level >= ERROR)
    assert all(sentence in said for sentence in wrong)
    assert all(sentence.startswith("LIFESPAN") for sentence in wrong)


@examples(100)
@given(setting=settings_of_anything)
@example(setting={"HOOKS": {5: {"priority": EVIL}}})
@example(setting={"SPOOL_DIR": "a\0b", "STATUS_FILE": "a\0b"})
@example(setting={"STATUS_FILE": "."})
@example(setting={"WITHOUT_SERVER_LIFESPAN": EVIL})
async def test_start_goes_well_or_names_the_setting(
    settings: Settings, lifespan: Lifespan, setting: Any
) -> None:
    settings.LIFESPAN = setting
    server = ServerSide(LifespanASGIHandler())

    answer = await server.startup()

    if answer["type"] == "lifespan.startup.complete":
        assert (await server.shutdown())["type"] == "lifespan.shutdown.complete"
        assert not list(conf.wrong_types())
        await server.end()
    else:
        assert "LIFESPAN" in answer["message"]
        assert list(conf.wrong_types()) or "HOOKS" in answer["message"]
        assert type(await server.end()).__name__ in {"ImproperlyConfigured", "PlanError"}


PATHS_OF_NOTHING = ({"STATUS_FILE": "."}, {"STATUS_FILE": "/"}, {"STATUS_FILE": "x" * 5_000})
FOLDERS_OF_NOTHING = ({"SPOOL_DIR": "x" * 5_000}, {"SPOOL_DIR": "/dev/null/x"})


@pytest.mark.parametrize("setting", [*PATHS_OF_NOTHING, *FOLDERS_OF_NOTHING], ids=range(5))
def test_path_that_no_file_can_have_stops_nothing(
    project: Project, setting: dict[str, Any]
) -> None:
    project.settings(LIFESPAN=setting)

    done = project.manage("runlifespan", "--once")

    assert done.returncode == 0
    assert "Traceback" not in done.stderr + done.stdout
