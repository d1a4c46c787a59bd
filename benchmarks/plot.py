"""Plots of tables, as SVG that is put into a page: it has the page's colours, light or dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.results import AGAIN, Row, Table, quartiles
from benchmarks.systems import OURS
from benchmarks.words import number, ratio_number

WIDTH, LINE, TOP, BELOW, BAR = 400, 38, 22, 21, 9
"""Narrow enough for a phone: names stand above the bars, not beside them."""

COLOUR_OF_OURS = "var(--color-brand-primary, #0a4bff)"


def plot(table: Table) -> str:
    """Return the plot of a table: bars from zero, or points where ratios lie around one."""
    rows = [row for row in table.rows if row.drawn and not row.name.endswith(AGAIN)]
    as_ratio = table.plot == "ratio"
    values = {row.name: table.ratios(row) if as_ratio else row.samples for row in rows}
    goal = _goal(table, as_ratio=as_ratio)
    ends = [end for each in values.values() for end in quartiles(each)]
    ends += [goal] if goal is not None else []
    low, high = (min(*ends, 1.0), max(*ends, 1.0)) if as_ratio else (0.0, max(ends))
    scale = _Scale(low, high, as_ratio=as_ratio)
    height = TOP + LINE * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="bench" viewBox="0 0 {WIDTH} {height}"'
        f' role="img" aria-label="{escape(table.title)}" font-size="13" fill="currentColor">',
    ]
    if goal is not None:
        parts.append(_goal_words(table, goal, scale(goal), as_ratio=as_ratio))
    for place, row in enumerate(rows):
        top = TOP + LINE * place
        parts += _row(row, values[row.name], scale, top, as_ratio=as_ratio)
        parts += _marks(scale, top + BELOW, goal, as_ratio=as_ratio)
    return "\n".join([*parts, "</svg>\n"])


class _Scale:
    def __init__(self, low: float, high: float, *, as_ratio: bool) -> None:
        # Room for half a point at both ends.
        self.left = 8 if as_ratio else 0
        self.low, self.span = low, (high - low) or 1.0
        self.width = WIDTH - 8 - self.left

    def __call__(self, value: float) -> float:
        return round(self.left + (value - self.low) / self.span * self.width, 1)


def _goal(table: Table, *, as_ratio: bool) -> float | None:
    for row in table.rows:
        if row.goal and row.ratio_at_most is not None and as_ratio:
            return row.ratio_at_most
        if row.goal and row.value_at_most is not None:
            return row.value_at_most
        if row.goal and row.ratio_at_most is not None:
            of = table.against
            return row.ratio_at_most * (table.row(of).median if isinstance(of, str) else of)
    return None


def _goal_words(table: Table, goal: float, x: float, *, as_ratio: bool) -> str:
    anchor = "end" if x > WIDTH / 2 else "start"
    said = f"{goal:.4g}" if as_ratio else f"{number(goal)} {table.unit}"
    return f'<text x="{x}" y="12" text-anchor="{anchor}" font-size="11">goal: at most {said}</text>'


def _marks(scale: _Scale, y: float, goal: float | None, *, as_ratio: bool) -> Iterator[str]:
    # Beside the bar only, so that they do not cross letters.
    marks = [(1.0, "1")] if as_ratio else []
    marks += [(goal, "4 2")] if goal is not None else []
    for value, dashes in marks:
        x = scale(value)
        yield (
            f'<line x1="{x}" x2="{x}" y1="{y - 3}" y2="{y + BAR + 3}" stroke="currentColor"'
            f' stroke-dasharray="{dashes}"/>'
        )


def _row(
    row: Row, values: Sequence[float], scale: _Scale, top: float, *, as_ratio: bool
) -> Iterator[str]:
    values = sorted(values)
    low, high = (scale(end) for end in quartiles(values))
    median = row.median if not as_ratio else values[len(values) // 2]
    x = scale(median)
    is_ours = row.name.startswith((OURS, "HISTORY on", "python -m"))
    paint = f'fill="{COLOUR_OF_OURS}"' if is_ours else 'fill-opacity="0.4"'
    weight = ' font-weight="bold"' if is_ours else ""
    said = ratio_number(median) if as_ratio else number(median)
    y = top + BELOW
    yield f'<text x="0" y="{top + 15}"{weight}>{escape(row.name)}</text>'
    yield f'<text x="{WIDTH}" y="{top + 15}" text-anchor="end"{weight}>{said}</text>'
    if as_ratio:
        yield f'<circle cx="{x}" cy="{y + BAR / 2}" r="{BAR / 2}" {paint}/>'
    else:
        yield f'<rect x="0" y="{y}" width="{max(x, 1)}" height="{BAR}" {paint}/>'
    yield (
        f'<line x1="{low}" x2="{high}" y1="{y + BAR / 2}" y2="{y + BAR / 2}" stroke="currentColor"'
        ' stroke-width="1.5"/>'
    )
