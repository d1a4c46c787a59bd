"""Django's ASGI handler, with a lifespan."""

from .serving.handler import LifespanASGIHandler

__all__ = ["LifespanASGIHandler"]
