"""lifespan_app as a Django app: installed with autodiscovery, without it, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.apps import apps

from lifespan_app import Lifespan
from lifespan_app.apps import LifespanConfig, SimpleLifespanConfig, install
from lifespan_app.integration.adapter import DjangoAdapter
from tests.projects import Project

HOOKS = """
from lifespan_app import lifespan


@lifespan.on_start
async def open_up():
    pass
"""

TELL = """
import json

import asgi
from django.core import checks
from lifespan_app import lifespan

plan = lifespan.plan()
print(
    json.dumps(
        {
            "keys": [node.key for node in plan.nodes],
            "checks": [message.id for message in checks.run_checks()],
        }
    )
)
"""


def told(project: Project) -> Any:
    """Import the project's ASGI application, and return its plan and what checks say of it."""
    done = project.run("-c", TELL)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class TestInstalled:
    """`lifespan_app` in INSTALLED_APPS means autodiscovery."""

    def test_installed_app_has_the_config_with_autodiscovery(self) -> None:
        assert type(apps.get_app_config("lifespan_app")) is LifespanConfig

    @pytest.mark.parametrize("config", [LifespanConfig, SimpleLifespanConfig])
    def test_installed_app_has_keys_of_its_own(self, config: type[SimpleLifespanConfig]) -> None:
        """A project's DEFAULT_AUTO_FIELD would ask for migrations of ours."""
        assert config.default_auto_field == "django.db.models.BigAutoField"

    @pytest.mark.parametrize("field", ["AutoField", "SmallAutoField", "BigAutoField"])
    def test_installed_app_misses_no_migration_whatever_the_project_uses(
        self, project: Project, field: str
    ) -> None:
        project.settings(DEFAULT_AUTO_FIELD=f"django.db.models.{field}")
        done = project.manage("makemigrations", "--check", "--dry-run")
        assert (done.returncode, done.stdout) == (0, "No changes detected\n")

    def test_installed_app_finds_hooks(self, project: Project) -> None:
        project.app("shop", lifespan=HOOKS)
        assert told(project) == {"keys": ["shop.open_up"], "checks": []}


@pytest.mark.every_pair
class TestSimpleConfig:
    """Without autodiscovery a project imports its hooks by itself."""

    @pytest.fixture
    def simple(self, project: Project) -> Project:
        project.app("shop", lifespan=HOOKS, hooks=HOOKS)
        config = "lifespan_app.apps.SimpleLifespanConfig"
        return project.settings(INSTALLED_APPS=[config, "shop"])

    def test_simple_config_imports_nothing(self, simple: Project) -> None:
        assert told(simple) == {"keys": [], "checks": []}

    def test_simple_config_runs_imported_hooks_under_their_apps_label(
        self, simple: Project
    ) -> None:
        simple.asgi(
            "from lifespan_app.asgi import get_asgi_application\n\n"
            "application = get_asgi_application()\n\nimport shop.hooks"
        )
        assert told(simple)["keys"] == ["shop.open_up"]

    def test_simple_config_checks_the_setting(self, simple: Project) -> None:
        simple.settings(LIFESPAN={"COLOUR": "red", "HOOKS": {"shop.open_up": {}}})
        assert told(simple)["checks"] == ["lifespan_app.E002"]


class TestNotInstalled:
    """Code for earlier packages runs also where `lifespan_app` is no installed app."""

    def test_imported_hooks_run_without_the_app_installed(self, project: Project) -> None:
        project.app("shop", hooks=HOOKS).settings(INSTALLED_APPS=["shop"])
        project.asgi(
            "from lifespan_app.asgi import get_asgi_application\n\n"
            "application = get_asgi_application()\n\nimport shop.hooks"
        )
        assert told(project) == {"keys": ["shop.open_up"], "checks": []}

    def test_setting_is_read_without_the_app_installed(self, project: Project) -> None:
        project.app("shop", hooks=HOOKS).settings(
            INSTALLED_APPS=["shop"], LIFESPAN={"HOOKS": {"shop.open_up": {"enabled": False}}}
        )
        project.asgi(
            "import django; django.setup()\nimport shop.hooks\n"
            "from lifespan_app.asgi import get_asgi_application\n\n"
            "application = get_asgi_application()"
        )
        assert told(project)["keys"] == []


class TestInstall:
    def test_install_twice_changes_nothing(self) -> None:
        lifespan = Lifespan()
        install(lifespan)
        host = lifespan.adapter
        install(lifespan)
        assert lifespan.adapter is host
        assert isinstance(host, DjangoAdapter)

    def test_install_keeps_the_observers(self) -> None:
        lifespan = Lifespan()
        observers = lifespan.adapter.observers
        install(lifespan)
        assert lifespan.adapter.observers is observers
