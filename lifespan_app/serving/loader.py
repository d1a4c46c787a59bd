"""The project's ASGI application: where it is, and whether it answers the lifespan protocol.

It is asked with a lifespan scope, and a ``receive`` that never returns. An application that answers
waits there, with nothing opened; one that does not has raised, or is over, before.
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
"""Seconds that an application may take until it asks for the first message."""
NAME = "application"
ROUTER = "configured for scope type 'lifespan'"
"""What Channels' ``ProtocolTypeRouter`` says, however deep inside of others it stands."""


class Refusal(NamedTuple):
    """Why a server would not open the lifespan."""

    message: str
    hint: str
    place: str


def refusal(path: str | None) -> Refusal | None:
    """Return why an application answers no lifespan; None if it does, or if there is none.

    Args:
        path: ``module:name`` or ``module.name``; None: what the project's settings name.

    Raises:
        LookupError: there is none at ``path``, or its module can't be imported.
    """
    place = path or from_settings()
    if place is None:
        return None
    try:
        application = load(place)
    except PlanError:
        # It is our own that refuses, and says why by itself.
        return None
    except LookupError as error:
        if path is not None:
            raise
        if not getattr(settings, "ASGI_APPLICATION", None) and is_missing(error):
            # A project without asgi.py is not served by ASGI.
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
    """Return why an application answers no lifespan; None if it does.

    Args:
        application: the application.
        place: where it is.
        reached: gets what its lifespan would open.
    """
    why = asyncio.run(ask(application, reached))
    if why is None:
        return None
    return Refusal(
        f"The ASGI application '{place}' answers no lifespan: {why}.",
        hint_for(application, why),
        place,
    )


def names_ours(application: Any) -> bool:
    """Return True if the lifespan function of a Starlette application names a ``Lifespan``.

    Whether it opens that, only its start would show.
    """
    router = getattr(application, "router", None)
    function = inspect.unwrap(getattr(router, "lifespan_context", None) or application)
    names = getattr(getattr(function, "__code__", None), "co_names", ())
    known = getattr(function, "__globals__", {})
    return any(isinstance(known.get(name), Lifespan) for name in names)


def from_settings() -> str | None:
    """Return where the application is: as ASGI_APPLICATION says, else beside the URLconf."""
    named = getattr(settings, "ASGI_APPLICATION", None)
    if named:
        return str(named)
    package = str(getattr(settings, "ROOT_URLCONF", "")).rpartition(".")[0]
    return f"{package}.asgi:{NAME}" if package else f"asgi:{NAME}"


def load(path: str) -> Any:
    """Import an application.

    Raises:
        LookupError: there is none; the text says what there is.
        PlanError: it is ours, and the plan can't be made.
    """
    module_name, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    if not module_name or not name:
        raise LookupError(f"'{path}' is no place of an ASGI application: write 'module:{NAME}'.")
    try:
        found: Any = import_module(module_name)
    except PlanError:
        raise
    except (Exception, SystemExit) as error:
        raise LookupError(
            f"The ASGI application '{path}' can't be imported: {clause(error)}."
        ) from error
    for attribute in name.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError as error:
            meant = did_you_mean(attribute, dir(found))
            raise LookupError(f"'{module_name}' has no '{name}'.{meant}") from error
    if not callable(found):
        raise LookupError(f"'{path}' is no ASGI application, but {with_article(type(found))}.")
    return found


def is_missing(error: LookupError) -> bool:
    """Tell whether it is the module itself that is not there, and not one that it imports."""
    cause = error.__cause__
    return isinstance(cause, ModuleNotFoundError) and str(from_settings()).startswith(
        f"{cause.name}"
    )


async def ask(application: Callable[..., Any], reached: list[Lifespan]) -> str | None:
    """Return why an application answers no lifespan scope, None if it does.

    Args:
        application: the application.
        reached: gets what would be opened.
    """
    asked = asyncio.Event()

    async def receive() -> NoReturn:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("nothing wakes it")

    async def send(message: object) -> None:
        """Take what is said unasked."""

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
        # A task must not see SystemExit: it would let it out of the loop.
        except BaseException as error:
            return error
        return None

    living = asyncio.create_task(live())
    asking = asyncio.create_task(asked.wait())
    await asyncio.wait({living, asking}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    why = None
    if not asked.is_set():
        why = said(living)
    for task in (living, asking):
        task.cancel()
    await asyncio.wait({living, asking}, timeout=PATIENCE)
    return why


def said(living: asyncio.Task[BaseException | None]) -> str:
    """Return what an application did instead of asking for a message."""
    if not living.done():
        return f"it has not asked for a message within {time_limit(PATIENCE)}"
    error = None if living.cancelled() else living.result()
    return "it returns without asking for a message" if error is None else clause(error)


def hint_for(application: object, why: str = "") -> str:
    """Return how an application comes to answer."""
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
