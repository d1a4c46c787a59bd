from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clusters import Cluster, MariaDB, PostgreSQL
from tests.leases.databases import Database


@pytest.fixture(scope="module")
def clusters() -> Iterator[dict[type[Cluster], Cluster]]:
    """Return the database servers that this module's tests have started."""
    running: dict[type[Cluster], Cluster] = {}
    yield running
    for cluster in running.values():
        cluster.__exit__(None, None, None)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(
    request: pytest.FixtureRequest, clusters: dict[type[Cluster], Cluster]
) -> Database:
    """Return an empty database: a file beside the project, or one of a server of the tests' own."""
    kind = {"postgresql": PostgreSQL, "mariadb": MariaDB}.get(request.param)
    if kind is None:
        return Database(None)
    if kind not in clusters:
        clusters[kind] = kind().__enter__()
    database = Database(clusters[kind])
    database.empty()
    return database
