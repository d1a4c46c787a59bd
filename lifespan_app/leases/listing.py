"""The list of leases, for the admin and ``showlifespan --leases``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet, TextChoices
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from lifespan_app.history.recording.clock import Clock
from lifespan_app.models import LifespanLease

from .rows import moment


class State(TextChoices):
    """The state of a lease."""

    HELD = "held", _("held")
    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    FREE = "free", _("free")


def all_leases() -> QuerySet[LifespanLease]:
    """Return all leases, each with the time of the database as ``now``."""
    leases: QuerySet[LifespanLease] = LifespanLease.objects.annotate(now=Clock())
    return leases


def state(lease: LifespanLease) -> State:
    """Return the state of a lease of ``all_leases``."""
    if lease.succeeded_at is not None:
        return State.SUCCEEDED
    if lease.until > lease.now:
        return State.HELD
    return State.FAILED if lease.failed_number == lease.number > 0 else State.FREE


def since(lease: LifespanLease) -> datetime | None:
    """Return the time of the success of its start function, else that of its last holder's claim; or None."""
    at = lease.succeeded_at or lease.since
    return moment(at) if at else None


def process(lease: LifespanLease) -> str:
    """Return the process that holds it, or held it last."""
    return f"{lease.host} {gettext('pid %d') % lease.pid}" if lease.number else ""


def document(lease: LifespanLease) -> dict[str, Any]:
    """Return a lease as data for JSON."""
    at = since(lease)
    return {
        "id": lease.pk,
        "hook": lease.hook,
        "once": lease.once,
        "value": lease.value,
        "environment": lease.environment,
        "state": str(state(lease)),
        "host": lease.host,
        "pid": lease.pid,
        "number": lease.number,
        "since": None if at is None else at.isoformat(),
        "error": lease.error,
    }
