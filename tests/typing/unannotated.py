"""Functions without annotations may be resources as well; what they give is not known."""

from typing import Any, assert_type

from django.http import HttpRequest

from lifespan_app import lifespan


@lifespan.resource
async def anything(settings):
    yield settings


@lifespan.resource(priority=1)
def anything_else(settings):
    return settings


def read(request: HttpRequest) -> None:
    assert_type(anything(request), Any)
    assert_type(anything.current(), Any)
    assert_type(anything_else(request), Any)
