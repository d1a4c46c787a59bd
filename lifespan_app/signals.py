"""Django signals at the beginning and the end of a process, and on changes of recorded runs."""

from .compat.signals import asgi_lifespan, asgi_shutdown, asgi_startup
from .history.recording.changes import run_changed

__all__ = ["asgi_lifespan", "asgi_shutdown", "asgi_startup", "run_changed"]
