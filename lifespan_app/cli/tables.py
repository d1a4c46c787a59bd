"""Tables of text: columns as wide as a page allows, and what does not fit on lines of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from .page import folded, padded
from .terminal import columns_of

GAP = "  "


class Table:
    """Write rows in columns that fit a page.

    A first cell that is far longer than the others stands on a line of its own.

    Args:
        rows: the cells of all rows.
        width: columns of the page.
        heads: what stands above the columns; nothing: they have no heads.
        gutter: columns to the left of the table, for a mark.
        places: the last column holds files and lines, which are not broken: where it leaves the usual
            first cells no room, it stands below.
        figures: all columns but the first one hold numbers, and are aligned at the right.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[str]],
        width: int,
        heads: Sequence[str] = (),
        *,
        gutter: int = 0,
        places: bool = False,
        figures: bool = False,
    ) -> None:
        self.page = width
        self.heads = heads
        self.gutter = gutter
        self.places = places
        self.figures = figures
        lines = [heads, *rows] if heads else rows
        columns = [sorted(map(columns_of, cells)) for cells in zip(*lines, strict=True)]
        self.widths = self._fitting(columns)
        self.fits = len(self.widths) == len(columns)
        """Whether all columns stand beside one another."""

    def _fitting(self, columns: Sequence[Sequence[int]]) -> list[int]:
        first, *others = columns
        widths = [column[-1] for column in others]
        room = self.page - self.gutter - sum(widths) - len(GAP) * len(widths)
        if self.places and room < first[len(first) * 9 // 10]:
            room += widths.pop() + len(GAP)
        least = columns_of(self.heads[0]) if self.heads else first[-1]
        return [min(first[-1], max(room, least)), *widths]

    def head(self) -> str:
        """Return the line above the rows."""
        first, *others = self.heads
        return f"{' ' * self.gutter}{padded(first, self.widths[0])}{self._beside(others)}".rstrip()

    def row(
        self, cells: Sequence[str], mark: str = "", style: Callable[[str], str] = str
    ) -> Iterator[str]:
        """Yield one row.

        Args:
            cells: what stands in it.
            mark: what stands in the gutter.
            style: gives the first cell its colour.
        """
        first, *others = cells
        begins, indent = padded(mark, self.gutter), " " * self.gutter
        room = self.widths[0] - columns_of(first)
        if room >= 0:
            yield f"{begins}{style(first)}{' ' * room}{self._beside(others)}".rstrip()
        else:
            yield from map(style, folded(first, self.page, begins, indent))
            yield f"{indent}{' ' * self.widths[0]}{self._beside(others)}"
        if len(self.widths) < len(cells):
            yield f"{indent}  {cells[-1]}"

    def _beside(self, cells: Sequence[str]) -> str:
        """Return what stands behind the first column."""
        fill = right_aligned if self.figures else padded
        return "".join(
            GAP + fill(cell, width) for cell, width in zip(cells, self.widths[1:], strict=False)
        ).rstrip()


def right_aligned(text: str, width: int) -> str:
    """Return a text with spaces before it."""
    return " " * (width - columns_of(text)) + text
