"""The location of a problem, as a check shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lifespan_app.engine.planning.plan import Node


class Location(str):
    """The location of a problem, as a check shows it: with file and line.

    Args:
        file: the file.
        line: the line.
    """

    __slots__ = ("file", "line")

    file: str
    line: int

    def __new__(cls, file: str, line: int) -> Location:  # noqa: D102  # said above
        place = super().__new__(cls, f"{file}:{line}")
        place.file, place.line = file, line
        return place


def place_of(node: Node) -> Location:
    """Return the location of a hook."""
    assert node.hook is not None
    return Location(node.hook.file, node.hook.line)
