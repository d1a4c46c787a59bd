"""Recorded runs as they come about: one function a story, every column plausible.

Each returns the run that it has written, with its steps. `ago` is how long before now a run began,
in seconds; columns may be given by name.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from lifespan_app.history.reading.describe import BROKEN
from lifespan_app.models import (
    LIVE,
    LifespanRun,
    LifespanStep,
    Mode,
    Outcome,
    Phase,
    Readiness,
    Status,
)

RESOURCE, START, BACKGROUND = "resource", "start", "background"
HEARTBEAT = 30
KEY_ERROR: dict[str, Any] = {"exception": "KeyError", "error": "'isbn'"}
"""The error of a job that crashes."""

NO_NOTICES = """\
Traceback (most recent call last):
  File "/srv/shop/.venv/lib/python3.13/site-packages/httpx/_transports/default.py", line 101, in map_httpcore_exceptions
    yield
  File "/srv/shop/.venv/lib/python3.13/site-packages/httpcore/_async/connection_pool.py", line 256, in handle_async_request
    raise exc from None
httpcore.ConnectError: All connection attempts failed

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/shop/.venv/lib/python3.13/site-packages/lifespan_app/engine/life.py", line 88, in enter
    value = await manager.__aenter__()
  File "/srv/shop/notices/lifespan.py", line 14, in notice_board
    await board.notices()
  File "/srv/shop/notices/board.py", line 21, in notices
    answer = await self.client.get(self.url)
  File "/srv/shop/.venv/lib/python3.13/site-packages/httpx/_client.py", line 1768, in get
    return await self.request(
  File "/srv/shop/.venv/lib/python3.13/site-packages/httpx/_client.py", line 1540, in request
    return await self.send(request, auth=auth, follow_redirects=follow_redirects)
httpx.ConnectError: No notice service at http://127.0.0.1:9/notices.txt
"""

NO_DATABASE = """\
Traceback (most recent call last):
  File "/srv/shop/.venv/lib/python3.13/site-packages/lifespan_app/engine/life.py", line 88, in enter
    value = await manager.__aenter__()
  File "/srv/shop/library/lifespan.py", line 17, in http_client
    await client.get("ping")
  File "/usr/lib/python3.13/asyncio/tasks.py", line 507, in wait_for
    return await fut
ConnectionRefusedError: [Errno 111] Connect call failed ('10.0.4.2', 5432)
"""

HOSTILE = "<script>document.title='owned'</script>\"'><img src=x onerror=alert(1)> \u202eabc\u202c"


def seconds(number: float | None) -> timedelta | None:
    return None if number is None else timedelta(seconds=number)


def fingerprint_of(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def step(
    key: str,
    phase: str = Phase.STARTUP,
    *,
    at: float = 0.0,
    took: float = 0.1,
    outcome: str = Outcome.OK,
    **columns: Any,
) -> LifespanStep:
    """Return a step that is not written yet: it belongs to no run."""
    app_label, _, name = key.rpartition(".")
    values: dict[str, Any] = {
        "kind": RESOURCE,
        "file": f"{app_label.replace('.', '/')}/lifespan.py",
        "line": 12 + len(name),
        **columns,
    }
    if values.get("exception"):
        values.setdefault("fingerprint", fingerprint_of(key, values["exception"]))
    return LifespanStep(
        app_label=app_label,
        name=name,
        phase=phase,
        offset=timedelta(seconds=at),
        duration=timedelta(seconds=took),
        outcome=outcome,
        **values,
    )


def recorded(
    status: str, *, steps: Iterable[LifespanStep] = (), ago: float = 600, **columns: Any
) -> LifespanRun:
    """Write a run with these steps; what is not said fits its status."""
    now = timezone.now()
    steps = list(steps)
    began = now - timedelta(seconds=ago)
    identity = uuid.uuid4()
    up_after = columns.pop("up_after", 0.42)
    broken = [one for one in steps if one.outcome in BROKEN]
    first = next((one for one in steps if one.exception), None)
    in_startup = [one for one in steps if one.phase == Phase.STARTUP]
    slowest = max(in_startup, key=lambda one: one.duration, default=None)
    seen = now - timedelta(seconds=min(ago, 8))
    values: dict[str, Any] = {
        "uuid": identity,
        "short_id": str(identity)[:8],
        "launch": fingerprint_of("launch", str(identity)),
        "mode": Mode.SERVER,
        "service_type": "api",
        "environment": "production",
        "release": "1.8.2",
        "host": "web-1",
        "pid": 4100 + identity.int % 900,
        "process": "9f1c2c3e-1f6f-4c1c-a7a0-0d9f64f0f3f1:4026531836:183422",
        "server": "uvicorn 0.54.0",
        "python_version": "3.13.9",
        "django_version": "6.1.3",
        "boot": {"process": 4.31, "imported": 3.9, "app_ready": 1.2, "application": 0.7},
        "started_at": began,
        "ready_at": began + timedelta(seconds=up_after),
        "last_seen_at": seen,
        "startup_duration": seconds(up_after),
        "hooks_total": len({(one.app_label, one.name) for one in steps}),
        "hooks_failed": len({(one.app_label, one.name) for one in broken}),
        "slowest_hook": slowest.key if slowest else "",
    }
    if first is not None:
        values["error"] = f"{first.exception.rpartition('.')[2]}: {first.error}"
        values["error_class"] = first.exception.rpartition(".")[2][:100]
        values["fingerprint"] = first.fingerprint
    values |= columns
    if status in LIVE:
        values.setdefault("lost_after", values["last_seen_at"] + timedelta(seconds=3 * HEARTBEAT))
    run = LifespanRun.objects.create(status=status, **values)
    for one in steps:
        one.run = run
    LifespanStep.objects.bulk_create(steps, batch_size=500)
    return run


# Steps of a small shop


def started(names: Sequence[str] = ()) -> list[LifespanStep]:
    """Return the startup of three resources and a start function, and a job that runs."""
    return [
        step("library.http_client", took=0.03, on_critical_chain=True),
        step("library.bookshelf", took=0.012),
        step(
            "catalogue.index",
            at=0.03,
            took=0.31,
            needs=[["library.http_client", "needs"]],
            on_critical_chain=True,
            log=[
                [3.2, "INFO", "catalogue", "Reading 12,400 books"],
                [301.7, "WARNING", "catalogue.index", "14 books have no ISBN"],
            ],
        ),
        step(
            "search.warm_up",
            at=0.34,
            took=0.08,
            kind=START,
            needs=[["catalogue.index", "needs"], ["library.bookshelf", "declared"]],
            on_critical_chain=True,
        ),
        step("search.refresh", Phase.SERVING, took=0, kind=BACKGROUND, outcome=""),
        *(step(name) for name in names),
    ]


def stopped_hooks(**outcomes: str) -> list[LifespanStep]:
    """Return the shutdown of what `started` has started."""
    return [
        step("catalogue.index", Phase.SHUTDOWN, at=0.0, took=0.02, on_critical_chain=True),
        step("library.bookshelf", Phase.SHUTDOWN, at=0.0, took=0.004),
        step("library.http_client", Phase.SHUTDOWN, at=0.02, took=0.05, on_critical_chain=True),
    ]


def no_notices(**columns: Any) -> LifespanStep:
    return step(
        "notices.notice_board",
        **{
            "at": 0.03,
            "took": 0.21,
            "outcome": Outcome.FAILED,
            "exception": "httpx.ConnectError",
            "error": "No notice service at http://127.0.0.1:9/notices.txt",
            "traceback": NO_NOTICES,
            "needs": [["library.http_client", "needs"]],
            "log": [[180.4, "WARNING", "notices", "No answer from http://127.0.0.1:9/, once more"]],
            **columns,
        },
    )


# Runs, by what befell them


def healthy(**columns: Any) -> LifespanRun:
    return recorded(Status.SERVING, steps=started(), **columns)


def degraded(**columns: Any) -> LifespanRun:
    """Write a run that serves without an optional hook, and without one that needs it."""
    skipped = step(
        "notices.banner",
        at=0.24,
        took=0,
        outcome=Outcome.SKIPPED,
        kind=START,
        reason="it needs 'notices.notice_board', which failed",
        needs=[["notices.notice_board", "needs"]],
    )
    return recorded(Status.DEGRADED, steps=[*started(), no_notices(), skipped], **columns)


def startup_failed(**columns: Any) -> LifespanRun:
    """Write a run whose required HTTP client failed, with what was rolled back."""
    steps = [
        step("library.bookshelf", took=0.012),
        step("library.settings_file", took=0.002, kind=START),
        step(
            "library.http_client",
            took=0.2,
            outcome=Outcome.FAILED,
            on_critical_chain=True,
            exception="ConnectionRefusedError",
            error="[Errno 111] Connect call failed ('10.0.4.2', 5432)",
            traceback=NO_DATABASE,
        ),
        step(
            "catalogue.index",
            at=0.2,
            took=0,
            outcome=Outcome.SKIPPED,
            reason="the startup had already failed",
            needs=[["library.http_client", "needs"]],
        ),
        step("catalogue.prices", took=0.2, outcome=Outcome.CANCELLED),
        step("library.bookshelf", Phase.SHUTDOWN, took=0.004),
    ]
    ended = {"ready_at": None, "startup_duration": seconds(0.2), "shutdown_duration": seconds(0.01)}
    return recorded(
        Status.STARTUP_FAILED,
        steps=steps,
        **{"ended_by": "ConnectionRefusedError", **ended, **over(columns, 0.25), **columns},
    )


def timed_out(**columns: Any) -> LifespanRun:
    """Write a run whose index did not come up within its limit, and where it hung."""
    steps = [
        step("library.bookshelf", took=0.012),
        step(
            "catalogue.index",
            took=10.0,
            outcome=Outcome.TIMED_OUT,
            on_critical_chain=True,
            exception="lifespan_app.engine.errors.HookError",
            error=(
                "'catalogue.index' (catalogue/lifespan.py:17) did not start within its limit of "
                "10 s. It waits at catalogue/index.py:31 in read_all. Raise timeout= or "
                "LIFESPAN['HOOKS']['catalogue.index']['timeout']."
            ),
            waiting_at="catalogue/index.py:31 in read_all, in httpx/_client.py:1540 in request",
        ),
        step("library.bookshelf", Phase.SHUTDOWN, took=0.004),
    ]
    ended = {"ready_at": None, "startup_duration": seconds(10), "shutdown_duration": seconds(0.01)}
    return recorded(
        Status.STARTUP_FAILED,
        steps=steps,
        **{"ended_by": "HookError", **ended, **over(columns, 10.1), **columns},
    )


def stopped(**columns: Any) -> LifespanRun:
    return recorded(
        Status.STOPPED,
        steps=[*served(Outcome.CANCELLED), *stopped_hooks()],
        **{
            "ended_by": "lifespan.shutdown",
            "shutdown_duration": seconds(0.07),
            **over(columns, 500),
            **columns,
        },
    )


def shutdown_failed(**columns: Any) -> LifespanRun:
    """Write a run that served well, and one of whose hooks did not stop."""
    steps = [
        *served(Outcome.CANCELLED),
        step("catalogue.index", Phase.SHUTDOWN, took=0.02),
        step(
            "library.http_client",
            Phase.SHUTDOWN,
            at=0.02,
            took=5.0,
            outcome=Outcome.TIMED_OUT,
            on_critical_chain=True,
            exception="lifespan_app.engine.errors.HookError",
            error=(
                "'library.http_client' (library/lifespan.py:17) did not stop within its limit of "
                "5 s. Raise shutdown_timeout= or "
                "LIFESPAN['HOOKS']['library.http_client']['shutdown_timeout']."
            ),
            waiting_at="library/lifespan.py:28 in http_client, in httpcore/_async/pool.py:401 in aclose",
        ),
        step("library.bookshelf", Phase.SHUTDOWN, took=0.004),
    ]
    return recorded(
        Status.SHUTDOWN_FAILED,
        steps=steps,
        **{
            "ended_by": "lifespan.shutdown",
            "shutdown_duration": seconds(5.03),
            **over(columns, 500),
            **columns,
        },
    )


def crashed_job(**columns: Any) -> LifespanRun:
    """Write a run that serves, degraded, since a background job of it has crashed."""
    crash = of_job(
        Outcome.CRASHED,
        182.0,
        **KEY_ERROR,
        traceback=(
            "Traceback (most recent call last):\n"
            '  File "/srv/shop/search/lifespan.py", line 44, in refresh\n'
            "    books[row['isbn']] = row\n"
            "KeyError: 'isbn'\n"
        ),
    )
    return recorded(Status.DEGRADED, steps=[*started()[:-1], crash], **columns)


def lost(**columns: Any) -> LifespanRun:
    """Write a run that fell silent, and that a later start has found to be lost."""
    ago = columns.setdefault("ago", 9_000)
    seen = timezone.now() - timedelta(seconds=ago / 3)
    return recorded(
        Status.LOST,
        steps=started(),
        **{
            "last_seen_at": seen,
            "lost_after": seen + timedelta(seconds=90),
            **columns,
        },
    )


def silent(**columns: Any) -> LifespanRun:
    """Write a run that is lost by the clock; the record still says that it serves."""
    seen = timezone.now() - timedelta(seconds=400)
    values = {"last_seen_at": seen, "lost_after": seen + timedelta(seconds=90)}
    return recorded(Status.SERVING, steps=started(), **{"ago": 4_000, **values, **columns})


def starting(**columns: Any) -> LifespanRun:
    """Write a run whose index is still starting, and where it was last seen waiting."""
    steps = [
        step("library.bookshelf", took=0.012),
        step(
            "catalogue.index",
            at=0.03,
            took=6.1,
            outcome="",
            waiting_at="catalogue/index.py:31 in read_all, in httpx/_client.py:1540 in request",
        ),
    ]
    values = {"ready_at": None, "startup_duration": None, "ago": 7}
    return recorded(Status.STARTING, steps=steps, **{**values, **columns})


def stopping(**columns: Any) -> LifespanRun:
    now = timezone.now()
    return recorded(
        Status.STOPPING,
        steps=[*served(Outcome.CANCELLED), *stopped_hooks()[:2]],
        **{"stopping_at": now - timedelta(seconds=2), "ended_by": "lifespan.shutdown", **columns},
    )


def with_many_hooks(count: int = 3_000, **columns: Any) -> LifespanRun:
    """Write a run of so many hooks; one of them has failed."""
    steps = [
        step(
            f"plugins_{number % 12}.hook_{number}",
            at=(number % 50) * 0.004,
            took=0.002 + (number % 97) * 0.0001,
            kind=START,
            on_critical_chain=number % 700 == 0,
        )
        for number in range(count - 1)
    ]
    return recorded(Status.DEGRADED, steps=[*steps, no_notices(at=0.2)], **columns)


def launch(workers: int = 4, **columns: Any) -> list[LifespanRun]:
    """Write the runs of one start of a server: one a worker."""
    identity = fingerprint_of("launch", uuid.uuid4().hex)
    return [healthy(**{"launch": identity, "pid": 5_001 + n, **columns}) for n in range(workers)]


def hostile(text: str = HOSTILE, **columns: Any) -> LifespanRun:
    """Write a run that has such a text wherever somebody could have put one."""
    broken = step(
        "library.http_client",
        outcome=Outcome.FAILED,
        exception=f"shop.{text}"[:255],
        error=text,
        traceback=f'Traceback (most recent call last):\n  File "{text}", line 1, in {text}\n    {text}\nshop.Error: {text}\n',
        waiting_at=f"{text}:1 in {text}",
        reason=text,
        log=[[1.0, text, text, text]],
        file=text[:500],
    )
    broken.app_label, broken.name = f"app{text}"[:100], text[:200]
    broken.needs = [[broken.key, text]]
    return recorded(
        Status.STARTUP_FAILED,
        steps=[broken],
        **{
            "service_type": text[:64],
            "environment": text[:64],
            "release": text[:128],
            "host": text[:255],
            "server": text[:64],
            "ended_by": text[:200],
            "error": text,
            "slowest_hook": broken.key[:320],
            "ready_at": None,
            **over(columns, 1),
            **columns,
        },
    )


def of_every_status() -> dict[str, LifespanRun]:
    """Write a run of every kind, and return them by their story."""
    runs = {
        "stopped": stopped(ago=15_000, release="1.8.2"),
        "shutdown_failed": shutdown_failed(ago=14_000, release="1.8.2"),
        "lost": lost(host="web-3"),
        "silent": silent(host="web-4", service_type="worker"),
        "timed_out": timed_out(ago=1_700),
        "startup_failed_before": startup_failed(ago=900),
        "startup_failed": startup_failed(ago=840, host="web-2"),
        "healthy": healthy(ago=780),
        "crashed_job": crashed_job(service_type="worker", server="", ago=760),
        "degraded": degraded(ago=300, host="web-2"),
        "restarting_job": restarting_job(service_type="worker", ago=290),
        "not_ready": not_ready(ago=280, host="web-2"),
        "stopping": stopping(ago=3_000),
        "starting": starting(host="web-2"),
        "reload": stopped(mode=Mode.RELOAD, ago=400, host="laptop"),
        "check": stopped(mode=Mode.CHECK, ago=300, host="ci"),
    }
    for number, run in enumerate(launch(4, ago=200, host="web-1", release="1.9.0"), start=1):
        runs[f"worker_{number}"] = run
    return runs


# What several of them have in common


def served(job: str) -> list[LifespanStep]:
    """Return the steps of a startup and a service that is over, with how its job has ended."""
    steps = started()
    steps[-1].outcome = job
    steps[-1].duration = timedelta(seconds=499)
    return steps


def of_job(outcome: str, took: float, **columns: Any) -> LifespanStep:
    """Return the step of a job that has gone wrong."""
    named = {"kind": BACKGROUND, "outcome": outcome, **columns}
    return step("search.refresh", Phase.SERVING, took=took, **named)


def stalled_job(**columns: Any) -> LifespanRun:
    """Write a run that serves, degraded, since a background job of it gives no sign of life."""
    stall = of_job(
        Outcome.STALLED,
        300.0,
        reason="no beat() has come for 300 s",
        waiting_at="search/lifespan.py:44",
    )
    return recorded(Status.DEGRADED, steps=[*started()[:-1], stall], **columns)


def job(key: str, state: str, **columns: Any) -> dict[str, Any]:
    """Return a background job as the column `jobs` has it; times are in seconds from now."""
    times = {
        name: None
        if (at := columns.pop(name, None)) is None
        else (datetime.now(UTC) + timedelta(seconds=at)).isoformat(timespec="milliseconds")
        for name in ("last_crash_at", "last_success_at", "next_at")
    }
    values = {"reason": "", "every": None, "rounds": 1, "crashes": 0, "last_crash": ""}
    return {"key": key, "state": state, **values, "leads": False, **times, **columns}


def restarting_job(**columns: Any) -> LifespanRun:
    """Write a run that serves, degraded, since a job of it has crashed 36 times and begins again."""
    crash = of_job(Outcome.CRASHED, 0.3, **KEY_ERROR, attempt=36)
    jobs = [
        job(
            "search.refresh",
            "crashed",
            rounds=36,
            crashes=36,
            last_crash="KeyError: 'isbn'",
            last_crash_at=-18,
            next_at=42.5,
        ),
        job("search.sweep", "waiting", every=60, rounds=10, last_success_at=-12, next_at=48.4),
    ]
    return recorded(Status.DEGRADED, steps=[*started()[:-1], crash], **{"jobs": jobs, **columns})


def not_ready(**columns: Any) -> LifespanRun:
    """Write a run that serves, and is not ready, since the check of a required resource fails."""
    values = {
        "readiness": Readiness.CHECK_FAILED,
        "readiness_since": timezone.now() - timedelta(seconds=90),
        "readiness_reason": "library.http_client: check failed: ConnectionError: refused",
    }
    return recorded(Status.NOT_READY, steps=started(), **{**values, **columns})


def over(columns: dict[str, Any], after: float) -> dict[str, Any]:
    """Return when a run was over that ended so many seconds after its begin."""
    ended = timezone.now() - timedelta(seconds=columns.get("ago", 600) - after)
    return {"stopping_at": ended, "stopped_at": ended, "last_seen_at": ended}


STORIES = {
    write.__name__: write
    for write in (
        healthy,
        degraded,
        startup_failed,
        timed_out,
        stopped,
        shutdown_failed,
        crashed_job,
        stalled_job,
        restarting_job,
        not_ready,
        lost,
        silent,
        starting,
        stopping,
        with_many_hooks,
        hostile,
    )
}
"""What writes a run, by its name."""
