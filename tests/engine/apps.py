"""Hooks of apps that are only names: where a function is written, and which app that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from lifespan_app.engine.adapter import Adapter

F = TypeVar("F", bound=Callable[..., Any])


class HostWithApps(Adapter):
    """Label ``shop.lifespan`` as Django does once ``shop`` is installed; other modules are none."""

    def app_label(self, module: str) -> str | None:
        """Return the label of the app that a module called ``lifespan`` is in."""
        app, _, name = module.rpartition(".")
        return app.rpartition(".")[2] if name == "lifespan" else None


def written_in(module: str) -> Callable[[F], F]:
    """Return a decorator that makes a function look as if it were written in ``module``."""

    def place(function: F) -> F:
        function.__module__ = module
        return function

    return place
