"""Lifespan managers, as django-asgi-lifespan has them."""

from .compat.managers import register_lifespan_manager

__all__ = ["register_lifespan_manager"]
