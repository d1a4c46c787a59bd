"""A mistake in the setting LIFESPAN is a warning when a process starts: servers run no checks."""

from __future__ import annotations

import pytest

from tests.projects import Project
from tests.servers import Server

pytestmark = pytest.mark.once

LIFESPAN = "from lifespan_app import lifespan\n\n\n@lifespan.resource\nasync def till(): return 1\n"


@pytest.fixture
def project(project: Project) -> Project:
    return project.app("shop", lifespan=LIFESPAN).settings(LOGGING_CONFIG=None)


def served(project: Project) -> str:
    """Serve a project once, and return what the server has said."""
    with Server(project, options=["--lifespan", "on"]) as server:
        server.interrupt()
        server.wait()
    return server.output


@pytest.mark.server
@pytest.mark.parametrize(
    ("setting", "says"),
    [
        (
            {"SHUTDOWN_TIMOUT": 5},
            "LIFESPAN['SHUTDOWN_TIMOUT'] is not known. Did you mean 'SHUTDOWN_TIMEOUT'?",
        ),
        (
            {"HOOKS": {"shop.tills": {"timeout": 5}}},
            "LIFESPAN['HOOKS']['shop.tills'] names no declared hook. Did you mean 'shop.till'?",
        ),
        (
            {"HOOKS": {"shop.till": {"timout": 5}}},
            "LIFESPAN['HOOKS']['shop.till']['timout'] is not known. Did you mean 'timeout'?",
        ),
        (
            {"AUTODISCOVER": {"exclude": ["shp"]}},
            "names 'shp', which is no installed app's label. Did you mean 'shop'?",
        ),
    ],
    ids=["key", "hook", "option", "app"],
)
def test_mistake_is_one_warning_with_a_suggestion(
    project: Project, setting: dict[str, object], says: str
) -> None:
    project.settings(LIFESPAN=setting)

    output = served(project)

    [line] = [line for line in output.splitlines() if "The setting LIFESPAN has mistakes" in line]
    assert says in line
    assert "Application startup complete" in output


@pytest.mark.server
def test_several_mistakes_are_one_warning(project: Project) -> None:
    project.settings(LIFESPAN={"SHUTDOWN_TIMOUT": 5, "HOOKS": {"shop.tills": {}}})

    output = served(project)

    assert output.count("The setting LIFESPAN has mistakes") == 1
    assert "Did you mean 'SHUTDOWN_TIMEOUT'?" in output
    assert "Did you mean 'shop.till'?" in output


@pytest.mark.server
def test_setting_without_mistakes_is_not_spoken_of(project: Project) -> None:
    project.settings(LIFESPAN={"HOOKS": {"shop.till": {"timeout": 5}}})

    assert "mistake" not in served(project)


@pytest.mark.server
def test_value_of_the_wrong_type_stops_the_start(project: Project) -> None:
    project.settings(LIFESPAN={"SHUTDOWN_TIMEOUT": "5 s"})

    with Server(project, options=["--lifespan", "on"], ready=False) as server:
        server.wait()

    assert "LIFESPAN['SHUTDOWN_TIMEOUT'] must be a number of seconds above 0" in server.output


@pytest.mark.parametrize("silenced", [["lifespan_app.E002"], []], ids=["silenced", "told"])
def test_mistake_is_silenced_as_the_check_is(project: Project, silenced: list[str]) -> None:
    project.settings(LIFESPAN={"SHUTDOWN_TIMOUT": 5}, SILENCED_SYSTEM_CHECKS=silenced)

    done = project.manage("runlifespan", "--once")

    assert ("The setting LIFESPAN has mistakes" in done.stderr) is (not silenced)


def test_mistake_is_logged_once_per_process(project: Project) -> None:
    project.settings(LIFESPAN={"SHUTDOWN_TIMOUT": 5})
    runs = (
        "import django; django.setup()\n"
        "from lifespan_app import lifespan\n"
        "for _ in range(2):\n"
        "    with lifespan.run_sync(): pass\n"
    )

    done = project.run("-c", runs)

    assert done.stderr.count("The setting LIFESPAN has mistakes") == 1
