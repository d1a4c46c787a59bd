"""lifespan_app as a Django app: the one module that connects its rooms."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from .engine.lifespan import Lifespan


def install(lifespan: Lifespan) -> None:
    """Put Django around a ``Lifespan``, once. It works without ``INSTALLED_APPS`` too."""
    from .integration.adapter import DjangoAdapter

    if isinstance(lifespan.adapter, DjangoAdapter):
        return
    from django.core.signals import got_request_exception

    from . import conf
    from .checks.at_start import SettingsMistakes
    from .engine.error_text import mask_with
    from .engine.reporting.failure import ANALYZERS
    from .integration.advice import explain_missing_state
    from .serving import wsgi_requests

    observers = lifespan.adapter.observers
    adapter = lifespan.adapter = DjangoAdapter()
    mask_with(adapter.masked)
    ANALYZERS.add("lifespan_app.integration.analyzers")
    adapter.observers = observers
    adapter.background.warn_at_first_request(lifespan)
    got_request_exception.connect(explain_missing_state, dispatch_uid="lifespan_app.missing_state")
    observers.append(SettingsMistakes())
    wsgi_requests.connect()
    if starts := os.environ.get(conf.STARTS_FILE):
        from .serving.startup_report import StartupReporter

        observers.append(StartupReporter(starts))
    # A setting of the wrong type is reported when a plan is opened, and by the checks.
    if not any(conf.wrong_types()) and (status_file := conf.get("STATUS_FILE")):
        from .health.status_file import StatusFile

        observers.append(StatusFile(status_file))


class SimpleLifespanConfig(AppConfig):
    """lifespan_app without autodiscovery, for projects that import their hooks by themselves."""

    name = "lifespan_app"
    verbose_name = _("Lifespan")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Put Django around the default ``Lifespan``, register the checks, attach the recorder."""
        from . import _boot, conf
        from .checks import system_checks  # noqa: F401  # registers them
        from .history.recording import boot
        from .history.recording.recorder import Recorder
        from .integration.default import lifespan
        from .leases.backend import DatabaseLeases

        install(lifespan)
        boot.times = _boot
        lifespan.adapter.leases = DatabaseLeases()
        observers = lifespan.adapter.observers
        if not any(isinstance(observer, Recorder) for observer in observers):
            observers.append(Recorder())
        if conf.get("ALERTS"):
            from .alerts import delivery

            delivery.connect()
        if conf.get("COMMANDS"):
            from .processes import commands

            commands.install()
        _boot["app_ready"] = time.time()


class LifespanConfig(SimpleLifespanConfig):
    """lifespan_app with the ``lifespan.py`` of every installed app imported."""

    default = True

    def ready(self) -> None:
        """Do the same as the simple config, and autodiscover."""
        super().ready()
        from . import _boot
        from .integration.autodiscover import autodiscover

        autodiscover()
        _boot["app_ready"] = time.time()
