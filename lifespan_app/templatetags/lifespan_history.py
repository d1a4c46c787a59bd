"""The tag library of the admin pages.

Django imports every tag library of the installed apps, also without the admin; then it is empty
(Django 5.2, template/backends/django.py, ``get_installed_libraries``).
"""

from __future__ import annotations

from django import template
from django.apps import apps

if apps.is_installed("django.contrib.admin"):
    from lifespan_app.admin.tags import register
else:
    register = template.Library()

__all__ = ["register"]
