"""Many hooks that a plan leaves out take few lines, so that the plan's problems stay in sight."""

from __future__ import annotations

from django.core.management.color import no_style

from lifespan_app.cli.plans import PlanText, ShownPlan
from lifespan_app.engine.planning.plan import Excluded


def lines_of(count: int) -> list[str]:
    """Return the lines about so many hooks, for two reasons."""
    excluded = tuple(
        Excluded(f"shop.h{number}", ("for workers", "disabled")[number % 2], "shop/lifespan.py", 9)
        for number in range(count)
    )
    plan = ShownPlan("app", complete=True, layers=0, hooks=(), excluded=excluded)
    lines = list(PlanText(no_style(), 100).lines(plan))
    return lines[lines.index("Left out") + 1 :]


def test_few_have_a_line_each_with_their_place() -> None:
    lines = lines_of(20)

    assert len(lines) == 20
    assert all(line.endswith("shop/lifespan.py:9") for line in lines)


def test_many_are_named_by_their_reason() -> None:
    assert lines_of(40) == [
        "    for workers: shop.h0, shop.h2, shop.h4, shop.h6, shop.h8, shop.h10 and 14 more",
        "    disabled: shop.h1, shop.h3, shop.h5, shop.h7, shop.h9, shop.h11 and 14 more",
    ]
