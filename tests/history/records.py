"""Rows of the history, with nothing said that the test does not care for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.utils import timezone

from lifespan_app.models import LifespanRun, LifespanStep


def a_run(**values: Any) -> LifespanRun:
    """Write a run that is over."""
    now = timezone.now()
    given = {"mode": "server", "service_type": "app", "status": "stopped", "pid": 1}
    given |= {"uuid": uuid4(), "started_at": now, "last_seen_at": now}
    return LifespanRun.objects.create(**{**given, **values})


def a_step(run: LifespanRun, **values: Any) -> LifespanStep:
    """Write a step of a run that went well."""
    given = {"app_label": "books", "name": "shelf", "kind": "resource", "phase": "startup"}
    times = {"offset": timedelta(0), "duration": timedelta(milliseconds=3)}
    return LifespanStep.objects.create(**{"run": run, "outcome": "ok", **given, **times, **values})
