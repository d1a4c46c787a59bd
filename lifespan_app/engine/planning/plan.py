"""The plan: the hooks that run for one service type, as a graph in which every edge has a reason.

A plan is a value: making it twice gives the same order, and nothing in it changes while it runs.
``planning`` makes it.
"""

# Without "from __future__ import annotations": a named tuple compiles each annotation that is a
# string, which takes most of the time that its class does.

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from lifespan_app.engine.hooks.hook import Hook, Options


class Reason(StrEnum):
    """The reason that one hook waits for another."""

    NEEDS = "needs"
    DECLARED = "declared"
    PRIORITY = "priority"
    WRITTEN = "written"


# Module constants, as attributes of an Enum are slow to look up.
NEEDS, DECLARED, PRIORITY, WRITTEN = Reason


class Gives(StrEnum):
    """The source of an argument."""

    CONTEXT = "context"
    STATE = "state"
    RESOURCE = "resource"


class Argument(NamedTuple):
    """The argument for one parameter of a hook's function."""

    name: str
    gives: Gives
    node: int = -1
    """Which node of the plan, for a resource."""


class Wait(NamedTuple):
    """An edge: one node waits for another, with the reason."""

    node: int
    reason: Reason
    detail: str = ""
    hard: bool = True
    """True if the waiting hook is skipped when the other one has failed."""


class Edge(NamedTuple):
    """One edge of the plan, in words: ``after`` waits for ``before``."""

    before: str
    after: str
    reason: Reason
    detail: str = ""


class Excluded(NamedTuple):
    """A hook that this plan does not hold."""

    key: str
    reason: str
    file: str
    line: int


NO_OPTIONS = Options()


class Node(NamedTuple):
    """A hook in a plan, with its options after the settings; or, without a hook, a barrier."""

    index: int  # type: ignore[assignment]  # a field, in place of the method of tuples
    key: str
    label: str
    hook: Hook | None
    options: Options = NO_OPTIONS
    """The declared options, with the changes by the ``HOOKS`` setting and by the plan's order."""
    arguments: tuple[Argument, ...] = ()
    waits: tuple[Wait, ...] = ()


def node_of(index: int, hook: Hook, label_of: Callable[[str], str | None]) -> Node:
    """Return the node of a hook that is no app's.

    Args:
        index: its place in the plan.
        hook: the hook.
        label_of: returns the app label of a module, or None outside an installed app.
    """
    label = label_of(hook.module) or hook.module
    return Node(index, f"{label}.{hook.name}", label, hook, hook.options)


def barrier_of(index: int, key: str, *, waits: tuple[Wait, ...] = ()) -> Node:
    """Return a barrier: a node without a hook."""
    return Node(index, key, "", None, NO_OPTIONS, (), waits)


class Plan:
    """The hooks of one service type, in one stable order, with every edge's reason.

    Args:
        service_type: the service type of the plan.
        nodes: hooks and barriers in their stable order; a node waits only for earlier ones.
        excluded: the excluded hooks, each with the reason.
    """

    __slots__ = ("excluded", "nodes", "service_type")

    def __init__(
        self, service_type: str, nodes: Sequence[Node], excluded: Sequence[Excluded] = ()
    ) -> None:
        self.service_type = service_type
        self.nodes = tuple(nodes)
        self.excluded = tuple(excluded)

    @property
    def hooks(self) -> list[Node]:
        """The nodes that are hooks, in their stable order."""
        return [node for node in self.nodes if node.hook is not None]

    @property
    def order(self) -> list[str]:
        """The keys of the hooks, in their stable order."""
        return [node.key for node in self.nodes if node.hook is not None]

    @property
    def edges(self) -> list[Edge]:
        """Every edge with its reason; one between priorities goes through a barrier."""
        return [
            Edge(self.nodes[wait.node].key, node.key, wait.reason, wait.detail)
            for node in self.nodes
            for wait in node.waits
        ]

    def layers(self) -> list[list[Node]]:
        """Return the hooks in layers: those of one layer can start side by side."""
        depth: list[int] = []
        layers: list[list[Node]] = []
        for node in self.nodes:
            before = max((depth[wait.node] for wait in node.waits), default=-1)
            depth.append(before + (node.hook is not None))
            if node.hook is not None:
                if depth[-1] == len(layers):
                    layers.append([])
                layers[depth[-1]].append(node)
        return layers

    def only(self, keys: Iterable[str]) -> "Plan":
        """Return the part of this plan with the hooks of ``keys`` and their dependencies.

        Raises:
            LookupError: a key that the plan does not hold.
        """
        by_key: dict[str, list[Node]] = {}
        for node in self.nodes:
            by_key.setdefault(node.key, []).append(node)
        kept: set[int] = set()
        ready: list[Node] = []
        for key in keys:
            if key not in by_key:
                raise LookupError(
                    f"The plan of service type '{self.service_type}' holds no hook '{key}'. "
                    f"It holds: {', '.join(self.order) or 'none'}."
                )
            ready += by_key[key]
        while ready:
            node = ready.pop()
            if node.index in kept:
                continue
            kept.add(node.index)
            ready += (self.nodes[wait.node] for wait in node.waits if wait.reason in HARD)
        return self.without({node.index for node in self.nodes} - kept, "not asked for")

    def waiting_for_all(self) -> "Plan":
        """Return this plan with a startup that waits for every hook."""
        if all(node.options.wait for node in self.nodes):
            return self
        nodes = [node._replace(options=node.options._replace(wait=True)) for node in self.nodes]
        return Plan(self.service_type, nodes, self.excluded)

    def without_leases(self) -> "Plan":
        """Return this plan with hooks that run in each process."""
        if not any(node.options.once for node in self.nodes):
            return self
        nodes = [node._replace(options=node.options._replace(once=None)) for node in self.nodes]
        return Plan(self.service_type, nodes, self.excluded)

    def without(self, dropped: set[int], reason: str) -> "Plan":
        """Return this plan without some hooks, and without the edges to them.

        Args:
            dropped: the indices of their nodes.
            reason: why they are left out, as the end of a sentence.
        """
        kept = [node for node in self.nodes if node.hook is None or node.index not in dropped]
        index = {node.index: position for position, node in enumerate(kept)}
        nodes = [
            node._replace(
                index=index[node.index],
                arguments=tuple(
                    argument._replace(node=index.get(argument.node, -1))
                    for argument in node.arguments
                ),
                waits=tuple(
                    wait._replace(node=index[wait.node])
                    for wait in node.waits
                    if wait.node in index
                ),
            )
            for node in kept
        ]
        excluded = [
            Excluded(node.key, reason, node.hook.file, node.hook.line)
            for node in self.nodes
            if node.hook is not None and node.index in dropped
        ]
        return Plan(self.service_type, nodes, [*self.excluded, *excluded])

    def __len__(self) -> int:
        return sum(node.hook is not None for node in self.nodes)

    def __repr__(self) -> str:
        return f"<plan of {self.service_type}: {', '.join(self.order) or 'no hooks'}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Plan):
            return NotImplemented
        return (
            self.service_type == other.service_type
            and self.nodes == other.nodes
            and self.excluded == other.excluded
        )

    __hash__ = None  # type: ignore[assignment]  # compared by value


HARD = frozenset({Reason.NEEDS, Reason.DECLARED})


def edges_into(nodes: Sequence[Node], node: Node) -> Iterator[tuple[str, str]]:
    """Return the edges of a plan's node, as pairs of key and reason."""
    for wait in node.waits:
        yield nodes[wait.node].key, str(wait.reason)
