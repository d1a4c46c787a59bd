"""No URLs: a test that needs views brings its own with `settings.ROOT_URLCONF`."""

from __future__ import annotations

urlpatterns: list[object] = []
