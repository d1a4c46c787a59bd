"""The recorded runs in Django's admin, read-only."""

from __future__ import annotations

from django.contrib import admin

from lifespan_app.models import LifespanRun

from .runs import LifespanRunAdmin

__all__ = ["LifespanRunAdmin", "register"]


def register(site: admin.AdminSite) -> None:
    """Register the recorded runs on another admin site; ``admin.site`` has them.

    Args:
        site: the admin site; nothing happens if they are registered already.
    """
    if not site.is_registered(LifespanRun):
        site.register(LifespanRun, LifespanRunAdmin)


register(admin.site)
