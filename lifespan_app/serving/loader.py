"""The project's ASGI application, and a check that it answers the lifespan protocol.

The check calls it with a lifespan scope, and a ``receive`` that never returns. An application that
answers waits there, with nothing opened; any other has raised or returned before.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

from asgiref.compatibility import guarantee_single_callable
from django.conf import settings

from lifespan_app.engine.error_text import clause
from lifespan_app.engine.errors import PlanError, with_article
from lifespan_app.engine.lifespan import Lifespan
from lifespan_app.engine.wording import did_you_mean, time_limit
from lifespan_app.integration.default import lifespan

from .protocol import REACHED

PATIENCE = 5.0
"""Seconds that an application may take until it awaits the first message."""
NAME = "application"
ROUTER = "configured for scope type 'lifespan'"
"""A part of the error of Channels' ``ProtocolTypeRouter``, however deeply it is nested:
https://github.com/Kludex/uvicorn/issues/222."""


class Refusal(NamedTuple):
    """The reason that a server would not open the lifespan."""

    message: str
    hint: str
    place: str


def refusal(path: str | None) -> Refusal | None:
    """Return the reason that the application answers no lifespan, or None.

    Args:
        path: ``module:name`` or ``module.name``; None: the one in the project's settings.

    Raises:
        LookupError: there is none at ``path``, or its module can't be imported.
    """
    place = path or from_settings()
    if place is None:
        return None
    try:
        application = load(place)
    except PlanError:
        # The error of our own application is clear enough.
        return None
    except LookupError as error:
        if path is not None:
            raise
        if not getattr(settings, "ASGI_APPLICATION", None) and is_missing(error):
            # A project without an asgi.py is served by WSGI.
            return None
        hint = "Name the right one in ASGI_APPLICATION, or with --asgi."
        return Refusal(str(error), hint, place)
    reached: list[Lifespan] = []
    refused = no_answer(application, place, reached)
    if refused is not None or reached or lifespan.is_handed_out or names_ours(application):
        return refused
    return Refusal(
        f"The ASGI application '{place}' has a lifespan of its own, which opens no plan: no hook runs.",
        hint_for(application),
        place,
    )


def no_answer(application: Any, place: str, reached: list[Lifespan]) -> Refusal | None:
    """Return the reason that an application answers no lifespan, or None if it does.

    Args:
        application: the application.
        place: its path or file.
        reached: collects each ``Lifespan`` that would be opened.
    """
    why = asyncio.run(ask(application, reached))
    if why is None:
        return None
    return Refusal(
        f"The ASGI application '{place}' does not handle lifespan: {why}.",
        hint_for(application, why),
        place,
    )


def names_ours(application: Any) -> bool:
    """Return True if the lifespan function of a Starlette application names a ``Lifespan``.

    Only a start would show if it opens that.
    """
    router = getattr(application, "router", None)
    function = inspect.unwrap(getattr(router, "lifespan_context", None) or application)
    names = getattr(getattr(function, "__code__", None), "co_names", ())
    known = getattr(function, "__globals__", {})
    return any(isinstance(known.get(name), Lifespan) for name in names)


def from_settings() -> str | None:
    """Return the path of the application: ``ASGI_APPLICATION``, or beside the URLconf."""
    named = getattr(settings, "ASGI_APPLICATION", None)
    if named:
        return str(named)
    package = str(getattr(settings, "ROOT_URLCONF", "")).rpartition(".")[0]
    return f"{package}.asgi:{NAME}" if package else f"asgi:{NAME}"


def load(path: str) -> Any:
    """Import an application.

    Raises:
        LookupError: there is none; the text suggests a similar name, if there is one.
        PlanError: it is ours, and the plan can't be made.
    """
    module_name, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    if not module_name or not name:
        raise LookupError(
            f"'{path}' is not the location of an ASGI application: write 'module:{NAME}'."
        )
    try:
        found: Any = import_module(module_name)
    except (PlanError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise LookupError(
            f"The ASGI application '{path}' can't be imported: {clause(error)}."
        ) from error
    for attribute in name.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError as error:
            suggestion = did_you_mean(attribute, dir(found))
            raise LookupError(f"'{module_name}' has no '{name}'.{suggestion}") from error
    if not callable(found):
        raise LookupError(f"'{path}' is not an ASGI application, but {with_article(type(found))}.")
    return found


def is_missing(error: LookupError) -> bool:
    """Return True if the module itself is missing, and not one of its imports."""
    cause = error.__cause__
    module = str(from_settings()).partition(":")[0]
    return isinstance(cause, ModuleNotFoundError) and f"{module}.".startswith(f"{cause.name}.")


async def ask(application: Callable[..., Any], reached: list[Lifespan]) -> str | None:
    """Return the reason that an application answers no lifespan scope, or None if it does.

    Args:
        application: the application.
        reached: collects each ``Lifespan`` that would be opened.
    """
    asked = asyncio.Event()

    async def receive() -> NoReturn:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("nothing wakes it")

    async def send(message: object) -> None:
        """Accept a message, and ignore it."""

    async def live() -> BaseException | None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": {},
            REACHED: reached,
        }
        try:
            await guarantee_single_callable(application)(scope, receive, send)
        except asyncio.CancelledError:
            raise
        # A Task raises SystemExit out of the loop: https://github.com/python/cpython/issues/108549
        except BaseException as error:
            return error
        return None

    living = asyncio.create_task(live())
    asking = asyncio.create_task(asked.wait())
    await asyncio.wait({living, asking}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    why = None
    if not asked.is_set():
        why = behaviour_of(living)
    for task in (living, asking):
        task.cancel()
    await asyncio.wait({living, asking}, timeout=PATIENCE)
    return why


def behaviour_of(living: asyncio.Task[BaseException | None]) -> str:
    """Return a description of an application that did not await a message."""
    if not living.done():
        return f"it has not asked for a message within {time_limit(PATIENCE)}"
    error = None if living.cancelled() else living.result()
    return "it returns without asking for a message" if error is None else clause(error)


def hint_for(application: object, why: str = "") -> str:
    """Return the way to make an application answer."""
    if ROUTER in why or type(application).__name__ == "ProtocolTypeRouter":
        hint = (
            "Name the application for lifespan in the ProtocolTypeRouter too, the same as for "
            "http: 'django = get_asgi_application()', from lifespan_app.asgi, and "
            "ProtocolTypeRouter({'http': django, 'lifespan': django, ...})."
        )
    elif "Django can only handle" in why:
        hint = (
            "Import get_asgi_application from lifespan_app.asgi instead of django.core.asgi. "
            "Around another framework, or in front of others: "
            "application = LifespanMiddleware(application), from lifespan_app."
        )
    else:
        hint = (
            "Put our lifespan around it: application = LifespanMiddleware(application), from "
            "lifespan_app."
        )
    return hint
