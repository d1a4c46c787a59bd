"""The rows of the matrix: what happens to a server, as users tell it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.matrix.columns import COLUMNS, Column


@dataclass(frozen=True)
class Situation:
    """One row."""

    key: str
    title: str
    group: str
    without_lifespan: bool = True
    """Whether there is anything to see under a server that sends no lifespan."""


SERVING, STARTING, STOPPING = "Serving", "Starting", "Stopping"

SITUATIONS = (
    Situation("async view", "Resource in an async view", SERVING),
    Situation("sync view", "Resource in a sync view", SERVING),
    Situation("runs", "Runs in the history", SERVING),
    Situation("server", "Server in the history", SERVING, False),
    Situation("state", '``scope["state"]`` when resources close', SERVING, False),
    Situation("fails", "A startup that fails", STARTING),
    Situation("hangs", "A startup that hangs", STARTING, False),
    Situation("starting, SIGTERM", "SIGTERM while starting", STARTING, False),
    Situation("starting, Ctrl+C", "Ctrl+C while starting", STARTING, False),
    Situation("SIGTERM", "SIGTERM, a request in flight", STOPPING),
    Situation("SIGTERM to all", "SIGTERM to every process, a request in flight", STOPPING),
    Situation("SIGTERM twice", "SIGTERM twice, while resources close", STOPPING, False),
    Situation("Ctrl+C", "Ctrl+C, a request in flight", STOPPING),
    Situation("Ctrl+C twice", "Ctrl+C twice, a request in flight", STOPPING, False),
)

DEAF = {
    ("SIGTERM to all", "hypercorn"),
    ("starting, Ctrl+C", "granian --workers 2"),
    ("Ctrl+C twice", "uvicorn --workers 2"),
    ("Ctrl+C twice", "uvicorn --reload"),
    ("Ctrl+C twice", "granian --workers 2"),
    ("Ctrl+C twice", "gunicorn -k uvicorn_worker.UvicornWorker"),
}
"""Where a server ends a worker, or blocks it, without a word to the application. Nowhere else may
anything stay open."""

RACES = {
    # Workers that fail at the same moment have the main process die with a traceback.
    ("fails", "gunicorn -k asgi"): (3, 1),
    ("fails", "gunicorn -k uvicorn_worker.UvicornWorker"): (3, 1),
    ("hangs", "gunicorn -k asgi"): (3, 1),
    ("hangs", "gunicorn -k uvicorn_worker.UvicornWorker"): (3, 1),
}
"""Where a server ends with one exit code or another, the usual one first."""


def has_cell(situation: Situation, column: Column) -> bool:
    """Tell whether there is anything to see in a cell."""
    return situation.without_lifespan or column.kind.has_lifespan


def all_cells() -> set[tuple[str, str]]:
    """Return the keys of all cells."""
    return {
        (situation.key, column.name)
        for situation in SITUATIONS
        for column in COLUMNS
        if has_cell(situation, column)
    }
