"""What is wrong with a plan, as data."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong with a plan."""

    message: str
    """What is wrong, naming the hooks."""
    hint: str
    """What to do."""
    file: str = ""
    line: int = 0
    code: str = ""
    """What kind of problem this is, one word: ``cycle``, ``missing``, ``broken`` ..."""
    cause: BaseException | None = None
    """The exception behind a ``broken`` module."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file else ""
        return f"{place}{self.message}\n    {self.hint}"
