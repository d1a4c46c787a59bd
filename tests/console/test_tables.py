"""Tables fit the page: what has no room beside the rest stands on a line of its own."""

from __future__ import annotations

from collections.abc import Sequence

from lifespan_app.cli.tables import Table

HEADS = ("Hook", "Start", "Where")
LONG = "office.announce that the shop is open to everybody"


def lines_of(table: Table, rows: Sequence[Sequence[str]]) -> list[str]:
    return [table.head(), *(line for row in rows for line in table.row(row))]


def test_columns_stand_side_by_side_where_there_is_room() -> None:
    rows = [("shop.till", "5 s", "shop/lifespan.py:12"), ("shop.d", "-", "shop/lifespan.py:3")]
    table = Table(rows, 60, HEADS, places=True)

    assert lines_of(table, rows) == [
        "Hook       Start  Where",
        "shop.till  5 s    shop/lifespan.py:12",
        "shop.d     -      shop/lifespan.py:3",
    ]
    assert table.fits


def test_place_that_has_no_room_stands_below_unbroken() -> None:
    rows = [("shop.till", "5 s", "shop/lifespan.py:12")]
    table = Table(rows, 24, HEADS, gutter=2, places=True)

    assert lines_of(table, rows) == [
        "  Hook       Start",
        "  shop.till  5 s",
        "    shop/lifespan.py:12",
    ]
    assert not table.fits


def test_first_cell_that_is_far_longer_than_the_others_has_its_own_lines() -> None:
    usual = [(f"shop.till_{number}", "5 s", "shop/lifespan.py:12") for number in range(20)]
    rows = [*usual, (LONG, "1 s", "office/lifespan.py:2")]
    table = Table(rows, 50, HEADS, places=True)

    *_, first, second = lines_of(table, rows)
    assert first == LONG
    assert second.split() == ["1", "s", "office/lifespan.py:2"]
    assert second.index("1 s") == table.head().index("Start")


def test_figures_are_aligned_at_the_right() -> None:
    rows = [("shop.till", "12.000 s"), ("shop.d", "-")]
    table = Table(rows, 60, ("Hook", "Start"), gutter=2, figures=True)

    assert [table.head(), *table.row(rows[0], "* "), *table.row(rows[1])] == [
        "  Hook          Start",
        "* shop.till  12.000 s",
        "  shop.d            -",
    ]


def test_wide_characters_take_two_columns() -> None:
    rows = [("東京", "5 s"), ("shop", "1 s")]

    assert lines_of(Table(rows, 60, ("Hook", "Start")), rows)[1:] == ["東京  5 s", "shop  1 s"]


def test_first_cell_alone_has_a_colour() -> None:
    table = Table([("lost", "api")], 60)

    assert [*table.row(("lost", "api"), style=lambda text: f"<{text}>")] == ["<lost>  api"]
