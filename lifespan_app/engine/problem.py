"""Problems of a plan, as data."""

# Without "from __future__ import annotations": a named tuple compiles each annotation that is a
# string, which takes most of the time that its class does.

from typing import NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong with a plan."""

    message: str
    """The problem, with the names of the hooks."""
    hint: str
    """The remedy."""
    file: str = ""
    line: int = 0
    code: str = ""
    """The kind of problem, in one word: ``cycle``, ``missing``, ``broken`` ..."""
    cause: BaseException | None = None
    """The exception behind a ``broken`` module."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file else ""
        return f"{place}{self.message}\n    {self.hint}"
