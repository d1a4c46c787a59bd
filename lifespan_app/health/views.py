"""The health of a process, for its platform: the views of ``lifespan_app.urls``.

The answer for everybody is one word. Names of hooks and their errors are for users who
may view runs in the admin.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from django.contrib.auth.decorators import login_not_required
from django.db import connections
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from lifespan_app.engine.errors import NotRunning
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.report import (
    NOT_STARTED,
    READY,
    Readiness,
)
from lifespan_app.engine.running.current import get_running_run
from lifespan_app.engine.running.portal import send
from lifespan_app.engine.running.run import Run
from lifespan_app.engine.wording import count, time_taken
from lifespan_app.integration.default import lifespan
from lifespan_app.probe import printable

from .status_file import pending_of

PERMISSION = "lifespan_app.view_lifespanrun"
"""Its holders see runs in the admin, with the same details as here."""
NOT_RUNNING = "not_running"
"""The reason in a process without a run."""

V = TypeVar("V", bound=Callable[..., Any])


def for_platforms(view: V) -> V:
    """Make a view that platforms may ask without a login, a transaction or a cache."""
    made: V = login_not_required(never_cache(require_safe(view)))
    # Without an alias, it is about the default database only; each may have ATOMIC_REQUESTS.
    for alias in connections.settings:
        made = non_atomic_requests(using=alias)(made)
    return made


@for_platforms
def livez(request: HttpRequest) -> HttpResponse:
    """Answer 200: a process that answers is alive. One that does not should be restarted.

    It is no async view: under WSGI one needs the loop of the plan, and livez must not open that.
    """
    return in_format(request, {"status": 200, "reason": str(Readiness.OK)})


@for_platforms
async def startupz(request: HttpRequest) -> HttpResponse:
    """Answer 200 from when everything has come up, 503 before."""
    run = find_run(request)
    if run is None:
        return await answer(request, NOT_RUNNING, None, is_well=False)
    reason = run.readiness
    is_up = reason not in NOT_STARTED
    return await answer(request, Readiness.OK if is_up else reason, run, is_well=is_up)


@for_platforms
async def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 while requests may come, 503 while they should not, with the reason."""
    run = find_run(request)
    if run is None:
        return await answer(request, NOT_RUNNING, None, is_well=False)
    await check(run)
    reason = run.readiness
    return await answer(request, reason, run, is_well=reason in READY)


def find_run(request: HttpRequest | None) -> Run | None:
    """Return the run that a request is served by, or that the process has; None without one."""
    try:
        run: Run = get_running_run(lifespan, "The health", request, or_ended=True)
    except NotRunning:
        return None
    return None if run.inherited else run


async def check(run: Run) -> None:
    """Run the health checks of a run's resources, on the run's loop."""
    if asyncio.get_running_loop() is run.loop:
        await run.check()
    elif run.loop.is_running():
        await asyncio.wrap_future(send(run.check(), run.loop, contextvars.Context()))


async def answer(
    request: HttpRequest, reason: str, run: Run | None, *, is_well: bool
) -> HttpResponse:
    """Answer as JSON or as text, as the request accepts."""
    status = 200 if is_well else 503
    body: dict[str, Any] = {"status": status, "reason": str(reason)}
    if run is not None and await may_see(request):
        body |= details(run)
    return in_format(request, body)


def in_format(request: HttpRequest, body: dict[str, Any]) -> HttpResponse:
    """Return the details as JSON or as text, as the request accepts."""
    status = body["status"]
    if request.get_preferred_type(["text/plain", "application/json"]) == "application/json":
        return JsonResponse(body, status=status)
    text = "\n".join([body["reason"], *lines_of(body)])
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")


async def may_see(request: HttpRequest) -> bool:
    """Return True if the user may see the names and errors of hooks."""
    if not hasattr(request, "auser"):
        return False
    try:
        user = await request.auser()
        return bool(await user.ahas_perm(PERMISSION))
    except Exception as error:
        # Without a database the answer is still useful.
        logger.debug("The user of a health request can't be read.", error=error)
        return False


def details(run: Run) -> dict[str, Any]:
    """Return the details for users who may view runs."""
    report = run.report()
    return {
        "run": report.uuid,
        "service_type": report.service_type,
        "pending": pending_of(report),
        "troubles": [trouble._asdict() for trouble in report.unwell],
        "jobs": [job.as_json() for job in report.jobs],
        "loop": {"blocks": report.loop_blocks, "longest": round(report.longest_block, 3)},
    }


def lines_of(body: dict[str, Any]) -> Iterator[str]:
    """Yield the details as text, one line for each hook."""
    for pending in body.get("pending", ()):
        progress = f": {pending['progress']:.0%}" if pending["progress"] is not None else ""
        doing = f", {pending['doing']}" if pending["doing"] else ""
        yield f"{pending['hook']}: pending for {time_taken(pending['seconds'])}{progress}{printable(doing)}"
    for trouble in body.get("troubles", ()):
        yield f"{trouble['hook']}: {trouble['what']}: {printable(trouble['error'])}"
    if (loop := body.get("loop", {})).get("blocks"):
        blocks = count(loop["blocks"], "time")
        yield f"event loop: blocked {blocks}, for {time_taken(loop['longest'])} at most"
    for job in body.get("jobs", ()):
        yield printable(f"{job['key']}: {'; '.join(facts_of(job))}")


def facts_of(job: dict[str, Any]) -> Iterator[str]:
    """Yield the facts of a job, in parts of a line."""
    yield f"{job['state']}: {job['reason']}" if job["reason"] else str(job["state"])
    if job["leads"]:
        yield "leads"
    if job["every"] is not None:
        yield count(job["rounds"], "round")
    if job["crashes"]:
        crashes = count(job["crashes"], "crash", "crashes")
        yield f"{crashes}, last at {job['last_crash_at']}: {job['last_crash']}"
    if job["next_at"]:
        yield f"next at {job['next_at']}"
