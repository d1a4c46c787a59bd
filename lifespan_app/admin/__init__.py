"""The recorded runs in Django's admin, read-only."""

from __future__ import annotations

from django.contrib import admin

from lifespan_app.models import LifespanLease, LifespanRun

from .leases import LifespanLeaseAdmin
from .runs import LifespanRunAdmin

__all__ = ["LifespanLeaseAdmin", "LifespanRunAdmin", "register"]


def register(site: admin.AdminSite) -> None:
    """Register the recorded runs, and the leases, on another admin site; ``admin.site`` has them.

    The site's first page shows the state of each service type, unless the site has an
    ``index_template`` of its own.

    Args:
        site: the admin site; nothing happens if they are registered already.
    """
    if not site.is_registered(LifespanRun):
        site.register(LifespanRun, LifespanRunAdmin)
        site.register(LifespanLease, LifespanLeaseAdmin)
        if site.index_template is None:
            site.index_template = "admin/lifespan_app/index.html"


register(admin.site)
