"""The state of a run: a mapping of what is open, and of what hooks have written."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.running.state import RunState
from lifespan_app.errors import ResourceClosed
from tests.engine.conftest import RunOnLoop


def two_resources(lifespan: Lifespan) -> None:
    lifespan.resource(name="number", state_name="n")(lambda: 3)
    lifespan.resource(name="word")(lambda: "three")


def test_state_is_a_mapping_of_state_names(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        two_resources(lifespan)
        async with lifespan.run("app") as state:
            assert isinstance(state, MutableMapping)
            assert dict(state) == {"n": 3, "word": "three"}
            assert len(state) == 2
            assert sorted(state) == ["n", "word"]
            assert list(state.items()) == [("n", 3), ("word", "three")]
            assert state.n == state["n"] == state.get("n") == 3
            assert "n" in state
            assert "number" not in state

    run(main)


def test_missing_name_raises_when_read_and_not_when_looked_for(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        async with lifespan.run("app") as state:
            assert "nothing" not in state
            assert state.get("nothing") is None
            assert state.get("nothing", 7) == 7
            assert not hasattr(state, "nothing")
            with pytest.raises(KeyError):
                state["nothing"]
            with pytest.raises(AttributeError):
                _ = state.nothing

    run(main)


def test_write_of_a_hook_is_read_by_others_and_by_the_body(run: RunOnLoop) -> None:
    seen: list[Any] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.on_start
        async def count(state: RunState) -> None:
            state["books"] = 12
            state.authors = 7

        @lifespan.on_start
        async def read(state: RunState) -> None:
            seen.append((state.books, state["authors"]))

        @lifespan.on_shutdown
        async def read_again(state: RunState) -> None:
            seen.append(dict(state))

        async with lifespan.run("app") as state:
            assert dict(state) == {"books": 12, "authors": 7}
            del state["books"]
            del state.authors
            state["by_the_body"] = True

    run(main)

    assert seen == [(12, 7), {"by_the_body": True}]


def test_resource_is_not_replaced_by_writing(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        two_resources(lifespan)
        async with lifespan.run("app") as state:
            with pytest.raises(TypeError, match=r"'n' is a resource.*under another name"):
                state["n"] = 4
            with pytest.raises(TypeError, match="is a resource"):
                state.word = "four"
            with pytest.raises(KeyError):
                del state["n"]
            with pytest.raises(AttributeError):
                del state.n
            assert dict(state) == {"n": 3, "word": "three"}

    run(main)


def test_names_that_look_internal_are_no_keys(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        async with lifespan.run("app") as state:
            assert not hasattr(state, "__wrapped__")
            assert not hasattr(state, "__deepcopy__")

    run(main)


def test_repr_of_the_state_lists_its_items(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        two_resources(lifespan)
        async with lifespan.run("app") as state:
            assert repr(state).startswith("<state of run ")
            assert repr(state).endswith("(app, serving): n, word>")
        assert repr(state).endswith("(app, stopped): empty>")

    run(main)


def test_state_of_an_ended_run_holds_writes_and_no_resource(
    run: RunOnLoop,
) -> None:
    async def main(lifespan: Lifespan) -> None:
        two_resources(lifespan)
        async with lifespan.run("app") as state:
            state["books"] = 12
        assert dict(state) == {"books": 12}
        with pytest.raises(ResourceClosed):
            state["n"]

    run(main)


def test_resource_that_is_not_up_yet_is_not_in_the_state(run: RunOnLoop) -> None:
    seen: list[list[str]] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def first(state: RunState) -> AsyncIterator[int]:
            seen.append(list(state))
            yield 1
            seen.append(list(state))

        @lifespan.resource
        async def second(first: int, state: RunState) -> AsyncIterator[int]:
            seen.append(list(state))
            yield 2
            seen.append(list(state))

        async with lifespan.run("app"):
            pass

    run(main)

    assert seen == [[], ["first"], ["first"], []]
