"""A failed or slow run says what differs from the last good one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from lifespan_app.history.reading import against_last_good as module
from lifespan_app.history.reading.against_last_good import Comparison, against_last_good
from lifespan_app.models import LifespanRun, LifespanStep, Mode, Outcome, Phase, Readiness, Status
from tests import records
from tests.records import seconds, step

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db


def compared(run: LifespanRun) -> Comparison | None:
    return against_last_good(run, list(run.steps.order_by("pk")), timezone.now())


def lines(run: LifespanRun) -> list[str]:
    found = compared(run)
    assert found is not None
    return [difference.text for difference in found.differences]


def served(*steps: LifespanStep, **columns: Any) -> LifespanRun:
    """Write a run that has served and stopped."""
    values = {"ended_by": "lifespan.shutdown", "shutdown_duration": seconds(0.07), "ago": 900}
    return records.recorded(Status.STOPPED, steps=steps, **{**values, **columns})


def failed(*steps: LifespanStep, **columns: Any) -> LifespanRun:
    """Write a run whose startup has failed."""
    values = {"ready_at": None, "startup_duration": seconds(0.2)}
    return records.recorded(Status.STARTUP_FAILED, steps=steps, **{**values, **columns})


@pytest.mark.parametrize(
    ("column", "value", "line"),
    [
        ("release", "1.9.0", "Release: 1.9.0, was 1.8.2"),
        ("release", "", "Release: –, was 1.8.2"),
        ("python_version", "3.14.1", "Python: 3.14.1, was 3.13.9"),
        ("django_version", "6.2", "Django: 6.2, was 6.1.3"),
        ("server", "granian 2.5.0", "Server: granian 2.5.0, was uvicorn 0.54.0"),
        (
            "left_out",
            [["shop.cache", "LIFESPAN_SKIP"]],
            "Left out by LIFESPAN_SKIP: shop.cache, was –",
        ),
    ],
)
def test_column_that_has_changed_is_told(column: str, value: Any, line: str) -> None:
    served()

    assert lines(failed(**{column: value})) == [line]


def test_hooks_that_were_added_and_removed_are_told() -> None:
    served(step("shop.cache"), step("shop.old"))

    assert lines(failed(step("shop.cache"), step("shop.new"))) == [
        "Hooks added: shop.new",
        "Hooks removed: shop.old",
    ]


def test_many_hooks_that_were_added_are_counted() -> None:
    served()

    [line] = lines(failed(*(step(f"shop.hook_{n:02}") for n in range(100))))

    assert line.startswith("Hooks added: shop.hook_00, shop.hook_01")
    assert line.endswith("shop.hook_09 and 90 more")


def test_job_that_had_no_turn_is_not_told_as_removed() -> None:
    served(step("shop.refresh", Phase.SERVING, kind="background", outcome=Outcome.FINISHED))

    assert lines(failed()) == []
    assert lines(records.recorded(Status.NOT_READY, readiness=Readiness.CHECK_FAILED)) == [
        "Hooks removed: shop.refresh"
    ]


def test_job_that_has_not_begun_is_known_by_its_state() -> None:
    jobs = [records.job("shop.refresh", "waiting", every=60)]
    served(step("shop.refresh", Phase.SERVING, kind="background"))

    assert lines(failed(jobs=[*jobs, records.job("shop.sweep", "stopped")], ago=60)) == [
        "Hooks added: shop.sweep"
    ]
    served(jobs=jobs, ago=50)
    assert lines(failed(jobs=[records.job("shop.sweep", "stopped")], ago=40)) == [
        "Hooks added: shop.sweep",
        "Hooks removed: shop.refresh",
    ]


def test_hook_that_waits_in_a_start_is_not_told_as_removed() -> None:
    served(step("shop.cache"), step("shop.index"))
    starting = records.recorded(
        Status.LOST, steps=[step("shop.cache", outcome="")], ready_at=None, startup_duration=None
    )

    assert lines(starting) == []


def test_shutdown_function_of_a_run_that_has_not_stopped_is_not_told_as_removed() -> None:
    served(step("shop.bye", Phase.SHUTDOWN, kind="shutdown"))

    assert lines(records.lost(ago=300)) == [
        "Hooks added: library.http_client, library.bookshelf, catalogue.index, search.warm_up, "
        "search.refresh"
    ]


def test_hook_that_was_skipped_is_told_once() -> None:
    served(step("shop.cache"))

    assert lines(failed(left_out=[["shop.cache", "LIFESPAN_SKIP"]])) == [
        "Left out by LIFESPAN_SKIP: shop.cache, was –"
    ]


def test_options_of_a_hook_that_have_changed_are_told() -> None:
    served(step("shop.cache", needs=[["shop.db", "needs"], ["shop.log", "priority"]]))

    changed = step("shop.cache", priority=5, needs=[["shop.http", "declared"]])

    assert lines(failed(changed)) == [
        "Priority of shop.cache: 5, was 0",
        "shop.cache depends on: shop.http; was: shop.db",
    ]


def test_limits_of_a_hook_that_have_changed_are_told() -> None:
    served(step("shop.cache", required=False, timeout=5.0), step("shop.index", required=True))

    changed = step("shop.cache", required=True, timeout=2.5)
    index = step("shop.index", required=True, timeout=30.0)

    assert lines(failed(changed, index)) == [
        "shop.cache is required: yes, was no",
        "Time limit of shop.cache: 2.5 s, was 5.0 s",
        "Time limit of shop.index: 30 s, was –",
    ]


def test_limits_that_an_earlier_version_did_not_record_are_not_compared() -> None:
    served(step("shop.cache"))

    assert lines(failed(step("shop.cache", required=True, timeout=5.0))) == []


def test_hook_that_took_longer_than_its_range_is_told() -> None:
    for _ in range(3):
        served(step("shop.cache", took=0.2), step("shop.index", took=0.3))

    assert lines(failed(step("shop.cache", took=8.0), step("shop.index", took=0.31))) == [
        "Startup of shop.cache: 8.0 s, usually 0.20 s (slowest 0.20 s, 3 runs)"
    ]


def test_hook_that_took_as_long_before_is_not_told() -> None:
    for taken in (0.2, 0.2, 8.1):
        served(step("shop.cache", took=taken))

    assert lines(failed(step("shop.cache", took=8.0))) == []


def test_slow_start_is_told() -> None:
    for _ in range(3):
        served()

    assert compared(records.recorded(Status.SERVING, up_after=0.6)) is None
    assert lines(records.recorded(Status.SERVING, up_after=0.7)) == [
        "Startup: 0.70 s, usually 0.42 s (slowest 0.60 s, 4 runs)"
    ]


@pytest.mark.parametrize(
    "columns",
    [
        {"environment": "staging"},
        {"mode": Mode.THREAD},
        {"server": ""},
        {"server": "granian 2.5.0"},
        {"service_type": "worker"},
    ],
    ids=["environment", "mode", "no server", "server", "service type"],
)
def test_durations_of_other_runs_are_not_usual(columns: dict[str, Any]) -> None:
    for n in range(3):
        served(step("shop.cache", took=0.2), ago=900 - n, **columns)

    own = step("shop.cache", took=2.0)
    assert compared(records.recorded(Status.SERVING, steps=[own], up_after=9.0)) is None
    assert lines(failed(step("shop.cache", took=8.0))) == []


def test_durations_under_another_version_of_the_server_are_usual() -> None:
    for _ in range(3):
        served(server="uvicorn 0.53.0")

    assert lines(records.recorded(Status.SERVING, up_after=9.0)) == [
        "Server: uvicorn 0.54.0, was uvicorn 0.53.0",
        "Startup: 9.0 s, usually 0.42 s (slowest 0.42 s, 3 runs)",
    ]


def test_two_runs_do_not_say_what_is_usual() -> None:
    for _ in range(2):
        served(step("shop.cache", took=0.2))

    assert lines(failed(step("shop.cache", took=8.0), ago=60)) == []
    own = step("shop.cache", took=8.0)
    assert compared(records.recorded(Status.SERVING, steps=[own], up_after=9.0, ago=50)) is None


def test_hook_that_two_runs_have_had_has_no_usual_duration() -> None:
    served()
    for _ in range(2):
        served(step("shop.cache", took=0.2))

    assert lines(failed(step("shop.cache", took=8.0))) == []


def test_three_runs_are_read_however_many_hooks_they_have() -> None:
    for _ in range(3):
        served(step("shop.cache", took=0.2), hooks_total=5_000)

    assert lines(failed(step("shop.cache", took=8.0))) == [
        "Startup of shop.cache: 8.0 s, usually 0.20 s (slowest 0.20 s, 3 runs)"
    ]


def test_start_that_goes_on_for_long_is_told() -> None:
    for _ in range(3):
        served()

    [line] = lines(records.recorded(Status.STARTING, ready_at=None, startup_duration=None, ago=7))

    assert line.startswith("Startup: 7.")


def test_difference_of_some_milliseconds_is_not_slow() -> None:
    for _ in range(3):
        served(up_after=0.001, shutdown_duration=seconds(0.001))

    assert compared(served(ago=60, up_after=0.009, shutdown_duration=seconds(0.009))) is None


def test_rollback_is_not_compared_with_a_shutdown() -> None:
    served()

    assert lines(failed(shutdown_duration=seconds(3.0))) == []


def test_run_with_a_failed_hook_is_compared_also_when_it_has_stopped() -> None:
    good = served()

    found = compared(served(records.no_notices(), ago=60))

    assert found is not None
    assert found.good == good
    assert [one.text for one in found.differences] == ["Hooks added: notices.notice_board"]


def test_slow_shutdown_is_told() -> None:
    for _ in range(3):
        served()

    assert lines(served(ago=60, shutdown_duration=seconds(3.0))) == [
        "Shutdown: 3.0 s, usually 70 ms (slowest 70 ms, 3 runs)"
    ]


def test_range_is_that_of_the_time_before_a_restart_loop() -> None:
    for n in range(3):
        good = served(step("shop.cache", took=0.2), ago=900 - n)
    for n in range(25):
        failed(step("shop.cache", took=8.0, outcome=Outcome.TIMED_OUT), ago=800 - n)

    found = compared(failed(step("shop.cache", took=8.0, outcome=Outcome.TIMED_OUT)))

    assert found is not None
    assert found.good == good
    assert [one.text for one in found.differences] == [
        "Startup of shop.cache: 8.0 s, usually 0.20 s (slowest 0.20 s, 3 runs)"
    ]


@pytest.mark.parametrize(
    "write",
    [
        records.degraded,
        records.startup_failed,
        records.shutdown_failed,
        records.crashed_job,
        records.not_ready,
        records.lost,
        records.silent,
    ],
)
def test_run_that_failed_is_compared_and_is_no_good_one(
    write: Callable[..., LifespanRun],
) -> None:
    good = served(ago=9_000)
    write(ago=5_000)

    found = compared(write(ago=600))

    assert found is not None
    assert found.good == good


@pytest.mark.parametrize("write", [records.healthy, records.stopped, records.stopping])
def test_good_run_is_not_compared(write: Callable[..., LifespanRun]) -> None:
    records.healthy(ago=9_000)

    assert compared(write(ago=600)) is None


def test_process_that_warms_up_is_not_compared() -> None:
    served()

    assert compared(records.not_ready(readiness=Readiness.WARMING_UP)) is None


@pytest.mark.parametrize(
    "columns",
    [
        {"service_type": "worker"},
        {"environment": "staging"},
        {"mode": Mode.CHECK},
        {"mode": Mode.TEST},
        {"mode": Mode.THREAD},
        {"up_after": 4.0},
        {"ago": 100},
    ],
    ids=["service type", "environment", "check", "test", "thread", "slow", "later"],
)
def test_other_run_is_no_last_good_one(columns: dict[str, Any]) -> None:
    for n in range(3):
        records.lost(ago=10_000 + n)
    served(**columns)

    found = compared(failed())

    assert found is not None
    assert found.good is None
    assert found.headline == "No earlier good run of api (production, server) is found."


def test_last_good_run_is_found_behind_a_long_restart_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEARCHED", 3)
    served(ago=9_000)
    good = records.healthy(ago=8_000)
    for n in range(5):
        failed(ago=700 - n)

    found = compared(failed())

    assert found is not None
    assert found.good == good


def test_search_looks_at_no_more_than_the_newest_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEARCHED", 3)
    served(ago=9_000)
    for n in range(5):
        served(ago=700 - n, service_type="worker")
        failed(ago=700 - n)

    found = compared(failed())

    assert found is not None
    assert found.good is None


def test_run_in_which_nothing_differs_says_so() -> None:
    good = served()

    found = compared(failed())

    assert found is not None
    assert found.differences == []
    assert found.headline.startswith(f"The last good run is {good.short_id}, started ")
    assert found.headline.endswith(
        "Release, versions and hooks are the same, and no duration is out of its range."
    )


def test_number_of_queries_is_that_of_one_hook_and_one_run(
    django_assert_max_num_queries: Any,
) -> None:
    for n in range(3):
        served(*(step(f"shop.hook_{n}") for n in range(300)), ago=900 - n)
    for n in range(60):
        failed(ago=800 - n)
    run = failed(*(step(f"shop.hook_{n}", took=9, priority=3) for n in range(300)))

    with django_assert_max_num_queries(8):
        assert len(lines(run)) == 2 * module.MOST_HOOKS


def test_comparison_is_plain_data() -> None:
    for n in range(3):
        good = served(step("shop.cache", took=0.2), ago=900 - n)

    found = compared(failed(step("shop.cache", took=8.0), release="1.9.0"))

    assert found is not None
    assert found.as_json() == {
        "last_good": str(good.uuid),
        "differences": [
            {"what": "release", "hook": None, "was": "1.8.2", "now": "1.9.0"},
            {"what": "hook_startup", "hook": "shop.cache", "was": 0.2, "now": 8.0},
        ],
    }


def test_time_of_a_run_with_the_same_start_is_told_apart_by_its_key() -> None:
    good = served()
    run = failed()
    LifespanRun.objects.update(started_at=run.started_at)
    run.refresh_from_db()

    found = compared(run)

    assert found is not None
    assert found.good == good


def test_hostile_text_is_compared() -> None:
    records.hostile()
    run = records.hostile("100 %(hook)s %d")
    LifespanRun.objects.exclude(pk=run.pk).update(
        service_type=run.service_type,
        environment=run.environment,
        status=Status.STOPPED,
        hooks_failed=0,
        ready_at=run.started_at - timedelta(seconds=1),
        lost_after=None,
    )

    assert any("100 %(hook)s %d" in line for line in lines(run))
