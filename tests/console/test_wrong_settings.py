"""Commands that read the history say what is wrong with the setting, in the words of the checks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.projects import Project

pytestmark = pytest.mark.once

WRONG = {
    "no dictionary": (["HISTORY"], "LIFESPAN must be a dictionary, not ['HISTORY']."),
    "days in words": (
        {"HISTORY_DAYS": "many"},
        "LIFESPAN['HISTORY_DAYS'] must be a whole number of days above 0, not 'many'.",
    ),
    "no path": ({"SPOOL_DIR": 5}, "LIFESPAN['SPOOL_DIR'] must be a path, not 5."),
    "no alias": ({"HISTORY_DATABASE": 5}, "LIFESPAN['HISTORY_DATABASE'] must be a string, not 5."),
    "an unknown alias": (
        {"HISTORY_DATABASE": "defualt"},
        "LIFESPAN['HISTORY_DATABASE'] is 'defualt', which is no alias in DATABASES. "
        "Did you mean 'default'? There are: default.",
    ),
    "a switch that is none": (
        {"HISTORY": "no"},
        "LIFESPAN['HISTORY'] must be True or False, not 'no'.",
    ),
}


@pytest.mark.parametrize("command", ["showlifespan", "prunelifespan"])
@pytest.mark.parametrize(("setting", "said"), WRONG.values(), ids=WRONG)
def test_command_names_the_wrong_setting_and_fails(
    project: Project, command: str, setting: Any, said: str
) -> None:
    project.settings(LIFESPAN=setting)

    done = project.manage(command)

    assert done.returncode == 2
    assert done.stderr.startswith(f"CommandError: {said}")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["showlifespan", "prunelifespan", "checklifespan"])
def test_help_of_a_command_needs_no_valid_setting(project: Project, command: str) -> None:
    project.settings(LIFESPAN=["HISTORY"])

    assert project.manage(command, "--help").returncode == 0
