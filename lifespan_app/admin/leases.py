"""The admin page of leases: a list, with an action that releases some by hand."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.urls import URLPattern
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from lifespan_app.models import LifespanLease

from .odd_text import answering_any_text

# What only the page needs is imported by it: every process with an admin imports this module.


@admin.action(permissions=["release"], description=_("Release selected leases"))
def release(model_admin: LifespanLeaseAdmin, request: HttpRequest, queryset: Any) -> None:
    """Release leases: their holders lose them, and their start functions may run again."""
    from lifespan_app.leases import rows

    selected = list(queryset)
    count = rows.release([lease.pk for lease in selected])
    for lease in selected:
        model_admin.log_change(request, lease, gettext("Released."))
    words = ngettext("%d lease was released.", "%d leases were released.", count) % count
    model_admin.message_user(request, words, messages.SUCCESS)


class LifespanLeaseAdmin(admin.ModelAdmin):
    """The leases of hooks that run once; they can be viewed and released, but not changed."""

    list_display = ("state", "name", "process", "lease_number", "last_taken")
    list_display_links = None
    list_filter = ("once", "environment")
    search_fields = ("hook", "value", "host")
    show_full_result_count = False
    sortable_by = ()
    actions = (release,)

    class Media:
        css = {"all": ["lifespan_app/history.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: processes take leases."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a lease is taken, renewed and given back by processes."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: without its row, a lease would begin again with the number 1."""
        return False

    def has_release_permission(self, request: HttpRequest) -> bool:
        """Return True for users with the permission to change leases."""
        return super().has_change_permission(request)

    def get_urls(self) -> list[URLPattern]:
        """Return Django's URLs."""
        return [*answering_any_text(super().get_urls())]

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return all leases, each with the time of the database."""
        from lifespan_app.leases import listing

        return listing.all_leases()

    @admin.display(description=_("state"))
    def state(self, lease: LifespanLease) -> str:
        """Return the state, and the error of a start function that failed."""
        from lifespan_app.leases import listing

        found = listing.state(lease)
        return (
            f"{found.label}: {lease.error}" if found is listing.State.FAILED else str(found.label)
        )

    @admin.display(description=_("lease"))
    def name(self, lease: LifespanLease) -> str:
        """Return its hook, and where that runs once."""
        return str(lease)

    @admin.display(description=_("process"))
    def process(self, lease: LifespanLease) -> str:
        """Return the process that holds it, or held it last."""
        from lifespan_app.leases import listing

        return listing.process(lease)

    @admin.display(description=_("number"))
    def lease_number(self, lease: LifespanLease) -> SafeString:
        """Return the number of its last holder, with a label for phones, which show no headings."""
        return format_html(
            '<span class="lifespan-label">{}</span> {}', gettext("number"), lease.number
        )

    @admin.display(description=_("since"))
    def last_taken(self, lease: LifespanLease) -> SafeString | str:
        """Return the time of its last claim, or of the success of its start function."""
        from lifespan_app.leases import listing

        from . import cells

        return cells.moment(listing.since(lease), timezone.now())
