"""A database router that keeps the tables of the history in ``HISTORY_DATABASE``."""

from __future__ import annotations

from typing import Any

from . import conf

APP_LABEL = "lifespan_app"


class HistoryRouter:
    """Keep the history in one database, and everything else out of the way.

    It belongs first in ``DATABASE_ROUTERS``: other routers then are asked about other apps only.
    Reads and writes go to that database without it too; it is there for ``migrate`` and for code
    of the project that asks the routers.
    """

    def db_for_read(self, model: type[Any], **hints: Any) -> str | None:
        """Return the history's database for its models, else None."""
        return home() if model._meta.app_label == APP_LABEL else None

    def db_for_write(self, model: type[Any], **hints: Any) -> str | None:
        """Return the history's database for its models, else None."""
        return home() if model._meta.app_label == APP_LABEL else None

    def allow_relation(self, first: Any, second: Any, **hints: Any) -> bool | None:
        """Allow relations within the history; say nothing of others."""
        ours = {first._meta.app_label, second._meta.app_label} == {APP_LABEL}
        return True if ours else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Allow the history's tables in its database only; say nothing of other apps."""
        return db == home() if app_label == APP_LABEL else None


def home() -> str:
    """Return the alias of the history's database."""
    return str(conf.get("HISTORY_DATABASE"))
