"""The models of the history: runs and their steps; and leases.

The indexes serve a million runs and some millions of steps, on SQLite, PostgreSQL and MariaDB. They
have plain columns only, since Django ignores conditions on MariaDB
(https://docs.djangoproject.com/en/stable/ref/models/indexes/#condition). Each ends with the start and
the primary key of a run, so the newest rows are read from the end of an index, without sorting or
counting. The primary key alone is not enough: a run that is imported late has a high one.

* status, service type, mode or fingerprint, newest first: for pages and commands;
* short id, process id or class of the error: for searches;
* host or release, by value or prefix: for searches. PostgreSQL needs operator classes for prefixes,
  which Django ignores on other databases
  (https://www.postgresql.org/docs/current/indexes-opclass.html);
* launch: for the other workers of a server;
* status with ``lost_after``: for the search for lost runs at each start. Only running processes have
  one of these statuses, so few rows match;
* ``started_at``: for the newest of all, for pruning and for the filter by time;
* ``quiet_until`` of alerts: for pruning. The unique constraint finds the one of a change;
* app label, name and primary key of steps: for the newest runs of a hook. The steps of a run are
  found by the index of the foreign key.

A column that is added after 0.1 is nullable or has a ``db_default``: in a rolling deployment, processes
of the version before insert rows without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, Self

from django.core.checks import CheckMessage
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from . import conf


class Mode(models.TextChoices):
    """The kind of process or call that made a run."""

    SERVER = "server", _("server")
    RELOAD = "reload", _("reloading development server")
    COMMAND = "command", _("command")
    CHECK = "check", _("check")
    THREAD = "thread", _("background thread")
    TEST = "test", _("test")


class Status(models.TextChoices):
    """The recorded state of a run.

    A process that has started is ``not_ready`` while ``readyz`` answers 503.
    """

    STARTING = "starting", _("starting")
    SERVING = "serving", _("serving")
    DEGRADED = "degraded", _("degraded")
    NOT_READY = "not_ready", _("not ready")
    STOPPING = "stopping", _("stopping")
    STOPPED = "stopped", _("stopped")
    STARTUP_FAILED = "startup_failed", _("startup failed")
    SHUTDOWN_FAILED = "shutdown_failed", _("shutdown failed")
    LOST = "lost", _("lost")


OF_DEVELOPMENT = (Mode.RELOAD, Mode.CHECK, Mode.TEST)
"""The modes of processes that are often killed, and say nothing about those that serve."""

LIVE = (
    Status.STARTING,
    Status.SERVING,
    Status.DEGRADED,
    Status.NOT_READY,
    Status.STOPPING,
)
"""The statuses of a running process."""

FAILED = (Status.STARTUP_FAILED, Status.SHUTDOWN_FAILED)

SHORT_ID = 8
"""The number of digits of a run's id that pages and log lines show."""


class Readiness(models.TextChoices):
    """Readiness for requests, or the reason against it: the word of ``readyz``."""

    OK = "ok", _("ready")
    DEGRADED = "degraded", _("ready, degraded")
    STARTING = "starting", _("starting")
    WARMING_UP = "warming_up", _("warming up")
    WARM_UP_FAILED = "warm_up_failed", _("warm-up failed")
    CRASHED = "crashed", _("crashed")
    CHECK_FAILED = "check_failed", _("check failed")
    STOPPING = "stopping", _("stopping")
    STOPPED = "stopped", _("stopped")


class Phase(models.TextChoices):
    """The part of a run that a step belongs to."""

    STARTUP = "startup", _("startup")
    SERVING = "serving", _("serving")
    SHUTDOWN = "shutdown", _("shutdown")


class Outcome(models.TextChoices):
    """The result of a step."""

    OK = "ok", _("ok")
    FAILED = "failed", _("failed")
    TIMED_OUT = "timed_out", _("timed out")
    CANCELLED = "cancelled", _("cancelled")
    SKIPPED = "skipped", _("skipped")
    CRASHED = "crashed", _("crashed")
    STALLED = "stalled", _("stalled")
    ABANDONED = "abandoned", _("abandoned")
    FINISHED = "finished", _("finished")


class InHistory(models.Manager[Any]):
    """A manager that uses ``HISTORY_DATABASE``, independent of the project's routers."""

    def get_queryset(self) -> models.QuerySet[Any]:
        """Return all rows of the history's database."""
        return super().get_queryset().using(conf.get("HISTORY_DATABASE"))


class RunQuerySet(models.QuerySet["LifespanRun"]):
    """Runs, with the filters of pages and commands.

    A run without heartbeats counts as lost as soon as ``lost_after`` has passed, before its row has
    the status.
    """

    def live(self, now: datetime | None = None) -> Self:
        """Return the runs of running processes: starting, serving, degraded or stopping."""
        return self.filter(on_time(now), status__in=LIVE)

    def serving(self, now: datetime | None = None) -> Self:
        """Return the runs that are serving or degraded."""
        return self.filter(on_time(now), status__in=(Status.SERVING, Status.DEGRADED))

    def failed(self) -> Self:
        """Return the runs with a failed startup or shutdown."""
        return self.filter(status__in=FAILED)

    def lost(self, now: datetime | None = None) -> Self:
        """Return the lost runs."""
        return self.filter(Q(status=Status.LOST) | overdue(now))

    def silent(self, now: datetime | None = None) -> Self:
        """Return the runs that are lost by the clock, but have another status in their row."""
        return self.filter(overdue(now))

    def of_launch(self, launch: str) -> Self:
        """Return the runs of one server start; none for an empty string."""
        return self.filter(launch=launch) if launch else self.none()


def on_time(now: datetime | None) -> Q:
    """Return the condition that a run's next heartbeat is not overdue, or not expected."""
    return Q(lost_after__isnull=True) | Q(lost_after__gte=now or timezone.now())


def overdue(now: datetime | None) -> Q:
    """Return the condition that a run has not ended, and its next heartbeat is overdue."""
    return Q(status__in=LIVE, lost_after__lt=now or timezone.now())


def is_overdue(status: str, lost_after: datetime | None, now: datetime | None = None) -> bool:
    """Return True if these are values of a run of which ``overdue()`` holds."""
    return status in LIVE and lost_after is not None and lost_after < (now or timezone.now())


class PlainData(models.JSONField):
    """A JSON field with checks that send no query.

    Django's field connects to SQLite to check for JSON support, from Django 6.1 on in each ``check``,
    which creates the file (db/models/fields/json.py, ``JSONField._check_supported``). Check W008
    reports problems instead.
    """

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Return the results of the checks without a database."""
        return super().check(**{**kwargs, "databases": ()})

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """Return Django's own field, for migrations."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs


class LifespanRun(models.Model):
    """One start, service and stop of one process."""

    id = models.BigAutoField(primary_key=True)
    uuid = models.UUIDField(_("UUID"), unique=True)
    # A column of its own, as MariaDB sorts UUIDs by their last digits:
    # https://mariadb.com/docs/server/reference/data-types/string-data-types/uuid-data-type
    short_id = models.CharField(_("id"), max_length=SHORT_ID, blank=True, default="", db_default="")
    launch = models.CharField(_("launch"), max_length=64, blank=True)
    mode = models.CharField(_("mode"), max_length=16, choices=Mode)
    service_type = models.CharField(_("service type"), max_length=64)
    environment = models.CharField(_("environment"), max_length=64, blank=True)
    release = models.CharField(_("release"), max_length=128, blank=True)
    status = models.CharField(_("status"), max_length=16, choices=Status)
    ended_by = models.CharField(_("ended by"), max_length=200, blank=True)
    host = models.CharField(_("host"), max_length=255, blank=True)
    pid = models.PositiveBigIntegerField(_("process id"))
    process = models.CharField(_("process"), max_length=128, blank=True)
    server = models.CharField(_("server"), max_length=64, blank=True)
    python_version = models.CharField(_("Python"), max_length=32, blank=True)
    django_version = models.CharField(_("Django"), max_length=32, blank=True)
    boot = PlainData(_("before the hooks"), default=dict, db_default={}, blank=True)
    started_at = models.DateTimeField(_("started"))
    ready_at = models.DateTimeField(_("ready"), null=True, blank=True)
    stopping_at = models.DateTimeField(_("stopping"), null=True, blank=True)
    stopped_at = models.DateTimeField(_("stopped"), null=True, blank=True)
    readiness = models.CharField(
        _("readiness"), max_length=16, choices=Readiness, blank=True, default="", db_default=""
    )
    readiness_since = models.DateTimeField(_("readiness since"), null=True, blank=True)
    readiness_reason = models.TextField(
        _("reason of the readiness"), blank=True, default="", db_default=""
    )
    jobs = PlainData(_("background jobs"), default=list, db_default=[], blank=True)
    last_seen_at = models.DateTimeField(_("last seen"))
    lost_after = models.DateTimeField(_("lost after"), null=True, blank=True)
    startup_duration = models.DurationField(_("startup time"), null=True, blank=True)
    shutdown_duration = models.DurationField(_("shutdown time"), null=True, blank=True)
    loop_blocks = models.PositiveIntegerField(_("event loop blocked"), default=0, db_default=0)
    longest_block = models.DurationField(_("longest block"), null=True, blank=True)
    hooks_total = models.PositiveIntegerField(_("hooks"), default=0)
    hooks_failed = models.PositiveIntegerField(_("hooks failed"), default=0)
    slowest_hook = models.CharField(_("slowest hook"), max_length=320, blank=True)
    error = models.TextField(_("error"), blank=True)
    error_class = models.CharField(
        _("class of the error"), max_length=100, blank=True, default="", db_default=""
    )
    fingerprint = models.CharField(_("fingerprint"), max_length=32, blank=True)
    left_out = PlainData(_("left out by LIFESPAN_SKIP"), default=list, db_default=[], blank=True)
    recorded_late = models.BooleanField(_("recorded late"), default=False)

    objects = InHistory.from_queryset(RunQuerySet)()

    class Meta:
        ordering: ClassVar = ["-started_at", "-id"]
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        indexes: ClassVar = [
            models.Index(fields=["started_at", "id"], name="lifespan_run_started"),
            models.Index(fields=["launch", "started_at", "id"], name="lifespan_run_launch"),
            models.Index(fields=["mode", "started_at", "id"], name="lifespan_run_mode"),
            models.Index(
                fields=["service_type", "started_at", "id"], name="lifespan_run_service_type"
            ),
            models.Index(fields=["status", "started_at", "id"], name="lifespan_run_status"),
            models.Index(fields=["short_id"], name="lifespan_run_short_id"),
            models.Index(fields=["pid", "started_at", "id"], name="lifespan_run_pid"),
            models.Index(fields=["error_class", "started_at", "id"], name="lifespan_run_error"),
            models.Index(fields=["status", "lost_after"], name="lifespan_run_lost_after"),
            # For prefixes, see above.
            models.Index(
                fields=["host", "started_at", "id"],
                name="lifespan_run_host",
                opclasses=["varchar_pattern_ops", "timestamptz_ops", "int8_ops"],
            ),
            models.Index(
                fields=["release", "started_at", "id"],
                name="lifespan_run_release",
                opclasses=["varchar_pattern_ops", "timestamptz_ops", "int8_ops"],
            ),
            models.Index(
                fields=["fingerprint", "started_at", "id"], name="lifespan_run_fingerprint"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.service_type} {self.shown_id}"

    @property
    def shown_id(self) -> str:
        """The first digits of its UUID, as pages and log lines show it. Version 0.1 has no ``short_id``."""
        return str(self.uuid)[:SHORT_ID]

    @property
    def is_over(self) -> bool:
        """True if the run has a recorded end."""
        return self.status not in LIVE

    def is_lost(self, now: datetime | None = None) -> bool:
        """Return True if the run is lost."""
        return self.status == Status.LOST or is_overdue(self.status, self.lost_after, now)

    def status_at(self, now: datetime | None = None) -> Status:
        """Return the status at a time: the recorded one, or lost if the heartbeat is overdue."""
        return Status.LOST if self.is_lost(now) else Status(self.status)


class LifespanAlert(models.Model):
    """An alert that was sent, so that no other process sends the same one within an hour."""

    id = models.BigAutoField(primary_key=True)
    change = models.CharField(_("change"), max_length=16)
    environment = models.CharField(_("environment"), max_length=64, blank=True)
    service_type = models.CharField(_("service type"), max_length=64)
    fingerprint = models.CharField(_("fingerprint"), max_length=32, blank=True)
    quiet_until = models.DateTimeField(_("quiet until"), db_index=True)

    objects = InHistory()

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["change", "environment", "service_type", "fingerprint"],
                name="lifespan_alert_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.service_type} {self.change}"


class LifespanStep(models.Model):
    """One hook in one phase of one run."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(
        LifespanRun, models.CASCADE, related_name="steps", verbose_name=_("run")
    )
    app_label = models.CharField(_("app"), max_length=100)
    name = models.CharField(_("name"), max_length=200)
    kind = models.CharField(_("kind"), max_length=16)
    phase = models.CharField(_("phase"), max_length=16, choices=Phase)
    priority = models.IntegerField(_("priority"), default=0)
    required = models.BooleanField(_("required"), null=True, blank=True)
    """None: it was recorded by version 0.1, which has neither this column nor ``timeout``."""
    timeout = models.FloatField(_("time limit"), null=True, blank=True)
    """The hook's own limit in this phase, in seconds; None: it has none."""
    attempt = models.PositiveIntegerField(_("attempt"), default=1)
    offset = models.DurationField(_("started at"))
    duration = models.DurationField(_("duration"))
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome, blank=True)
    reason = models.TextField(_("reason"), blank=True)
    needs = PlainData(_("needs"), default=list, blank=True)
    on_critical_chain = models.BooleanField(_("on the longest chain"), default=False)
    file = models.CharField(_("file"), max_length=500, blank=True)
    line = models.PositiveIntegerField(_("line"), default=0)
    exception = models.CharField(_("exception"), max_length=255, blank=True)
    error = models.TextField(_("error"), blank=True)
    cause = models.TextField(_("cause"), blank=True, default="", db_default="")
    action = models.TextField(_("what to do"), blank=True, default="", db_default="")
    traceback = models.TextField(_("traceback"), blank=True)
    fingerprint = models.CharField(_("fingerprint"), max_length=32, blank=True)
    waiting_at = models.TextField(_("waiting at"), blank=True)
    log = PlainData(_("log"), default=list, blank=True)
    errors = PlainData(_("errors of the attempts"), default=list, db_default=[], blank=True)

    objects = InHistory()

    class Meta:
        ordering: ClassVar = ["id"]
        verbose_name = _("step")
        verbose_name_plural = _("steps")
        indexes: ClassVar = [
            models.Index(fields=["app_label", "name", "id"], name="lifespan_step_hook"),
        ]

    def __str__(self) -> str:
        return f"{self.key} {self.phase}"

    @property
    def explanation(self) -> str:
        """The cause; empty if the error begins with it, as that of a time limit does."""
        return "" if self.error.startswith(self.cause) else self.cause

    @property
    def key(self) -> str:
        """The hook's key."""
        return f"{self.app_label}.{self.name}"


class LifespanLease(models.Model):
    """The lease of one hook that runs once: who has it, and how its start function has ended.

    Times are microseconds since 1970 by the clock of the database, never that of a process. Rows are not
    deleted with the runs: the success of a start function counts for its key forever.
    """

    id = models.CharField(primary_key=True, max_length=32)
    """A hash of hook, ``once``, value and environment."""
    hook = models.CharField(_("hook"), max_length=320)
    once = models.CharField(_("once"), max_length=16)
    value = models.CharField(_("value"), max_length=255, blank=True)
    environment = models.CharField(_("environment"), max_length=64, blank=True)
    holder = models.CharField(_("holder"), max_length=32, blank=True)
    host = models.CharField(_("host"), max_length=255, blank=True)
    pid = models.PositiveBigIntegerField(_("process id"), default=0)
    number = models.BigIntegerField(_("number"), default=0)
    since = models.BigIntegerField(_("since"), default=0)
    until = models.BigIntegerField(_("until"), default=0)
    succeeded_at = models.BigIntegerField(_("succeeded"), null=True, blank=True)
    failed_number = models.BigIntegerField(_("number of the failure"), default=0)
    error = models.TextField(_("error"), blank=True)

    objects = InHistory()

    now: int
    """The time of the database when the row was read (``leases.rows.look``)."""

    class Meta:
        ordering: ClassVar = ["hook", "id"]
        verbose_name = _("lease")
        verbose_name_plural = _("leases")

    def __str__(self) -> str:
        scope = f"{self.once} {self.value}".strip()
        return ", ".join(word for word in (self.hook, scope, self.environment) if word)
