"""Load Django and Hypothesis for tests that use them, and not for those of the engine alone.

pytest-django sets Django up before anything is collected, and Hypothesis' plugin imports all of
Hypothesis at the end of every run: together longer than most files of tests/engine take.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

SETTINGS = "tests.settings"
WITHOUT_DJANGO = Path(__file__).resolve().parent / "engine"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> object:
    """Name the settings to pytest-django, unless only tests of the engine are asked for."""
    if not is_without_django(early_config):
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS)
    return (yield)


def is_without_django(config: pytest.Config) -> bool:
    """Return True if every path on the command line is one of the engine's."""
    asked_for = [
        config.invocation_params.dir / str(argument).partition("::")[0]
        for argument in config.known_args_namespace.file_or_dir
    ]
    return bool(asked_for) and all(
        path.resolve().is_relative_to(WITHOUT_DJANGO) for path in asked_for
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let go of Hypothesis' plugin where no test has imported Hypothesis."""
    if "hypothesis" not in sys.modules:
        session.config.pluginmanager.unregister(name="hypothesispytest")
