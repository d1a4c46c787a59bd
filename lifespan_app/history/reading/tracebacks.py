"""A recorded traceback, split into frames of the project and frames of libraries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

FRAME = re.compile(r'^[\s|+]*File "(?P<file>.*)", line (?P<line>\d+), in (?P<function>.*)$')
INSTALLED = re.compile(r"(?:site|dist)-packages[/\\]([^/\\]+)")
STANDARD = re.compile(r"[/\\][Pp]ython3?[\w.]*[/\\]|^<frozen ")
OURS = re.compile(r"(?:^|[/\\])lifespan_app[/\\](?!tests[/\\])")


@dataclass
class TracebackPart:
    """Lines of a traceback that are shown or folded together."""

    libraries: list[str] = field(default_factory=list)
    """The libraries of the frames; empty for the project's own frames and for other lines."""
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


def library_of(file: str) -> str:
    """Return the library that a file belongs to; empty for the project's own code."""
    if installed := INSTALLED.search(file):
        return installed[1].removesuffix(".py")
    if STANDARD.search(file):
        return "Python"
    return "lifespan_app" if OURS.search(file) else ""


def parts_of(traceback: str) -> list[TracebackPart]:
    """Return the parts of a traceback; consecutive library frames are one part."""
    parts: list[TracebackPart] = []
    library = ""
    indent = 0
    for line in traceback.rstrip().splitlines():
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
    return parts


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
