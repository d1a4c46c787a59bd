"""Health of a process: views for a platform, and the status file that the probe reads.

Imports ``probe``, ``integration`` and ``engine``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .views import livez, readyz, startupz

__all__ = ["livez", "readyz", "startupz"]


def __getattr__(name: str) -> Any:
    # Imported on demand: the status file needs no views.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import views

    return getattr(views, name)
