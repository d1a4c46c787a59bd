"""The health of a process, by HTTP: ``path("", include("lifespan_app.urls"))``."""

from __future__ import annotations

from django.urls import path

from .health import views

app_name = "lifespan_app"

urlpatterns = [
    path("livez", views.livez, name="livez"),
    path("readyz", views.readyz, name="readyz"),
    path("startupz", views.startupz, name="startupz"),
]
