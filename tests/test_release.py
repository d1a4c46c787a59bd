"""What is published: the README on a package index, the links, and both archives."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.util import module_from_spec, spec_from_file_location
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest
from readme_renderer import rst

CHECKOUT = Path(os.environ.get("LIFESPAN_TEST_CHECKOUT") or Path(__file__).resolve().parent.parent)
README = (CHECKOUT / "README.rst").read_text()

NOWHERE = {"repository": "", "documentation": "", "contact": ""}
SOMEWHERE = {
    "repository": "https://forge.example/lifespan/",
    "documentation": "https://docs.example/en/stable",
    "contact": "team@lifespan.example",
}

pytestmark = pytest.mark.once

# What needs no other program, and reads files beside the package.
PART = ("tests/engine/test_plan_order.py", "tests/django/test_conf.py", "tests/test_release.py")
OF_PART = "not server and not browser and not slow"


@pytest.fixture(scope="module")
def build_hook() -> ModuleType:
    """Return hatch_build.py."""
    spec = spec_from_file_location("hatch_build", CHECKOUT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("addresses", [NOWHERE, SOMEWHERE], ids=["nowhere", "somewhere"])
def test_readme_renders_on_a_package_index(
    build_hook: ModuleType, addresses: dict[str, str]
) -> None:
    warnings = StringIO()

    shown = rst.render(build_hook.with_absolute_links(README, addresses), stream=warnings)

    assert warnings.getvalue() == ""
    assert shown is not None
    assert "Start in 60 seconds" in shown


def test_readme_on_a_package_index_has_absolute_links_only(build_hook: ModuleType) -> None:
    text = build_hook.with_absolute_links(README, SOMEWHERE)

    links = re.findall(r"<([^\s>]+)>`__", text)
    images = re.findall(r"^\.\. image:: (\S+)$", text, re.MULTILINE)
    assert "https://docs.example/en/stable/howto/background-jobs.html" in links
    assert "https://forge.example/lifespan/blob/HEAD/CONTRIBUTING.rst" in links
    assert images[0] == "https://forge.example/lifespan/raw/HEAD/docs/screenshots/run.png"
    assert [link for link in [*links, *images] if not link.startswith("https://")] == []


def test_readme_without_addresses_has_no_dead_links(build_hook: ModuleType) -> None:
    text = build_hook.with_absolute_links(README, NOWHERE)

    assert "`__" not in text
    assert ".. image::" not in text
    assert "From django-asgi-lifespan" in text


def test_every_link_of_the_readme_leads_to_a_file(build_hook: ModuleType) -> None:
    links = [path for _, path in build_hook.LINK.findall(README)]
    paths = [*links, *build_hook.IMAGE.findall(README)]

    assert len(paths) > 20
    assert [path for path in paths if not (CHECKOUT / path).is_file()] == []


def test_metadata_has_links_as_soon_as_there_are_addresses(build_hook: ModuleType) -> None:
    assert build_hook.urls(NOWHERE) == {}
    assert build_hook.urls(SOMEWHERE) == {
        "Documentation": "https://docs.example/en/stable/",
        "Changelog": "https://docs.example/en/stable/changelog.html",
        "Source": "https://forge.example/lifespan",
        "Issues": "https://forge.example/lifespan/issues",
    }


def test_newest_version_of_the_changelog_is_that_of_the_package() -> None:
    changelog = (CHECKOUT / "CHANGELOG.rst").read_text()
    source = (CHECKOUT / "lifespan_app" / "__init__.py").read_text()
    versions = re.findall(r"^(Unreleased|[\d.]+ \(\d{4}-\d\d-\d\d\))\n=+$", changelog, re.MULTILINE)
    [version] = re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE)

    assert next(name for name in versions if name != "Unreleased").startswith(f"{version} (")


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the folders of two builds, each of a copy of the checkout with other times and modes."""
    folders = []
    for number, mode in enumerate([0o600, 0o644]):
        copy = tmp_path_factory.mktemp("copy") / "project"
        made = (
            ".git",
            ".venv",
            ".tox",
            ".*_cache",
            "__pycache__",
            "dist",
            "_build",
            "*.sqlite3*",
            "mutants",
        )
        shutil.copytree(CHECKOUT, copy, ignore=shutil.ignore_patterns(*made))
        for path in copy.rglob("*"):
            if path.is_file():
                path.chmod(mode)
                os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))
        folder = tmp_path_factory.mktemp("dist")
        built = subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(copy)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert built.returncode == 0, built.stdout + built.stderr
        folders.append(folder)
    return folders


@pytest.mark.slow
def test_two_builds_give_the_same_files(builds: list[Path]) -> None:
    first, second = (
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        for folder in builds
    )

    assert len(first) == 2
    assert first == second


@pytest.mark.slow
def test_source_archive_tests_itself(builds: list[Path], tmp_path: Path) -> None:
    """`python -m build` has made the wheel from it, so its package is whole too."""
    [archive] = builds[0].glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    [folder] = tmp_path.iterdir()

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", OF_PART, *PART],
        cwd=folder,
        # Neither a path nor a setting of this run leads its tests elsewhere.
        env={
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LIFESPAN_", "PYTEST_", "PYTHON"))
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"^\d{2,} passed", ran.stdout, re.MULTILINE)
    assert list(folder.glob("lifespan_app/engine/__pycache__/*.pyc")), "its package was not used"
