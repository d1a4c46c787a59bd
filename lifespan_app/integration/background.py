"""The run in a background thread, opened at its first use if no server has a lifespan."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401  # registers its end before ours
import contextvars
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from lifespan_app import conf
from lifespan_app.engine.error_text import one_line
from lifespan_app.engine.errors import NotRunning
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.failure import short
from lifespan_app.engine.reporting.report import Mode
from lifespan_app.engine.running.patched_threads import patched_threads
from lifespan_app.engine.wording import time_limit

from .advice import COMMANDS, in_test, too_early
from .server import server_of_process

if TYPE_CHECKING:
    from lifespan_app.engine.lifespan import Lifespan
    from lifespan_app.engine.running.run import Run
    from lifespan_app.engine.running.threads import LoopThread

RELOADED = "RUN_MAIN"
"""Set by ``runserver`` in its serving process (``django.utils.autoreload``)."""
RETRY_SECONDS = 5.0
"""The pause after a failed startup: another attempt for each request would be too often."""


class FailedStart(NamedTuple):
    """A startup that has failed."""

    error: BaseException
    text: str
    at: float
    """By the monotonic clock."""


class BackgroundRun:
    """The run in a background thread, one per process.

    It lives on a loop in a daemon thread. A fork opens its own. Once a server's lifespan has begun,
    the process has none.
    """

    def __init__(self) -> None:
        self.enabled = False
        """True if the project's WSGI application is ours, or by a command's setting."""
        self._service_type: str | None = None
        self._ends_with_process = False
        self._is_fork = False
        self._left_in_parent: list[object] = []
        self._is_new()
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self._forked)

    def _is_new(self) -> None:
        self._lock = threading.RLock()
        self._run: Run | None = None
        self._thread: LoopThread | None = None
        self._failure: FailedStart | None = None
        self._opening = False
        self._over = False
        """True once the process ends, or a server's lifespan has begun."""

    def warn_at_first_request(self, lifespan: Lifespan) -> None:
        """Log one warning at the first request if no lifespan has begun."""
        from .first_request import FirstRequest

        FirstRequest(lifespan, self._is_enabled).listen()

    def stand_in(self, service_type: str, *, in_children_only: bool) -> None:
        """Open the plan of a service type at its first use, in a process that is no server.

        Args:
            service_type: the service type of the plan.
            in_children_only: whether only child processes of this one open it.
        """
        self._service_type = service_type
        self.enabled = self.enabled or not in_children_only

    def _is_enabled(self) -> bool:
        in_child = self._service_type is not None and self._is_child()
        return is_enabled(enabled=self.enabled or in_child)

    def _is_child(self) -> bool:
        multiprocessing = sys.modules.get("multiprocessing.process")
        return self._is_fork or bool(multiprocessing and multiprocessing.parent_process())

    def _forked(self) -> None:
        self._is_fork = True
        self._ends_with_process = False
        # Never garbage collected: closing the loop would unregister its files from the selector that
        # it shares with the parent's loop: https://github.com/python/asyncio/issues/347
        self._left_in_parent += [self._run, self._thread]
        self._is_new()

    def run(self, lifespan: Lifespan, refusal: str) -> Run | None:
        """Return the run, opened now if necessary, or None if there may be none.

        Args:
            lifespan: the ``Lifespan`` to open.
            refusal: the beginning of an error's sentence, such as "'x' can't be read".

        Raises:
            NotRunning: the startup failed, now or a moment ago.
        """
        if self._over or (self._run is None and not self._is_enabled()):
            return None
        if self._run is None and too_early() is not None:
            return None
        thread = self._thread
        if thread is not None and thread.loop is asyncio._get_running_loop():
            return None
        if any(not run.inherited and run.facts.mode != Mode.THREAD for run in lifespan.runs):
            return None
        with self._lock:
            # A signal handler may read in the very thread that opens the run.
            if self._opening or self._over:
                return None
            if self._run is not None:
                return self._run
            if library := patched_threads():
                raise NotRunning(f"{refusal}: {lifespan.adapter.advice.no_loop_beside(library)}")
            failure = self._failure
            if failure is None or time.monotonic() >= failure.at + RETRY_SECONDS:
                failure = self._failure = self._open(lifespan, first_user())
            if failure is None:
                return self._run
        raise NotRunning(
            f"{refusal}: the lifespan could not be opened in a background thread: {failure.text} "
            f"The first use after {time_limit(RETRY_SECONDS)} tries again."
        ) from failure.error

    def may_open(self) -> bool:
        """Return True if this process may use a background run, whether it is open or not."""
        return not self._over and self._is_enabled()

    def _open(self, lifespan: Lifespan, user: str) -> FailedStart | None:
        from lifespan_app.engine.running.current import Threads
        from lifespan_app.engine.running.portal import result_of
        from lifespan_app.engine.running.threads import LoopThread

        begun: list[Run] = []

        async def start() -> None:
            run = lifespan.prepare(
                self._service_type,
                server=None if self._service_type else server_of_process(),
                mode=Mode.THREAD,
                background=not in_command("shell"),
            )
            begun.append(run)
            self._run = run
            log_opened(run, user, by_default=not self.enabled and self._service_type is None)
            asyncio.get_running_loop().set_default_executor(LastingThreads())
            await asyncio.to_thread(int)
            await run.start()

        self._end_with_process()
        thread = self._thread = LoopThread("lifespan loop", lifespan.adapter.advice)
        self._opening = True
        opened = False
        try:
            # A thread that a hook starts reads from this run; any other one waits until it is up.
            with Threads.watched():
                # An empty context: the run must not keep the context variables of the first request.
                future = contextvars.Context().run(thread.submit, start())
                try:
                    result_of(future)
                except BaseException as error:
                    if not future.done():
                        raise
                    return failure_of(begun, error)
            opened = True
        finally:
            self._opening = False
            if not opened:
                self._run = self._thread = None
                thread.close()
        return None

    # The end of the process.

    def _end_with_process(self) -> None:
        if self._ends_with_process:
            return
        self._ends_with_process = True
        # atexit would be too late: a hook may need an executor to stop (asyncio.to_thread,
        # sync_to_async, getaddrinfo): https://github.com/python/cpython/issues/86813
        register = getattr(threading, "_register_atexit", atexit.register)
        register(self.close)
        if self._is_fork:
            self._end_with_os_exit()

    def _end_with_os_exit(self) -> None:
        """Close the run before ``os._exit()`` as well, which ends most forks, such as RQ's."""
        leave = os._exit

        def close_and_leave(status: int) -> NoReturn:
            # Another thread may be a hook's, which the stop would wait for.
            if threading.current_thread() is threading.main_thread():
                self.close()
            leave(status)

        os._exit = close_and_leave

    def close(self) -> None:
        """Close the run: the process ends."""
        self._over = True
        run, thread = self._run, self._thread
        if run is None or thread is None or run.over:
            return
        is_left_behind = False
        try:
            is_left_behind = not thread.stop(run, ended_by="the end of the process")
        finally:
            if not is_left_behind:
                thread.close()

    async def on_server_startup(self) -> None:
        """Close the run from the loop of a server whose lifespan begins."""
        self._over = True
        run, thread = self._run, self._thread
        if run is None or thread is None:
            return
        logger.warning(
            "A server's lifespan begins, so %s, which was opened in a background thread before, is "
            "closed first: its resources can't be used on the server's loop. Read no resource "
            "before the server has started, such as in a thread that a module starts.",
            run,
        )
        stop = run.stop(ended_by="a server's lifespan")
        await asyncio.wrap_future(contextvars.Context().run(thread.submit, stop))
        await asyncio.to_thread(thread.close)


class LastingThreads(ThreadPoolExecutor):
    """Threads of ``asyncio.to_thread`` that are not replaced once the process ends.

    Since Python 3.12 a process that ends can't start threads, and hooks stop only then:
    https://github.com/python/cpython/issues/113964
    """

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


def is_enabled(*, enabled: bool) -> bool:
    """Return True if this process opens its plan in a background thread.

    Args:
        enabled: whether it does without the setting.
    """
    if in_test():
        # A test opens and closes its lifespan itself.
        return False
    setting = conf.get("WITHOUT_SERVER_LIFESPAN")
    if setting is not None:
        return bool(setting == conf.THREAD)
    return enabled or in_command("shell") or serves_for_development()


def is_left_to_django() -> bool:
    """Return True if the project wants Django's own behaviour when no server has a lifespan.

    Async code then runs as Django runs it. The setting has no effect on a test's own run.
    """
    return bool(conf.get("WITHOUT_SERVER_LIFESPAN") == conf.ERROR) and not in_test()


def in_command(name: str) -> bool:
    """Return True if this process runs a certain command of Django's."""
    return sys.argv[1:2] == [name] and f"{COMMANDS}.{name}" in sys.modules


def serves_for_development() -> bool:
    """Return True if this is the serving process of ``runserver``."""
    return in_command("runserver") and (
        os.environ.get(RELOADED) == "true" or "--noreload" in sys.argv
    )


def log_opened(run: Run, user: str, *, by_default: bool) -> None:
    """Log that the plan is opened in a background thread, with the recommended alternative."""
    default = by_default and conf.get("WITHOUT_SERVER_LIFESPAN") is None
    log: Callable[..., None] = logger.warning if default else logger.info
    log(
        "No server has opened the plan of '%s', so a background thread opens it%s: %s is the first "
        "to use it. 'manage.py runlifespan --serve' develops under a server with a lifespan.",
        run.context.service_type,
        ", without background jobs" if in_command("shell") else "",
        user,
    )


def failure_of(begun: list[Run], error: BaseException) -> FailedStart:
    """Return the error of a failed startup, and log it if the run could not."""
    from lifespan_app.engine.running.messages import first_line, startup_message

    run = begun[0] if begun else None
    if run is None or run.first_error is not error:
        logger.error("The lifespan can't start: %s", one_line(error), error=error)
        text = startup_message(None, error)
    else:
        text = first_line(run, error)
    return FailedStart(
        error, text.removeprefix("lifespan_app: ").rstrip(".") + ".", time.monotonic()
    )


ASYNC = {"asgiref": "async code of a request", "concurrent": "async code"}
"""Descriptions of the libraries that run async code for others, by module."""


OURS = __name__.partition(".")[0]


def first_user() -> str:
    """Return file and line of the code that uses a resource, or its description."""
    frame = sys._getframe(1)
    package = OURS
    while frame.f_back is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in (OURS, "_collections_abc"):
            break
        frame = frame.f_back
    return ASYNC.get(package) or f"{short(frame.f_code.co_filename)}:{frame.f_lineno}"
