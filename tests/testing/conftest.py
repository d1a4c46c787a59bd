"""Hooks and views for one test."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.django.conftest import lifespan, mount

__all__ = ["lifespan", "mount"]


@pytest.fixture(autouse=True)
def no_loop_left() -> Iterator[None]:
    """Fail a test that leaves a loop thread behind."""
    yield
    assert [thread.name for thread in threading.enumerate() if "loop" in thread.name] == []
