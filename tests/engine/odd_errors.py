"""Exceptions whose own code does not do what everybody expects of an exception."""

from __future__ import annotations

import dataclasses
from typing import Any, NoReturn


class TextIsNone(Exception):
    def __str__(self) -> str:
        return None  # type: ignore[return-value]  # noqa: PLE0307


class TextRaises(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class TextExits(Exception):
    def __str__(self) -> str:
        raise SystemExit(7)


class ReprRaises(Exception):
    def __repr__(self) -> str:
        raise ValueError("no repr")


class AttributesRaise(Exception):
    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(f"no {name}")


class EverythingRaises(Exception):
    def __getattribute__(self, name: str) -> NoReturn:
        raise RuntimeError(f"no {name}")


class ClassRaises(Exception):
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("no class")


class NotesAreNoList(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.__notes__: Any = 5


class NotesCantBePrinted(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.__notes__: Any = [TextRaises()]


class NotesRaise(Exception):
    @property
    def __notes__(self) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("no notes")


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    text: str


@dataclasses.dataclass
class Unhashable(Exception):  # noqa: PLW1641
    text: str

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not compared")


class ModuleIsNoText(Exception):
    __module__ = 5  # type: ignore[assignment]


class NameRaises(type):
    @property
    def __name__(cls) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("no name")


class NamelessClass(Exception, metaclass=NameRaises):
    pass


class TracebackRaises(Exception):
    def with_traceback(self, traceback: object) -> NoReturn:
        raise RuntimeError("no traceback")


class CausedByItself(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        other = KeyError(text)
        self.__cause__, other.__cause__ = other, self


ODD_ERRORS: list[type[Exception]] = [
    TextIsNone,
    TextRaises,
    TextExits,
    ReprRaises,
    AttributesRaise,
    EverythingRaises,
    ClassRaises,
    NotesAreNoList,
    NotesCantBePrinted,
    NotesRaise,
    Frozen,
    Unhashable,
    ModuleIsNoText,
    NamelessClass,
    TracebackRaises,
    CausedByItself,
]
