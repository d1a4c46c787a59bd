"""What code from elsewhere needs around it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lifespan_app.signals import asgi_lifespan, asgi_shutdown, asgi_startup
from tests.django.conftest import lifespan, mount

__all__ = ["lifespan", "mount"]


@pytest.fixture(autouse=True)
def no_receivers() -> Iterator[None]:
    """Begin and end with signals that nobody listens to."""
    yield
    for signal in (asgi_startup, asgi_lifespan, asgi_shutdown):
        signal.receivers = []
