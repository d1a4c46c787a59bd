"""What lifespan_app says to people, read off its source.

Every text that is written down as a sentence, with `<...>` for what is filled in, and the place where
it stands. Docstrings and patterns are no messages; nor is what only shows an object, or says what to
do: the second half of a problem. The texts of system checks have a page of their own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import lifespan_app

PACKAGE = Path(lifespan_app.__file__).parent
CHECKS = PACKAGE / "checks"
"""A page of its own has what they say, by their ids."""
TRANSLATED = {"_", "gettext", "ngettext"}
"""What the pages of the admin say explains itself there."""

GAP = "<...>"

PLACEHOLDER = re.compile(r"%(?:\.\d+)?[a-z]")
SENTENCE = re.compile(rf"(?<=[.:])(?:\s+|(?={GAP}))")
REPRESENTATION = re.compile(rf"<[a-z]+ |(?:\w+|{GAP})\(\w+=")
PATTERN = re.compile(r"\(\?[:P<=!]|\[\^|\\[sw]")
WORDS = 3
"""A text with fewer words of its own is a part of another one, or a name."""


@dataclass(frozen=True)
class Message:
    """One text."""

    text: str
    place: str

    @property
    def parts(self) -> list[str]:
        """What it says in its first sentence, or in so many that it has enough words of its own."""
        sentences = SENTENCE.split(self.text.strip())
        beginning = sentences.pop(0)
        while sentences and len(own_words(beginning)) < WORDS:
            beginning += " " + sentences.pop(0)
        return [part.strip() for part in beginning.rstrip(".").split(GAP) if part.strip(" .")]

    @property
    def pattern(self) -> re.Pattern[str]:
        """What finds its parts, with something between them."""
        return re.compile(".{0,80}?".join(re.escape(part) for part in self.parts))

    def is_in(self, text: str) -> bool:
        """Return True if a text has the message."""
        return all(part in text for part in self.parts) and bool(self.pattern.search(text))

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def own_words(text: str) -> list[str]:
    """Return the words of a text without what is filled in."""
    return re.findall(r"\w{2,}", text.replace(GAP, " "))


def source_of_checks() -> str:
    """Return the source of all system checks."""
    return "".join(path.read_text() for path in sorted(CHECKS.glob("*.py")))


def messages() -> list[Message]:
    """Return every message of the package, in the order of its modules."""
    return [
        message
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent != CHECKS or path.name == "at_start.py"
        for message in messages_of(path)
    ]


def messages_of(path: Path) -> Iterator[Message]:
    """Yield the messages of one module."""
    module = path.relative_to(PACKAGE).as_posix()
    for node in texts(ast.parse(path.read_text())):
        text = text_of(node)
        words = own_words(text)
        is_sentence = SENTENCE.search(f"{text} ") and len(words) >= WORDS
        if REPRESENTATION.match(text) or PATTERN.search(text):
            continue
        if is_sentence or len(words) >= 2 * WORDS:
            yield Message(text, f"{module}:{node.lineno}")


def texts(node: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Yield the strings below a node that are said: no docstring, no part of another one."""
    hints = set(hints_of(node))
    for child in ast.iter_child_nodes(node):
        is_docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if is_docstring or child in hints:
            continue
        if isinstance(child, ast.Constant | ast.JoinedStr):
            if isinstance(child, ast.JoinedStr) or isinstance(child.value, str):
                yield child
        else:
            yield from texts(child)


def hints_of(node: ast.AST) -> Sequence[ast.AST]:
    """Return what a call or an assignment says is to be done about a problem."""
    if isinstance(node, ast.Assign):
        # What --help says of a command is no message either: its page tells it in full.
        named = getattr(node.targets[0], "id", "")
        return [node.value] if named in ("hint", "help", "exit_codes") else []
    if isinstance(node, ast.keyword):
        return [node.value] if node.arg == "help" else []
    if not isinstance(node, ast.Call):
        return []
    if called(node) in TRANSLATED:
        return node.args
    if called(node) == "problem":
        return node.args[3:]
    return node.args[1:2] if called(node) in ("Problem", "Analysis", "LimitPassed") else []


def called(node: ast.Call) -> str:
    """Return the last name of what is called."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def text_of(node: ast.Constant | ast.JoinedStr) -> str:
    """Return a text with its gaps."""
    if isinstance(node, ast.Constant):
        return PLACEHOLDER.sub(GAP, str(node.value))
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values
    )


def problem_codes() -> set[str]:
    """Return the code of every problem that a plan may have."""
    codes = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                place = {"problem": 0, "Problem": 4}.get(called(node))
                if place is not None and len(node.args) > place:
                    code = node.args[place]
                    if isinstance(code, ast.Constant):
                        codes.add(str(code.value))
                if called(node) == "Problem":
                    named = [word.value for word in node.keywords if word.arg == "code"]
                    codes |= {str(one.value) for one in named if isinstance(one, ast.Constant)}
    return codes
