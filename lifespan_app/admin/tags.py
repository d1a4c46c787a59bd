"""Template tags and filters of the admin pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.contrib.admin.sites import all_sites
from django.db import DatabaseError
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.safestring import SafeString

from lifespan_app import conf
from lifespan_app.admin import cells, charts
from lifespan_app.history.reading import describe, time_text
from lifespan_app.history.reading.jobs import Job, JobGroup
from lifespan_app.history.reading.queries import tables_exist
from lifespan_app.history.reading.statistics import Spread
from lifespan_app.integration.redaction import masked
from lifespan_app.models import LifespanRun

register = template.Library()

register.filter("clock", time_text.clock)
register.filter("interval", time_text.interval)
register.filter("place", describe.place)
register.filter("kind", describe.kind)
register.filter("outcome", describe.outcome)
register.filter("outcome_class", cells.css_of)
register.filter("error_line", describe.error_line)
register.filter("badge", cells.badge)
register.filter("moment", cells.moment)
register.filter("age", time_text.age)
register.filter("edge", describe.edge)
register.filter("usually", describe.usually)
register.filter("upper_times", describe.upper)
register.filter("chart_of_starts", charts.chart_of_starts)
register.filter("chart_of_steps", charts.chart_of_steps)


@register.filter
def duration(taken: object) -> str:
    """Return a time span as text; empty for another value."""
    return time_text.duration(taken) if isinstance(taken, timedelta | float | int) else ""


@register.filter
def grouped(number: int) -> str:
    """Return a number with separators between thousands."""
    return number_format(number, force_grouping=True)


@register.filter
def badge_of(run: LifespanRun, now: datetime) -> SafeString:
    """Return the badge of a run's status at a time."""
    return cells.badge(run.status_at(now))


@register.simple_tag
def next_begin(job: Job | JobGroup, now: datetime) -> str:
    """Return the time of the next begin of a job; a dash without one."""
    return describe.next_begin(job, now) or cells.NOTHING


@register.filter
def offset(milliseconds: object) -> str:
    """Return the time of a log line, measured from the start of its step."""
    return time_text.duration(milliseconds / 1_000) if isinstance(milliseconds, int | float) else ""


@register.simple_tag(takes_context=True)
def hook_link(context: template.Context, key: str) -> SafeString | str:
    """Return a hook's key, as a link to its page."""
    return cells.hook_link(key, site_name(context))


@register.simple_tag(takes_context=True)
def lifespan_overview(context: template.Context) -> dict[str, Any]:
    """Read the content of the overview page, if the user may view runs."""
    from lifespan_app.history.reading import overview  # not paid for without this page

    return read(context, lambda now: {"overview": overview.overview(now)})


@register.simple_tag(takes_context=True)
def lifespan_states(context: template.Context) -> dict[str, Any]:
    """Read the state of each service type, if the user may view runs."""
    from lifespan_app.history.reading import states  # not paid for without this page

    return read(context, lambda now: {"states": states.current_states(now)})


def read(
    context: template.Context, content: Callable[[datetime], dict[str, Any]]
) -> dict[str, Any]:
    """Return the content of a page, or the reason that it can't be read.

    Args:
        context: the context of the page.
        content: reads the content at a time.
    """
    request = context["request"]
    site = next((site for site in all_sites if site.name == site_name(context)), None)
    if site is None or not site.is_registered(LifespanRun):
        return {"is_allowed": False}
    if not site.get_model_admin(LifespanRun).has_view_permission(request):
        return {"is_allowed": False}
    found = {
        "is_allowed": True,
        "is_recording": conf.get("HISTORY"),
        "alias": conf.get("HISTORY_DATABASE"),
    }
    try:
        if not tables_exist():
            return {**found, "is_missing": True}
        now = timezone.now()
        return {**found, "now": now, **content(now)}
    except DatabaseError as error:
        return {**found, "is_missing": True, "error": masked(str(error))}


def site_name(context: template.Context) -> str:
    """Return the name of the admin site that a page belongs to."""
    return str(getattr(context["request"], "current_app", None) or "admin")


@register.filter
def sparkline(spread: Spread) -> str:
    """Return the newest durations as the path of a small chart, 80 by 16."""
    return charts.path_of(spread.newest, 80, 16)
