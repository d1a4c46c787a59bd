"""What the templates of the admin's pages load, by the name that they load it by.

Django imports this module for the templates of every project that has lifespan_app, also of one
without the admin, where there is nothing to load.
"""

from __future__ import annotations

from django import template
from django.apps import apps

if apps.is_installed("django.contrib.admin"):
    from lifespan_app.admin.tags import register
else:
    register = template.Library()

__all__ = ["register"]
