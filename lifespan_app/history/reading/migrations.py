"""The unapplied migrations of a database, for a run that failed because of a missing table or column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext

from lifespan_app.integration.database_analyzers import is_about_migrations
from lifespan_app.models import LifespanStep

MOST = 6
"""The most migrations that are named."""

ALIAS = re.compile(r"DATABASES\['(.+?)'\]")


def unapplied(steps: Iterable[LifespanStep]) -> Iterator[str]:
    """Yield a sentence about the unapplied migrations, for each database in which a step missed a table.

    It is about the database as it is now. One that can't be asked yields nothing.
    """
    causes = [step.cause for step in steps if is_about_migrations(step.cause)]
    for alias in dict.fromkeys(found[1] for cause in causes if (found := ALIAS.search(cause))):
        names = unapplied_in(alias)
        if names is None:
            continue
        words = {"alias": alias, "names": ", ".join(names[:MOST]), "more": len(names) - MOST}
        if not names:
            yield gettext("In '%(alias)s' all migrations are applied by now.") % words
        elif len(names) <= MOST:
            yield gettext("Not applied in '%(alias)s': %(names)s.") % words
        else:
            yield gettext("Not applied in '%(alias)s': %(names)s and %(more)s more.") % words


def unapplied_in(alias: str) -> list[str] | None:
    """Return the names of a database's unapplied migrations; None if it can't be asked."""
    try:
        executor = MigrationExecutor(connections[alias])
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    # Neither an unknown alias, nor a database that is down, nor a project's broken migration is an
    # obstacle for the page of a run.
    except Exception:
        return None
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
