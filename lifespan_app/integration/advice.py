"""Advice for code without a lifespan: a short text, with one remedy, for each situation.

The engine reads it from ``Adapter.advice``: it knows no setting, command or server.
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.exceptions import SynchronousOnlyOperation
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest

from lifespan_app import conf
from lifespan_app.engine.advice import Advice, block
from lifespan_app.engine.error_text import add_note, is_a, leaves_of
from lifespan_app.engine.reporting.report import Mode

from .server import server_of_process

if TYPE_CHECKING:
    from lifespan_app.engine.hooks.hook import Hook
    from lifespan_app.engine.running.current import OpenRun

COMMANDS = "django.core.management.commands"
MODULE = "lifespan"
THREADS_OF_LOOP = "concurrent.futures.thread"
"""The module that runs calls in the threads of a loop."""
DJANGO_COMMANDS = frozenset({"test", "testserver", "runserver", "shell"})
"""Commands that run code of others: a read is none of the command's own."""


PACKAGES = frozenset({"site-packages", "dist-packages"})
"""The folders that packages are installed into."""


class Situation(StrEnum):
    """A situation of code that reads a resource which is not open."""

    MIDDLEWARE = "a middleware's __init__"
    IMPORT = "the body of a module"
    READY = "AppConfig.ready()"
    COMMAND = "a management command"
    TEST = "a test"
    CELERY = "a Celery worker"
    WSGI = "a WSGI request"
    ASGI = "an ASGI request"
    PROGRAM = "any other program"


THREAD = "LIFESPAN = {'WITHOUT_SERVER_LIFESPAN': 'thread'} opens one in a background thread."

IN_CELERY = "from lifespan_app.contrib.celery import open_lifespan; open_lifespan(app)"

EARLY = "too early: the startup has not begun."
MESSAGES = {
    Situation.MIDDLEWARE: f"{EARLY} Read it in the middleware's __call__, or use a start function.",
    Situation.IMPORT: (
        f"{EARLY} A module is being imported: read it in the function that uses it, or use a start "
        "function."
    ),
    Situation.READY: (
        f"{EARLY} The apps are being set up: read it in the function that uses it, or use a start "
        "function."
    ),
    Situation.CELERY: (
        "no lifespan is running in this Celery worker. Open one in each of its processes, where its "
        f"application is made: {IN_CELERY}."
    ),
    Situation.TEST: (
        "no lifespan is running in this test. Write '{with_} lifespan_running():', of "
        "lifespan_app.testing, around the code that needs it{fixture}."
    ),
    Situation.COMMAND: (
        "no lifespan is running in this command. Write '{block}' around the code that needs it."
    ),
    Situation.PROGRAM: "no lifespan is running here. Write '{block}' around the code that needs it.",
}
"""The message for each situation, except for servers: those depend on the server."""

OF_A_PACKAGE = (
    "no lifespan is running in this command. Open one around all of it: LIFESPAN = {{'COMMANDS': "
    "{{'{command}': 'worker'}}}}."
)
"""The message for a command of an installed package."""

SERVERS = {
    "uvicorn": "Start uvicorn with --lifespan on.",
    "gunicorn": "Start gunicorn with --asgi-lifespan on.",
    "granian": "Start granian with --interface asgi.",
    "daphne": f"daphne has no lifespan: {THREAD}",
}
"""The remedy for each ASGI server, by its name."""


USE_OF_ORM = (
    "An async hook has to await the ORM: 'await Book.objects.acount()'. Or write the hook as a plain "
    "'def': it then runs in a thread, where the ORM may be called."
)
USE_IN_THREAD_OF_LOOP = (
    "This query was made in a thread of asyncio.to_thread() or run_in_executor(), whose connections "
    "nobody gives back or replaces. Write 'await sync_to_async(function)()', with asgiref.sync, or await "
    "the ORM: then the query is made on a connection of the hook's own."
)
LOOP_OF_FIXTURE = (
    "A fixture of wider scope opened it: give its event loop to the test, too, with loop_scope= in "
    "@pytest_asyncio.fixture and in @pytest.mark.asyncio. A sync test opens it with 'with "
    "lifespan_running():', whose loop has a thread of its own."
)


NO_STATE = (
    "This request has no state. Read the resource with its handle, such as http_client(request), or "
    "add 'lifespan_app.middleware.LifespanStateMiddleware' to MIDDLEWARE."
)


WORKER_CLASSES = {"gevent": "gunicorn.workers.ggevent", "eventlet": "gunicorn.workers.geventlet"}
"""The modules of the gunicorn worker classes that patch threads."""


class DjangoAdvice(Advice):
    """Advice that depends on the situation of the calling code."""

    def no_run(self, request: object = None) -> str:
        """Return the reason that no lifespan runs, and the one remedy that fits the situation."""
        place = place_of(request)
        if place is Situation.WSGI:
            return f"no lifespan is running: WSGI has none. {cure_for_wsgi()}"
        if place is Situation.ASGI:
            cure = cure_for_asgi(scope_of(request))
            return f"no lifespan is running: no server has begun one. {cure}"
        command = command_above()
        if place is Situation.COMMAND and command is not None and is_of_a_package(command):
            return OF_A_PACKAGE.format(command=name_of(command))
        in_async = asyncio._get_running_loop() is not None
        fixture = "async_running" if in_async else "running"
        return MESSAGES[place].format(
            block=block(),
            with_="async with" if in_async else "with",
            fixture=f", or ask for the fixture '{fixture}'" if "_pytest" in sys.modules else "",
        )

    def declared_late(self, hook: Hook) -> str:
        """Return the way to declare a hook before the plan is made: in an installed app."""
        return how_to_declare(hook.module)

    def fork(self) -> str:
        """Return the way to open a run in a forked process."""
        if "celery.worker" in sys.modules:
            return (
                f"Open a run of its own after the fork, where the application is made: {IN_CELERY}."
            )
        return super().fork()

    def loop_stands_still(self, run: OpenRun) -> str:
        """Return the way to use a resource of an event loop that does not run at the moment."""
        return LOOP_OF_FIXTURE if run.facts.mode is Mode.TEST else super().loop_stands_still(run)

    def other_loop(self, run: OpenRun) -> str:
        """Return the way to use a resource of another event loop."""
        if run.facts.mode is Mode.TEST and not run.loop.is_running():
            return LOOP_OF_FIXTURE
        return super().other_loop(run)

    def no_loop_beside(self, library: str) -> str:
        """Return the reason that no loop can run in a thread, and the server to use instead."""
        is_gunicorn = WORKER_CLASSES[library] in sys.modules
        who = f"gunicorn's worker class '{library}'" if is_gunicorn else library
        return (
            f"{who} has patched Python's threads, so an event loop can't run in a thread of its own: "
            "Django would take all other code for async code, and refuse its queries. Serve with "
            "'gunicorn -k gthread --threads 8', or with an ASGI server whose lifespan is on, such as "
            "uvicorn."
        )

    def around_server(self) -> str:
        """Return the command that opens the plan of a server around its workers."""
        return "'manage.py runlifespan -- COMMAND', with the server's command."

    def name_of(self, setting: str) -> str:
        """Return the key of a setting, or the environment variable in its place."""
        return conf.SKIP if setting == "skip" else setting.upper()

    def setting(self, name: str, *keys: str) -> str:
        """Return the expression for a setting, or for a key in it."""
        return "".join([conf.SETTING, *(f"['{key}']" for key in (name.upper(), *keys))])

    def option_set(self, key: str, option: str, value: str) -> str:
        """Return the setting that gives an option to the hook with a key."""
        return f'{conf.SETTING} = {{"HOOKS": {{"{key}": {{"{option}": "{value}"}}}}}}'

    def note(self, error: BaseException) -> None:
        """Add the ways to use the ORM to a hook's error about the loop or its threads."""
        for leaf in leaves_of(error):
            if is_a(leaf, SynchronousOnlyOperation):
                add_note(leaf, USE_OF_ORM)
            elif is_a(leaf, (InterfaceError, OperationalError)) and was_in_thread_of_loop(leaf):
                add_note(leaf, USE_IN_THREAD_OF_LOOP)


def was_in_thread_of_loop(error: BaseException) -> bool:
    """Return True if an error comes from a thread of an executor, such as that of a loop."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__") == THREADS_OF_LOOP for frame, _ in frames)


def note_missing_state(error: BaseException | None) -> None:
    """Add a note to the error of ``request.state`` on a request that has none."""
    # type() and not isinstance(): a lazy object has the class of its target, and would create it.
    if isinstance(error, AttributeError) and error.name == "state":
        if issubclass(type(error.obj), HttpRequest):
            add_note(error, NO_STATE)


def explain_missing_state(**given: Any) -> None:
    """Receive ``got_request_exception``: add the note to the error of a view."""
    note_missing_state(sys.exc_info()[1])


def how_to_declare(module: str) -> str:
    """Return the way to get a module imported before the plan is made."""
    package, _, name = module.rpartition(".")
    if name != MODULE:
        return f"Import '{module}' in the lifespan.py of an installed app."
    if not apps.is_installed("lifespan_app"):
        return (
            "'lifespan_app' is not in INSTALLED_APPS, so nothing imports the lifespan.py of an app. "
            "Add it."
        )
    if not any(app.name == package for app in apps.get_app_configs()):
        return f"'{package}' is not in INSTALLED_APPS, so nothing has imported it. Add '{package}'."
    return f"Nothing imports '{module}' by itself here: import it in asgi.py."


# The situation of the calling code.


def place_of(request: object = None) -> Situation:
    """Return the situation of the calling code."""
    early = too_early()
    if early is not None:
        return early
    if command_above() is not None:
        return Situation.COMMAND
    if in_test():
        return Situation.TEST
    if "celery.worker" in sys.modules:
        return Situation.CELERY
    if scope_of(request) is not None:
        return Situation.ASGI
    if comes_by_wsgi(request):
        return Situation.WSGI
    return Situation.PROGRAM if server_of_process() in (None, "") else Situation.ASGI


def too_early() -> Situation | None:
    """Return the place, if this code runs while the process is being set up; else None."""
    from django.apps.registry import Apps
    from django.core.handlers.base import BaseHandler

    for frame in frames():
        code = frame.f_code
        if code is BaseHandler.load_middleware.__code__:
            return Situation.MIDDLEWARE
        if code is Apps.populate.__code__:
            return Situation.READY
        # The import system's own flag: importlib._bootstrap, ``_initializing``.
        spec = frame.f_globals.get("__spec__")
        if code.co_name == "<module>" and getattr(spec, "_initializing", False):
            return Situation.IMPORT
    return None


def command_above() -> type | None:
    """Return the class of the project's, or an app's, management command that runs this code."""
    management = sys.modules.get("django.core.management.base")
    if management is None:
        return None
    for frame in frames():
        if frame.f_code is management.BaseCommand.execute.__code__:
            command = type(frame.f_locals["self"])
            # Other apps replace runserver and test by commands of the same name.
            return None if name_of(command) in DJANGO_COMMANDS else command
        if str(frame.f_globals.get("__name__")).startswith(("unittest.", "_pytest.")):
            return None
    return None


def name_of(command: type) -> str:
    """Return the name of a management command."""
    return command.__module__.rpartition(".")[2]


def is_of_a_package(command: type) -> bool:
    """Return True if a command's code is that of an installed package."""
    file = getattr(sys.modules.get(command.__module__), "__file__", None) or ""
    return not PACKAGES.isdisjoint(Path(file).parts)


def in_test() -> bool:
    """Return True if Django, or pytest, runs tests in this process."""
    utils = sys.modules.get("django.test.utils")
    if utils is not None and hasattr(utils._TestState, "saved_data"):
        return True
    # Processes that a test starts inherit the variable, so it is not enough.
    return "PYTEST_CURRENT_TEST" in os.environ and "_pytest" in sys.modules


def comes_by_wsgi(request: object) -> bool:
    """Return True if a WSGI server serves the request, or called this code.

    Args:
        request: a request, or its WSGI environment.
    """
    wsgi = sys.modules.get("django.core.handlers.wsgi")
    if wsgi is None:
        return False
    request = getattr(request, "_request", request)  # Django REST framework's has Django's
    environ = request if isinstance(request, dict) else getattr(request, "META", {})
    sent = environ.get("wsgi.input")
    # RequestFactory makes requests with ``wsgi.input``, too.
    if sent is not None and type(sent).__module__ != "django.test.client":
        return True
    return any(frame.f_code is wsgi.WSGIHandler.__call__.__code__ for frame in frames())


def frames() -> Iterator[FrameType]:
    """Yield the frames of this thread's code, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def scope_of(request: object) -> dict[str, Any] | None:
    """Return the ASGI scope of a request; None if it has none."""
    scope = request if isinstance(request, dict) else getattr(request, "scope", None)
    return scope if isinstance(scope, dict) and "type" in scope else None


# Remedies for servers.


def cure_for_wsgi() -> str:
    """Return the way to open a lifespan under a WSGI server."""
    if conf.get("WITHOUT_SERVER_LIFESPAN") == conf.ERROR:
        return THREAD
    return (
        "In wsgi.py, import get_wsgi_application from lifespan_app.wsgi, not from django.core.wsgi: "
        "it opens one in a background thread."
    )


def cure_for_asgi(scope: dict[str, Any] | None) -> str:
    """Return the way to make the server of this process begin a lifespan.

    Args:
        scope: the scope of a request, if it is known.
    """
    around = (scope or {}).get("app")
    if around is not None:
        # Starlette, FastAPI and Litestar set ``app``, and pass no lifespan to mounted applications:
        # https://github.com/Kludex/starlette/issues/649
        name = f"{type(around).__module__}.{type(around).__qualname__}"
        return (
            f"Django is mounted in another application ({name}), which has a lifespan of its own: "
            "in asgi.py, put ours around that one: application = LifespanMiddleware(application)."
        )
    if not answers_lifespan():
        return (
            "In asgi.py, import get_asgi_application from lifespan_app.asgi, not from "
            "django.core.asgi."
        )
    server = (server_of_process() or "").partition(" ")[0]
    if server == "gunicorn" and "uvicorn.server" in sys.modules:
        server = ""
    return SERVERS.get(
        server, "Serve with an ASGI server whose lifespan is on, such as 'uvicorn --lifespan on'."
    )


def answers_lifespan() -> bool:
    """Return True if this process has made an application that answers the lifespan protocol."""
    made = (
        ("lifespan_app.serving.handler", "LifespanASGIHandler"),
        ("lifespan_app.middleware", "LifespanMiddleware"),
    )
    return any(
        getattr(getattr(sys.modules.get(module), name, None), "was_made", False)
        for module, name in made
    )
