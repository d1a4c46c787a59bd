"""The list of runs: its filters, its search, and pages without a count of all rows.

Every query begins with an indexed column, or reads the newest rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifespan_app import conf
from lifespan_app.engine.context import ServiceType
from lifespan_app.history.reading.queries import (
    BY_START,
    any_of,
    conditions_of,
    newest_pks,
    search_pks,
)
from lifespan_app.history.reading.statistics import UNCOUNTED, Sample, newest_runs
from lifespan_app.models import FAILED, LIVE, LifespanRun, Mode, Status, on_time, overdue

MORE_THAN = 1_000
"""The number of runs up to which pages are numbered; after it there is only a next page."""

Choices = list[tuple[str, Any]]


def sample_of(request: HttpRequest) -> Sample:
    """Return the newest runs, read once per request."""
    sample: Sample | None = getattr(request, "_lifespan_sample", None)
    if sample is None:
        sample = newest_runs()
        request._lifespan_sample = sample  # type: ignore[attr-defined]
    return sample


class StatusFilter(SimpleListFilter):
    """Filter by status; a run without heartbeats is lost."""

    title = _("status")
    parameter_name = "status"
    BROKEN = "broken"
    LIVE = "live"

    @classmethod
    def parts_of(cls, chosen: str | None) -> list[Q]:
        """Return the conditions of a choice that combines several."""
        gone = [Q(status=Status.LOST), overdue(None)]
        failed = [Q(status=status) for status in FAILED]
        return {cls.BROKEN: failed + gone, str(Status.LOST): gone}.get(chosen or "", [])

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> Choices:
        """Return the choices."""
        some = [(self.LIVE, _("running")), (self.BROKEN, _("failed or lost"))]
        return [*some, *Status.choices]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the runs with the status."""
        chosen = self.value()
        if chosen is None:
            return queryset
        if chosen == self.LIVE:
            return queryset.live()
        if self.parts_of(chosen):
            return queryset  # RunList combines them
        found = queryset.filter(status=chosen)
        return found.filter(on_time(None)) if chosen in LIVE else found


class ServiceTypeFilter(SimpleListFilter):
    """Filter by service type: the known ones, and those of the newest runs."""

    title = _("service type")
    parameter_name = "service_type"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> Choices:
        """Return the choices."""
        seen = sample_of(request).service_types
        known = {*map(str, ServiceType), str(conf.get("SERVICE_TYPE")), *seen}
        if chosen := request.GET.get(self.parameter_name):
            known.add(chosen)
        return [(name, name) for name in sorted(known)]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the runs of the service type."""
        chosen = self.value()
        return queryset if chosen is None else queryset.filter(service_type=chosen)


class ModeFilter(SimpleListFilter):
    """Filter by mode; by default, runs of local development are hidden."""

    title = _("mode")
    parameter_name = "mode"
    ALL = "all"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> Choices:
        """Return the choices."""
        return [(self.ALL, _("all")), *Mode.choices]

    def choices(self, changelist: Any) -> Any:
        """Yield the choices, the default first."""
        first, *others = super().choices(changelist)
        yield {**first, "display": _("default (no reloads, no checks)")}
        yield from others

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the runs of the mode."""
        chosen = self.value()
        if chosen is None:
            return queryset.exclude(mode__in=UNCOUNTED)
        return queryset if chosen == self.ALL else queryset.filter(mode=chosen)


class StartedFilter(SimpleListFilter):
    """Filter by start within a span that ends now."""

    title = _("started")
    parameter_name = "started"
    SPANS = {
        "hour": (_("in the last hour"), timedelta(hours=1)),
        "day": (_("in the last 24 hours"), timedelta(days=1)),
        "week": (_("in the last 7 days"), timedelta(days=7)),
        "month": (_("in the last 30 days"), timedelta(days=30)),
    }

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> Choices:
        """Return the choices."""
        return [(key, label) for key, (label, _span) in self.SPANS.items()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the runs that started in the span."""
        chosen = self.value()
        if chosen not in self.SPANS:
            return queryset
        return queryset.filter(started_at__gte=timezone.now() - self.SPANS[chosen][1])


FILTERS = (StatusFilter, ServiceTypeFilter, StartedFilter, ModeFilter)

LINKED = frozenset({"launch", "fingerprint", "host", "release"})
"""Columns that links on these pages filter by exact value."""

ASKED = LINKED | {chosen.parameter_name for chosen in FILTERS}
"""Allowed query parameters; other columns have no index."""


class Pages:
    """The numbered pages of a list, newest first. Nothing is counted beyond ``MORE_THAN``.

    Args:
        runs: all runs of the list.
        size: the number of runs per page.
        number: the current page, from 1.
        sought: conditions of the search, of which one must hold, if any.
        parts: conditions of the status, of which one must hold, if any.
    """

    def __init__(
        self, runs: Any, size: int, number: int, sought: Sequence[Q] = (), parts: Sequence[Q] = ()
    ) -> None:
        self.number = number
        self.size = size
        skip = (number - 1) * size
        most = max(MORE_THAN - skip, size) + 1
        if sought:
            keys = search_pks(runs.filter(any_of(parts)), sought, most, skip)
        else:
            keys = newest_pks(runs, most, skip, parts)
        self.keys = keys[:size]
        self.known = skip + len(keys)
        """The number of runs, as far as they were counted."""
        self.is_all = len(keys) < most
        """True if there are no further runs."""
        self.has_next = len(keys) > size

    def rows(self) -> list[Any]:
        """Read the runs of the page; those of one launch stand together."""
        found: dict[int, Any] = LifespanRun.objects.in_bulk(self.keys)
        in_order = [found[key] for key in self.keys if key in found]
        places: dict[str, int] = {}
        for place, run in enumerate(in_order):
            run.place = places.setdefault(run.launch or str(run.uuid), place)
        return sorted(in_order, key=lambda run: run.place)  # stable: a launch's stay in order

    def get_elided_page_range(self, number: int) -> list[int]:
        """Return the numbers of pages, as Django's own paginator does for its template."""
        return self.numbers

    @property
    def numbers(self) -> list[int]:
        """The numbers of the pages."""
        return list(range(1, -(-min(self.known, MORE_THAN) // self.size) + 1))


class RunList(ChangeList):
    """The change list of runs."""

    pages: Pages
    parts: list[Q]
    """Conditions of which one must hold, from the status filter."""
    sought: list[Q]
    """Conditions of which one must hold, from the search."""
    before: Any
    """The runs that match the other filters, without the search."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        """Return the runs of the list; actions use it, too."""
        term, self.query = self.query, ""
        self.before = super().get_queryset(request, exclude_parameters)
        self.query = term
        self.parts = StatusFilter.parts_of(request.GET.get(StatusFilter.parameter_name))
        self.sought = conditions_of(term)
        return self.before.filter(any_of(self.parts), any_of(self.sought))

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[Any]:
        """Return the order that every index has."""
        return list(BY_START)

    def get_results(self, request: HttpRequest) -> None:
        """Read the current page."""
        self.page_num = max(self.page_num, 1)
        self.pages = Pages(self.before, self.list_per_page, self.page_num, self.sought, self.parts)
        rows = self.pages.rows()
        if not rows and self.page_num > 1:
            raise IncorrectLookupParameters
        sample = sample_of(request)
        for _launch, group in groupby(rows, key=lambda run: run.launch or str(run.uuid)):
            together = list(group)
            for run in together:
                run.together, run.is_first = len(together), run is together[0]
                run.usual_startup, run.usual_shutdown = sample.usual(run)
        self.result_list = rows
        self.result_count = self.pages.known
        self.full_result_count = self.result_count  # Django would offer to show all
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = False
        self.multi_page = self.pages.has_next or self.page_num > 1
        self.paginator = self.pages

    @property
    def page_addresses(self) -> list[dict[str, Any]]:
        """The links to the pages."""
        return [
            {
                "number": number,
                "is_here": number == self.page_num,
                "query": self.get_query_string({PAGE_VAR: number}),
            }
            for number in self.pages.numbers
        ]

    @property
    def next_query(self) -> str:
        """The query of the next page."""
        return str(self.get_query_string({PAGE_VAR: self.page_num + 1}))

    @property
    def more_than(self) -> int:
        """The number that the runs exceed."""
        return max(MORE_THAN, (self.page_num * self.list_per_page))
