"""The columns of the matrix: ways to start a server, as users do."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.servers import DAPHNE, GRANIAN, GUNICORN, GUNICORN_UVICORN, HYPERCORN, UVICORN, Kind


@dataclass(frozen=True, kw_only=True)
class Column:
    """A server with its options."""

    name: str
    """What users type, as far as it matters here."""
    kind: Kind
    options: tuple[str, ...] = ()
    workers: int = 1
    """How many processes serve."""
    several: tuple[str, ...] = ()
    """Options for two workers, where they are the question and the column has one."""
    serves: str
    """What each of them prints when it serves: signals are heard from then on."""
    waits: tuple[str, ...] = ()
    """What is printed once a stop waits for requests; where nothing is, idle connections close."""
    hears_sigterm: bool = True
    """Whether workers tell of SIGTERM."""
    passes_interrupts_on: bool = False
    """Whether Ctrl+C, which workers hear themselves, has the main process send them SIGTERM too."""
    heeds_second_interrupt: bool = True
    """Whether a second Ctrl+C does anything that can be waited for."""
    blocks_in: str | None = None
    """The file in which signals at a bad time block a worker for ever."""
    waits_for_change: bool = False
    """Whether a startup that fails leaves a process that waits for changed files."""

    @property
    def page(self) -> str:
        """The page of the docs that tells of this server."""
        return self.name.split()[0]

    @property
    def with_workers(self) -> Column:
        """The same with several workers, if that is the same way to start it."""
        return replace(self, options=self.several, workers=2) if self.several else self

    def __str__(self) -> str:
        return self.name


UVICORN_SERVES = "Application startup complete"
UVICORN_WAITS = ("Waiting for (connections to close|background tasks)",)

COLUMNS = (
    Column(name="uvicorn", kind=UVICORN, serves=UVICORN_SERVES, waits=UVICORN_WAITS),
    Column(
        name="uvicorn --workers 2",
        kind=UVICORN,
        options=("--workers", "2"),
        workers=2,
        serves=UVICORN_SERVES,
        waits=UVICORN_WAITS,
        passes_interrupts_on=True,
    ),
    Column(
        name="uvicorn --reload",
        kind=UVICORN,
        options=("--reload",),
        serves=UVICORN_SERVES,
        waits=UVICORN_WAITS,
        passes_interrupts_on=True,
        waits_for_change=True,
    ),
    Column(
        name="hypercorn",
        kind=HYPERCORN,
        several=("--workers", "2"),
        serves="Running on",
        hears_sigterm=False,
        heeds_second_interrupt=False,
    ),
    Column(
        name="granian --workers 2",
        kind=GRANIAN,
        options=("--workers", "2"),
        workers=2,
        serves="Started worker-",
        waits=("Stopping worker-1", "Stopping worker-2"),
        hears_sigterm=False,
        blocks_in="granian/_signals.py",
    ),
    Column(
        name="gunicorn -k asgi",
        kind=GUNICORN,
        options=("-w", "2"),
        workers=2,
        serves="ASGI server listening",
        waits=("Waiting for 1 connections",),
    ),
    Column(
        name="gunicorn -k uvicorn_worker.UvicornWorker",
        kind=GUNICORN_UVICORN,
        options=("-w", "2"),
        workers=2,
        serves=UVICORN_SERVES,
        waits=UVICORN_WAITS,
    ),
    Column(name="daphne", kind=DAPHNE, serves="Listening on TCP"),
)

WITH_LIFESPAN = tuple(column for column in COLUMNS if column.kind.has_lifespan)
