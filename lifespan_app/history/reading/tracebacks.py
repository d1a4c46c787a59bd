"""A recorded traceback, split into frames of the project and frames of libraries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.utils.translation import gettext, ngettext

from lifespan_app.engine.error_text import without_repeats

FRAME = re.compile(r'^[\s|+]*File "(?P<file>.*)", line (?P<line>\d+), in (?P<function>.*)$')
INSTALLED = re.compile(r"(?:site|dist)-packages[/\\]([^/\\]+)")
STANDARD = re.compile(r"[/\\][Pp]ython3?[\w.]*[/\\]|^<frozen ")
OURS = re.compile(r"(?:^|[/\\])lifespan_app[/\\](?!tests[/\\])")

SHOWN_OWN = 10
"""The most frames of the project's own at each end of a long run of them; others are folded."""


@dataclass
class TracebackPart:
    """Lines of a traceback that are shown or folded together."""

    libraries: list[str] = field(default_factory=list)
    """The libraries of folded frames; empty for lines that are shown."""
    lines: list[str] = field(default_factory=list)
    frames: int = 0

    @property
    def text(self) -> str:
        """The lines as they were recorded."""
        return "\n".join(self.lines)

    @property
    def names(self) -> str:
        """The libraries, each once."""
        return ", ".join(dict.fromkeys(self.libraries))

    @property
    def summary(self) -> str:
        """The number of the folded frames, and the libraries."""
        words = {"counter": self.frames, "names": self.names}
        return (
            ngettext(
                "%(counter)s frame of %(names)s", "%(counter)s frames of %(names)s", self.frames
            )
            % words
        )


def library_of(file: str) -> str:
    """Return the library that a file belongs to; empty for the project's own code."""
    if installed := INSTALLED.search(file):
        return installed[1].removesuffix(".py")
    if STANDARD.search(file):
        return "Python"
    return "lifespan_app" if OURS.search(file) else ""


def parts_of(traceback: str) -> list[TracebackPart]:
    """Return the parts of a traceback: frames of libraries, and the middle of many own ones, are folded."""
    parts: list[TracebackPart] = []
    library = ""
    indent = 0
    for line in without_repeats(traceback.rstrip()).splitlines():
        frame = FRAME.match(line)
        if frame:
            library = library_of(frame["file"])
            indent = depth(line)
        elif depth(line) <= indent:  # no source line under a frame: a heading, or the error
            library = ""
        is_library = bool(library)
        if not parts or bool(parts[-1].libraries) != is_library:
            parts.append(TracebackPart())
        part = parts[-1]
        part.lines.append(line)
        if library:
            part.libraries.append(library)
        part.frames += frame is not None
    return [piece for part in parts for piece in pieces_of(part)]


def pieces_of(part: TracebackPart) -> list[TracebackPart]:
    """Return the pieces of a part: the middle of many frames of the project's own is folded."""
    at = [number for number, line in enumerate(part.lines) if FRAME.match(line)]
    if part.libraries or len(at) <= 2 * SHOWN_OWN + 1:
        return [part]
    begin, end = at[SHOWN_OWN], at[-SHOWN_OWN]
    middle = len(at) - 2 * SHOWN_OWN
    return [
        TracebackPart([], part.lines[:begin], SHOWN_OWN),
        TracebackPart([gettext("your code")], part.lines[begin:end], middle),
        TracebackPart([], part.lines[end:], SHOWN_OWN),
    ]


def depth(line: str) -> int:
    """Return the indentation of a line; the tree characters of an exception group count as spaces."""
    return len(line) - len(line.lstrip(" |+"))


def own_frames(traceback: str) -> Iterator[str]:
    """Yield the frames of the project's own code as ``file:line in function``, outermost first."""
    for line in traceback.splitlines():
        frame = FRAME.match(line)
        if frame and not library_of(frame["file"]):
            yield f"{frame['file']}:{frame['line']} in {frame['function']}"


def innermost(traceback: str) -> str:
    """Return the innermost frame of the project's own code, or an empty string."""
    *_, last = ["", *own_frames(traceback)]
    return last
