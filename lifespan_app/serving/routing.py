"""Applications mounted beside Django: which of them answers a request, by its path."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

from django.core.handlers.asgi import get_script_prefix

from lifespan_app.engine.errors import with_article
from lifespan_app.engine.logger import logger
from lifespan_app.engine.running.current import SCOPE_KEY

from .handler import LifespanASGIHandler
from .mounted import MountLocation, lifespans_inside, mounts_stage
from .protocol import ServedRun

if TYPE_CHECKING:
    from lifespan_app.engine.running.stages import Stage

    from .protocol import Receive, Scope, Send

Application = Callable[[Any, Any, Any], Awaitable[None]]


class Mount(NamedTuple):
    """An application, and the beginning of the paths that it answers."""

    prefix: str
    app: Application


class MountingASGIHandler(LifespanASGIHandler):
    """Answer as ``LifespanASGIHandler`` does, and pass paths with a mount's prefix on to its application.

    Args:
        mounts: the applications by prefix.
        place: the location of the call that has mounted them.

    Raises:
        TypeError: ``mounts`` is no mapping, or a value is no ASGI application.
        ValueError: a prefix is wrong, or is there twice.
    """

    made: weakref.WeakSet[MountingASGIHandler] = weakref.WeakSet()
    """The handlers of this process."""

    def __init__(self, mounts: Mapping[str, Application], place: MountLocation) -> None:
        super().__init__()
        self.mounts = mounts_of(mounts)
        """Longest prefix first."""
        self._place = place
        self._warned_of: set[str] = set()
        self.made.add(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope."""
        if "path" in scope:
            root = get_script_prefix(scope).rstrip("/")
            path = scope["path"]
            # uvicorn passes the whole path, hypercorn, granian and daphne the part after the root path.
            is_whole = begins_with(path, root)
            rest = path[len(root) :] if is_whole else path
            for mount in self.mounts:
                if begins_with(rest, mount.prefix):
                    child = {**scope, "path": root + rest, "root_path": root + mount.prefix}
                    if not is_whole and scope.get("raw_path") is not None:
                        child["raw_path"] = quote(root).encode() + scope["raw_path"]
                    await self._pass_on(mount, child, receive, send)
                    return
        await super().__call__(scope, receive, send)

    async def _pass_on(self, mount: Mount, scope: Scope, receive: Receive, send: Send) -> None:
        run = scope.get(SCOPE_KEY) or self._runs.of_this_loop()
        state = run.mount_states.get(id(mount.app)) if isinstance(run, ServedRun) else None
        if state is None:
            self._warn_of(mount)
        if run is not None:
            scope[SCOPE_KEY] = run
        if isinstance(run, ServedRun):
            scope["state"] = {**(scope.get("state") or run.handed_out), **(state or {})}
        elif run is None:
            from .forwarding import was_forwarded

            if await was_forwarded(mount.app, scope, receive, send):
                return
        await mount.app(scope, receive, send)

    def _warn_of(self, mount: Mount) -> None:
        """Log that the lifespan of a mounted application is not open, once."""
        if mount.prefix not in self._warned_of:
            self._warned_of.add(mount.prefix)
            logger.warning(
                "mounts[%s] (%s:%d) gets requests, and its own lifespan is not open: the server has sent "
                "no lifespan messages to get_asgi_application(). Use a server that supports lifespan, and "
                "don't turn it off. In a ProtocolTypeRouter, name the same application for 'lifespan' "
                "as for 'http'.",
                mount.prefix,
                self._place.file,
                self._place.line,
            )

    def _inner_stage(self, scope: Scope) -> Stage:
        return mounts_stage(self._named(), scope, self._place)

    def _inner_lifespans(self, scope: Scope) -> AbstractAsyncContextManager[None]:
        return lifespans_inside([app for _, app in self._named()], scope)

    def _named(self) -> list[tuple[str, Application]]:
        """Return each application once, with the name of its step."""
        names: dict[int, tuple[str, Application]] = {}
        for mount in self.mounts:
            names.setdefault(id(mount.app), (f"mounts[{mount.prefix}]", mount.app))
        return list(names.values())


def begins_with(path: str, prefix: str) -> bool:
    """Return True if a path is a prefix, or continues it with a slash."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/")


def mounts_of(given: object) -> list[Mount]:
    """Return the mounts of a mapping, longest prefix first. Raises as ``MountingASGIHandler`` does."""
    if not isinstance(given, Mapping):
        raise TypeError(
            f"mounts= takes a dictionary, such as {{'/mcp': application}}, not {given!r}."
        )
    keys: dict[str, object] = {}
    for key, app in given.items():
        prefix = prefix_of(key)
        if prefix in keys:
            raise ValueError(f"mounts[{key!r}] is the same prefix as mounts[{keys[prefix]!r}].")
        keys[prefix] = key
        if (why := refusal(app)) is not None:
            raise TypeError(f"mounts[{key!r}] is no ASGI application: {why}")
    mounts = [Mount(prefix_of(key), app) for key, app in given.items()]
    return sorted(mounts, key=lambda mount: len(mount.prefix), reverse=True)


def prefix_of(key: object) -> str:
    """Return a mount's key as servers pass paths: percent-decoded.

    Raises:
        TypeError, ValueError: it is no prefix of a path.
    """
    if not isinstance(key, str):
        raise TypeError(f"mounts[{key!r}]: a prefix is a string that begins with a slash: '/mcp'.")
    if not key.startswith("/"):
        raise ValueError(f"mounts[{key!r}]: a prefix begins with a slash: '/{key or 'mcp'}'.")
    if key == "/":
        raise ValueError("mounts['/'] would leave no path to Django. Use a prefix such as '/mcp'.")
    if key.endswith("/"):
        raise ValueError(
            f"mounts[{key!r}]: a prefix has no slash at its end. {key.rstrip('/')!r} is for that path "
            "and for all below it."
        )
    return unquote(key)


def refusal(app: Any) -> str | None:
    """Return the reason that an object is no ASGI application, and what to write; None if it may be one."""
    if inspect.isclass(app):
        return f"it is the class {app.__qualname__}. Pass an instance of it."
    if not callable(app):
        return f"it is {with_article(type(app))}, which can't be called.{remedy_for(app)}"
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return None
    name = getattr(app, "__qualname__", type(app).__qualname__)
    if takes(signature, 3) and not (inspect.isroutine(app) and takes_nothing(signature)):
        return None
    if takes_nothing(signature):
        return f"it is the function {name}(). Call it, if it returns one: {name}()."
    if takes(signature, 2):
        return (
            f"{name} takes 2 arguments, as WSGI applications do. Use "
            "asgiref.wsgi.WsgiToAsgi(application)."
        )
    return f"{name} can't be called with scope, receive and send."


def takes(signature: inspect.Signature, number: int) -> bool:
    """Return True if a function can be called with a number of positional arguments."""
    try:
        signature.bind(*range(number))
    except TypeError:
        return False
    return True


def takes_nothing(signature: inspect.Signature) -> bool:
    """Return True if a function has names for its arguments, and can be called without any."""
    takes_any = any(one.kind is one.VAR_POSITIONAL for one in signature.parameters.values())
    return takes(signature, 0) and not takes_any


def remedy_for(app: Any) -> str:
    """Return the method of an MCP server that returns its ASGI application, in words."""
    for method in ("http_app", "streamable_http_app"):
        if callable(getattr(app, method, None)):
            return f" Pass what its method {method}() returns."
    return ""
