"""Ordering: the one stable order of a plan's hooks, and the waits that come of it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from lifespan_app.engine.hooks.hook import SHUTDOWN, START

from .candidate import Candidate
from .plan import PRIORITY, WRITTEN, Argument, Gives, Node, Wait, barrier_of


def in_order(running: list[Candidate]) -> tuple[list[Candidate], list[list[Candidate]]]:
    """Sort hooks by dependencies, then by priority, then by their registration.

    Args:
        running: the hooks, as registered. A hook gets the priority of a dependent, if that is
            lower.

    Returns:
        The hooks in their order, and the cycles of hooks that wait for one another; a hook
        in a cycle, or one that depends on it, has no place in the order and is excluded.
    """
    if are_in_order(running):
        return running, []
    waiting: dict[int, int] = {}
    dependents: dict[int, list[Candidate]] = {}
    for candidate in running:
        if candidate.dependencies:
            targets = {
                id(dependency.target)
                for dependency in candidate.dependencies
                if not dependency.target.excluded
            }
            waiting[id(candidate)] = len(targets)
            for target in targets:
                dependents.setdefault(target, []).append(candidate)
    free = [candidate for candidate in running if not waiting.get(id(candidate))]
    topological = list(free)
    left = dict(waiting)
    for candidate in topological:
        for dependent in dependents.get(id(candidate), ()):
            left[id(dependent)] -= 1
            if not left[id(dependent)]:
                topological.append(dependent)
    cycles: list[list[Candidate]] = []
    if len(topological) < len(running):
        placed = {id(candidate) for candidate in topological}
        cycles = list(find_cycles(running, placed))
        for candidate in running:
            if id(candidate) not in placed:
                candidate.exclude("stands in a cycle, or needs a hook that does")
    for candidate in reversed(topological):
        for dependent in dependents.get(id(candidate), ()):
            candidate.take_lower_priority(dependent)
    place = {id(candidate): at for at, candidate in enumerate(running)}
    heap = [(candidate.priority, place[id(candidate)], candidate) for candidate in free]
    heapq.heapify(heap)
    order = []
    while heap:
        candidate = heapq.heappop(heap)[2]
        order.append(candidate)
        for dependent in dependents.get(id(candidate), ()):
            waiting[id(dependent)] -= 1
            if not waiting[id(dependent)]:
                heapq.heappush(heap, (dependent.priority, place[id(dependent)], dependent))
    return order, cycles


def are_in_order(running: list[Candidate]) -> bool:
    """Return True if the order of registration is valid already, as it mostly is."""
    done: set[Candidate] = set()
    for candidate in running:
        if candidate.priority:
            return False
        for dependency in candidate.dependencies:
            if dependency.target not in done and not dependency.target.excluded:
                return False
        done.add(candidate)
    return True


def find_cycles(running: list[Candidate], placed: set[int]) -> Iterator[list[Candidate]]:
    """Yield each cycle whole: every hook of it waits for the next one, the last for the first."""
    seen: set[int] = set()
    for start in running:
        if id(start) in placed:
            continue
        path: list[Candidate] = []
        places: dict[int, int] = {}
        at = start
        while id(at) not in places and id(at) not in seen:
            places[id(at)] = len(path)
            path.append(at)
            at = next(
                dependency.target
                for dependency in at.dependencies
                if not dependency.target.excluded and id(dependency.target) not in placed
            )
        seen.update(map(id, path))
        if id(at) in places:
            yield path[places[id(at)] :]


def nodes_in_order(order: Iterable[Candidate], drains: Iterable[Candidate]) -> list[Node]:
    """Return the nodes of a plan, each with its edges.

    Args:
        order: the hooks in their order; those of one priority wait for all of a lower one.
        drains: the drain functions, which wait for their dependencies only.
    """
    nodes: list[Node] = []
    barrier: Node | None = None
    layer: list[Node] = []
    written: dict[tuple[str, int], int] = {}
    for candidate in order:
        if layer and candidate.priority != layer[0].options.priority:
            barrier = add_barrier(nodes, layer)
            layer = []
        layer.append(add_node(nodes, candidate, barrier, written))
    for candidate in drains:
        add_node(nodes, candidate, None, written)
    return nodes


def add_barrier(nodes: list[Node], layer: list[Node]) -> Node:
    """Add a barrier behind one layer: the nodes of the next layer wait for it alone."""
    key = f"priority {layer[0].options.priority}"
    waits = tuple(Wait(node.index, PRIORITY, key, hard=False) for node in layer)
    barrier = barrier_of(len(nodes), key, waits=waits)
    nodes.append(barrier)
    return barrier


def add_node(
    nodes: list[Node],
    candidate: Candidate,
    barrier: Node | None,
    written: dict[tuple[str, int], int],
) -> Node:
    """Add the node of a hook.

    Args:
        nodes: those before it.
        candidate: the hook.
        barrier: the barrier of its priority, if there is one.
        written: the last start or shutdown function of each module and priority.
    """
    hook, options = candidate.hook, candidate.options
    index = len(nodes)
    candidate.take_place(index)
    if candidate.priority != options.priority:
        options = options._replace(priority=candidate.priority)
    waits: list[Wait] = []
    arguments = [Argument(name, gives) for name, gives in candidate.arguments]
    for target, reason, detail, parameter, has_default in candidate.dependencies:
        if target.excluded:
            continue
        # A dependent comes up after its dependency: if the startup does not wait for that, it can't
        # wait for the dependent either.
        if options.wait and not nodes[target.node].options.wait:
            options = options._replace(wait=False)
        if parameter:
            arguments.append(Argument(parameter, Gives.RESOURCE, target.node))
        waits.append(Wait(target.node, reason, detail, not has_default))
    if barrier is not None:
        detail = f"after every hook of {barrier.key}"
        waits.append(Wait(barrier.index, PRIORITY, detail, hard=False))
    if hook.kind is START or hook.kind is SHUTDOWN:
        place = (hook.module, candidate.priority)
        before = written.get(place)
        if before is not None and all(wait.node != before for wait in waits):
            waits.append(Wait(before, WRITTEN, "written before it", False))
        written[place] = index
    node = Node(
        index, candidate.key, candidate.label, hook, options, tuple(arguments), tuple(waits)
    )
    nodes.append(node)
    return node
