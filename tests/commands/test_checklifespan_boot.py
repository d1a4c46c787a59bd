"""``checklifespan --boot``: what takes time before the hooks, in a fresh process."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from lifespan_app.cli.boot import packages_of
from tests.projects import Project

# Each starts a process or two.
pytestmark = pytest.mark.once

APPS = """
import time

from django.apps import AppConfig

time.sleep(0.3)


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self):
        time.sleep(0.4)
"""

LIFESPAN = """
import journal
from lifespan_app import lifespan


@lifespan.on_start
def announce():
    journal.write("a hook has run")
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """Return a project with a slow app and a slow module."""
    project.app("shop", apps=APPS, lifespan=LIFESPAN, models="import heavy.inner")
    project.file("heavy/__init__.py", "")
    project.file("heavy/inner.py", "import time\n\ntime.sleep(0.2)")
    return project


def boot_of(project: Project, *arguments: str) -> dict[str, Any]:
    done = project.manage("checklifespan", "--boot", "--format", "json", *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["version"] == 1
    return dict(found["boot"])


@pytest.mark.slow
def test_import_and_ready_of_each_app_are_measured_and_parts_add_up(shop: Project) -> None:
    boot = boot_of(shop)

    slowest = boot["apps"][0]
    assert slowest["name"] == "shop"
    assert slowest["import"] >= 0.5
    assert slowest["ready"] >= 0.4
    assert {app["name"] for app in boot["apps"]} == {"shop", "lifespan_app"}
    assert sum(boot["parts"].values()) == pytest.approx(boot["seconds"], rel=0.05)
    packages = {package["name"]: package for package in boot["packages"]}
    assert packages["heavy"]["seconds"] >= 0.2
    assert packages["heavy"]["slowest"] == "heavy.inner"
    assert shop.events() == []


@pytest.mark.slow
def test_start_over_the_budget_fails_with_exit_code_1(shop: Project) -> None:
    over = shop.manage("checklifespan", "--boot", "--budget", "300ms")

    assert over.returncode == 1
    assert "CommandError: The start before the hooks took " in over.stderr
    assert "its budget is 0.300 s." in over.stderr
    lines = over.stdout.splitlines()
    assert lines[0].endswith(" s before the hooks")
    assert [line.split()[0] for line in lines if " heavy" in line] == ["heavy"]
    assert shop.manage("checklifespan", "--boot", "--budget", "60s").returncode == 0


@pytest.mark.slow
def test_project_that_a_fresh_process_can_not_prepare_shows_why(shop: Project) -> None:
    shop.asgi("import nowhere_to_be_found")

    done = shop.manage("checklifespan", "--boot")

    assert done.returncode == 1
    assert "The project can't be prepared in a fresh process, which ended with 1:" in done.stderr
    assert "No module named 'nowhere_to_be_found'" in done.stderr
    assert "import time:" not in done.stderr


@pytest.mark.slow
def test_thread_that_an_app_leaves_running_does_not_keep_the_process(shop: Project) -> None:
    shop.asgi(
        """
        import threading

        from lifespan_app.asgi import get_asgi_application

        threading.Thread(target=threading.Event().wait).start()
        print("hello")
        application = get_asgi_application()
        """
    )

    assert boot_of(shop)["seconds"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--fail-level", "WARNING"],
            "--fail-level is about a plan, and --boot stops before it: leave one out.",
        ),
        (["--run"], "--run is about a plan, and --boot stops before it: leave one out."),
        (["--timeout", "3"], "--timeout is about a plan, and --boot stops before it"),
        (["--format", "dot"], "--format dot draws the plan, and --boot stops before it"),
        (["--budget", "shop.a=3s"], "--boot has one budget, for all of it, such as --budget 6s."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_about_a_plan_are_refused(
    project: Project, arguments: list[str], message: str
) -> None:
    done = project.manage("checklifespan", "--boot", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_other_output_between_the_imports_is_no_import() -> None:
    stderr = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       250 |        250 |   pandas._libs\n"
        "a warning of pandas: import time is long\n"
        f"import time:{os.sep}x | 1 | nothing\n"
        "import time:       750 |       1000 | pandas\n"
    )

    [pandas] = packages_of(stderr)
    assert pandas == ("pandas", 0.001, 2, "pandas")
