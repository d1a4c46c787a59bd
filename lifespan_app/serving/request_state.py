"""``request.state``: the open resources of the process, for one request."""

from __future__ import annotations

from asyncio import _get_running_loop
from collections.abc import Iterator, Mapping
from threading import get_ident
from typing import TYPE_CHECKING, Any

from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.errors import NotRunning
from lifespan_app.engine.running.current import (
    LOOP_IS_QUICK_TO_TELL,
    SCOPE_KEY,
    get_running_run,
    named_run,
    run_of,
)
from lifespan_app.engine.running.state import StateMapping
from lifespan_app.integration.default import lifespan

if TYPE_CHECKING:
    from lifespan_app.engine.running.run import Run


class RequestState(StateMapping):
    """The state of a run, with the values that this request has written over it.

    ``state["name"]`` and ``state.name`` are the same. Written values stay in the request.
    ``in``, ``get`` and ``hasattr`` never raise; reading raises an error with the reason.

    Args:
        scope: the request's ASGI scope, or its WSGI environment.
    """

    __slots__ = ("_own", "_scope")

    def __init__(self, scope: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_scope", scope)
        object.__setattr__(self, "_own", {})

    def __getitem__(self, name: str) -> Any:
        if name in self._own:
            return self._own[name]
        try:
            run = self._scope[SCOPE_KEY]
            value = run.serving[name]
        except (AttributeError, KeyError):
            pass
        else:
            # While a run serves, reads on its own loop need no further check.
            if current_hook.get() is None and (
                _get_running_loop() is run.loop
                if LOOP_IS_QUICK_TO_TELL
                else get_ident() == run.loop_thread and run.loop_runs()
            ):
                return value
        run = self._run()
        if run is not None and (name in run.resources.by_name or name in run.state):
            return run.state[name]
        others = self._others(run)
        if name in others:
            return others[name]
        if run is None:
            run = get_running_run(lifespan, f"'{name}' in the request's state", self._scope)
        return run.state[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._own[name] = value

    def __delitem__(self, name: str) -> None:
        del self._own[name]

    def __iter__(self) -> Iterator[str]:
        run = self._run() or self._run_here()
        open_here = run.state if run is not None else ()
        yield from dict.fromkeys([*self._own, *open_here, *self._others(run)])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return any(name == known for known in self)

    def _run(self) -> Run | None:
        # A test may open another Lifespan around a request.
        served_by = run_of(self._scope)
        owner = lifespan if served_by is None else served_by.lifespan
        run: Run | None = named_run(owner, self._scope)
        return run

    def _run_here(self) -> Run | None:
        try:
            run: Run = get_running_run(lifespan, "The request's state")
            return run
        except NotRunning:
            return None

    def _others(self, run: Run | None) -> Mapping[str, Any]:
        """Return the items of the scope's state that are not from the run."""
        state = self._scope.get("state")
        if not isinstance(state, Mapping):
            return {}
        # A server's copy may hold resources that are closed by now.
        ours = run.resources.by_name if run is not None else ()
        return {name: value for name, value in state.items() if name not in ours}

    def __repr__(self) -> str:
        return f"<request state: {', '.join(self) or 'empty'}>"
