"""One file that was imported under two names: its hooks are declared twice."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable


def twins_in(
    modules: Iterable[str], label_of: Callable[[str], str | None]
) -> Iterable[tuple[str, str]]:
    """Yield the second name of each file that was imported twice, behind the name to be used.

    Args:
        modules: names of imported modules, the first imported first.
        label_of: gives the label of the installed app that a module belongs to, or None.
    """
    known: dict[str, str] = {}
    for module in modules:
        file = file_of(module)
        if file is None:
            continue
        other = known.setdefault(file, module)
        if other is module:
            continue
        if label_of(module) is not None and label_of(other) is None:
            known[file] = module
            yield module, other
        else:
            yield other, module


def file_of(module: str) -> str | None:
    """Return the file of an imported module, without symbolic links; None if it has none."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return None if file is None else os.path.realpath(file)


def imported_twice(name: str, other: str) -> str:
    """Return the message on a file that was imported under two names.

    Args:
        name: the name to be used.
        other: the other one.
    """
    return f"The same file is imported as '{name}' and as '{other}': import it as '{name}'."
