"""Whether a resource that is written as a generator ever comes to its ``yield``."""

from __future__ import annotations

import dis
import inspect
from functools import cache
from types import CodeType
from typing import TYPE_CHECKING, Any

from .hooks import innermost

if TYPE_CHECKING:
    from .hooks import Hook

GENERATORS = ("AsyncGenerator", "AsyncIterable", "AsyncIterator", "Generator", "Iterator")


def never_yields(hook: Hook) -> bool:
    """Tell whether a resource is meant as a generator, and can't yield.

    Either no ``yield`` is ever reached, as behind a ``return`` or in ``if False``: the compiler has
    left it out then. Or there is none, in a function that is annotated to return an iterator and
    returns nothing.
    """
    function = innermost(hook.function)
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return False
    if inspect.isgeneratorfunction(function):
        return dis.opmap["YIELD_VALUE"] not in code.co_code[::2]
    if inspect.isasyncgenfunction(function):
        return not holds(code.co_code, wrapping())
    return names_a_generator(function) and returns_nothing(code)


@cache
def wrapping() -> bytes:
    """Return the instruction in front of the ``yield`` of an async generator.

    An ``await`` yields as well, without wrapping what it yields. No two versions of Python have
    the same instruction for it.
    """

    async def sample() -> Any:
        yield

    found = list(dis.get_instructions(sample))
    last = max(number for number, one in enumerate(found) if one.opname == "YIELD_VALUE")
    before = found[last - 1]
    return bytes((before.opcode, before.arg or 0))


def holds(code: bytes, instruction: bytes) -> bool:
    """Tell whether bytecode, two bytes each, holds an instruction."""
    at = code.find(instruction)
    while at % 2 and at != -1:
        at = code.find(instruction, at + 1)
    return at != -1


def names_a_generator(function: Any) -> bool:
    """Tell whether a function is annotated to return an iterator."""
    annotation = getattr(function, "__annotations__", {}).get("return")
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return text.partition("[")[0].rpartition(".")[2] in GENERATORS


def returns_nothing(code: CodeType) -> bool:
    """Tell whether every ``return`` of a function gives None."""
    before: object = None
    for one in dis.get_instructions(code):
        if one.opname == "RETURN_CONST":
            before = one
        if one.opname in ("RETURN_CONST", "RETURN_VALUE") and (
            not isinstance(before, dis.Instruction)
            or "CONST" not in before.opname
            or before.argval is not None
        ):
            return False
        before = one
    return True
