"""Tables of text, with columns that fit a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from .terminal import columns_of, folded, padded

GAP = "  "


class Table:
    """Write rows in columns that fit a page.

    A first cell that is too long has its own line.

    Args:
        rows: the cells of all rows.
        width: columns of the page.
        heads: the headings of the columns, if any.
        gutter: columns to the left of the table, for a mark.
        places: the last column contains files and lines, which are never wrapped. If there is no room
            for it, it is written on the next line.
        figures: all columns except the first contain numbers, and are right-aligned.
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
        """True if all columns fit side by side."""

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
            cells: the cells.
            mark: the text in the gutter.
            style: adds a colour to the first cell.
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
        """Return the columns after the first one."""
        beside = ""
        for cell, width in zip(cells, self.widths[1:], strict=False):
            fill = " " * (width - columns_of(cell))
            beside += GAP + (fill + cell if self.figures else cell + fill)
        return beside.rstrip()
