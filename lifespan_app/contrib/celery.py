"""A run for each process of Celery: ``open_lifespan(app)``.

Needs ``celery``, from 5.4 on.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from celery import Celery, bootsteps, signals
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.worker import state

from lifespan_app.conf import STARTS_FILE
from lifespan_app.engine.context import ServiceType
from lifespan_app.engine.logger import logger
from lifespan_app.integration.advice import in_test
from lifespan_app.integration.default import lifespan
from lifespan_app.processes.thread_run import LOOK, ThreadRun, begin_launch
from lifespan_app.serving import startup_report

FAILED = 1
"""The exit code of a worker, or of beat, after a failed startup."""
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 60.0)
"""Seconds until a startup that failed is tried again, in a worker that has started well before."""
END = "the end of its process"
SPAWNED = "lifespan_app.contrib.celery_spawned"


def open_lifespan(app: Celery) -> None:
    """Open a plan in each working process of a Celery application, and close it.

    Workers open the plan of ``worker``: with the pool ``prefork`` each of its processes, else the
    worker itself. ``celery beat`` opens that of ``scheduler``. A worker takes tasks only once a
    startup has gone well, and ends with exit code 1 if the first one to end has failed.

    Args:
        app: the application, in the module where it is made.
    """
    app.steps["worker"].add(OpensLifespan)
    connect()


def connect() -> None:
    """Connect the receivers of Celery's signals, once."""
    for signal, receiver in (
        (signals.worker_process_init, pool_process_begins),
        (signals.worker_process_shutdown, process_ends),
        (signals.worker_shutdown, process_ends),
        (signals.task_prerun, task_begins),
        (signals.beat_init, beat_begins),
    ):
        uid = f"{__name__}.{receiver.__name__}"
        signal.connect(receiver, weak=False, dispatch_uid=uid)


class Process:
    """The open run of this process, and the pid of the worker. Forks inherit it."""

    thread_run: ThreadRun | None = None
    worker: int | None = None
    """The number of the worker's main process."""


class OpensLifespan(bootsteps.StartStopStep):
    """Open the plan before a worker takes tasks: here, or in the processes of its pool."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        # A test opens its lifespan itself.
        self._has_processes = issubclass(worker.pool_cls, PreforkPool) and not in_test()
        self._listening = ExitStack()
        Process.worker = os.getpid()
        begin_launch()
        if self._has_processes:
            # A spawned process need not import the application's module.
            worker.app.conf.include = (*worker.app.conf.include, SPAWNED)
            # The processes begin before this step starts.
            self._reports = self._listening.enter_context(listening())

    def start(self, worker: Any) -> None:
        """Open the plan, or wait until a process of the pool has."""
        if not self._has_processes:
            if not in_test():
                open_here(ServiceType.WORKER)
            return
        try:
            self._wait_for_one(worker.pool)
        except BaseException:
            # Celery does not stop the processes of a worker that is not fully started.
            worker.pool.stop()
            raise
        finally:
            self._listening.close()

    def stop(self, worker: Any) -> None:
        """Do nothing: tasks may run until the pool stops, which comes next."""

    terminate = stop

    def _wait_for_one(self, pool: Any) -> None:
        while self._reports.path is not None:
            came_up, errors = self._reports.starts()
            if came_up:
                return
            if errors:
                logger.error("%s", errors[0])
                logger.error("The worker stops, as no process of its pool has started well.")
                raise SystemExit(FAILED)
            if not any(process.is_alive() for process in pool._pool._pool):
                # It was killed, and Celery starts another one.
                return
            # Celery's signal handlers only set a flag, so this has to look again and again.
            state.maybe_shutdown()
            time.sleep(LOOK)


@contextmanager
def listening() -> Iterator[startup_report.StartupReports]:
    """Collect the startup reports of processes that start in a block."""
    outer = os.environ.get(STARTS_FILE)
    with startup_report.listening() as starts:
        os.environ.update(starts.environment)
        try:
            yield starts
        finally:
            os.environ.pop(STARTS_FILE, None)
            if outer is not None:
                os.environ[STARTS_FILE] = outer


class InPool(ThreadRun):
    """The plan in a process of a prefork pool, which is opened while Celery goes on.

    Celery kills a process that is not up after ``worker_proc_alive_timeout``, 4 seconds. So nothing
    waits for the plan but the first task.
    """

    def __init__(self) -> None:
        super().__init__(lifespan, ServiceType.WORKER)
        self.up = threading.Event()

    async def _open(self) -> None:
        """Open it, and repeat that until it succeeds."""
        tries = 0
        while True:
            try:
                await super()._open()
            except BaseException as error:
                if self._closing:
                    raise
                self._report(self.failure(error) or type(error).__name__)
                pause = PAUSES[min(tries, len(PAUSES) - 1)]
                logger.warning("The startup is tried again in %g s. Tasks wait for it.", pause)
                await asyncio.sleep(pause)
                tries += 1
            else:
                self.up.set()
                self._report("")
                return

    def _report(self, error: str) -> None:
        if path := os.environ.get(STARTS_FILE):
            startup_report.write(
                path, self.run.facts.uuid if self.run is not None else "", not error, error
            )


def open_here(service_type: str) -> None:
    """Open a plan in this process, and wait for that. Raises ``SystemExit`` if it fails."""
    thread_run = Process.thread_run = ThreadRun(lifespan, service_type)
    try:
        thread_run.open(check=state.maybe_shutdown)
    except BaseException as error:
        why = thread_run.failure(error)
        if why is None:
            raise
        logger.error("%s", why)
        raise SystemExit(FAILED) from error


# Receivers of Celery's signals, which log an Exception and go on.


def pool_process_begins(**given: Any) -> None:
    """Begin to open the plan of a pool's process; that of the pool ``solo`` is the worker's own."""
    if os.getpid() != Process.worker and not in_test():
        thread_run = Process.thread_run = InPool()
        thread_run.begin()


def task_begins(**given: Any) -> None:
    """Make a task wait for the plan of its process, unless it is called eagerly."""
    if isinstance(Process.thread_run, InPool):
        Process.thread_run.up.wait()


def process_ends(**given: Any) -> None:
    """Close the plan of this process: all its tasks have ended."""
    if Process.thread_run is not None:
        Process.thread_run.close(END)


def beat_begins(sender: Any, **given: Any) -> None:
    """Open the plan of the scheduler, until it has kept its schedule for the last time."""
    if in_test() or lifespan.has_open_run():
        # In a thread of a worker with an open plan.
        return
    open_here(ServiceType.SCHEDULER)
    sync = sender.sync

    def sync_and_close() -> None:
        sync()
        process_ends()

    sender.sync = sync_and_close
