"""Plans as graphs, in the languages of Mermaid and of Graphviz: who waits for whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .plans import ShownHook, ShownPlan
from .terminal import printable

MERMAID_SHAPES = {
    "start": ("[", "]"),
    "shutdown": ("[", "]"),
    "resource": ("([", "])"),
    "background": ("[[", "]]"),
    "drain": ("[", "]"),
    "manager": ("([", "])"),
}
DOT_SHAPES = {
    "start": "box",
    "shutdown": "box",
    "resource": "ellipse",
    "background": "component",
    "drain": "box",
    "manager": "ellipse",
}


def mermaid(plans: Sequence[ShownPlan]) -> str:
    """Return plans as a flowchart of Mermaid, a frame each."""
    frames = (line for at, plan in enumerate(plans) for line in frame(f"p{at}", plan))
    return "\n".join(["flowchart LR", *frames])


def frame(own: str, plan: ShownPlan) -> Iterator[str]:
    """Yield one plan in the language of Mermaid; its names begin with ``own``."""
    yield f'  subgraph {own}["{mermaid_text(printable(plan.service_type))}"]'
    for at, hook in enumerate(plan.hooks):
        opens, closes = MERMAID_SHAPES[hook.kind]
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
    """Return a text that Mermaid shows as it is: what means something to it as a number."""
    return "".join(
        character if character.isalnum() or character in " _-,.:/" else f"#{ord(character)};"
        for character in text
    )


def dot(plans: Sequence[ShownPlan]) -> str:
    """Return plans as a graph of Graphviz, a cluster each."""
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
    """Yield one plan in the language of Graphviz; its names begin with ``own``."""
    yield f"  subgraph cluster_{own} {{"
    yield f'    label="{dot_text(printable(plan.service_type))}";'
    for at, hook in enumerate(plan.hooks):
        label = r"\n".join(map(dot_text, label_of(hook)))
        style = "" if hook.required else ", style=dashed"
        yield f'    {own}h{at} [label="{label}", shape={DOT_SHAPES[hook.kind]}{style}];'
    for priority in barriers(plan):
        label = f"up to priority {priority}"
        yield f'    {own}b{number(priority)} [label="{label}", shape=diamond];'
    for before, after, reason, hard in edges(plan):
        style = "" if hard else " style=dashed"
        yield f'    {own}{before} -> {own}{after} [label="{reason}"{style}];'
    yield "  }"


def dot_text(text: str) -> str:
    """Return a text as it stands between quotation marks of Graphviz."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def label_of(hook: ShownHook) -> list[str]:
    """Return what stands in the box of a hook, line by line."""
    return [printable(hook.key), hook.kind if hook.required else f"{hook.kind}, optional"]


def barriers(plan: ShownPlan) -> list[int]:
    """Return the priorities that others wait for the hooks of, in their order."""
    return sorted({hook.priority for hook in plan.hooks})[:-1]


def number(priority: int) -> str:
    """Return a priority as a part of a name."""
    return str(priority).replace("-", "m")


def edges(plan: ShownPlan) -> Iterator[tuple[str, str, str, bool]]:
    """Yield who waits for whom: before, after, the reason, and whether it is a hard one.

    Between priorities an edge goes through a box of its own, which says why it is there; else there
    would be one for each pair.
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
