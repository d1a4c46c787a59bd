"""Every example of README.rst and docs/ runs, and what is listed there agrees with the source."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Literal

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand
from playwright.sync_api import Browser
from prometheus_client import CollectorRegistry

from lifespan_app import Lifespan, conf
from lifespan_app.conf import Change
from lifespan_app.contrib.prometheus import Metrics
from lifespan_app.engine.hooks.hook import DECORATORS
from lifespan_app.engine.reporting.report import JobState, Readiness
from tests.brokers import Redis
from tests.browsers import PHONE
from tests.clusters import PostgreSQL
from tests.documents import (
    CHECKOUT,
    DOCS,
    SETTINGS,
    Block,
    Example,
    blocks,
    example,
    examples,
    missing_from,
    name_of,
    pages,
    paste,
)
from tests.messages import Message, messages, problem_codes, source_of_checks
from tests.needs import needs_chromium
from tests.projects import Project
from tests.servers import Server

pytestmark = pytest.mark.once

# tests/contrib/test_task_workers.py runs those, each with the broker that it needs.
OF_WORKERS = "howto/task-workers"
EXAMPLES = [
    stage
    for page in pages()
    if name_of(page) != OF_WORKERS
    for whole in examples(page)
    for stage in whole.stages()
]
BLOCKS = [block for page in pages() for block in blocks(page)]
ADDRESS = "https://docs.example"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PLUGIN = "lifespan_app.pytest_plugin"
APPLICATION = re.compile(r"^application = ", re.MULTILINE)
LANGUAGES = {"python", "shell", "text"}

# What can be seen from outside that a page has promised.
ANSWERS: dict[str, dict[str, str | None]] = {
    "README: the page": {"/": "The login page of the admin answers 200.", "/admin/login/": None},
    "tutorial: the page": {
        "/": "The login page of the admin answers 200.",
        "/admin/login/": None,
        "/recommended/": "Nothing to recommend today.",
    },
    "hooks: parameters": {"/shelf_size/": "3 books"},
    "settings: settings": {"/address/": "http://catalogue.example/"},
    "howto/databases: a pool": {"/answer/": "42"},
    "howto/databases: Redis": {"/visits/": "Visits: 1"},
    "howto/databases: a thread": {"/words/": "0 words"},
    "howto/optional-hooks: optional": {
        "/find/": "Search is closed today.",
        "/health/": "degraded: books.search, books.build_index",
    },
    "howto/health: a check": {"/ready/": "ok\n"},
    "howto/warm-up: warm up": {"/home/": "Welcome.", "/recommended/": "Persuasion"},
    "howto/other-applications: FastAPI": {"/": '{"greeting":"Good morning","GBP":0.84}'},
    "howto/other-applications: as a lifespan": {"/": '{"EUR":1.0,"GBP":0.84}'},
    "howto/other-applications: mounted": {"/first/": "Emma", "/prices/gbp": "0.84"},
    "howto/other-applications: plain Django": {"/first/": "Emma"},
    "howto/other-applications: a dispatcher": {"/first/": "Emma", "/hello/": "hello"},
    "howto/mounts: mounts": {
        "/first/": "Emma",
        "/api/books": '{"Emma":9.99,"Persuasion":null}',
    },
    "howto/containers: dishka": {
        "/price/": "9.99",
        "/price_in_sync/": "9.99",
        "/total/": "19.98",
    },
    "howto/without-a-servers-lifespan: WSGI": {"/in_sync/": "200", "/in_async/": "200"},
    "howto/after-the-response: spawn": {"/borrow/": "Borrowed.", "/give_back/": "Thank you."},
    "howto/after-the-response: tasks": {"/borrow/": "Borrowed."},
    "moving/asgi-lifecycle: FastAPI": {"/": '{"EUR":1.0}'},
    "moving/asgi-lifecycle: today": {"/state/": "open"},
}

REGISTRY = CollectorRegistry()
Metrics(registry=REGISTRY)
METRICS = [
    f"{family.name}_total" if family.type == "counter" else family.name
    for family in REGISTRY.collect()
]

# What only the package itself reads of a Lifespan.
INTERNAL = {
    "changed",
    "clear",
    "declares_all",
    "forget",
    "has_open_run",
    "hooks",
    "prepare",
    "refusals",
    "rolled_back",
}

# Pages whose examples are management commands.
COMMANDS = ("commands/", "howto/management-commands")

# The modules whose texts only a command, or a check, shows.
ANALYZERS = ("integration/analyzers.py", "integration/database_analyzers.py")
OF_COMMANDS = ("serving/loader", "cli/", "history/reading/troubles", "management/")

# Messages that are put together from what is filled in.
HARDLY_A_WORD = {
    "Lifespan '<type>' stopped (<cause>): <n> hooks closed in <n> s; longest chain: <keys>.",
    "the process was already stopping",
    "'<module>' has no '<name>'.",
    "<application>: <message type>: <message>",
    "<hook> <phase>: <outcome> after <n> s.",
    "<hook> <phase>: begins.",
    "<hook>: <n> %, <what it does>.",
    "'<function>' (<file>:<line>), spawned at <file>:<line>, failed: <error>",
    "Failed too: <hook>: <error>",
    "Ready after <n> s.",
    "Resource <resource> is closed since <time>: the lifespan has ended.",
    "Rolled back: <hooks>.",
    "Then it raised <error>",
}

ONE_TASK = """
import os
import signal

from books.tasks import fetch
from celery.signals import task_postrun, worker_ready


@worker_ready.connect
def send(**kwargs):
    fetch.delay("http://covers.example/emma")


@task_postrun.connect
def end(retval, **kwargs):
    print(f"the task gave: {retval}")
    os.kill(os.getpid(), signal.SIGTERM)
"""


class Network(BaseHTTPRequestHandler):
    """Answers for `example.com` and all of `.example`, as HTTP proxies do."""

    def do_GET(self) -> None:
        known = re.match(r"http://(example\.com|\w+\.example)/", self.path)
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *words: object) -> None: ...


@pytest.fixture(scope="module")
def network() -> Iterator[dict[str, str]]:
    """Return the environment of a process that has this network and no other."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Network) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        yield {"HTTP_PROXY": address, "http_proxy": address, "NO_PROXY": "127.0.0.1"}
        server.shutdown()
        thread.join()


@pytest.fixture
def environment(
    request: pytest.FixtureRequest, network: dict[str, str]
) -> Iterator[dict[str, str]]:
    """Return the environment that an example needs."""
    pasted: Example = request.getfixturevalue("pasted")
    with ExitStack() as stack:
        variables = {**SETTINGS, **network}
        if "LIBRARY_DATABASE" in pasted.code:
            cluster = stack.enter_context(PostgreSQL())
            variables["LIBRARY_DATABASE"] = f"host={cluster.folder} user=postgres dbname=postgres"
        if "REDIS_URL" in pasted.code:
            variables["REDIS_URL"] = stack.enter_context(Redis()).url
        yield variables


# Every example runs.


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("pasted", EXAMPLES, ids=str)
def test_example_does_what_the_page_says(
    pasted: Example, project: Project, environment: dict[str, str]
) -> None:
    paste(pasted, project)

    if tests := [file for file in pasted.files if "test" in Path(file).name]:
        if "books/models.py" in pasted.files and "books/migrations" not in pasted.code:
            made = project.manage("makemigrations", "books", **environment)
            assert made.returncode == 0, made.stderr
        output = run_tests(project, tests, environment)
    elif "mysite/celery.py" in pasted.files:
        output = run_worker(project, environment)
    elif command := command_of(pasted):
        output = run_command(project, command, environment)
    elif script := script_of(pasted):
        output = run_script(project, script, environment)
    else:
        output = serve(pasted, project, environment)

    assert missing_from(output, pasted.output) == [], output


def script_of(pasted: Example) -> str | None:
    """Return the file of an example that is run by itself."""
    for block in pasted.blocks:
        if block.file and f'run with "python {block.file}"' in block.code:
            return block.file
    return None


def command_of(pasted: Example) -> list[str]:
    """Return the management command that a page runs in its example, and shows the output of."""
    for block in pasted.blocks:
        if block.page.startswith(COMMANDS) and block.language == "shell":
            return block.code.splitlines()[0].removeprefix("python manage.py ").split()
    return []


def run_command(project: Project, command: list[str], environment: dict[str, str]) -> str:
    """Run the management command of an example, and return what it prints."""
    project.manage("migrate", "--verbosity", "0", **environment)
    ran = project.manage(*command, **environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def run_tests(project: Project, files: list[str], environment: dict[str, str]) -> str:
    """Run the tests of an example, and return what pytest says."""
    # Where the package is installed, pytest finds its fixtures by itself.
    found = any(entry.value == PLUGIN for entry in entry_points(group="pytest11"))
    plugins = () if found else ("-p", PLUGIN)
    ran = project.run("-m", "pytest", "-q", *plugins, *files, environment=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "passed" in ran.stdout
    return ran.stdout


def run_worker(project: Project, environment: dict[str, str]) -> str:
    """Run the worker of an example until it has done a task, and return what it says."""
    project.file("one_task.py", ONE_TASK)
    command = "-m celery -A mysite.celery worker --pool solo --loglevel info --include one_task"
    ran = project.run(*command.split(), environment=environment)
    output = ran.stdout + ran.stderr
    assert "the task gave: 200" in output
    assert "Lifespan 'worker' stopped (the end of its process): 1 hook closed" in output
    return output


def run_script(project: Project, script: str, environment: dict[str, str]) -> str:
    """Run the program of an example, and return what it prints."""
    ran = project.run("-W", "error", script, environment=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def serve(pasted: Example, project: Project, environment: dict[str, str]) -> str:
    """Serve an example, look at its pages, stop it, and return what the server has said."""
    application = "mysite.asgi:application"
    for block in pasted.blocks:
        if block.file and "/" not in block.file and APPLICATION.search(block.code):
            application = f"{Path(block.file).stem}:application"
    with Server(
        project, application=application, options=["--lifespan", "on"], environment=environment
    ) as server:
        for path, text in answers_of(pasted, project).items():
            answer = server.get(path)
            assert answer.status == 200, server.output
            assert text in (None, answer.text)
        server.interrupt()
        server.wait()
    assert "Application startup complete" in server.output
    assert "Application shutdown complete" in server.output
    assert "Unclosed" not in server.output
    assert "Traceback" not in server.output or "failed to start" in " ".join(pasted.output)
    return server.output


def answers_of(pasted: Example, project: Project) -> dict[str, str | None]:
    """Return the addresses of an example with what they answer, None where that does not matter."""
    said: dict[str, str | None] = dict(ANSWERS.get(str(pasted), {}))
    urls = (project.folder / "mysite" / "urls.py").read_text()
    if "isfunction" in urls:
        names = [
            node.name
            for block in pasted.blocks
            if block.file and block.file.endswith("views.py")
            for node in ast.parse(block.code).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        return {f"/{name}/": None for name in names} | said
    found = re.findall(r'path\("([\w/]*)", ', urls)
    return {f"/{path}": None for path in found} | said


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README", "tutorial"])
def test_django_finds_nothing_to_complain_of(page: str, project: Project) -> None:
    paste(example(page), project)

    checked = project.manage("check", "--fail-level", "INFO", **SETTINGS)

    assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("page", ["README", "tutorial"])
def test_admin_of_a_first_project_shows_its_runs(page: str, project: Project) -> None:
    paste(example(page), project)
    project.manage("migrate", "--verbosity", "0", **SETTINGS)
    look = (
        "import django; django.setup()\n"
        "from django.contrib.auth.models import User\n"
        "from django.test import Client\n"
        "client = Client(headers={'host': '127.0.0.1'})\n"
        "client.force_login(User.objects.create_superuser('ann'))\n"
        "print(client.get('/admin/lifespan_app/').status_code)\n"
    )

    assert project.run("-c", look, environment=SETTINGS).stdout == "200\n"


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("page", ["README", "tutorial"])
def test_first_project_may_have_tuples_in_its_settings(page: str, project: Project) -> None:
    paste(example(page), project)
    settings = project.folder / "mysite" / "settings.py"
    begin = "\nINSTALLED_APPS = [*"
    settings.write_text(
        settings.read_text().replace(begin, f"\nINSTALLED_APPS = (*INSTALLED_APPS,){begin}", 1)
    )

    checked = project.manage("check", **SETTINGS)

    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("page", ["README", "tutorial"])
def test_files_of_a_first_project_are_found(page: str) -> None:
    assert example(page).files == [
        "mysite/settings.py",
        "mysite/asgi.py",
        "books/lifespan.py",
        "books/views.py",
        "mysite/urls.py",
    ]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_code_block_is_run_by_a_test_or_says_what_else_it_is(block: Block) -> None:
    assert block.language in LANGUAGES
    if block.language == "python":
        ast.parse(block.code)
        assert block.file or block.is_fragment, "it names no file, and is not marked a fragment"


def test_answer_belongs_to_an_example() -> None:
    assert set(ANSWERS) <= {str(stage) for stage in EXAMPLES}


def test_names_of_examples_are_not_used_twice() -> None:
    titles = [str(found) for page in pages() for found in examples(page)]

    assert len(titles) == len(set(titles))


def test_line_that_was_not_printed_is_missed() -> None:
    assert missing_from("up in 0.3 s\ndown\n", ["up in ... s", "down"]) == []
    assert missing_from("up in 0.3 s\ndown\n", ["down", "up in ... s"]) == ["up in ... s"]
    assert missing_from("up in 0.3 s\ndown\n", ["up in 0.021 s"]) == []
    assert missing_from("up in 2 s\ndown\n", ["up in 3 s"]) == ["up in 3 s"]
    assert missing_from("up\n", ["over"]) == ["over"]


# What is listed agrees with the source.


@cache
def page_text(name: str) -> str:
    """Return a page without its markup, on one line."""
    text = (DOCS / f"{name}.rst").read_text().replace("``", "")
    return " ".join(text.split())


def terms(name: str) -> list[str]:
    """Return the terms of a page's definition lists, in their order."""
    lines = (DOCS / f"{name}.rst").read_text().splitlines()
    return [
        line
        for line, following in pairwise(lines)
        if line and not line.startswith((" ", "..")) and following.startswith("   ")
    ]


def first_column(name: str) -> set[str]:
    """Return what is literal in the first column of a page's tables."""
    rows = re.findall(r"^   \* - (.*)$", (DOCS / f"{name}.rst").read_text(), re.MULTILINE)
    return {word for row in rows for word in re.findall(r"``([^`]+)``", row)}


def test_every_message_is_on_a_page() -> None:
    """What only a command says may be on the page of that command."""
    missing = [
        str(message)
        for message in messages()
        if not any(message.is_in(page_text(page)) for page in pages_of(message))
    ]
    assert missing == []


def pages_of(message: Message) -> Iterator[str]:
    """Yield the pages that may explain a message."""
    yield "messages"
    if message.place.startswith(OF_COMMANDS):
        yield from (f"commands/{page.stem}" for page in sorted((DOCS / "commands").glob("*.rst")))
        yield "checks"
    if message.place.startswith(ANALYZERS):
        yield "failures"


def test_message_on_the_page_is_said_somewhere() -> None:
    said = [message.pattern for message in messages()]
    shown = [text for term in terms("messages") for text in re.findall(r"``([^`]+)``", term)]

    assert [
        text
        for text in shown
        if text not in HARDLY_A_WORD and not any(pattern.search(text) for pattern in said)
    ] == []


def test_problem_of_a_plan_is_found_by_its_code() -> None:
    codes = problem_codes()

    assert {"cycle", "missing", "broken"} <= codes
    assert codes <= set(terms("messages"))


def test_error_class_is_on_the_page() -> None:
    errors = import_module("lifespan_app.errors")
    shown = page_text("messages")

    assert [name for name in errors.__all__ if name not in shown] == ["Problem", "ReadError"]


def test_ids_of_system_checks_agree() -> None:
    source = source_of_checks()
    ids = {f"lifespan_app.{number}" for number in re.findall(r"(?<!\.)\b[EWI]\d{3}\b", source)}

    assert {term for term in terms("checks") if term.startswith("lifespan_app.")} == ids


def test_decorators_are_on_the_page_on_hooks() -> None:
    shown = set(re.findall(r"\* - ``@lifespan\.(\w+)``", (DOCS / "hooks.rst").read_text()))

    assert shown == set(DECORATORS.values())


def test_settings_agree() -> None:
    variables = {*conf.FROM_ENVIRONMENT.values(), conf.CONFIG_FILE, conf.LAUNCH, conf.SKIP}

    assert first_column("settings") == {
        *conf.KEYS,
        *conf.HOOK_OPTIONS,
        *(key for keys in conf.INNER_KEYS.values() for key in keys),
        *conf.ALERT_KEYS,
        *variables,
    }


def test_defaults_of_settings_agree() -> None:
    text = (DOCS / "settings.rst").read_text()
    rows = dict(re.findall(r"^   \* - ``([A-Z_]+)``\n     - ``([^`]+)``$", text, re.MULTILINE))

    for key, (default, _) in conf.KEYS.items():
        if key != "ENVIRONMENT":
            assert ast.literal_eval(rows[key]) == default


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("settings", Change),
        ("howto/alerts", Change),
        ("howto/health", Readiness),
        ("howto/background-jobs", JobState),
        ("howto/alerts", METRICS),
    ],
    ids=["changes in the settings", "changes", "readiness", "states of a job", "metrics"],
)
def test_words_of_a_list_are_on_the_page(page: str, words: Iterable[str]) -> None:
    text = (DOCS / f"{page}.rst").read_text()

    assert [str(word) for word in words if f"``{word}``" not in text] == []


@pytest.mark.parametrize(
    "command", [file.stem for file in (DOCS / "commands").glob("*lifespan.rst")]
)
def test_options_of_a_command_are_on_its_page(command: str) -> None:
    parser = load_command_class("lifespan_app", command).create_parser("manage.py", command)
    of_django = BaseCommand().create_parser("manage.py", command)
    text = (DOCS / "commands" / f"{command}.rst").read_text()
    options = set(parser._option_string_actions)
    own = options - set(of_django._option_string_actions)
    described = set(re.findall(r"^``(--[a-z-]+)", text, re.MULTILINE))

    assert [option for option in sorted(own) if f"``{option}" not in text] == []
    assert described <= options


def test_public_methods_of_lifespan_are_in_the_reference() -> None:
    methods = {name for name in dir(Lifespan) if not name.startswith("_")}
    reference = set(re.findall(r":: (\w+)", (DOCS / "api.rst").read_text()))

    assert methods - reference == INTERNAL


def test_public_modules_are_in_the_reference() -> None:
    package = Path(conf.__file__).parent
    modules = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts)
        for folder in (package, package / "contrib")
        for path in folder.glob("[a-z]*.py")
    }
    reference = (DOCS / "api.rst").read_text()

    assert {name for name in modules if not re.search(rf"\b{name}\b", reference)} == {
        "lifespan_app.conf",
        "lifespan_app.contrib.celery_spawned",
        "lifespan_app.pytest_plugin",
    }


def test_longest_chain_has_no_second_name() -> None:
    """A column of the history, and what is named after it, keeps its name."""
    package = Path(conf.__file__).parent
    sources = [path for kind in ("py", "html", "po") for path in package.rglob(f"*.{kind}")]

    assert [
        path
        for path in [*CHECKOUT.glob("*.rst"), *CHECKOUT.glob("docs/**/*.rst"), *sources]
        if re.search(r"critical[\s-]+chain", path.read_text("utf-8"), re.IGNORECASE)
    ] == []


@pytest.mark.parametrize("page", [*sorted(CHECKOUT.glob("*.rst")), *pages()[1:]], ids=name_of)
def test_line_of_a_page_has_110_columns_at_most(page: Path) -> None:
    """Code has the width of its output, rows of a table and headings of messages stand on one line."""
    assert [
        f"{number}: {line}"
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if len(line) > 110
        and not re.match(r"(    .*|   [:\"].*|\.\. .*|   \.\. .*| *(``[^`]+``[.,;]? ?)+)$", line)
    ] == []


@pytest.mark.parametrize(
    "module",
    [
        "",
        ".asgi",
        ".errors",
        ".handler",
        ".middleware",
        ".register",
        ".signals",
        ".testing",
        ".types",
    ],
)
def test_public_names_are_in_the_reference(module: str) -> None:
    names = getattr(import_module(f"lifespan_app{module}"), "__all__", [])
    reference = (DOCS / "api.rst").read_text()

    whole = f"automodule:: lifespan_app{module}\n"
    assert [name for name in names if not re.search(rf"\b{name}\b", reference)] == [] or (
        whole in reference
    )


def test_every_room_has_its_place_in_the_architecture() -> None:
    package = Path(conf.__file__).parent
    rooms = {
        path.parent.relative_to(package).as_posix() + "/"
        for path in package.rglob("__init__.py")
        if path.parent != package
    }
    shown = page_text("architecture")

    assert [room for room in sorted(rooms) if room not in shown] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the documentation, built for an address."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", DOCS, folder],
        env={**os.environ, "READTHEDOCS_CANONICAL_URL": f"{ADDRESS}/en/stable/"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (built.returncode, built.stderr, built.stdout) == (0, "", "")
    return folder


@pytest.mark.slow
def test_every_page_is_in_the_documentation(site: Path) -> None:
    assert {f"{name_of(page)}.html" for page in pages()[1:]} <= {
        path.relative_to(site).as_posix() for path in site.rglob("*.html")
    }


@pytest.mark.slow
def test_page_that_is_not_found_has_links_from_the_root(site: Path) -> None:
    missing = (site / "404.html").read_text()

    assert 'href="/en/stable/' in missing
    assert "Page not found" in missing


@pytest.mark.slow
def test_shared_link_has_an_image_with_a_whole_address(site: Path) -> None:
    image = f"{ADDRESS}/en/stable/_images/run.png"

    assert f'<meta property="og:image" content="{image}" />' in (site / "tutorial.html").read_text()
    assert (site / "_images" / "run.png").exists()


@pytest.mark.slow
def test_code_can_be_copied(site: Path) -> None:
    assert "copybutton.js" in (site / "tutorial.html").read_text()


@pytest.mark.slow
@pytest.mark.browser
@needs_chromium
def test_documentation_follows_the_dark_mode_of_the_system(site: Path, chromium: Browser) -> None:
    colours = set()
    for scheme in SCHEMES:
        page = chromium.new_page(color_scheme=scheme)
        page.goto((site / "index.html").as_uri())
        colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert len(colours) == 2


@pytest.mark.slow
@pytest.mark.browser
@needs_chromium
def test_no_page_is_wider_than_a_phone(site: Path, chromium: Browser) -> None:
    page = chromium.new_page(viewport=PHONE)
    wide = []
    for path in sorted(site.rglob("*.html")):
        page.goto(path.as_uri())
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(path.relative_to(site).as_posix())

    assert wide == []
