"""Django signals at the beginning and the end of a process."""

from .compat.signals import asgi_lifespan, asgi_shutdown, asgi_startup

__all__ = ["asgi_lifespan", "asgi_shutdown", "asgi_startup"]
