"""lifespan_app as a Django app."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SimpleLifespanConfig(AppConfig):
    """lifespan_app without autodiscovery, for projects that import their hooks by themselves."""

    name = "lifespan_app"
    verbose_name = _("Lifespan")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Put Django around the default ``Lifespan``, register the checks, attach the recorder."""
        from .checks import system_checks  # noqa: F401  # registers them
        from .history.recording.recorder import Recorder
        from .integration.adapter import install
        from .integration.default import lifespan

        install(lifespan)
        observers = lifespan.host.observers
        if not any(isinstance(observer, Recorder) for observer in observers):
            observers.append(Recorder())


class LifespanConfig(SimpleLifespanConfig):
    """lifespan_app with the ``lifespan.py`` of every installed app imported."""

    default = True

    def ready(self) -> None:
        """Do what the simple config does, and autodiscover."""
        super().ready()
        from .integration.autodiscover import autodiscover

        autodiscover()
