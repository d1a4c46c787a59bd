"""What a rehearsal measures, and what its times are held against."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator

import pytest

from lifespan_app import Lifespan
from lifespan_app.budget import NOISE, Over, budget, over_budget, seconds, slower
from lifespan_app.rehearsal import Measured, Rehearsal, rehearse


def measured(**starts: list[float]) -> Rehearsal:
    """Return a rehearsal whose hooks have taken these times to start, run by run."""

    class Told(Rehearsal):
        def startup(self) -> list[float]:
            return starts["total"]

        def measured(self) -> list[Measured]:
            return [
                Measured(f"shop.{name}", taken, [], set())
                for name, taken in starts.items()
                if name != "total"
            ]

    return Told((), (), "")


class TestDurations:
    @pytest.mark.parametrize(
        ("text", "value"),
        [("300ms", 0.3), ("2s", 2.0), ("2", 2.0), ("1.5m", 90.0), (" 0.5 s ", 0.5)],
    )
    def test_are_read_with_their_unit(self, text: str, value: float) -> None:
        assert seconds(text) == pytest.approx(value)

    @pytest.mark.parametrize("text", ["", "s", "-1s", "0", "2h", "1e3", "2s3"])
    def test_that_are_none_are_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"is no duration: write 300ms, 2s or 1\.5m\."):
            seconds(text)

    def test_of_a_budget_are_by_total_and_by_hook(self) -> None:
        assert budget("2s") == {"total": 2.0}
        assert budget("shop.till=300ms, 2s") == {"shop.till": 0.3, "total": 2.0}


class TestABudget:
    def test_is_held_against_the_median(self) -> None:
        took = measured(total=[1.0, 9.0, 2.0], till=[0.1, 0.1, 5.0])

        assert list(over_budget(took, {"total": 2.0, "shop.till": 0.1})) == []
        assert list(over_budget(took, {"total": 1.9, "shop.till": 0.09})) == [
            Over("total", 2.0, 1.9, "budget"),
            Over("shop.till", 0.1, 0.09, "budget"),
        ]


class TestARecord:
    def test_is_passed_by_a_hook_that_takes_so_many_times_as_long(self) -> None:
        took = measured(total=[1.0], till=[0.31], door=[0.29])

        [over] = slower(took, {"shop.till": 0.2, "shop.door": 0.2}, 1.5)

        assert (over.what, over.took, over.why) == ("shop.till", 0.31, "slower")
        assert over.allowed == pytest.approx(0.3)

    def test_is_not_passed_by_what_may_be_noise(self) -> None:
        took = measured(total=[1.0], till=[0.001 + NOISE * 0.9])

        assert list(slower(took, {"shop.till": 0.001}, 1.5)) == []

    def test_says_nothing_of_a_hook_that_is_new(self) -> None:
        assert list(slower(measured(total=[1.0], till=[5.0]), {}, 1.5)) == []


class TestARehearsal:
    """In any asyncio program, without Django."""

    def test_measures_each_run_on_a_loop_of_its_own(self) -> None:
        lifespan = Lifespan()
        loops = []

        @lifespan.resource
        async def till() -> AsyncIterator[str]:
            import asyncio

            loops.append(asyncio.get_running_loop())
            yield "till"

        begun: list[int] = []
        rehearsal = rehearse(lifespan, "app", repeat=3, begins=begun.append)

        assert begun == [1, 2, 3]
        assert len(set(map(id, loops))) == 3
        [hook] = rehearsal.measured()
        assert (len(hook.starts), len(hook.stops)) == (3, 3)
        assert hook.on_chain == {"startup", "shutdown"}
        assert [report.mode for report in rehearsal.reports] == ["check"] * 3

    def test_ends_with_the_first_run_that_fails(self) -> None:
        lifespan = Lifespan()

        @lifespan.on_start
        async def fail() -> None:
            raise ValueError("no")

        rehearsal = rehearse(lifespan, "app", repeat=3)

        assert len(rehearsal.reports) == 1
        assert "ValueError: no" in rehearsal.failure

    def test_leaves_threads_as_they_were(self) -> None:
        start = threading.Thread.start

        rehearse(Lifespan(), "app")

        assert threading.Thread.start is start

    def test_of_no_hooks_takes_no_time_to_speak_of(self) -> None:
        rehearsal = rehearse(Lifespan(), "app")

        assert rehearsal.measured() == []
        assert rehearsal.failure == ""
