"""Ordering: the one stable order of a plan's hooks, and the waits that come of it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from lifespan_app.engine.hooks.hook import SHUTDOWN, START

from .candidate import Candidate
from .plan import PRIORITY, WRITTEN, Argument, Gives, Node, Wait, barrier_of


def in_order(running: list[Candidate]) -> tuple[list[Candidate], list[list[Candidate]]]:
    """Order hooks so that each stands behind what it needs, by priority, as registered.

    Args:
        running: the hooks, as registered. A hook gets the priority of what needs it, where that is
            lower.

    Returns:
        The hooks in their order, and the cycles in which hooks wait for one another; a hook that
        stands in a cycle, or needs one that does, has no place in the order and is left out.
    """
    if stand_in_order(running):
        return running, []
    waiting: dict[int, int] = {}
    dependents: dict[int, list[Candidate]] = {}
    for drafted in running:
        if drafted.asks:
            targets = {id(ask.target) for ask in drafted.asks if not ask.target.excluded}
            waiting[id(drafted)] = len(targets)
            for target in targets:
                dependents.setdefault(target, []).append(drafted)
    free = [drafted for drafted in running if not waiting.get(id(drafted))]
    topological = list(free)
    left = dict(waiting)
    for drafted in topological:
        for dependent in dependents.get(id(drafted), ()):
            left[id(dependent)] -= 1
            if not left[id(dependent)]:
                topological.append(dependent)
    cycles: list[list[Candidate]] = []
    if len(topological) < len(running):
        placed = {id(drafted) for drafted in topological}
        cycles = list(find_cycles(running, placed))
        for drafted in running:
            if id(drafted) not in placed:
                drafted.leave_out("stands in a cycle, or needs a hook that does")
    for drafted in reversed(topological):
        for dependent in dependents.get(id(drafted), ()):
            drafted.come_before(dependent)
    place = {id(drafted): at for at, drafted in enumerate(running)}
    heap = [(drafted.priority, place[id(drafted)], drafted) for drafted in free]
    heapq.heapify(heap)
    order = []
    while heap:
        drafted = heapq.heappop(heap)[2]
        order.append(drafted)
        for dependent in dependents.get(id(drafted), ()):
            waiting[id(dependent)] -= 1
            if not waiting[id(dependent)]:
                heapq.heappush(heap, (dependent.priority, place[id(dependent)], dependent))
    return order, cycles


def stand_in_order(running: list[Candidate]) -> bool:
    """Tell whether hooks stand in their order as they were registered, as most do."""
    done: set[Candidate] = set()
    for drafted in running:
        if drafted.priority:
            return False
        for ask in drafted.asks:
            if ask.target not in done and not ask.target.excluded:
                return False
        done.add(drafted)
    return True


def find_cycles(running: list[Candidate], placed: set[int]) -> Iterator[list[Candidate]]:
    """Yield each cycle whole: every hook of it waits for the next one, the last for the first."""
    seen: set[int] = set()
    for start in running:
        if id(start) in placed or id(start) in seen:
            continue
        path: list[Candidate] = []
        places: dict[int, int] = {}
        at = start
        while id(at) not in places and id(at) not in seen:
            places[id(at)] = len(path)
            path.append(at)
            at = next(
                ask.target
                for ask in at.asks
                if not ask.target.excluded and id(ask.target) not in placed
            )
        seen.update(map(id, path))
        if id(at) in places:
            yield path[places[id(at)] :]


def nodes_in_order(order: Iterable[Candidate], drains: Iterable[Candidate]) -> list[Node]:
    """Return the nodes of a plan, each with what it waits for.

    Args:
        order: the hooks in their order; those of one priority wait for all of a lower one.
        drains: the drain functions, which wait for what they ask for and nothing else.
    """
    nodes: list[Node] = []
    barrier: Node | None = None
    layer: list[Node] = []
    written: dict[tuple[str, int], int] = {}
    for drafted in order:
        if layer and drafted.priority != layer[0].options.priority:
            barrier = add_barrier(nodes, layer)
            layer = []
        layer.append(add_node(nodes, drafted, barrier, written))
    for drafted in drains:
        add_node(nodes, drafted, None, written)
    return nodes


def add_barrier(nodes: list[Node], layer: list[Node]) -> Node:
    """Add what waits for all hooks of one priority, so that those of the next wait for it alone."""
    priority = layer[0].options.priority
    key = f"priority {priority}"
    waits = tuple(Wait(node.index, PRIORITY, key, hard=False) for node in layer)
    barrier = barrier_of(len(nodes), key, priority=priority, waits=waits)
    nodes.append(barrier)
    return barrier


def add_node(
    nodes: list[Node],
    drafted: Candidate,
    barrier: Node | None,
    written: dict[tuple[str, int], int],
) -> Node:
    """Add the node of a hook.

    Args:
        nodes: those before it.
        drafted: the hook.
        barrier: what it waits for because of its priority, if anything.
        written: the last start or shutdown function of each module and priority.
    """
    hook, options = drafted.hook, drafted.options
    index = len(nodes)
    drafted.take_place(index)
    if drafted.priority != options.priority:
        options = options._replace(priority=drafted.priority)
    waits: list[Wait] = []
    arguments = [Argument(name, gives) for name, gives in drafted.arguments]
    for target, reason, detail, parameter, has_default in drafted.asks:
        if target.excluded:
            continue
        # What asks for a hook comes up after it: where the startup does not wait for that one,
        # it can't wait for this one.
        if options.wait and not nodes[target.node].options.wait:
            options = options._replace(wait=False)
        if parameter:
            arguments.append(Argument(parameter, Gives.RESOURCE, target.node, has_default))
        waits.append(Wait(target.node, reason, detail, not has_default))
    if barrier is not None:
        detail = f"after every hook of {barrier.key}"
        waits.append(Wait(barrier.index, PRIORITY, detail, hard=False))
    if hook.kind is START or hook.kind is SHUTDOWN:
        place = (hook.module, drafted.priority)
        before = written.get(place)
        if before is not None and all(wait.node != before for wait in waits):
            waits.append(Wait(before, WRITTEN, "written before it", False))
        written[place] = index
    node = Node(index, drafted.key, drafted.label, hook, options, tuple(arguments), tuple(waits))
    nodes.append(node)
    return node
