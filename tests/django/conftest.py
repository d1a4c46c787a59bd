"""Views for one test, and the two handlers that have to agree."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.urls import path

from lifespan_app import Lifespan

if TYPE_CHECKING:
    from pytest_django import Settings


class MountViews(Protocol):
    """Serve views under their names, in place of the project's own URLs."""

    def __call__(
        self, *, handler500: Callable[..., Any] | None = None, **views: Callable[..., Any]
    ) -> None: ...


@pytest.fixture
def mount(settings: Settings) -> MountViews:
    """Return a function that serves the views it is given: `mount(book=view)` at `/book/`."""

    def mount_views(
        *, handler500: Callable[..., Any] | None = None, **views: Callable[..., Any]
    ) -> None:
        urls = ModuleType("urls_of_a_test")
        vars(urls)["urlpatterns"] = [path(f"{name}/", view) for name, view in views.items()]
        if handler500 is not None:
            vars(urls)["handler500"] = handler500
        settings.ROOT_URLCONF = urls

    return mount_views


@pytest.fixture
def lifespan() -> Iterator[Lifespan]:
    """Return the lifespan that Django's handler runs, with no hooks but those of the test."""
    from lifespan_app import lifespan

    lifespan.clear()
    # A run that an earlier test has ended would explain what this test can't read.
    lifespan.last_run = None
    yield lifespan
    lifespan.clear()


@pytest.fixture
def ours(lifespan: Lifespan, happened: list[str]) -> Any:
    """Declare a resource called `client`, and return its handle."""

    @lifespan.resource
    async def client() -> AsyncIterator[str]:
        happened.append("ours opens")
        yield "our client"
        happened.append("ours closes")

    return client


@pytest.fixture(params=["django", "lifespan_app"])
def handler_class(request: pytest.FixtureRequest) -> type[ASGIHandler]:
    """Return Django's own handler class, and in a second run of the test ours."""
    if request.param == "django":
        return ASGIHandler
    from lifespan_app.handler import LifespanASGIHandler

    return LifespanASGIHandler
