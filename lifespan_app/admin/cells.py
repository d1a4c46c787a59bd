"""Cells of the list of runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext, ngettext

from lifespan_app.history.reading import describe, time_text
from lifespan_app.history.reading.statistics import Spread, is_slow
from lifespan_app.models import LifespanRun, LifespanStep, Mode, Outcome, Status

NOTHING = "–"
CSS = {
    Status.STARTING: "busy",
    Status.SERVING: "good",
    Status.DEGRADED: "poor",
    Status.NOT_READY: "bad",
    Status.STOPPING: "busy",
    Status.STOPPED: "over",
    Status.STARTUP_FAILED: "bad",
    Status.SHUTDOWN_FAILED: "bad",
    Status.LOST: "bad",
}
"""The CSS class of each status."""


def badge(status: Status) -> SafeString:
    """Return a status as a coloured word."""
    return format_html(
        '<span class="lifespan-badge is-{}">{}</span>', CSS[Status(status)], Status(status).label
    )


def moment(at: datetime | None, now: datetime) -> SafeString | str:
    """Return the age of a moment and its exact time."""
    if at is None:
        return NOTHING
    return format_html(
        '<time datetime="{}">{} <span class="lifespan-exact">({})</span></time>',
        at.isoformat(),
        time_text.ago(at, now),
        time_text.short_clock(at, now),
    )


def run(run: Any) -> SafeString:
    """Return a run's status and id, and its server start if it has several runs on the page."""
    shown = format_html(
        '{} <span class="lifespan-id">{}</span>', badge(run.status_at()), run.shown_id
    )
    if run.together < 2:
        return shown
    words = gettext("same server start")
    if run.is_first:
        words = ngettext(
            "%d worker of one server start", "%d workers of one server start", run.together
        )
        words = words % run.together
    return format_html(
        '<span class="lifespan-launch{}">{}</span><span class="lifespan-quiet">{}</span>',
        " is-first" if run.is_first else "",
        shown,
        words,
    )


def what(run: LifespanRun) -> SafeString:
    """Return the result of a run, and the number of its failed hooks."""
    words = {"failed": run.hooks_failed, "total": run.hooks_total}
    if run.hooks_failed:
        hooks = ngettext(
            "%(failed)d of %(total)d hook failed",
            "%(failed)d of %(total)d hooks failed",
            run.hooks_total,
        )
    else:
        hooks = ngettext("%(total)d hook", "%(total)d hooks", run.hooks_total)
    is_bad = bool(run.error) or run.status_at() in (Status.LOST, Status.NOT_READY)
    return format_html(
        '<span class="lifespan-what{}">{}</span><span class="lifespan-quiet">{}</span>',
        " lifespan-error" if is_bad else "",
        Truncator(describe.why(run)).chars(160),
        hooks % words,
    )


def process(run: LifespanRun) -> SafeString:
    """Return service type and release; below, host, process id, server, and the mode of another process."""
    mode = "" if run.mode == Mode.SERVER else Mode(run.mode).label
    server = Truncator(run.server).chars(24)
    below = [run.host, gettext("pid %d") % run.pid, server, mode]
    return format_html(
        '{} {}<span class="lifespan-quiet">{}</span>',
        run.service_type,
        run.release,
        " · ".join(str(word) for word in below if word),
    )


def times(run: Any) -> SafeString:
    """Return the startup and the shutdown time, each with a bar that has a mark at the median."""
    if run.ready_at is None:
        if run.startup_duration is None:
            return format_html("{}", NOTHING)
        return format_html(
            "{}",
            gettext("failed after %(time)s") % {"time": time_text.duration(run.startup_duration)},
        )
    lines = [(gettext("startup"), run.startup_duration, run.usual_startup)]
    if run.shutdown_duration is not None:
        lines.append((gettext("shutdown"), run.shutdown_duration, run.usual_shutdown))
    return format_html_join(
        "",
        '<span class="lifespan-time"><span class="lifespan-quiet">{}</span> {}</span>',
        ((word, against_usual(taken, usually)) for word, taken, usually in lines),
    )


def against_usual(taken: timedelta | None, usually: Spread | None) -> SafeString | str:
    """Return a duration with a bar that has a mark at the median."""
    if taken is None:
        return NOTHING
    text = time_text.duration(taken)
    if usually is None or not usually.median:
        return text
    share = taken.total_seconds() / usually.median
    words = ngettext(
        "usually %(time)s (median of %(count)d run)",
        "usually %(time)s (median of %(count)d runs)",
        usually.count,
    ) % {"time": time_text.duration(usually.median), "count": usually.count}
    return format_html(
        '<span class="lifespan-nowrap">{}</span>'
        '<svg class="lifespan-meter" width="72" height="8" role="img" aria-label="{}">'
        '<rect class="ground" width="72" height="8" rx="2"/>'
        '<rect class="taken{}" width="{}" height="8" rx="2"/>'
        '<path class="usual" d="M36 0v8"/></svg>',
        text,
        words,
        " is-slow" if is_slow(taken, usually) else "",
        f"{min(share, 2) * 36:.1f}",
    )


def hook_url(app_label: str, name: str, site: str | None) -> str:
    """Return the URL of a hook's page; empty if its name can't be part of a URL."""
    try:
        return reverse(
            "admin:lifespan_app_lifespanrun_hook", args=[app_label, name], current_app=site
        )
    except NoReverseMatch:
        return ""


def hook_link(key: str, site: str | None, longest: int = 120) -> SafeString | str:
    """Return a hook's key, as a link to its page."""
    # Any dot will do, as the page looks for the whole key; before the first one there is no slash.
    app_label, _dot, name = key.partition(".")
    url = hook_url(app_label, name, site)
    text = Truncator(key).chars(longest)
    return format_html('<a href="{}">{}</a>', url, text) if url else text or NOTHING


def css_of(step: LifespanStep) -> str:
    """Return the CSS class of a step's outcome."""
    return str(step.outcome).replace("_", "-") if step.outcome in Outcome else "running"
