from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clusters import CLUSTERS, Cluster
from tests.leases.databases import Database


@pytest.fixture(scope="module")
def clusters() -> Iterator[dict[str, Cluster]]:
    """Return the database servers that this module's tests have started."""
    running: dict[str, Cluster] = {}
    yield running
    for cluster in running.values():
        cluster.__exit__(None, None, None)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(request: pytest.FixtureRequest, clusters: dict[str, Cluster]) -> Database:
    """Return an empty database: a file beside the project, or one of a server of the tests' own."""
    name = request.param
    if name not in CLUSTERS:
        return Database(None)
    if name not in clusters:
        clusters[name] = CLUSTERS[name]().__enter__()
    database = Database(clusters[name])
    database.empty()
    return database
