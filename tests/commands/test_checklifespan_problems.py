"""Each problem has its id, level, place and hint, in the command and in the system checks."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.commands.broken import BROKEN, Broken
from tests.commands.schemas import errors_of
from tests.messages import source_of_checks
from tests.projects import Project

pytestmark = pytest.mark.once


@pytest.fixture(params=BROKEN, ids=str)
def broken(request: pytest.FixtureRequest, project: Project) -> Broken:
    """Return a broken project, which has been made."""
    found: Broken = request.param
    found.make(project)
    return found


def found_by_checklifespan(project: Project, **environment: str) -> tuple[int, list[Any]]:
    """Return the exit code of the command, and the problems of its JSON."""
    done = project.manage("checklifespan", "--format", "json", **environment)
    assert "Traceback" not in done.stderr
    assert errors_of(done.stdout) == []
    return done.returncode, json.loads(done.stdout)["problems"]


def test_a_problem_is_told_with_id_level_place_and_hint(broken: Broken, project: Project) -> None:
    code, problems = found_by_checklifespan(project, **broken.environment)

    [problem] = problems
    assert problem["id"] == f"lifespan_app.{broken.id}"
    assert problem["level"] == broken.level
    assert broken.says in problem["message"]
    assert broken.hint in problem["hint"]
    assert code == (1 if broken.level == "ERROR" else 0)
    if broken.place:
        file, text = broken.place.split(": ")
        assert problem["file"] == file
        assert problem["line"] == project.line_of(file, text)


def test_a_problem_is_a_system_check_too(broken: Broken, project: Project) -> None:
    arguments = ["check", "--tag", "lifespan", "--fail-level", "INFO"]
    if broken.in_deployment:
        without = project.manage(*arguments, **broken.environment)
        assert without.returncode == 0, without.stderr
        arguments.append("--deploy")

    done = project.manage(*arguments, **broken.environment)

    assert done.returncode == 1
    # Its paths are whole ones.
    said = done.stderr.replace(f"{project.folder}/", "")
    assert f"(lifespan_app.{broken.id}) " in said
    assert broken.says in said
    assert broken.hint in said
    assert said.count("(lifespan_app.") == 1


def test_there_is_a_broken_project_for_each_id() -> None:
    ids = set(re.findall(r'"(?:lifespan_app\.)?([EWI]\d{3})"', source_of_checks()))

    assert {broken.id for broken in BROKEN} == ids


class TestABrokenModule:
    """It is named, and the others are still shown."""

    @pytest.fixture
    def done(self, project: Project) -> dict[str, Any]:
        project.app("till", lifespan="raise ValueError('no till')")
        project.app(
            "door",
            lifespan="from lifespan_app import lifespan\n\n\n"
            "@lifespan.on_start\ndef open_up(till): ...\n\n\n"
            "@lifespan.on_start\ndef greet(): ...\n",
        )
        done = project.manage("checklifespan", "--format", "json")
        assert done.returncode == 1
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def test_is_named_alone(self, done: dict[str, Any]) -> None:
        """What others miss may be in it: until it is mended nobody can tell."""
        assert [problem["id"] for problem in done["problems"]] == ["lifespan_app.E001"]
        assert "of app 'till'" in done["problems"][0]["message"]

    def test_leaves_the_hooks_of_others_in_sight(self, done: dict[str, Any]) -> None:
        [plan] = done["plans"]
        assert [hook["key"] for hook in plan["hooks"]] == ["door.open_up", "door.greet"]
        assert plan["complete"] is False

    def test_shows_its_traceback_when_asked(self, project: Project) -> None:
        project.app("till", lifespan="def fail():\n    raise ValueError('no till')\n\n\nfail()\n")

        assert "Traceback" not in project.manage("checklifespan").stdout
        shown = project.manage("checklifespan", "--verbosity", "2").stdout

        assert 'till/lifespan.py", line 2, in fail' in shown


class TestACircle:
    def test_is_told_whole_and_what_stands_beside_it_is_shown(self, project: Project) -> None:
        project.app(
            "shop",
            lifespan="from lifespan_app import lifespan\n\n\n"
            "@lifespan.resource\nasync def a(b): ...\n\n\n"
            "@lifespan.resource\nasync def b(a): ...\n\n\n"
            "@lifespan.resource\nasync def behind(a): ...\n\n\n"
            "@lifespan.resource\nasync def beside(): ...\n",
        )

        done = project.manage("checklifespan", "--format", "json")

        found = json.loads(done.stdout)
        [plan] = found["plans"]
        assert [hook["key"] for hook in plan["hooks"]] == ["shop.beside"]
        assert {hook["key"]: hook["reason"] for hook in plan["left_out"]} == dict.fromkeys(
            ("shop.a", "shop.b", "shop.behind"), "stands in a circle, or needs a hook that does"
        )
        [problem] = found["problems"]
        assert problem["message"].splitlines()[1:] == [
            "      'shop.a' (shop/lifespan.py:4) waits for 'shop.b': needs, parameter 'b'",
            "      'shop.b' (shop/lifespan.py:8) waits for 'shop.a': needs, parameter 'a'",
        ]


def test_a_silenced_problem_is_not_told(project: Project) -> None:
    project.app("shop", lifespan="").settings(SILENCED_SYSTEM_CHECKS=["lifespan_app.W002"])

    assert found_by_checklifespan(project) == (0, [])
