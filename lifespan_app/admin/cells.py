"""Cells of the list of runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext, ngettext

from lifespan_app.history.reading import describe
from lifespan_app.history.reading.statistics import Spread
from lifespan_app.models import LifespanRun, Mode, Status

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
    """Return the age of a moment, with the exact time as title."""
    if at is None:
        return NOTHING
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(),
        describe.clock(at),
        describe.ago(at, now),
    )


def launch(run: Any) -> SafeString:
    """Return a run's badge, and its server start if it has several runs on the page."""
    shown = badge(run.status_at())
    if run.status_at() == Status.NOT_READY:
        why = Truncator(run.readiness_reason.partition("\n")[0]).chars(120)
        words = gettext(": ").join(filter(None, (describe.readiness(run), why)))
        shown = format_html('{} <span class="lifespan-quiet">{}</span>', shown, words)
    if run.together < 2:
        return shown
    if not run.is_first:
        return format_html(
            '<span class="lifespan-launch">{}</span><span class="lifespan-quiet">{}</span>',
            shown,
            gettext("same server start"),
        )
    words = ngettext(
        "%d worker of one server start", "%d workers of one server start", run.together
    )
    return format_html(
        '<span class="lifespan-launch is-first">{}</span><span class="lifespan-quiet">{}</span>',
        shown,
        words % run.together,
    )


def two_lines(first: str, *second: object) -> SafeString:
    """Return a text with a smaller second line."""
    below = " ".join(str(word) for word in second if word)
    return format_html('{}<span class="lifespan-quiet">{}</span>', first or NOTHING, below)


def service(run: LifespanRun) -> SafeString:
    """Return service type and release, and the mode if it is not a server."""
    mode = "" if run.mode == Mode.SERVER else Mode(run.mode).label
    return two_lines(run.service_type, run.release, mode)


def process(run: LifespanRun) -> SafeString:
    """Return host, process id and server."""
    return two_lines(run.host, gettext("pid %d") % run.pid, Truncator(run.server).chars(24))


def failed(run: LifespanRun) -> SafeString:
    """Return the number of failed hooks and of all hooks."""
    words = gettext("%(failed)d of %(total)d") % {
        "failed": run.hooks_failed,
        "total": run.hooks_total,
    }
    return format_html(
        '<span class="lifespan-nowrap{}">{}</span>',
        " lifespan-error" if run.hooks_failed else "",
        words,
    )


def against_usual(taken: timedelta | None, usually: Spread | None) -> SafeString | str:
    """Return a duration with a bar that has a mark at the median."""
    if taken is None:
        return NOTHING
    text = describe.duration(taken)
    if usually is None or not usually.median:
        return text
    share = taken.total_seconds() / usually.median
    words = ngettext(
        "usually %(time)s (median of %(count)d run)",
        "usually %(time)s (median of %(count)d runs)",
        usually.count,
    ) % {"time": describe.duration(usually.median), "count": usually.count}
    return format_html(
        '<span class="lifespan-nowrap" title="{}">{}</span>'
        '<svg class="lifespan-meter" width="72" height="8" role="img" aria-label="{}">'
        '<rect class="ground" width="72" height="8" rx="2"/>'
        '<rect class="taken{}" width="{}" height="8" rx="2"/>'
        '<path class="usual" d="M36 0v8"/></svg>',
        words,
        text,
        words,
        " is-slow" if share >= 1.5 else "",
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
    app_label, _dot, name = key.rpartition(".")
    url = hook_url(app_label, name, site)
    text = Truncator(key).chars(longest)
    return format_html('<a href="{}">{}</a>', url, text) if url else text or NOTHING
