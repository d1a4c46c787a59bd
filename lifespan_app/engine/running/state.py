"""The state: a mapping of a run's open resources, and of the values that its hooks have written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from lifespan_app.engine.errors import HookError

if TYPE_CHECKING:
    from typing import Protocol

    # A protocol is expensive to create, and only type checkers read it.
    class Open(Protocol):
        """The open resources of a run."""

        @property
        def by_name(self) -> Mapping[str, Any]:
            """Its resources, by state name."""

        def read_name(self, name: str) -> Any:
            """Return the value of the resource with a state name. Raises a ``ReadError``."""

        def open_names(self) -> Mapping[str, Any]:
            """Return the state names of the resources that are up."""


class StateMapping(MutableMapping[str, Any]):
    """A mapping whose items are attributes too: ``state["name"]`` and ``state.name``."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None


class RunState(StateMapping):
    """The state of a run: its resources by state name, and the values that hooks write.

    ``state["name"]`` and ``state.name`` are the same. Resources can be read, not replaced.
    """

    __slots__ = ("_of", "_owners", "_resources", "_written")

    def __init__(self, resources: Open, of: object) -> None:
        object.__setattr__(self, "_resources", resources)
        object.__setattr__(self, "_of", of)
        object.__setattr__(self, "_written", {})
        object.__setattr__(self, "_owners", {})

    def __getitem__(self, name: str) -> Any:
        try:
            return self._written[name]
        except KeyError:
            return self._resources.read_name(name)

    def __setitem__(self, name: str, value: Any) -> None:
        if name in self._resources.by_name:
            raise TypeError(
                f"'{name}' is a resource, whose value its hook yields. Write to the state under "
                "another name."
            )
        self._written[name] = value

    def __delitem__(self, name: str) -> None:
        del self._written[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._written
        for name in self._resources.open_names():
            if name not in self._written:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self._written or name in self._resources.open_names()

    def __repr__(self) -> str:
        return f"<state of {self._of}: {', '.join(self) or 'empty'}>"


def share(state: RunState, mapping: Mapping[str, Any], owner: str) -> None:
    """Add names to the state that are no resources, and stay after the shutdown.

    Args:
        state: the state of a run.
        mapping: the values by name.
        owner: their owner, for people.

    Raises:
        HookError: a name is in the state already; both owners are named.
    """
    resources, owners = state._resources.by_name, state._owners
    for name, value in mapping.items():
        if name in resources:
            raise twice(name, str(resources[name]), owner, "state_name= of the hook")
        if name in state:
            known = owners.get(name, "a hook that has written it to the state")
            raise twice(name, known, owner, "another name in one of the two")
        state[name] = value
        owners[name] = owner


def twice(name: str, first: str, second: str, remedy: str) -> HookError:
    """Return the error of a name that two sources have put into the state."""
    return HookError(
        f"'{name}' is in the state twice: from {first} and from {second}. Use {remedy}."
    )
