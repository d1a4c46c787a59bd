"""The rules of the house: how large a class may grow, who writes a field, who imports whom."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import lifespan_app
from lifespan_app.conf import KEYS
from lifespan_app.integration.server import KNOWN

PACKAGE = Path(lifespan_app.__file__).parent
ENGINE = PACKAGE / "engine"
FILES = sorted(ENGINE.rglob("*.py"))
MOST_ATTRIBUTES = 25

THREADING = "start"
"""``Thread.start``, which is replaced while a run is open inside of another."""
OF_OTHERS = frozenset(
    {"_log_destroy_pending", "handlers", "now", "original", "parent", "propagate", "thread_id"}
    | {THREADING}
)
"""Attributes of objects that are not the engine's: loggers, tasks, functions, asgiref's storage."""


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def name_of(file: Path) -> str:
    return str(file.relative_to(PACKAGE))


files = pytest.mark.parametrize("file", FILES, ids=name_of)


def attributes_of(node: ast.ClassDef) -> set[str]:
    """Return the attributes that an object of a class has: fields, slots, what methods assign."""
    found: set[str] = set()
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            found.add(item.target.id)
        elif isinstance(item, ast.Assign) and "__slots__" in map(name_in, item.targets):
            found |= {
                str(constant.value)
                for constant in ast.walk(item.value)
                if isinstance(constant, ast.Constant)
            }
    for inner in ast.walk(node):
        found |= {attribute.attr for attribute in written(inner) if is_self(attribute.value)}
    return found - {"__weakref__"}


def name_in(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def written(node: ast.AST) -> Iterator[ast.Attribute]:
    """Yield the attributes that a statement assigns or deletes."""
    targets: list[ast.expr] = []
    if isinstance(node, (ast.Assign, ast.Delete)):
        targets = list(node.targets)
    elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
        targets = [node.target]
    while targets:
        target = targets.pop()
        if isinstance(target, (ast.Tuple, ast.List)):
            targets += target.elts
        elif isinstance(target, ast.Attribute):
            yield target


@files
def test_no_class_has_more_attributes_than_fit_in_the_head(file: Path) -> None:
    large = {
        node.name: len(attributes_of(node))
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.ClassDef)
        and node.name != "Report"  # its annotations are those of Facts
        and len(attributes_of(node)) > MOST_ATTRIBUTES
    }
    assert large == {}


@files
def test_no_field_is_written_from_outside_its_module(file: Path) -> None:
    tree = tree_of(file)
    own = {
        attribute
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for attribute in attributes_of(node)
    }
    foreign = [
        f"line {attribute.lineno}: {ast.unparse(attribute)}"
        for node in ast.walk(tree)
        for attribute in written(node)
        if not is_self(attribute.value)
        and attribute.attr not in own | OF_OTHERS
        and not attribute.attr.startswith("__")
    ]
    assert foreign == []


# What the program around the engine tells it.

COMMANDS = [file.stem for file in (PACKAGE / "management" / "commands").glob("[a-z]*.py")]
OF_DJANGO = re.compile(
    r"\b(LIFESPAN|INSTALLED_APPS|MIDDLEWARE|manage\.py|(?i:django)"
    rf"|{'|'.join([*KEYS, *COMMANDS, *(f'(?i:{server})' for server in KNOWN)])})\b"
)


def texts_in(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the strings of a module, but for its docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings:
                yield node


@files
def test_no_text_names_a_setting_a_command_or_a_server(file: Path) -> None:
    """What it needs of them, it is given: by ``Host`` and its ``Advice``."""
    named = [
        f"line {text.lineno}: {found[0]}"
        for text in texts_in(tree_of(file))
        if (found := OF_DJANGO.search(str(text.value)))
    ]
    assert named == []


# Circles.


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in FILES}


def imported_by(module: str) -> set[str]:
    """Return the modules of the engine that one imports, for types only and in functions too."""
    file = MODULES[module]
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(tree_of(file)):
        if not isinstance(node, ast.ImportFrom):
            continue
        parts = package.split(".")
        base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
        name = ".".join(filter(None, [base, node.module]))
        found |= {f"{name}.{alias.name}" for alias in node.names} | {name}
    return (found & MODULES.keys()) - {module}


def circles() -> list[list[str]]:
    """Return the circles of imports, as the modules on each of them."""
    edges = {module: imported_by(module) for module in MODULES}
    changed = True
    while changed:
        changed = False
        for module in list(edges):
            # What imports nothing that is left, or is imported by nothing that is, is on no circle.
            if not edges[module] or not any(module in others for others in edges.values()):
                del edges[module]
                for others in edges.values():
                    others.discard(module)
                changed = True
    return [[module, *sorted(others)] for module, others in sorted(edges.items())]


def test_no_modules_of_the_engine_import_one_another_in_a_circle() -> None:
    assert circles() == []
