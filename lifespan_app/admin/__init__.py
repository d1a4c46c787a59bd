"""The record of runs in Django's admin: to be read, not to be written."""

from __future__ import annotations

from django.contrib import admin

from lifespan_app.models import LifespanRun

from .runs import LifespanRunAdmin

__all__ = ["LifespanRunAdmin", "register"]


def register(site: admin.AdminSite) -> None:
    """Show the record of runs on an admin site of the project's own; ``admin.site`` has it.

    Args:
        site: the site; one that has it already stays as it is.
    """
    if not site.is_registered(LifespanRun):
        site.register(LifespanRun, LifespanRunAdmin)


register(admin.site)
