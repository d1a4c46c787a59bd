"""The health of a process, by HTTP: ``path("", include("lifespan_app.urls"))``."""

from __future__ import annotations

from django.urls import path

from . import health

app_name = "lifespan_app"

urlpatterns = [
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("startupz", health.startupz, name="startupz"),
]
