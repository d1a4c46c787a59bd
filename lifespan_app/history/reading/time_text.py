"""Durations and moments as text, in the form of the active language."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext

MINUTE, HOUR, DAY = 60, 3_600, 86_400


def duration(taken: timedelta | float | None) -> str:
    """Return a time span, rounded to two or three digits or to two units; empty for None.

    Args:
        taken: a span, or seconds.
    """
    if taken is None:
        return ""
    seconds = taken.total_seconds() if isinstance(taken, timedelta) else taken
    if seconds < 0.0995:
        places = 1 if 0.00005 <= seconds < 0.00095 else 0
        return gettext("%(number)s ms") % {"number": rounded(seconds * 1_000, places)}
    if seconds < MINUTE - 0.5:
        places = 2 if seconds < 1 else 1 if seconds < 10 else 0
        return gettext("%(number)s s") % {"number": rounded(seconds, places)}
    if seconds < HOUR - 0.5:
        return two(seconds, MINUTE, gettext("%d min"), 1, gettext("%d s"))
    if seconds < DAY - MINUTE / 2:
        return two(seconds, HOUR, gettext("%d h"), MINUTE, gettext("%d min"))
    return two(seconds, DAY, gettext("%d d"), HOUR, gettext("%d h"))


def interval(seconds: float) -> str:
    """Return a time span that somebody has set: "1 s", where a measured one is "1.0 s"."""
    if seconds < MINUTE and seconds == int(seconds):
        return gettext("%(number)s s") % {"number": rounded(seconds, 0)}
    return duration(seconds)


def rounded(number: float, places: int) -> str:
    """Return a number with some decimal places, in the form of the active language."""
    # number_format() cuts a float.
    return number_format(round(number, places), places)


def two(seconds: float, size: int, text: str, small_size: int, small_text: str) -> str:
    """Return a number of seconds in two units; the smaller one is left out when it is zero."""
    many, few = divmod(round(seconds / small_size), size // small_size)
    return f"{text % many} {small_text % few}" if few else text % many


def elapsed(since: datetime, until: datetime) -> timedelta:
    """Return the time that has passed between two times, also where the clocks were changed.

    Without ``USE_TZ``, times are those of the wall clock. In the hour that a clock change repeats, a
    stored time is ambiguous; then the shortest possible span is returned.
    """
    if timezone.is_aware(since):
        return until - since
    zone = timezone.get_default_timezone()
    begin, end = since.replace(tzinfo=zone), until.replace(tzinfo=zone)
    # Python subtracts wall clock times within one time zone:
    # https://docs.python.org/3/library/datetime.html#datetime.datetime.tzinfo
    passed = end.astimezone(UTC) - begin.astimezone(UTC)
    if passed < timedelta():
        passed = end.replace(fold=1).astimezone(UTC) - begin.astimezone(UTC)
    return passed


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Return the age of a moment, as "5 min ago"."""
    now = now or timezone.now()
    if elapsed(moment, now).total_seconds() < 1:
        return gettext("just now")
    return gettext("%(time)s ago") % {"time": age(moment, now)}


def age(moment: datetime, now: datetime) -> str:
    """Return the age of a moment in one unit."""
    return rough(elapsed(moment, now).total_seconds())


def rough(seconds: float) -> str:
    """Return a time span in one unit."""
    for size, text in (
        (DAY, gettext("%d d")),
        (HOUR, gettext("%d h")),
        (MINUTE, gettext("%d min")),
    ):
        if seconds >= size * 2:
            return text % (seconds // size)
    return gettext("%d s") % seconds


def short_clock(moment: datetime, now: datetime) -> str:
    """Return a moment in the current time zone, without its date if that is today's."""
    if timezone.is_aware(moment):
        moment, now = timezone.localtime(moment), timezone.localtime(now)
    form = "%H:%M:%S %Z" if moment.date() == now.date() else "%Y-%m-%d %H:%M:%S %Z"
    return moment.strftime(form).rstrip()


def clock(moment: datetime) -> str:
    """Return a moment in the current time zone, to the second."""
    if timezone.is_aware(moment):
        moment = timezone.localtime(moment)
    return moment.strftime("%Y-%m-%d %H:%M:%S %Z").rstrip()
