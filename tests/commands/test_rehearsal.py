"""Measurements of a trial run, and their comparison with budgets and recorded times."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from lifespan_app import Lifespan
from lifespan_app.cli.budget import Excess, budget, over_budget, seconds, slower
from lifespan_app.cli.trial_run import Measured, TrialRun, trial_run
from tests.engine.apps import HostWithApps


def measured(**starts: list[float]) -> TrialRun:
    """Return a trial run whose hooks have taken these times to start, run by run."""

    class Told(TrialRun):
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
    def test_durations_are_read_with_their_unit(self, text: str, value: float) -> None:
        assert seconds(text) == pytest.approx(value)

    @pytest.mark.parametrize("text", ["", "s", "-1s", "0", "2h", "1e3", "2s3"])
    def test_durations_that_are_none_are_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"is not a duration: write 300ms, 2s or 1\.5m\."):
            seconds(text)

    def test_budget_has_a_total_and_durations_by_hook(self) -> None:
        assert budget("2s") == {"total": 2.0}
        assert budget("shop.till=300ms, 2s") == {"shop.till": 0.3, "total": 2.0}


class TestABudget:
    def test_budget_is_held_against_the_median(self) -> None:
        took = measured(total=[1.0, 9.0, 2.0], till=[0.1, 0.1, 5.0])

        assert list(over_budget(took, {"total": 2.0, "shop.till": 0.1})) == []
        assert list(over_budget(took, {"total": 1.9, "shop.till": 0.09})) == [
            Excess("total", 2.0, 1.9, "budget"),
            Excess("shop.till", 0.1, 0.09, "budget"),
        ]


class TestARecord:
    def test_record_is_passed_by_a_hook_that_takes_many_times_as_long(self) -> None:
        took = measured(total=[1.0], till=[0.31], door=[0.29])

        [over] = slower(took, {"shop.till": 0.2, "shop.door": 0.2}, 1.5)

        assert (over.what, over.took, over.why) == ("shop.till", 0.31, "slower")
        assert over.allowed == pytest.approx(0.3)

    def test_record_is_not_passed_by_noise(self) -> None:
        took = measured(total=[1.0], till=[0.01])

        assert list(slower(took, {"shop.till": 0.001}, 1.5)) == []

    def test_record_says_nothing_of_a_new_hook(self) -> None:
        assert list(slower(measured(total=[1.0], till=[5.0]), {}, 1.5)) == []


class TestARehearsal:
    """In any asyncio program, without Django."""

    def test_trial_run_measures_each_run_on_a_loop_of_its_own(self) -> None:
        lifespan = Lifespan()
        loops = []

        @lifespan.resource
        async def till() -> AsyncIterator[str]:
            loops.append(asyncio.get_running_loop())
            yield "till"

        begun: list[int] = []
        trial = trial_run(lifespan, "app", repeat=3, begins=begun.append)

        assert begun == [1, 2, 3]
        assert len(set(map(id, loops))) == 3
        [hook] = trial.measured()
        assert (len(hook.starts), len(hook.stops)) == (3, 3)
        assert hook.on_chain == {"startup", "shutdown"}
        assert [report.mode for report in trial.reports] == ["check"] * 3

    def test_trial_run_ends_with_the_first_run_that_fails(self) -> None:
        lifespan = Lifespan()

        @lifespan.on_start
        async def fail() -> None:
            raise ValueError("no")

        trial = trial_run(lifespan, "app", repeat=3)

        assert len(trial.reports) == 1
        assert "ValueError: no" in trial.failure

    def test_trial_run_leaves_threads_as_they_were(self) -> None:
        start = threading.Thread.start

        trial_run(Lifespan(), "app")

        assert threading.Thread.start is start

    def test_trial_run_of_no_hooks_takes_no_time(self) -> None:
        trial = trial_run(Lifespan(), "app")

        assert trial.measured() == []
        assert trial.failure == ""


class TestWhatTheStartupDoesNotWaitFor:
    """Hooks with ``wait=False``, which come up while the process serves."""

    @pytest.fixture
    def lifespan(self) -> Lifespan:
        return Lifespan(HostWithApps())

    @pytest.fixture
    def model(self, lifespan: Lifespan) -> Callable[..., None]:
        """Return what declares a model that comes up once the process serves, and then does as told."""

        def declare(then: Callable[[], object] = lambda: None, *, required: bool = True) -> None:
            serving = asyncio.Event()

            @lifespan.background
            async def serve() -> None:
                serving.set()

            @lifespan.resource(name="model", wait=False, required=required)
            async def model() -> AsyncIterator[str]:
                await serving.wait()
                then()
                yield "a model"

        return declare

    def test_warm_up_is_waited_for_and_measured(
        self, lifespan: Lifespan, model: Callable[..., None]
    ) -> None:
        model()

        @lifespan.on_start
        async def warm_up(model: object) -> None: ...

        @lifespan.resource
        async def till() -> str:
            return "till"

        trial = trial_run(lifespan, "app")

        assert (trial.failure, trial.failed_steps()) == ("", [])
        found = {hook.key.rpartition(".")[2]: hook for hook in trial.measured()}
        waited_for = {name: hook.wait for name, hook in found.items()}
        assert waited_for == {"till": True, "model": False, "warm_up": False}
        assert (len(found["model"].starts), len(found["model"].stops)) == (1, 1)
        assert "startup" not in found["model"].on_chain
        assert trial.last.longest_chain == (found["till"].key,)

    def test_required_warm_up_that_fails_is_a_failure(
        self, lifespan: Lifespan, model: Callable[..., None]
    ) -> None:
        closed = []

        @lifespan.on_shutdown
        async def close() -> None:
            closed.append(True)

        def fail() -> None:
            raise OSError("no shards")

        model(fail)

        trial = trial_run(lifespan, "app", repeat=3)

        assert len(trial.reports) == 1
        assert "failed to start after" in trial.failure
        assert trial.failure.endswith(
            "OSError: no shards\n"
            "The startup does not wait for it: a process would serve, and never be ready."
        )
        assert closed == [True]

    def test_optional_warm_up_that_fails_is_no_failure(
        self, lifespan: Lifespan, model: Callable[..., None]
    ) -> None:
        def fail() -> None:
            raise OSError("no shards")

        model(fail, required=False)

        trial = trial_run(lifespan, "app")

        assert trial.failure == ""
        assert [step.error for step in trial.failed_steps()] == ["no shards"]

    def test_warm_up_ends_at_its_own_limit(self, lifespan: Lifespan) -> None:
        @lifespan.resource(wait=False, timeout=0.01)
        async def model() -> None:
            await asyncio.Event().wait()

        assert "did not start within its limit of 0.01 s" in trial_run(lifespan, "app").failure

    def test_warm_up_ends_with_the_time_for_all(self, lifespan: Lifespan) -> None:
        closed = []

        @lifespan.on_shutdown
        async def close() -> None:
            closed.append(True)

        @lifespan.resource(wait=False)
        async def model() -> None:
            await asyncio.Event().wait()

        trial = trial_run(lifespan, "app", timeout=0.05)

        assert trial.failure == "It took longer than --timeout allows, and was stopped."
        assert closed == [True]

    def test_warm_up_ends_with_a_job_that_asks_for_the_stop(self, lifespan: Lifespan) -> None:
        @lifespan.resource(wait=False)
        async def model() -> None:
            await asyncio.Event().wait()

        @lifespan.background(on_crash="stop", required=False)
        async def feed() -> None:
            raise OSError("no feed")

        failure = trial_run(lifespan, "app").failure

        assert failure.endswith("crashed while the process served: OSError: no feed")

    def test_warm_up_is_named_for_what_it_leaves_open(
        self, lifespan: Lifespan, model: Callable[..., None]
    ) -> None:
        left: list[socket.socket] = []
        model(lambda: left.append(socket.socket()))

        @lifespan.resource
        async def till() -> str:
            return "till"

        try:
            [leftover] = trial_run(lifespan, "app").left_behind
        finally:
            for one in left:
                one.close()

        assert leftover.kind == "socket"
        assert leftover.hook.endswith(".model")
