"""What is masked is found without reading settings that nobody has set, and without a warning."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.projects import Project

OF_DEFAULTS = """
import sys
from django.conf import global_settings, settings

class Defaults:
    read = []

    def __getattr__(self, name):
        if name.isupper():
            self.read.append(name)
        return getattr(global_settings, name)

    def __dir__(self):
        return dir(global_settings)

defaults = Defaults()
settings.configure(defaults, SECRET_KEY="hunter2 is secret", INSTALLED_APPS=["lifespan_app"])
import django
django.setup()
from lifespan_app.integration import sensitive

defaults.read.clear()
found = dict(sensitive.explicit_settings())
# Of Django 6.1, dir(settings) itself asks for MAILERS.
print(found, [name for name in defaults.read if name != "MAILERS"])
"""

FAILS = """
from lifespan_app import lifespan

@lifespan.on_start(required=False)
def fetch():
    raise OSError("no answer for hunter2hunter2")
"""

READS = """
from lifespan_app.models import LifespanStep

print([step.error for step in LifespanStep.objects.filter(outcome="failed")])
"""


def test_no_default_is_read() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", OF_DEFAULTS], capture_output=True, text=True, check=True
    )

    assert ran.stdout == (
        "{'INSTALLED_APPS': ['lifespan_app'], 'SECRET_KEY': 'hunter2 is secret'} []\n"
    )


@pytest.fixture
def shop(project: Project) -> Project:
    return project.app("shop", lifespan=FAILS).with_tables()


def test_record_causes_no_deprecation_warning(shop: Project) -> None:
    ran = shop.run("-W", "error::DeprecationWarning", "manage.py", "runlifespan", "--once")

    assert ran.returncode == 0, ran.stderr
    assert "Warning" not in ran.stderr
    assert "no answer for hunter2hunter2" in shop.manage("shell", "-v", "0", "-c", READS).stdout


def test_deprecated_setting_is_masked_without_a_warning(
    shop: Project,
) -> None:
    shop.settings(EMAIL_HOST_PASSWORD="hunter2hunter2")

    ran = shop.run("-W", "always::DeprecationWarning", "manage.py", "runlifespan", "--once")

    assert ran.returncode == 0, ran.stderr
    warnings = [line for line in ran.stderr.splitlines() if "Warning: " in line]
    assert [line for line in warnings if "/lifespan_app/" in line] == []
    assert "no answer for ****" in shop.manage("shell", "-v", "0", "-c", READS).stdout
