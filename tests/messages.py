"""What lifespan_app says to people, read off its source.

Every text that is written down as a sentence, with `<...>` for what is filled in, and the place where
it stands. Docstrings are no messages; nor are the checks' texts, which have a page of their own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lifespan_app

PACKAGE = Path(lifespan_app.__file__).parent
ELSEWHERE = {"checks.py"}
GAP = "<...>"

PLACEHOLDER = re.compile(r"%(?:\.\d+)?[a-z]")
SENTENCE = re.compile(r"[.:](?:\s|$)")
WORDS = 3
"""A text with fewer words of its own is a part of another one, or a name."""


@dataclass(frozen=True)
class Message:
    """One text."""

    text: str
    module: str
    line: int

    @property
    def beginning(self) -> list[str]:
        """What is fixed in its first sentence, part by part."""
        first = SENTENCE.split(self.text.strip(), maxsplit=1)[0]
        return [part.strip() for part in first.split(GAP) if len(part.split()) > 1]

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.text}"


def messages() -> list[Message]:
    """Return every message of the package, in the order of its modules."""
    return [
        message
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name not in ELSEWHERE
        for message in messages_of(path)
    ]


def messages_of(path: Path) -> Iterator[Message]:
    """Yield the messages of one module."""
    tree = ast.parse(path.read_text())
    module = path.relative_to(PACKAGE).as_posix()
    for node in texts(tree):
        text = text_of(node)
        fixed = text.replace(GAP, " ").split()
        if len(fixed) >= WORDS and (SENTENCE.search(text) or len(fixed) >= 2 * WORDS):
            yield Message(text, module, node.lineno)


def texts(node: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Yield the strings below a node that stand for something: no docstring, no part of another."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        if isinstance(child, ast.JoinedStr):
            yield child
            for part in child.values:
                if isinstance(part, ast.FormattedValue):
                    yield from texts(part)
        elif isinstance(child, ast.Constant):
            if isinstance(child.value, str):
                yield child
        else:
            yield from texts(child)


def text_of(node: ast.Constant | ast.JoinedStr) -> str:
    """Return a text with its gaps."""
    if isinstance(node, ast.Constant):
        return PLACEHOLDER.sub(GAP, node.value)
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values
    )
