"""A project without Django's admin: nothing of ours asks for it."""

from __future__ import annotations

from tests.projects import Project

RENDER = """
from django.template import engines

print(engines["django"].from_string("{% load lifespan_history %}rendered").render())
"""


def test_project_without_the_admin_renders_its_own_templates(project: Project) -> None:
    backend = "django.template.backends.django.DjangoTemplates"
    project.settings(TEMPLATES=[{"BACKEND": backend, "APP_DIRS": True}])

    done = project.manage("shell", "-v", "0", "-c", RENDER)

    assert (done.stdout, done.stderr) == ("rendered\n", "")


def test_project_without_the_admin_has_no_more_to_check(project: Project) -> None:
    done = project.manage("check", "--fail-level", "INFO")

    assert done.returncode == 0, done.stderr
