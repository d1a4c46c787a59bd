"""Plans as dependency graphs in the languages of Mermaid and Graphviz."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .plans import ShownHook, ShownPlan
from .terminal import printable

BOX, ROUND = ("[", "]", "box"), ("([", "])", "ellipse")
SHAPES = {
    "start": BOX,
    "shutdown": BOX,
    "resource": ROUND,
    "background": ("[[", "]]", "component"),
    "drain": BOX,
    "manager": ROUND,
}
"""By kind of hook: the brackets of Mermaid, and the shape of Graphviz."""


def mermaid(plans: Sequence[ShownPlan]) -> str:
    """Return plans as a Mermaid flowchart with one subgraph per plan."""
    frames = (line for at, plan in enumerate(plans) for line in frame(f"p{at}", plan))
    return "\n".join(["flowchart LR", *frames])


def frame(own: str, plan: ShownPlan) -> Iterator[str]:
    """Yield one plan in the language of Mermaid, with ``own`` as the prefix of its ids."""
    yield f'  subgraph {own}["{mermaid_text(printable(plan.service_type))}"]'
    for at, hook in enumerate(plan.hooks):
        opens, closes, _ = SHAPES[hook.kind]
        label = "<br>".join(map(mermaid_text, label_of(hook)))
        yield f'    {own}h{at}{opens}"{label}"{closes}'
    for priority in barriers(plan):
        yield f'    {own}b{number(priority)}{{"up to priority {priority}"}}'
    for before, after, reason, hard in edges(plan):
        arrow = "-->" if hard else "-.->"
        label = f"|{reason}|" if reason else ""
        yield f"    {own}{before} {arrow}{label} {own}{after}"
    yield "  end"


def mermaid_text(text: str) -> str:
    """Return a text for Mermaid, with special characters as entity codes."""
    # https://mermaid.js.org/syntax/flowchart.html#entity-codes-to-escape-characters
    return "".join(
        character if character.isalnum() or character in " _-,.:/" else f"#{ord(character)};"
        for character in text
    )


def dot(plans: Sequence[ShownPlan]) -> str:
    """Return plans as a Graphviz graph with one cluster per plan."""
    lines = [
        "digraph lifespan {",
        "  rankdir=LR;",
        '  node [fontname="sans-serif"];',
        '  edge [fontname="sans-serif"];',
        *(line for at, plan in enumerate(plans) for line in cluster(f"p{at}", plan)),
        "}",
    ]
    return "\n".join(lines)


def cluster(own: str, plan: ShownPlan) -> Iterator[str]:
    """Yield one plan in the language of Graphviz, with ``own`` as the prefix of its ids."""
    yield f"  subgraph cluster_{own} {{"
    yield f'    label="{dot_text(printable(plan.service_type))}";'
    for at, hook in enumerate(plan.hooks):
        label = r"\n".join(map(dot_text, label_of(hook)))
        style = "" if hook.required else ", style=dashed"
        yield f'    {own}h{at} [label="{label}", shape={SHAPES[hook.kind][-1]}{style}];'
    for priority in barriers(plan):
        label = f"up to priority {priority}"
        yield f'    {own}b{number(priority)} [label="{label}", shape=diamond];'
    for before, after, reason, hard in edges(plan):
        style = "" if hard else " style=dashed"
        yield f'    {own}{before} -> {own}{after} [label="{reason}"{style}];'
    yield "  }"


def dot_text(text: str) -> str:
    """Return a text for a quoted string of Graphviz."""
    # https://graphviz.org/doc/info/lang.html
    return text.replace("\\", "\\\\").replace('"', '\\"')


def label_of(hook: ShownHook) -> list[str]:
    """Return the lines of the label of a hook."""
    return [printable(hook.key), hook.kind if hook.required else f"{hook.kind}, optional"]


def barriers(plan: ShownPlan) -> list[int]:
    """Return all priorities but the highest one, in order: hooks of higher ones wait for them."""
    return sorted({hook.priority for hook in plan.hooks})[:-1]


def number(priority: int) -> str:
    """Return a priority as a part of an id."""
    return str(priority).replace("-", "m")


def edges(plan: ShownPlan) -> Iterator[tuple[str, str, str, bool]]:
    """Yield the edges: before, after, the reason, and True for a hard one.

    Edges between priorities go through a node for the priority. Otherwise there would be an edge for
    each pair of hooks.
    """
    below = barriers(plan)
    for at, hook in enumerate(plan.hooks):
        if hook.priority in below:
            yield f"h{at}", f"b{number(hook.priority)}", "", False
        for wait in hook.waits_for:
            if wait.hook:
                yield f"h{wait.at}", f"h{at}", wait.reason, wait.hard
            else:
                behind = max(priority for priority in below if priority < hook.priority)
                yield f"b{number(behind)}", f"h{at}", "", False
