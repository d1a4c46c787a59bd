"""The live lines of a run: what somebody at a terminal sees, and what is in a pipe."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import re
import sys
from collections.abc import Awaitable, Callable
from io import TextIOBase
from typing import IO

import pytest
from django.core.management.base import OutputWrapper

from lifespan_app import Lifespan, Retry
from lifespan_app.cli.live import MANY, Live
from tests.engine.apps import HostWithApps
from tests.engine.journal import Journal
from tests.engine.virtual_clock import VirtualLoop, run_virtually
from tests.terminals import Terminal

TIME = re.compile(r" *\d+\.\d{3} s")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def without_times(text: str) -> list[str]:
    return [TIME.sub(" <time>", line) for line in text.splitlines()]


def written(
    declare: Callable[[Lifespan, Journal], object],
    *,
    body: Callable[[Lifespan], Awaitable[object]] | None = None,
    every: bool = False,
    stream: IO[str] | TextIOBase | None = None,
) -> str:
    """Return what is in a pipe after one run on a virtual clock."""
    pipe = stream or io.StringIO()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        declare(lifespan, Journal())
        with Live(pipe, every=every).watching(lifespan):
            async with lifespan.run("app"):
                if body is not None:
                    await body(lifespan)

    run_virtually(main)
    return pipe.getvalue() if isinstance(pipe, io.StringIO) else ""


def seen(
    terminal: Terminal,
    declare: Callable[[Lifespan], object],
    body: Callable[[], Awaitable[object]] | None = None,
    **options: bool,
) -> list[str]:
    """Return what a terminal shows after one run."""

    async def main() -> None:
        lifespan = Lifespan(HostWithApps())
        declare(lifespan)
        with Live(terminal.stream, **options).watching(lifespan):
            async with lifespan.run("app"):
                if body is not None:
                    await body()

    asyncio.run(main())
    terminal.stream.write("\nthat was all\n")
    return [line for line in terminal.wait_for("that was all")[:-1] if line]


# In a pipe.


def test_pipe_gets_a_line_per_hook_started_and_stopped() -> None:
    def declare(lifespan: Lifespan, journal: Journal) -> None:
        client = journal.resource(lifespan, "client", opens=0.25, closes=1.5)
        journal.start(lifespan, "warm_up", depends_on=[client])

    assert written(declare).splitlines() == [
        "Starting 'app': 2 hooks",
        "  ok          0.250 s  shop.client",
        "  ok          0.000 s  warm_up.warm_up",
        "Stopping 'app' (the end of its body)",
        "  ok          1.500 s  shop.client",
    ]


def test_hook_that_fails_has_its_error_and_its_place_below_it() -> None:
    def declare(lifespan: Lifespan, journal: Journal) -> None:
        journal.resource(lifespan, "client", required=False, open_error=OSError("no route"))

    lines = written(declare).splitlines()

    assert lines[1] == "  failed      0.000 s  shop.client"
    assert re.fullmatch(r" {23}OSError: no route \(\S+journal\.py:\d+\)", lines[2])


def test_hook_that_is_skipped_says_why() -> None:
    def declare(lifespan: Lifespan, journal: Journal) -> None:
        client = journal.resource(
            lifespan, "client", required=False, open_error=OSError("no route")
        )
        journal.start(lifespan, "warm_up", depends_on=[client])

    text = written(declare)

    assert "  skipped     0.000 s  warm_up.warm_up\n" in text
    assert "it needs 'shop.client'" in text


def test_failed_start_is_rolled_back_before_ones_eyes() -> None:
    def declare(lifespan: Lifespan, journal: Journal) -> None:
        client = journal.resource(lifespan, "client")
        journal.start(lifespan, "warm_up", depends_on=[client], error=OSError("no route"))

    stream = io.StringIO()
    with pytest.raises(OSError, match="no route"):
        written(declare, stream=stream)

    lines = without_times(stream.getvalue())
    assert lines[1:3] == ["  ok <time>  shop.client", "  failed <time>  warm_up.warm_up"]
    assert lines[4:] == ["Rolling back 'app' (startup failed)", "  ok <time>  shop.client"]


def test_limit_that_has_passed_is_told_in_the_engines_words_once() -> None:
    def declare(lifespan: Lifespan, journal: Journal) -> None:
        journal.resource(lifespan, "client", opens=9, timeout=3, required=False)

    lines = written(declare).splitlines()

    assert lines[1] == "  timed out   3.000 s  shop.client"
    assert "did not start within its limit of 3 s" in lines[2]
    assert lines[2].count("journal.py:") <= 2  # the hook's place, and where it waits


def test_background_job_runs_and_is_stopped() -> None:
    def declare(lifespan: Lifespan, journal: Journal) -> None:
        journal.job(lifespan, "refresh")

    assert without_times(written(declare)) == [
        "Starting 'app': 1 hook",
        "  running              shop.refresh",
        "Stopping 'app' (the end of its body)",
        "  ok <time>  shop.refresh",
    ]


def test_run_inside_another_is_not_shown() -> None:
    def declare(lifespan: Lifespan, journal: Journal) -> None:
        journal.resource(lifespan, "client")

    async def inner(lifespan: Lifespan) -> None:
        async with lifespan.run("test"):
            pass

    assert "'test'" not in written(declare, body=inner)


def test_two_runs_after_one_another_are_both_shown() -> None:
    pipe = io.StringIO()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        with Live(pipe).watching(lifespan):
            for kind in ("app", "worker"):
                async with lifespan.run(kind):
                    pass

    run_virtually(main)

    assert re.findall("Starting '(.*?)'", pipe.getvalue()) == ["app", "worker"]


def test_nothing_is_told_any_more_after_the_block() -> None:
    lifespan = Lifespan(HostWithApps())
    before = list(lifespan.adapter.observers)

    with Live(io.StringIO()).watching(lifespan):
        assert len(lifespan.adapter.observers) == len(before) + 1

    assert lifespan.adapter.observers == before


def test_control_characters_of_an_error_do_nothing_to_the_terminal() -> None:
    def declare(lifespan: Lifespan, journal: Journal) -> None:
        error = OSError("\x1b[2J\rgone\nsecond line")
        journal.resource(lifespan, "client", required=False, open_error=error)

    text = written(declare)

    assert r"OSError: \x1b[2J" in text
    assert "\x1b" not in text
    assert "gone second line (" in text


def test_letter_that_a_pipe_cannot_encode_becomes_a_question_mark() -> None:
    raw = io.BytesIO()

    def declare(lifespan: Lifespan, journal: Journal) -> None:
        journal.resource(lifespan, "client", required=False, open_error=OSError("für 東京"))

    written(declare, stream=io.TextIOWrapper(raw, "ascii"))

    assert b"f?r ??" in raw.getvalue()


def test_reader_that_has_gone_stops_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = []

    async def body(lifespan: Lifespan) -> None:
        done.append("served")

    with os.fdopen(writing, "w", buffering=1) as pipe:
        written(
            lambda lifespan, journal: journal.resource(lifespan, "client"), stream=pipe, body=body
        )
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # so that the pipe can be closed

    assert done == ["served"]


def test_commands_own_output_takes_the_lines() -> None:
    pipe = io.StringIO()

    written(
        lambda lifespan, journal: journal.resource(lifespan, "client"), stream=OutputWrapper(pipe)
    )

    assert pipe.getvalue().splitlines()[0] == "Starting 'app': 1 hook"


# A thousand hooks.


def thousand(lifespan: Lifespan, journal: Journal) -> None:
    journal.resource(lifespan, "slow", opens=2)
    journal.resource(lifespan, "broken", required=False, open_error=OSError("no route"))
    for number in range(998):
        journal.resource(lifespan, f"r{number}", opens=number / 1000)


@pytest.mark.once
def test_hooks_that_say_something_have_a_line_among_a_thousand() -> None:
    lines = written(thousand).partition("Stopping")[0].splitlines()

    assert lines[0] == "Starting 'app': 1,000 hooks"
    assert lines[1] == "  failed      0.000 s  shop.broken"
    assert lines[3] == "  ok          2.000 s  shop.slow"
    assert lines[4] == "  ok          0.997 s  shop.r997"
    assert lines[-1] == "  ok                   989 more hooks, each in 0.988 s or less"
    assert len(lines) == 14


@pytest.mark.once
def test_thousand_hooks_have_a_line_each_where_that_is_asked_for() -> None:
    lines = written(thousand, every=True).partition("Stopping")[0].splitlines()

    assert sum("  ok  " in line for line in lines) == 999


def test_thousand_failures_are_counted_at_the_end() -> None:
    def declare(lifespan: Lifespan, journal: Journal) -> None:
        broken = journal.resource(
            lifespan, "broken", required=False, open_error=OSError("no route")
        )
        for number in range(999):
            journal.start(lifespan, f"s{number}", depends_on=[broken])

    lines = written(declare).splitlines()

    assert "  skipped              950 more hooks" in lines
    assert len(lines) < 3 * MANY


@pytest.mark.once
def test_thousand_background_jobs_are_one_line() -> None:
    def declare(lifespan: Lifespan, journal: Journal) -> None:
        for number in range(1000):
            journal.job(lifespan, f"job{number}")

    lines = written(declare).splitlines()

    assert lines[1] == "  running              background jobs: 1000"


# On a terminal.


def test_hook_is_shown_with_its_time_while_it_starts(
    terminal: Terminal,
) -> None:
    shown: list[list[str]] = []

    def declare(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def client() -> int:
            shown.append(await asyncio.to_thread(terminal.wait_for, "starting"))
            return 1

    lines = without_times("\n".join(seen(terminal, declare)))

    assert without_times("\n".join(shown[0])) == [
        "Starting 'app': 1 hook",
        "  starting <time>  tests.console.test_live.client",
    ]
    assert lines == [
        "Starting 'app': 1 hook",
        "  ok <time>  tests.console.test_live.client",
        "Stopping 'app' (the end of its body)",
    ]


def test_time_of_a_hook_goes_on_while_it_blocks_the_loop(terminal: Terminal) -> None:
    def declare(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def client() -> int:
            def times() -> set[str]:
                return set(TIME.findall(terminal.text))

            terminal.wait_for("starting")
            first = times()
            terminal.until(lambda: times() != first, "the time stood still")
            return 1

    assert len(seen(terminal, declare)) == 3


def test_how_far_a_hook_says_to_be_stands_on_its_line_while_it_starts(terminal: Terminal) -> None:
    shown: list[list[str]] = []

    def declare(lifespan: Lifespan) -> None:
        @lifespan.resource
        def model() -> int:
            lifespan.progress(0.25, "loading shard 1 of 4")
            terminal.wait_for("25 %")
            lifespan.progress(0.5, "\x1b[2Jloading")
            shown.append(terminal.wait_for("50 %"))
            return 1

    lines = without_times("\n".join(seen(terminal, declare)))

    assert without_times("\n".join(shown[0]))[-1] == (
        r"  starting <time>  tests.console.test_live.model: 50 %, \x1b[2Jloading"
    )
    assert lines[1] == "  ok <time>  tests.console.test_live.model"


def test_attempts_of_a_start_stand_on_its_line_while_it_is_tried_again(terminal: Terminal) -> None:
    shown: list[str] = []

    def declare(lifespan: Lifespan) -> None:
        @lifespan.resource(retry=Retry(60, first=0.05, longest=0.05))
        async def broker() -> int:
            if len(shown) == 1:
                return 1
            if "broker: attempt " in terminal.text:
                shown.append(terminal.text)
            raise OSError("refused")

    lines = without_times("\n".join(seen(terminal, declare)))

    last = without_times(shown[0])[-1]
    # The line is cut to the width of the terminal.
    said = r"  starting <time>  tests\.console\.test_live\.broker: attempt \d+: OSError:"
    assert re.match(said, last)
    assert "  ok <time>  tests.console.test_live.broker" in lines


def test_hook_that_warms_up_is_shown_until_it_is_up(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal.stream)

    async def main() -> None:
        lifespan = Lifespan(HostWithApps())
        serving = asyncio.Event()

        @lifespan.resource
        async def client() -> int:
            return 1

        @lifespan.resource(wait=False, required=False)
        async def model() -> int:
            await serving.wait()
            lifespan.progress(0.5, "loading")
            await asyncio.to_thread(terminal.wait_for, "50 %, loading")
            return 1

        @lifespan.on_start
        async def try_it(model: object) -> None:
            await asyncio.to_thread(terminal.wait_for, "try_it")

        with Live(terminal.stream).watching(lifespan):
            async with lifespan.run("app"):
                serving.set()
                # Then nothing is drawn any more, and the stream is the process's own again.
                await asyncio.to_thread(
                    terminal.until, lambda: sys.stdout is terminal.stream, "it is drawn for ever"
                )

    asyncio.run(main())
    monkeypatch.undo()
    terminal.stream.write("\nthat was all\n")
    lines = [line for line in terminal.wait_for("that was all") if line]

    names = [line.split()[-1].rpartition(".")[2] for line in lines[1:4]]
    assert names == ["client", "model", "try_it"]
    assert not any("starting" in line for line in lines)


def test_output_of_hooks_stands_above_in_its_order(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    handler = logging.StreamHandler(terminal.stream)
    logger = logging.getLogger("meanwhile")
    logger.addHandler(handler)

    def declare(lifespan: Lifespan) -> None:
        @lifespan.on_start
        def talk() -> None:
            terminal.wait_for("starting")
            print("said with print", end="")  # noqa: T201
            print(" in two goes")  # noqa: T201
            logger.warning("said with the log")
            sys.stdout.write("left unended")

    try:
        lines = seen(terminal, declare)
    finally:
        logger.removeHandler(handler)

    assert [line for line in lines if "said" in line] == [
        "said with print in two goes",
        "said with the log",
    ]
    assert lines.index("said with the log") < next(
        number for number, line in enumerate(lines) if "  ok" in line
    )
    assert sum("left unended" in line for line in lines) == 1
    assert not any("starting" in line for line in lines)
    assert sys.stdout is terminal.stream
    assert handler.stream is terminal.stream


def test_more_hooks_at_once_than_fit_are_counted(terminal: Terminal) -> None:
    shown: list[list[str]] = []

    def declare(lifespan: Lifespan) -> None:
        begun = asyncio.Event()

        def one(number: int) -> None:
            @lifespan.resource(name=f"r{number:03}")
            async def resource() -> int:
                await begun.wait()
                return 1

        for number in range(299):
            one(number)

        @lifespan.resource
        async def look() -> int:
            shown.append(await asyncio.to_thread(terminal.wait_for, "done: 0 of 300"))
            begun.set()
            return 1

    lines = seen(terminal, declare)

    picture = shown[0]
    assert len(picture) == 11
    assert picture[-1].split() == ["starting", "291", "more", "hooks;", "done:", "0", "of", "300"]
    assert not any("starting" in line for line in lines)


@pytest.mark.parametrize("lines", [3, 5])
def test_terminal_of_few_lines_keeps_what_has_been_written(lines: int) -> None:
    with Terminal(lines=lines) as small:

        def drawn_thrice() -> bool:
            return small.sent.count(b"\x1b[2K") >= 3

        def declare(lifespan: Lifespan) -> None:
            for number in range(9):

                @lifespan.resource(name=f"r{number}")
                async def resource() -> int:
                    await asyncio.to_thread(small.until, drawn_thrice, "nothing is drawn")
                    return 1

        shown = seen(small, declare)

    assert shown[0] == "Starting 'app': 9 hooks"
    assert sum("  ok  " in line for line in shown) == 9
    assert not any("starting" in line for line in shown)


def test_terminal_without_room_is_not_drawn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def declare(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def client() -> int:
            # Whatever is printed is followed by a new picture.
            print("something")  # noqa: T201
            return 1

    with Terminal(lines=2) as small:
        monkeypatch.setattr(sys, "stdout", small.stream)
        seen(small, declare)
        monkeypatch.undo()

        assert b"something" in small.sent
        assert b"starting" not in small.sent


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    def declare(lifespan: Lifespan) -> None:
        @lifespan.resource(name="a_" + "very_" * 30 + "long_name", required=False)
        async def client() -> int:
            raise OSError("a long explanation, " * 10 + " 東京" * 30)

    with Terminal(columns=columns, lines=60) as terminal:
        lines = seen(terminal, declare)

    # A line that is too wide would go on in the next one, at its beginning.
    assert all(line.startswith((" ", "Starting", "Stopping")) for line in lines)
    assert lines[1].endswith("...")


def test_terminal_that_is_made_narrower_is_not_written_over(terminal: Terminal) -> None:
    def declare(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def client() -> int:
            await asyncio.to_thread(terminal.wait_for, "starting")
            terminal.resize(40, 24)
            await asyncio.to_thread(terminal.wait_for, "tests.console...")
            return 1

    lines = seen(terminal, declare)

    assert lines[0] == "Starting 'app': 1 hook"
    assert not any("starting" in line for line in lines)


# Colours.


def broken_and_whole(lifespan: Lifespan) -> None:
    @lifespan.resource
    async def client() -> int:
        return 1

    @lifespan.resource(required=False)
    async def broken() -> int:
        raise OSError("no route")


def test_outcome_has_its_colour_on_a_terminal(terminal: Terminal) -> None:
    seen(terminal, broken_and_whole)

    assert terminal.colour_of("ok ") == "green"
    assert terminal.colour_of("failed ") == "red"


def test_no_color_is_honoured_as_option(terminal: Terminal) -> None:
    seen(terminal, broken_and_whole, no_color=True)

    assert b"m" not in b"".join(re.findall(rb"\x1b\[[\d;]*([a-zA-Z])", terminal.sent))


def test_no_color_is_honoured_in_the_environment(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    seen(terminal, broken_and_whole)

    assert terminal.colour_of("ok ") == "default"


def test_dumb_terminal_gets_plain_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")

    seen(terminal, broken_and_whole)

    assert b"\x1b" not in terminal.sent


def test_pipe_has_colours_only_where_they_are_forced() -> None:
    pipe, forced = io.StringIO(), io.StringIO()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        broken_and_whole(lifespan)
        with Live(pipe).watching(lifespan), Live(forced, force_color=True).watching(lifespan):
            async with lifespan.run("app"):
                pass

    run_virtually(main)

    assert "\x1b" not in pipe.getvalue()
    assert "\x1b[32m" in forced.getvalue()
