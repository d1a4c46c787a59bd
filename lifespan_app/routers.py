"""A database router that keeps the tables of the history in ``HISTORY_DATABASE``."""

from __future__ import annotations

from typing import Any

from . import conf

APP_LABEL = "lifespan_app"


class HistoryRouter:
    """A router for the tables of the history.

    Put it first in ``DATABASE_ROUTERS``, so that Django asks other routers about other apps only. Reads
    and writes use ``HISTORY_DATABASE`` without it, too; the router is for ``migrate`` and for code of
    the project that uses the routers.
    """

    def db_for_read(self, model: type[Any], **hints: Any) -> str | None:
        """Return the history's database for its models, else None."""
        return history_database() if model._meta.app_label == APP_LABEL else None

    def db_for_write(self, model: type[Any], **hints: Any) -> str | None:
        """Return the history's database for its models, else None."""
        return history_database() if model._meta.app_label == APP_LABEL else None

    def allow_relation(self, first: Any, second: Any, **hints: Any) -> bool | None:
        """Return True for relations within the history, else None."""
        ours = {first._meta.app_label, second._meta.app_label} == {APP_LABEL}
        return True if ours else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Return True for the history's tables in its database, False elsewhere, None for other apps."""
        return db == history_database() if app_label == APP_LABEL else None


def history_database() -> str:
    """Return the alias of the history's database."""
    return str(conf.get("HISTORY_DATABASE"))
