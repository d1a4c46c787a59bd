"""``@analyzer``: a project's own sentences about a failure, and where they are shown."""

from __future__ import annotations

import asyncio
import logging

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine import analysis
from lifespan_app.engine.analysis import analysis_of
from lifespan_app.failures import Analysis, analyzer
from lifespan_app.integration.redaction import MASK
from tests.engine.exchange import Server
from tests.failures.conftest import Fail

CAUSE, ACTION = "The bookshop is closed.", "Come back tomorrow."


class Closed(Exception):
    """An error of the project's."""


class ClosedToday(Closed):
    """A special one."""


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the analyzers of a test."""
    monkeypatch.setattr(analysis, "OWN", analysis.Analyzers())


def closes() -> None:
    raise ClosedToday("today")


def test_sentences_come_before_the_error_in_the_message_for_the_server(fail: Fail) -> None:
    @analyzer(Closed)
    def of_shop(error: Closed) -> Analysis:
        return Analysis(CAUSE, ACTION)

    first, second, third, *_ = fail(closes).message.splitlines()
    assert first.endswith(f": ClosedToday: {CAUSE}")
    assert second == f"What to do: {ACTION}"
    assert third == f"The error: {__name__}.ClosedToday: today"


def test_sentences_come_before_the_error_in_the_log(
    fail: Fail, caplog: pytest.LogCaptureFixture
) -> None:
    @analyzer(Closed)
    def of_shop(error: Closed) -> Analysis:
        return Analysis(CAUSE, ACTION)

    fail(closes)
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert line.endswith(f": {CAUSE} {ACTION} (ClosedToday: today)")


@pytest.mark.parametrize(
    "name",
    [f"{__name__}.Closed", f"{__name__}.ClosedToday", Closed, "Exception", "builtins.Exception"],
    ids=["base", "class", "itself", "builtin", "builtins"],
)
def test_analyzer_is_found_by_class_and_by_name(name: type[BaseException] | str) -> None:
    analyzer(name)(lambda error: Analysis(CAUSE, ACTION))
    assert analysis_of(ClosedToday()) == (CAUSE, ACTION)


def test_analyzer_is_found_by_a_name_that_another_module_gives() -> None:
    analyzer("asyncio.IncompleteReadError")(lambda error: Analysis(CAUSE, ACTION))
    assert analysis_of(asyncio.IncompleteReadError(b"", 1)) == (CAUSE, ACTION)


def test_class_of_a_library_that_is_not_installed_is_no_error() -> None:
    analyzer("nosuch.Error")(lambda error: Analysis(CAUSE, ACTION))
    assert analysis_of(Closed()) is None


def test_error_that_another_was_raised_from_is_analyzed() -> None:
    analyzer(Closed)(lambda error: Analysis(CAUSE, f"{ACTION} {error}"))
    outer = ValueError("no books")
    outer.__cause__ = Closed("today")
    assert analysis_of(outer) == (CAUSE, f"{ACTION} today")


def test_first_error_of_a_group_is_analyzed() -> None:
    analyzer(Closed)(lambda error: Analysis(CAUSE, ACTION))
    assert analysis_of(ExceptionGroup("two", [Closed(), ValueError()])) == (CAUSE, ACTION)


def test_analyzer_for_the_own_class_comes_before_one_for_a_base() -> None:
    analyzer(ClosedToday)(lambda error: Analysis("special", ""))
    analyzer(Closed)(lambda error: Analysis("general", ""))
    assert analysis_of(ClosedToday()) == ("special", "")


def test_analyzer_that_knows_nothing_is_followed_by_the_next_one() -> None:
    analyzer(Closed)(lambda error: Analysis(CAUSE, ACTION))
    analyzer(ClosedToday)(lambda error: None)
    assert analysis_of(ClosedToday()) == (CAUSE, ACTION)


def test_own_analyzer_comes_before_the_built_in_one(fail: Fail) -> None:
    analyzer(OSError)(lambda error: Analysis(CAUSE, ACTION))

    def shop() -> None:
        raise ConnectionRefusedError(111, "refused")

    assert fail(shop).cause == CAUSE


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)], ids=repr)
def test_analyzer_that_raises_is_logged_and_passed_over(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    analyzer(Closed)(lambda error: Analysis(CAUSE, ACTION))

    @analyzer(ClosedToday)
    def broken(_: Closed) -> Analysis:
        raise error

    assert analysis_of(ClosedToday()) == (CAUSE, ACTION)
    [record] = caplog.records
    assert "broken failed, and is passed over." in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.parametrize("returned", ["a text", ("a", "b"), Analysis("a", 1)], ids=repr)  # type: ignore[arg-type]
def test_analyzer_that_returns_something_else_is_logged_and_passed_over(
    returned: object, caplog: pytest.LogCaptureFixture
) -> None:
    analyzer(Closed)(lambda error: returned)  # type: ignore[type-var]
    assert analysis_of(Closed()) is None
    assert "passed over" in caplog.text


def test_sentences_are_masked() -> None:
    analyzer(Closed)(lambda error: Analysis("No s3://key:hunter2@books.", "Set password=hunter2."))
    assert analysis_of(Closed()) == (f"No s3://{MASK}@books.", f"Set password={MASK}.")


@pytest.mark.parametrize("wrong", [(), (int,), (Closed(),), (lambda error: None,)], ids=range(4))
def test_analyzer_without_a_class_is_refused(wrong: tuple[type[BaseException], ...]) -> None:
    with pytest.raises(TypeError, match="@analyzer needs"):
        analyzer(*wrong)


def test_async_analyzer_is_refused() -> None:
    with pytest.raises(TypeError, match="is async, and nobody awaits it"):

        @analyzer(Closed)  # type: ignore[type-var]
        async def of_shop(error: Closed) -> Analysis:
            return Analysis(CAUSE, ACTION)


async def test_crashed_job_and_failed_stop_are_analyzed(lifespan: Lifespan) -> None:
    analyzer(Closed)(lambda error: Analysis(CAUSE, ACTION))

    @lifespan.background
    async def feed() -> None:
        closes()

    @lifespan.on_shutdown
    async def lock() -> None:
        closes()

    server = Server(lifespan)
    await server.startup()
    answer = await server.shutdown()
    await server.raised()
    assert f": ClosedToday: {CAUSE}\nWhat to do: {ACTION}\n" in answer["message"]
    report = lifespan.last_run
    assert report is not None
    causes = {step.phase: step.cause for step in report.report().steps}
    assert causes == {"serving": CAUSE, "shutdown": CAUSE}
