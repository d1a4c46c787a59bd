"""What is in the wheel, and what it asks for.

The wheel is the one that tox built and tests (TOX_PACKAGE); without tox one is built here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from configparser import ConfigParser
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

PACKAGE = "lifespan_app"
CHECKOUT = Path(os.environ.get("LIFESPAN_TEST_CHECKOUT") or Path(__file__).resolve().parent.parent)

# Each module by itself in one fresh interpreter, Django set up as in a project; what is for
# neighbours is left to those who have the neighbours.
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
from django.conf import settings
settings.configure(SECRET_KEY="for tests only", INSTALLED_APPS=["django.contrib.contenttypes",
    "django.contrib.auth", "django.contrib.admin", "lifespan_app"])
import django
django.setup()
import lifespan_app
for module in pkgutil.walk_packages(lifespan_app.__path__, "lifespan_app."):
    if not module.name.startswith("lifespan_app.contrib."):
        importlib.import_module(module.name)
print(lifespan_app.__file__)
print(lifespan_app.__version__)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of the wheel."""
    if built := os.environ.get("TOX_PACKAGE"):
        return Path(built)
    folder = tmp_path_factory.mktemp("wheel")
    build = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(CHECKOUT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """Return the names of all files in the wheel."""
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """Return the wheel's metadata."""
    with ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def test_wheel_holds_the_package_and_its_metadata_alone(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}

    assert tops == {PACKAGE, f"django_lifespan_app-{version()}.dist-info"}


def test_wheel_holds_every_file_of_the_package(names: set[str]) -> None:
    files = {
        path.relative_to(CHECKOUT).as_posix()
        for path in (CHECKOUT / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert files - names == set()
    assert {name for name in names if name.startswith(f"{PACKAGE}/")} == files


def test_wheel_holds_what_is_not_python_too(names: set[str]) -> None:
    assert {
        f"{PACKAGE}/py.typed",
        f"{PACKAGE}/static/lifespan_app/history.css",
        f"{PACKAGE}/templates/admin/lifespan_app/app_index.html",
        f"{PACKAGE}/locale/de/LC_MESSAGES/django.po",
        f"{PACKAGE}/locale/de/LC_MESSAGES/django.mo",
        f"{PACKAGE}/locale/fr/LC_MESSAGES/django.po",
        f"{PACKAGE}/locale/fr/LC_MESSAGES/django.mo",
        f"django_lifespan_app-{version()}.dist-info/licenses/LICENSE",
    } <= names


def test_wheel_bundles_nothing_of_others(wheel: Path) -> None:
    """What is copied from elsewhere has a notice, which docs/policy.rst would have to name."""
    with ZipFile(wheel) as archive:
        texts = {
            name: archive.read(name) for name in archive.namelist() if name.startswith(PACKAGE)
        }

    assert [
        name for name, text in texts.items() if re.search(rb"(?i)copyright|licen[cs]ed", text)
    ] == []


def test_django_and_asgiref_are_all_that_it_requires(metadata: Message) -> None:
    requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    hard = {found.name.lower(): found.specifier for found in requirements if not found.marker}
    only_with_an_extra = [found for found in requirements if found.marker]

    assert hard == {"django": SpecifierSet(">=5.2"), "asgiref": SpecifierSet(">=3.8.1")}
    assert all("extra ==" in str(found.marker) for found in only_with_an_extra)


def test_metadata_names_distribution_version_and_pythons(
    metadata: Message,
) -> None:
    assert metadata["Name"] == "django-lifespan-app"
    assert metadata["Version"] == version()
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"


def test_classifiers_name_the_pythons_that_tox_tests(metadata: Message) -> None:
    tox = ConfigParser()
    tox.read(CHECKOUT / "tox.ini")
    tested = re.findall(r"\bpy3(\d+)-", tox["tox"]["env_list"])
    claimed = [
        match[1]
        for classifier in metadata.get_all("Classifier", [])
        if (match := re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", classifier))
    ]

    assert claimed == tested != []


def test_every_module_of_the_wheel_can_be_imported(wheel: Path, tmp_path: Path) -> None:
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path)

    run = subprocess.run(
        [sys.executable, "-W", "error", "-I", "-c", IMPORT_ALL, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [str(tmp_path / PACKAGE / "__init__.py"), version()]


@pytest.mark.skipif("TOX_PACKAGE" not in os.environ, reason="tests the checkout: run by tox")
def test_suite_imports_the_installed_wheel_under_tox() -> None:
    import lifespan_app

    assert "site-packages" in Path(lifespan_app.__file__).parts


def version() -> str:
    """Return the version as it is written down, in one place, without importing it."""
    source = (CHECKOUT / PACKAGE / "__init__.py").read_text()
    (line,) = [line for line in source.splitlines() if line.startswith("__version__")]
    return line.split('"')[1]
