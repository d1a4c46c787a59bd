"""The code in README.rst and docs/, as a reader would paste it.

A block of Python names its file in its first line, `# books/views.py`; with more words behind the
name, such as `# mysite/settings.py, at its end`, it is put behind what the file holds. The blocks of
a page are one example. A page with several says where each begins, in a comment of its own:

    .. example: a pool of connections

What can't stand by itself is marked the same way, by `.. fragment: why`, in front of its block; it
is only parsed. A block of `text` is what the example prints, as far as it stands on the page by then;
`...` is there for what may differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

from django.core.management import call_command

from tests.projects import Project

CHECKOUT = Path(__file__).resolve().parent.parent
DOCS = CHECKOUT / "docs"

SITE = "mysite"
SETTINGS = {"DJANGO_SETTINGS_MODULE": f"{SITE}.settings"}

ASGI = """
import os

from lifespan_app.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

application = get_asgi_application()
"""

# A page need not say how its views are served: each is, under its own name.
URLS = """
from importlib import import_module
from inspect import isfunction

from django.urls import path

urlpatterns = []
for views in map(import_module, {modules!r}):
    for name, view in vars(views).items():
        if isfunction(view) and view.__module__ == views.__name__:
            urlpatterns.append(path(f"{{name}}/", view))
"""

DIRECTIVE = re.compile(r"^( *)\.\. code-block:: (\S+)$")
MARK = re.compile(r"^ *\.\. (example|fragment): (.+)$")
FILE = re.compile(r"# ([\w/.-]+\.(?:py|toml|json))(,.*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block of code in a page."""

    page: str
    line: int
    language: str
    code: str
    is_fragment: bool = False

    @property
    def file(self) -> str | None:
        """The file that it is to be pasted into, None when it does not say."""
        named = FILE.match(self.code)
        return named[1] if named else None

    @property
    def is_appended(self) -> bool:
        """Whether it is put behind what is in the file."""
        named = FILE.match(self.code)
        return bool(named and named[2])

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass
class Example:
    """Blocks of one page that belong together."""

    page: str
    title: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        """The files that it has, in the order of the page."""
        return list(dict.fromkeys(block.file for block in self.blocks if block.file))

    @property
    def code(self) -> str:
        """All of its Python."""
        return "\n".join(block.code for block in self.blocks if block.file)

    @property
    def output(self) -> list[str]:
        """The lines that it is said to print, as its last output."""
        said = [block.code for block in self.blocks if block.language == "text"]
        return [line.strip() for line in said[-1].splitlines() if line.strip()] if said else []

    def stages(self) -> Iterator[Example]:
        """Yield the example as it stands after each output, and at its end."""
        outputs = [
            number
            for number, block in enumerate(self.blocks, start=1)
            if block.language == "text" and number < len(self.blocks)
        ]
        for number, end in enumerate(outputs, start=1):
            yield Example(self.page, f"{self.title}, step {number}", self.blocks[:end])
        yield self

    def __str__(self) -> str:
        return f"{self.page}: {self.title}"


def pages() -> list[Path]:
    """Return every page that may have code; a table that pages include is none."""
    written = (path for path in DOCS.rglob("*.rst") if not {"_build", "tables"} & {*path.parts})
    return [CHECKOUT / "README.rst", *sorted(written)]


def name_of(page: Path) -> str:
    """Return what a page is called: `README`, `howto/testing`."""
    folder = DOCS if page.is_relative_to(DOCS) else CHECKOUT
    return page.relative_to(folder).with_suffix("").as_posix()


def examples(page: Path) -> list[Example]:
    """Return the examples of a page that have something to run."""
    name = name_of(page)
    found = [Example(name, "the page")]
    for item in parts(name, page.read_text()):
        if isinstance(item, str):
            found.append(Example(name, item))
        else:
            found[-1].blocks.append(item)
    return [example for example in found if example.files]


def example(page: str, title: str = "the page") -> Example:
    """Return one example by its page and title."""
    path = CHECKOUT / "README.rst" if page == "README" else DOCS / f"{page}.rst"
    for found in examples(path):
        if found.title == title:
            return found
    raise LookupError(f"{page} has no example {title!r}")


def blocks(page: Path) -> list[Block]:
    """Return every block of code in a page."""
    return [part for part in parts(name_of(page), page.read_text()) if isinstance(part, Block)]


def parts(page: str, text: str) -> Iterator[str | Block]:
    """Yield the blocks of a page, and the title of each example in front of its first block."""
    lines = text.splitlines()
    is_fragment = False
    for number, line in enumerate(lines, start=1):
        if mark := MARK.match(line):
            is_fragment = mark[1] == "fragment"
            if not is_fragment:
                yield mark[2]
        elif found := DIRECTIVE.match(line):
            code = "\n".join(body(lines[number:], len(found[1])))
            yield Block(page, number, found[2], dedent(code).strip("\n") + "\n", is_fragment)
            is_fragment = False


def body(lines: list[str], margin: int) -> Iterator[str]:
    """Yield the lines of a directive's content, without its options."""
    in_options = True
    for line in lines:
        if line.strip() and not line.startswith(" " * (margin + 1)):
            return
        if not line.strip():
            in_options = False
        if not in_options:
            yield line


def paste(example: Example, project: Project) -> None:
    """Do what a page says, in a new Django project."""
    (project.folder / "manage.py").unlink(missing_ok=True)
    call_command("startproject", SITE, str(project.folder))
    apps = sorted({file.split("/")[0] for file in example.files if "/" in file} - {SITE, "tests"})
    for app in apps:
        (project.folder / app).mkdir()
        call_command("startapp", app, str(project.folder / app))
    if "INSTALLED_APPS" not in example.code:
        installed = ", ".join(map(repr, ["lifespan_app", *apps]))
        append(project, f"{SITE}/settings.py", f"INSTALLED_APPS = [*INSTALLED_APPS, {installed}]\n")
    project.file(f"{SITE}/asgi.py", ASGI)
    views = [f"{app}.views" for app in apps if f"{app}/views.py" in example.files]
    if f"{SITE}/urls.py" not in example.files:
        project.file(f"{SITE}/urls.py", URLS.format(modules=views))
    for block in example.blocks:
        if block.file and block.is_appended:
            append(project, block.file, block.code)
        elif block.file:
            project.file(block.file, block.code)


def append(project: Project, file: str, code: str) -> None:
    """Put code behind what a file holds."""
    path = project.folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text() if path.exists() else ""
    path.write_text(f"{before}\n\n{code}")


def missing_from(output: str, lines: list[str]) -> list[str]:
    """Return which of these lines a program has not printed, in this order.

    `...` stands for anything, and a number with a point for any number.
    """
    missing = []
    for line in lines:
        pattern = ".*?".join(re.escape(part) for part in line.split("..."))
        pattern = re.sub(r"\d+\\\.\d+", r"[\\d.]+", pattern)
        found = re.search(pattern, output)
        if found is None:
            missing.append(line)
        else:
            output = output[found.end() :]
    return missing
