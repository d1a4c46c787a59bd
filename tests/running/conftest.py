from __future__ import annotations

import pytest

from tests.projects import Project
from tests.running.processes import SHOP


@pytest.fixture
def shop(project: Project) -> Project:
    """Return a project with the app of these tests."""
    return project.app("shop", lifespan=SHOP)
